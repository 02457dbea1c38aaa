//! The packaged app, from outside: under a double of the Functions host, with real Azurite and a fake Last.fm.

mod bad_input;
mod budget;
mod checker;
mod delivery;
mod enqueue;
mod host_protocol;
mod identity;
mod leaks;
mod packaging;
mod pipeline;
mod startup;
mod trouble;
