//! The only integration test binary: the program from outside, over real sockets, against real Azurite and a double of the Functions host.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test stops at the first surprise and says what it was"
)]

mod app;
mod command;
mod harness;
mod support;
