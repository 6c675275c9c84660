//! What the desk is locked with: the standard library's, or under test a checker's, which tries many orders of the steps
//! of all threads and finds the wait that nobody ends.

#[cfg(test)]
pub(super) use shuttle::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(test))]
pub(super) use std::sync::{Condvar, Mutex, MutexGuard};
