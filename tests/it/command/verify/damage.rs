//! Files that are torn, as a crash leaves them, or that hold what nobody wrote.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;

use super::{archived, daily, repair, repair_damaged, verify};
use crate::support::local_world::{DAY, World, play};

/// An archive with a late file and both logs.
fn repaired() -> World {
    let world = archived(daily(90, |_| true));
    world.change(|history| {
        for (number, day) in (10..15).zip(20..) {
            history.add(play(
                day * DAY + number,
                &format!("late {number} \u{e9}\u{1f3b5}"),
            ));
        }
        for index in [200, 150, 100, 30, 9] {
            history.delete(index);
        }
    });
    repair(&world, &["--deep"]);
    world
}

fn late(world: &World) -> PathBuf {
    world.file("year=2020/month=01/late-0.ndjson")
}

fn log(world: &World, name: &str) -> PathBuf {
    world.archive().join("removed/user=alice").join(name)
}

#[test]
fn a_torn_late_file_is_cut_and_its_plays_are_found_again() {
    let world = repaired();
    let file = late(&world);
    let whole = fs::read(&file).unwrap();
    for length in (1..whole.len()).step_by(173).chain([whole.len() - 1]) {
        fs::write(&file, &whole[..length]).unwrap();
        // Looking does not cut it, and still says what is missing.
        verify(&world, &[], 3);
        repair_damaged(&world, &[]);
        assert_eq!(world.everything("alice").late.len(), 5);
    }
}

#[test]
fn a_torn_log_of_removed_plays_is_cut_and_written_again() {
    let world = repaired();
    let file = log(&world, "part-0.ndjson");
    let whole = fs::read(&file).unwrap();
    for length in (1..whole.len()).step_by(173).chain([whole.len() - 1]) {
        fs::write(&file, &whole[..length]).unwrap();
        // What was cut off counts as there again, until it is looked at.
        verify(&world, &[], 3);
        repair_damaged(&world, &[]);
    }
}

#[test]
fn a_torn_log_of_first_looks_is_no_loss() {
    let world = repaired();
    let file = log(&world, "missing-0.ndjson");
    let whole = fs::read(&file).unwrap();
    for length in (1..whole.len()).step_by(257).chain([whole.len() - 1]) {
        fs::write(&file, &whole[..length]).unwrap();
        verify(&world, &["--deep"], 0);
        world.program(&["verify", "--repair"]).run().expect(0);
    }
    // Half a line more, behind which others have to be written.
    fs::write(&file, [&whole[..], &whole[..100]].concat()).unwrap();
    world.change(|history| {
        history.delete(120);
    });
    repair_damaged(&world, &[]);
}

#[test]
fn a_torn_end_of_a_part_is_cut_by_a_repair_and_looked_past_without_one() {
    let world = archived(daily(90, |_| true));
    let file = world.file("year=2020/month=03/part-0.ndjson");
    let whole = fs::read(&file).unwrap();
    for cut in [1, 100, 700] {
        fs::write(&file, &whole[..whole.len() - cut]).unwrap();
        let verdict = verify(&world, &[], 3);
        assert_eq!(verdict["missing"], verdict["newer"], "{verdict}");
        repair_damaged(&world, &[]);
        world.assert_complete();
    }
}

#[test]
fn what_a_power_cut_leaves_behind_the_lines_is_cut_off() {
    let world = repaired();
    for file in [
        late(&world),
        log(&world, "part-0.ndjson"),
        log(&world, "missing-0.ndjson"),
    ] {
        let mut end = File::options().append(true).open(&file).unwrap();
        end.write_all(&[0; 700]).unwrap();
        verify(&world, &[], 0);
        world.change(|history| {
            history.add(play(22 * DAY, "late again"));
            history.delete(100);
        });
        repair_damaged(&world, &[]);
    }
}

#[test]
fn a_line_that_is_none_stops_its_user_and_names_the_file() {
    let no_lines = [
        "garbage\n".to_owned(),
        "\n".to_owned(),
        "{}\n".to_owned(),
        "[1]\n".to_owned(),
        "\0\0\0\n".to_owned(),
        "{\"uts\":1577836800}\n".to_owned(),
        "{\"uts\":\"soon\",\"id\":\"00000000000000000000000000000000\"}\n".to_owned(),
        format!(
            "{{\"id\":\"{}\",\"event\":\"forgotten\"}}\n",
            "0".repeat(32)
        ),
    ];
    let world = repaired();
    for name in [
        "user=alice/year=2020/month=01/part-0.ndjson",
        "user=alice/year=2020/month=01/late-0.ndjson",
        "removed/user=alice/part-0.ndjson",
        "removed/user=alice/missing-0.ndjson",
    ] {
        let file = world.archive().join(name);
        let text = fs::read_to_string(&file).unwrap();
        let (first, rest) = text.split_at(text.find('\n').unwrap() + 1);
        for line in &no_lines {
            // In the middle of the file, where no crash can have left it.
            fs::write(&file, format!("{first}{line}{rest}")).unwrap();
            let damaged = world.snapshot();
            for how in [&["--deep"][..], &["--repair"]] {
                let ran = world.program(&[&["verify"], how].concat()).run();
                let context = format!("{line:?} in {name} {how:?}: {ran:?}");
                assert_eq!(ran.code(), 2, "{context}");
                assert!(ran.stderr.contains(name), "{context}");
                assert_eq!(ran.errors(), 1, "{context}");
                assert!(world.snapshot() == damaged, "{context}");
            }
        }
        fs::write(&file, text).unwrap();
        verify(&world, &[], 0);
    }
}

#[test]
fn a_damaged_user_does_not_keep_the_others_from_being_verified() {
    let world = World::of_users(&[("Alice", daily(40, |_| true)), ("bob", daily(5, |_| true))]);
    world.sync_well(&[]);
    let file = world.file("year=2020/month=01/part-0.ndjson");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("{\"", "{,\"", 1)).unwrap();
    let ran = world.program(&["verify", "--json"]).run().expect(2);
    let told: Vec<_> = ran.json_lines();
    assert_eq!((told.len(), &told[0]["user"]), (1, &"bob".into()));
    assert_eq!(ran.errors(), 1);
}
