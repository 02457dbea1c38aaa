//! The judge of the other tests is itself put to the test: each kind of damage to an archive is seen.

use std::fs;
use std::panic::catch_unwind;

use crate::support::local_world::{DAY, World, play};

/// Changes the lines of one data file.
type Damage = fn(&mut Vec<String>);

const DAMAGES: [(&str, Damage); 12] = [
    ("a line twice", |lines| lines.push(lines[3].clone())),
    ("a line less", |lines| drop(lines.pop())),
    ("two seconds swapped", |lines| lines.swap(0, 1)),
    ("a tie swapped", |lines| lines.swap(2, 3)),
    ("another album", |lines| replace(lines, "Album", "Other")),
    ("another track", |lines| {
        replace(lines, "\"track\":\"a\"", "\"track\":\"x\"");
    }),
    ("a longer id", |lines| {
        replace(lines, "\"id\":\"", "\"id\":\"0");
    }),
    ("another zone", |lines| {
        replace(lines, "T00:00:00+00:00", "T01:00:00+01:00");
    }),
    ("another local time", |lines| {
        replace(lines, "T00:00:00+00:00", "T00:00:01+00:00");
    }),
    ("one more field", |lines| {
        replace(lines, "\"uts\"", "\"more\":1,\"uts\"");
    }),
    ("a line that is no JSON", |lines| lines[1].push('}')),
    ("a torn end", |lines| lines[3].push_str("torn")),
];

fn replace(lines: &mut [String], from: &str, to: &str) {
    assert!(lines[0].contains(from), "no {from} in {}", lines[0]);
    lines[0] = lines[0].replace(from, to);
}

fn world() -> World {
    let mut history = ["a", "b", "c", "d"].map(|track| play(60, track)).to_vec();
    history[0].uts -= 60;
    history[1].uts -= 10;
    history[0].album.push_str("Album");
    let world = World::of(history);
    world.sync_well(&[]);
    world
}

#[test]
fn damage_of_any_kind_is_seen() {
    for (what, damage) in DAMAGES {
        let world = world();
        world.assert_complete();
        let file = world.file("year=2020/month=01/part-0.ndjson");
        let text = fs::read_to_string(&file).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        damage(&mut lines);
        let torn = lines[lines.len() - 1].ends_with("torn");
        let end = if torn { "" } else { "\n" };
        fs::write(&file, lines.join("\n") + end).unwrap();
        let seen = catch_unwind(std::panic::AssertUnwindSafe(|| world.assert_complete()));
        assert!(seen.is_err(), "not seen: {what}");
    }
}

#[test]
fn a_play_in_the_wrong_month_is_seen() {
    let world = world();
    world.change(|history| history.add(play(40 * DAY, "e")));
    world.sync_well(&[]);
    world.assert_complete();
    let months = ["01", "02"].map(|month| world.file(&format!("year=2020/month={month}")));
    fs::rename(&months[1], world.file("year=2020/month=03")).unwrap();
    let seen = catch_unwind(std::panic::AssertUnwindSafe(|| world.assert_complete()));
    assert!(seen.is_err() && months[0].exists());
}
