//! Tests of the fake through its two doors: the core and the socket.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod core;
mod errors;
mod shapes;
mod sockets;

use fake_lastfm::{Answer, LastFm, Play};
use serde_json::Value;

/// A time after all plays of the tests.
const NOW_MS: i64 = 1_700_000_000_000;

/// A Last.fm with one user, `Alice`, who played track `t10` at second 10 and so on.
fn alice(seconds: impl IntoIterator<Item = i64>) -> LastFm {
    let mut lastfm = LastFm::new();
    lastfm.add_user("Alice", seconds.into_iter().map(play));
    lastfm
}

fn play(uts: i64) -> Play {
    Play::new(uts, "Artist", &format!("t{uts}"))
}

/// Asks for Alice's recent tracks with these further parameters.
fn ask(lastfm: &mut LastFm, parameters: &str) -> Answer {
    let query =
        format!("method=user.getRecentTracks&user=alice&api_key=k&format=json&{parameters}");
    lastfm.answer(&query, None, NOW_MS)
}

#[track_caller]
fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

/// The `recenttracks` of a good answer.
#[track_caller]
fn page(lastfm: &mut LastFm, parameters: &str) -> Value {
    let answer = ask(lastfm, parameters);
    assert_eq!(answer.status, 200);
    json(&answer)["recenttracks"].take()
}

/// The names of the rows of a good answer, separated by spaces.
#[track_caller]
fn names(lastfm: &mut LastFm, parameters: &str) -> String {
    let page = page(lastfm, parameters);
    let rows = page["track"].as_array().unwrap().iter();
    let names: Vec<_> = rows.map(|row| row["name"].as_str().unwrap()).collect();
    names.join(" ")
}
