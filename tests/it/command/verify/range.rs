//! `--from` and `--to`: a part of the history.

use super::{Found, archived, daily, found, month, number, verify};
use crate::support::local_world::{DAY, NEW_YEAR_2020, World, now, play};

/// Three plays a day in January to April 2020; one of February and one of March came late, and one of April is gone.
fn world() -> World {
    let world = archived(daily(120, |_| true));
    world.change(|history| {
        history.add_all([play(40 * DAY, "of February"), play(70 * DAY, "of March")]);
        // Two have come before it.
        history.delete(105 * 3 + 2);
    });
    world
}

#[track_caller]
fn finds(world: &World, arguments: &[&str], missing: u64, vanished: u64) {
    let code = if missing + vanished > 0 { 3 } else { 0 };
    let verdict = verify(world, arguments, code);
    let expected = Found {
        missing,
        vanished,
        newer: 0,
    };
    assert_eq!(found(&verdict), expected, "{arguments:?}: {verdict}");
    assert!(
        verdict["undated"].is_null(),
        "unknown for a part: {verdict}"
    );
}

#[test]
fn days_are_in_utc_and_the_last_one_belongs_to_the_range() {
    let world = world();
    // Day 40 is the 10th of February, day 70 the 11th of March, and day 105 the 15th of April.
    finds(&world, &["--from", "2020-04-16"], 0, 0);
    finds(&world, &["--from", "2020-04-15"], 0, 1);
    finds(&world, &["--from", "2020-03-12"], 0, 1);
    finds(&world, &["--from", "2020-03-11"], 1, 1);
    finds(&world, &["--from", "2020-02-11"], 1, 1);
    finds(&world, &["--from", "2020-02-10"], 2, 1);
    finds(&world, &["--to", "2020-02-09"], 0, 0);
    finds(&world, &["--to", "2020-02-10"], 1, 0);
    finds(&world, &["--to", "2020-04-14"], 2, 0);
    finds(&world, &["--to", "2020-04-15"], 2, 1);
    finds(
        &world,
        &["--from", "2020-02-10", "--to", "2020-02-10"],
        1,
        0,
    );
    finds(
        &world,
        &["--from", "2020-02-11", "--to", "2020-03-10"],
        0,
        0,
    );
    finds(
        &world,
        &["--from", "2020-02-11", "--to", "2020-03-10", "--deep"],
        0,
        0,
    );
    finds(
        &world,
        &["--from", "2020-02-10", "--to", "2020-02-10", "--deep"],
        1,
        0,
    );
}

#[test]
fn seconds_are_taken_as_they_are() {
    let world = world();
    let second = |second: i64| (NEW_YEAR_2020 + second).to_string();
    let (late, behind, before) = (second(40 * DAY), second(40 * DAY + 5), second(40 * DAY - 5));
    finds(&world, &["--from", &late, "--to", &late], 1, 0);
    finds(&world, &["--from", &before, "--to", &behind], 1, 0);
    finds(&world, &["--to", &before], 0, 0);
    finds(
        &world,
        &["--from", &behind, "--to", &second(69 * DAY)],
        0,
        0,
    );
    // Both forms together.
    finds(&world, &["--from", &behind, "--to", "2020-03-11"], 1, 0);
    // Before, around and behind everything.
    finds(&world, &["--from", "0", "--to", "1"], 0, 0);
    finds(&world, &["--from", "-5"], 2, 1);
    finds(&world, &["--from", "-5", "--to", "-1"], 0, 0);
    finds(
        &world,
        &["--from", "1970-01-01", "--to", "2019-12-31"],
        0,
        0,
    );
    finds(
        &world,
        &["--from", "2021-01-01", "--to", "2021-12-31"],
        0,
        0,
    );
    finds(
        &world,
        &["--from", "2020-03-11", "--to", "2099-12-31"],
        1,
        1,
    );
}

