//! `lastfm-archive` keeps a complete, ordered, verifiable copy of people's Last.fm listening history in storage
//! they own. It is an Azure Functions custom handler and a command line in one binary.
//!
//! In reading order: [`scrobble`] and [`user`] are the nouns; [`lastfm`] asks for a page; [`archive`] keeps
//! plays; [`budget`] says when to ask; [`fetch_pages`] is the work itself.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")
)]

pub mod archive;
pub mod budget;
pub mod clock;
pub mod commands;
mod comparison;
pub mod environment;
pub mod fetch_pages;
pub mod http;
pub mod lastfm;
pub mod logging;
#[cfg(test)]
mod properties;
pub mod queue;
pub mod reconcile_user;
pub mod scrobble;
pub mod settings;
pub mod status;
pub mod storage;
pub mod triggers;
pub mod user;
mod verify;
