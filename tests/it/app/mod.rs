//! The packaged app, from outside: under a double of the Functions host, with real Azurite and a fake Last.fm.

mod bad_input;
mod budget;
mod checker;
mod clocks;
mod deadlines;
mod delivery;
mod enqueue;
mod fairness;
mod host_protocol;
mod identity;
mod kills;
mod leaks;
mod lossy_storage;
mod packaging;
mod panics;
mod pauses;
mod pipeline;
mod shrinking;
mod startup;
mod trouble;
