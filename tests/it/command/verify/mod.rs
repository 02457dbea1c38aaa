//! `verify`: an archive held against Last.fm, and repaired. Whatever a scene is about, a verification writes nothing unless it
//! repairs, a repair only appends, and a second one has nothing left to do.

mod cost;
mod damage;
mod differences;
mod interrupted;
mod months;
mod moving;
mod output;
mod range;
mod repair;
mod returning;
mod trouble;

use std::fs;
use std::path::{Path, PathBuf};

use fake_lastfm::Play;
use serde_json::Value;

use crate::support::local_world::{DAY, NEW_YEAR_2020, World, play};

/// What plain counting found, for scenes with one user.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    missing: u64,
    vanished: u64,
    newer: u64,
}

/// A verification with `--json`, which must end with this status, and what it says of `alice`.
#[track_caller]
fn verify(world: &World, arguments: &[&str], code: i32) -> Value {
    let before = tree(&world.archive());
    let ran = world.program(&[&["verify", "alice", "--json"], arguments].concat());
    let ran = ran.run().expect(code);
    let mut verdicts = ran.json_lines();
    assert_eq!(verdicts.len(), 1, "{ran:?}");
    let verdict = verdicts.remove(0);
    assert_eq!(verdict["user"], "alice", "{verdict}");
    assert_eq!(verdict["agrees"], code == 0, "{verdict}");
    check_sums(&verdict);
    if !arguments.contains(&"--repair") {
        let unchanged = tree(&world.archive()) == before;
        assert!(unchanged, "looking has changed something");
    }
    verdict
}

/// The numbers of a verdict fit together.
#[track_caller]
fn check_sums(verdict: &Value) {
    let months = verdict["months"].as_array().unwrap();
    let of_months = |field: &str| months.iter().map(|month| number(month, field)).sum::<i64>();
    for sums in months.iter().chain([verdict]) {
        let view = number(sums, "archived") + number(sums, "late") - number(sums, "removed");
        let difference = number(sums, "lastfm") - view;
        assert_eq!(number(sums, "difference"), difference, "{verdict}");
    }
    for field in ["archived", "late", "removed"] {
        assert_eq!(number(verdict, field), of_months(field), "{verdict}");
    }
    let newer = number(verdict, "newer");
    assert!(newer <= number(verdict, "missing"), "{verdict}");
    let of_last_fm = of_months("lastfm") + newer;
    assert_eq!(number(verdict, "lastfm"), of_last_fm, "{verdict}");
    let names: Vec<&str> = months
        .iter()
        .map(|month| month["month"].as_str().unwrap())
        .collect();
    assert!(names.is_sorted(), "{verdict}");
}

fn number(object: &Value, field: &str) -> i64 {
    let number = object[field].as_i64();
    number.unwrap_or_else(|| panic!("`{field}` is no number in {object}"))
}

fn found(verdict: &Value) -> Found {
    let count = |field| u64::try_from(number(verdict, field)).unwrap();
    Found {
        missing: count("missing"),
        vanished: count("vanished"),
        newer: count("newer"),
    }
}

/// A verification of the whole archive finds so many plays, and Last.fm's side is counted rightly in every month.
#[track_caller]
fn differs(world: &World, arguments: &[&str], missing: u64, vanished: u64) {
    let verdict = verify(world, arguments, 3);
    let expected = Found {
        missing,
        vanished,
        newer: 0,
    };
    assert_eq!(found(&verdict), expected, "{verdict}");
    assert_eq!(verdict["repaired"], false);
    check_months(world, &verdict);
}

/// What a verdict says of each month is what Last.fm has there.
#[track_caller]
fn check_months(world: &World, verdict: &Value) {
    let mut expected: Vec<(String, i64)> = Vec::new();
    for play in world.truth("alice") {
        let month = month_of(play.uts);
        match expected.last_mut() {
            Some((name, count)) if *name == month => *count += 1,
            _ => expected.push((month, 1)),
        }
    }
    let months = verdict["months"].as_array().unwrap().iter();
    let told = months.map(|month| {
        let name = month["month"].as_str().unwrap().to_owned();
        (name, number(month, "lastfm"))
    });
    // A month of which everything was removed stays, with nothing on Last.fm's side.
    let told: Vec<_> = told.filter(|(_, count)| *count > 0).collect();
    assert_eq!(told, expected, "{verdict}");
}

fn month_of(uts: i64) -> String {
    let played = jiff::Timestamp::from_second(uts).unwrap();
    played.strftime("%Y-%m").to_string()
}

/// Repairs, and everything is as it should be afterwards: today's view is what Last.fm shows, what was archived before is there
/// unchanged, a second repair changes no byte, and both ways of looking agree.
#[track_caller]
fn repair(world: &World, arguments: &[&str]) -> Value {
    let before = world.snapshot();
    let verdict = repair_damaged(world, arguments);
    assert_only_appended(&before);
    verdict
}

/// The same for an archive of which a torn end has to be cut off.
#[track_caller]
fn repair_damaged(world: &World, arguments: &[&str]) -> Value {
    let verdict = verify(world, &[&["--repair"], arguments].concat(), 0);
    assert_eq!(verdict["repaired"], true);
    world
        .everything("alice")
        .assert_today(&world.truth("alice"));
    let after = world.snapshot();
    verify(world, &[&["--repair"], arguments].concat(), 0);
    assert!(world.snapshot() == after, "a second repair changes bytes");
    agrees(world);
    verdict
}

/// Both ways of looking find that the archive is what Last.fm shows.
#[track_caller]
fn agrees(world: &World) {
    for how in [&[][..], &["--deep"]] {
        let verdict = verify(world, how, 0);
        let nothing = Found {
            missing: 0,
            vanished: 0,
            newer: 0,
        };
        assert_eq!(found(&verdict), nothing, "{verdict}");
        assert_eq!(verdict["deep"], !how.is_empty());
        check_months(world, &verdict);
    }
}

/// Every file still begins with what it was.
#[track_caller]
fn assert_only_appended(before: &[(PathBuf, Vec<u8>)]) {
    for (file, bytes) in before {
        let after = fs::read(file).unwrap();
        let kept = after.starts_with(bytes);
        assert!(kept, "{} was rewritten", file.display());
    }
}

/// Everything below the archive, directories and the lock too.
fn tree(folder: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
            found.push((path, None));
        } else {
            let bytes = fs::read(&path).unwrap();
            found.push((path, Some(bytes)));
        }
    }
    found.sort();
    found
}

/// An archive of these plays that is complete.
fn archived(plays: Vec<Play>) -> World {
    let world = World::of(plays);
    world.sync_well(&[]);
    world
}

/// Three plays a day for so many days from 2020 on, all different; the days that `holds` refuses have none.
fn daily(days: i64, holds: impl Fn(i64) -> bool) -> Vec<Play> {
    let of_day = |day: i64| {
        (0..3).map(move |number| {
            let second = day * DAY + 3_600 * (8 + number);
            play(second, &format!("day {day} play {number}"))
        })
    };
    (0..days)
        .filter(|day| holds(*day))
        .flat_map(of_day)
        .collect()
}

/// The first second of a month of 2020, counted from the beginning of that year.
fn month(number: i8) -> i64 {
    let first = jiff::civil::date(2020, number, 1).at(0, 0, 0, 0);
    let first = jiff::tz::Offset::UTC.to_timestamp(first).unwrap();
    first.as_second() - NEW_YEAR_2020
}
