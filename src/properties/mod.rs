//! Properties of the pure core, tried on random values; those of private items stand beside them.
//!
//! A failure shows the smallest values that were found and the command that repeats the run. Nothing is written to a
//! file: in CI it would be lost, and a value that broke something deserves a test of its own.

mod scrobble;
pub(crate) mod seeds;

use crate::scrobble::{Play, Words};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};
use std::fmt::Debug;

/// What a property says of one value.
pub(crate) type Verdict = Result<(), TestCaseError>;

/// Tries `property` on values of `strategy`, other ones in each run. `PROPTEST_CASES` says on how many.
#[track_caller]
pub(crate) fn check<S>(strategy: S, property: impl Fn(S::Value) -> Verdict)
where
    S: Strategy<Value: Debug>,
{
    let mut config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    let seed = match config.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => fastrand::u64(..),
    };
    config.rng_seed = RngSeed::Fixed(seed);
    if let Err(failure) = TestRunner::new(config).run(&strategy, property) {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or_default();
        panic!(
            "{failure}\nRepeat it: PROPTEST_RNG_SEED={seed} cargo test --lib -- --exact {test}\n"
        );
    }
}

/// A play of which only the identity matters.
pub(crate) fn play(uts: i64, artist: &str, track: &str) -> Play {
    let words = Words {
        artist,
        track,
        ..Words::default()
    };
    Play::new(uts, &words).unwrap()
}

/// Plays with many equal seconds and many equal identities, newest first as Last.fm lists them.
pub(crate) fn history(plays_max: usize) -> impl Strategy<Value = Vec<Play>> {
    let gap = prop_oneof![3 => Just(0), 2 => 1..3_i64, 1 => 1..40_i64];
    let row = (gap, "[ab]", "[xyz]");
    (1_000..1_010_i64, prop::collection::vec(row, 0..=plays_max)).prop_map(|(oldest, rows)| {
        let mut uts = oldest;
        let mut plays = Vec::new();
        for (gap, artist, track) in rows {
            uts += gap;
            plays.push(play(uts, &artist, &track));
        }
        plays.reverse();
        plays
    })
}

/// Any text, control characters and line separators included.
pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "\\PC{0,12}",
        2 => prop::collection::vec(any::<char>(), 0..8).prop_map(String::from_iter),
        1 => "[ \t\r\n\u{0}\u{10}\u{1f}\u{85}\u{2028}\"\\\\/]{0,6}",
    ]
}

/// Year and month of a second since 1970, by counting days: not by the code under test.
pub(crate) fn calendar_month(uts: i64) -> (i64, i64) {
    let mut days = uts.div_euclid(86_400);
    // 400 years always have the same length.
    let mut year = 1970 + days.div_euclid(146_097) * 400;
    days = days.rem_euclid(146_097);
    loop {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let february = if leap { 29 } else { 28 };
        let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        for (month, length) in (1..).zip(lengths) {
            if days < length {
                return (year, month);
            }
            days -= length;
        }
        year += 1;
    }
}
