//! Sockets without I/O: behaviours that need no second socket are shown against peers scripted octet by octet.

mod dealer;
mod fanout;
mod flow;
pub(crate) mod harness;
mod lifecycle;
mod reads;
mod router;
