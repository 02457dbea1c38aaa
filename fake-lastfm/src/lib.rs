//! A Last.fm that pages exactly like the real one, for the demonstration, the tests and the benchmarks.
//!
//! Two layers:
//!
//! 1. [`LastFm`] is the service without a socket, a clock or a runtime: a query string and a time go in, an
//!    [`Answer`] comes out. Simulations call it directly.
//! 2. [`Server`] puts the same core behind real HTTP on a thread of its own.
//!
//! Reading order: [`Play`] and [`History`] (what a user has), [`Config`] (which of the known readings of Last.fm
//! applies), [`LastFm`] (what is answered), [`Fault`] (what goes wrong), [`Log`] (what was asked), [`histories`]
//! (made-up data).
//!
//! ```
//! use fake_lastfm::{LastFm, Play};
//!
//! let mut lastfm = LastFm::new();
//! lastfm.add_user("alice", [Play::new(1_700_000_000, "Some Artist", "Some Track")]);
//! let query = "method=user.getRecentTracks&user=Alice&api_key=k&format=json&limit=200";
//! let answer = lastfm.answer(query, None, 1_700_000_100_000);
//! assert_eq!(answer.status, 200);
//! assert_eq!(lastfm.log.entries()[0].rows, 1);
//! ```

mod answer;
mod calendar;
mod config;
mod connection;
mod fault;
pub mod histories;
mod history;
mod lastfm;
mod log;
mod page;
mod play;
mod random;
mod render;
mod request;
mod server;

pub use answer::{Answer, Delivery};
pub use config::{Bound, Config, EmptyShape, Numbers, OneRowShape, PastTheEnd, RateLimit};
pub use fault::{Fault, Faults};
pub use history::History;
pub use lastfm::{LastFm, User};
pub use log::{Log, Logged};
pub use play::Play;
pub use request::RequestInfo;
pub use server::Server;
