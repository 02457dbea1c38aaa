//! The packaged app, from outside: under a double of the Functions host, with real Azurite and a fake Last.fm.

mod bad_input;
mod budget;
mod callers;
mod checker;
mod clocks;
mod conformance;
mod deadlines;
mod delivery;
mod enqueue;
mod fairness;
mod host_protocol;
mod image;
mod kills;
mod lossy_storage;
mod memory;
mod operate;
mod packaging;
mod pauses;
mod pipeline;
mod process;
mod shrinking;
mod startup;
mod static_build;
mod trouble;
mod unwinding;
