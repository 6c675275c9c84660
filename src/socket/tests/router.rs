//! ROUTER: R1 to R7.