#[test]
fn only_the_months_of_the_range_are_told() {
    let world = archived(daily(120, |_| true));
    let verdict = verify(&world, &["--from", "2020-02-01", "--to", "2020-03-31"], 0);
    let months = verdict["months"].as_array().unwrap();
    let told: Vec<_> = months
        .iter()
        .map(|month| (month["month"].as_str().unwrap(), number(month, "archived")))
        .collect();
    assert_eq!(told, [("2020-02", 29 * 3), ("2020-03", 31 * 3)]);
    // The range that was compared is the one that was asked for, or a little wider.
    let from = NEW_YEAR_2020 + month(2);
    let to = NEW_YEAR_2020 + month(4) - 1;
    let told = (number(&verdict, "from"), number(&verdict, "to"));
    assert!((from - 5..=from).contains(&told.0), "{verdict}");
    assert!((to..=to + 5).contains(&told.1), "{verdict}");
    let whole = verify(&world, &[], 0);
    assert!(whole["from"].is_null(), "{whole}");
    assert!(
        (now() - 60..=now() + 5).contains(&number(&whole, "to")),
        "{whole}"
    );
}

#[test]
fn a_range_that_ends_in_the_past_knows_nothing_newer() {
    let world = archived(daily(40, |_| true));
    world.change(|history| history.add(play(60 * DAY, "new")));
    finds(&world, &["--to", "2020-02-05"], 0, 0);
    let verdict = verify(&world, &["--from", "2020-02-20"], 3);
    assert_eq!((found(&verdict).missing, found(&verdict).newer), (1, 1));
    // A repair of the past does not sync.
    let before = world.snapshot();
    verify(&world, &["--repair", "--to", "2020-02-05"], 0);
    assert!(world.snapshot() == before);
}

#[test]
fn a_repair_of_a_part_leaves_the_rest_alone() {
    let world = world();
    verify(
        &world,
        &["--repair", "--from", "2020-02-01", "--to", "2020-02-29"],
        0,
    );
    let everything = world.everything("alice");
    assert_eq!(everything.late_tracks(), ["of February"]);
    assert_eq!(everything.removed.len(), 0);
    finds(
        &world,
        &["--from", "2020-02-01", "--to", "2020-02-29"],
        0,
        0,
    );
    let verdict = verify(&world, &[], 3);
    assert_eq!((found(&verdict).missing, found(&verdict).vanished), (1, 1));
    super::repair(&world, &[]);
}

#[test]
fn a_bound_inside_a_run_of_plays_cuts_nothing_in_two() {
    // A play on every second of an hour.
    let mut plays = daily(20, |_| true);
    plays.extend((0..3_600).map(|second| play(5 * DAY + second, &format!("{second}"))));
    plays.sort_by_key(|play| play.uts);
    let world = archived(plays);
    let second = |second: i64| (NEW_YEAR_2020 + 5 * DAY + second).to_string();
    let inside = ["--from", &second(1_000), "--to", &second(2_000)];
    finds(&world, &inside, 0, 0);
    finds(&world, &[&inside[..], &["--deep"]].concat(), 0, 0);
    world.change(|history| history.add(play(5 * DAY + 1_500, "late")));
    finds(&world, &inside, 1, 0);
    finds(&world, &[&inside[..], &["--deep"]].concat(), 1, 0);
}

#[test]
fn what_is_no_moment_is_the_callers_input() {
    let world = archived(daily(5, |_| true));
    world.take_requests();
    for bad in [
        "",
        " ",
        "yesterday",
        "2020",
        "2020-02",
        "2020-2-1",
        "2020-02-30",
        "2020-13-01",
        "01-02-2020",
        "2020-02-01x",
        "2020/02/01",
        "1.5",
        "1e9",
        "0x10",
        "1577836800000",
        "-1577836800000",
        "99999999999999999999",
    ] {
        // A year alone is a whole number of seconds, and short.
        let code = i32::from(bad != "2020");
        for flag in ["--from", "--to"] {
            let ran = world.program(&["verify", flag, bad]).run().expect(code);
            let said = ran.stdout.is_empty() && ran.stderr.contains(flag);
            assert!(code == 0 || said, "{flag} {bad}: {ran:?}");
        }
    }
    for (from, to) in [
        ("2020-01-02", "2020-01-01"),
        ("5", "4"),
        ("2020-01-02", "1577836800"),
    ] {
        let ran = world.program(&["verify", "--from", from, "--to", to]).run();
        let ran = ran.expect(1).says("--from");
        assert_eq!(ran.stdout, "");
    }
    world.program(&["verify", "--from"]).run().expect(1);
}

#[test]
fn a_range_of_the_future_is_empty() {
    let world = archived(daily(5, |_| true));
    finds(&world, &["--from", "2099-01-01"], 0, 0);
    finds(
        &world,
        &["--from", "2099-01-01", "--to", "2099-12-31"],
        0,
        0,
    );
}
