//! The packaged app, from outside: under a double of the Functions host, with real Azurite and a fake Last.fm.

mod bad_input;
mod budget;
mod callers;
mod checker;
mod conformance;
mod delivery;
mod enqueue;
mod host_protocol;
mod image;
mod memory;
mod operate;
mod packaging;
mod panics;
mod pipeline;
mod process;
mod startup;
mod static_build;
mod trouble;
