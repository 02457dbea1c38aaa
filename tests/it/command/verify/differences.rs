//! What plain counting finds, what only `--deep` finds, and that a repair takes care of it.

use fake_lastfm::{Bound, Play};

use super::{agrees, archived, daily, differs, month, repair, verify};
use crate::support::local_world::{DAY, NEW_YEAR_2020, World, made_up, play};

#[test]
fn an_archive_that_is_what_last_fm_shows_agrees() {
    for world in [archived(made_up(70, 1_500)), archived(daily(200, |_| true))] {
        agrees(&world);
        let before = world.snapshot();
        repair(&world, &[]);
        assert!(world.snapshot() == before, "there was nothing to repair");
    }
}

/// One late play at this second: it is found, and archived where it belongs.
#[track_caller]
fn late_at(world: &World, second: i64, where_it_is: &str) {
    world.change(|history| history.add(play(second, where_it_is)));
    differs(world, &[], 1, 0);
    differs(world, &["--deep"], 1, 0);
    repair(world, &[]);
    let everything = world.everything("alice");
    assert_eq!(everything.late_tracks().last(), Some(&where_it_is));
    assert_eq!(everything.removed.len(), 0);
}

#[test]
fn a_late_play_is_found_in_the_middle_of_a_month() {
    let world = archived(daily(200, |_| true));
    late_at(&world, 45 * DAY + 5, "middle");
}

#[test]
fn a_late_play_is_found_in_a_month_without_plays() {
    // January, March and April: February has no file yet.
    let world = archived(daily(120, |day| !(31..60).contains(&day)));
    late_at(&world, 40 * DAY, "empty month");
    assert!(world.file("year=2020/month=02/late-0.ndjson").exists());
    assert!(!world.file("year=2020/month=02/part-0.ndjson").exists());
    // Now the month has a late file alone.
    late_at(&world, 41 * DAY, "again");
}

#[test]
fn a_late_play_is_found_before_the_first_one() {
    for before in [1, 2, 20 * DAY, 3_000 * DAY] {
        let world = archived(daily(40, |_| true));
        late_at(&world, 8 * 3_600 - before, "before all others");
    }
}

#[test]
fn a_late_play_is_found_right_beside_others_and_in_their_second() {
    // The archive has a play at 09:00:00 of day 3.
    let archived_at = 3 * DAY + 9 * 3_600;
    for second in [-2, -1, 0, 1, 2] {
        let world = archived(daily(40, |_| true));
        late_at(&world, archived_at + second, "beside");
    }
}

#[test]
fn late_plays_are_found_on_both_sides_of_a_month_s_end() {
    for second in [-2, -1, 0, 1] {
        let world = archived(daily(90, |_| true));
        late_at(&world, month(2) + second, "at the boundary");
        let file = if second < 0 { "01" } else { "02" };
        let file = world.file(&format!("year=2020/month={file}/late-0.ndjson"));
        assert!(file.exists(), "{}", file.display());
    }
}

#[test]
fn a_late_play_below_the_newest_second_is_found() {
    let world = archived(daily(40, |_| true));
    let newest = world.truth("alice").last().unwrap().uts - NEW_YEAR_2020;
    late_at(&world, newest - 1, "just below");
    late_at(&world, newest - 2, "below that");
}

#[test]
fn a_play_at_the_newest_archived_second_is_appended_to_the_part() {
    let world = archived(daily(40, |_| true));
    let newest = world.truth("alice").last().unwrap().uts - NEW_YEAR_2020;
    world.change(|history| history.add(play(newest, "same second")));
    verify(&world, &[], 3);
    verify(&world, &["--deep"], 3);
    repair(&world, &[]);
    let everything = world.everything("alice");
    assert_eq!(everything.late.len(), 0, "its place is behind the others");
    let last = everything.parts.last().unwrap();
    assert_eq!(last["track"], "same second");
}

#[test]
fn a_removed_play_is_found_wherever_it_was() {
    for index in [0, 1, 60, 92, 93, 118, 119] {
        // 0 is the first play, 92 and 93 are the last of January and the first of February, 119 is the newest one.
        let world = archived(daily(40, |_| true));
        let gone = world.truth("alice")[index].clone();
        world.change(|history| {
            history.delete(index);
        });
        differs(&world, &[], 0, 1);
        differs(&world, &["--deep"], 0, 1);
        let before = world.lines("alice").len();
        repair(&world, &[]);
        let everything = world.everything("alice");
        assert_eq!(everything.events_of(&gone.track), ["removed"]);
        assert_eq!(world.lines("alice").len(), before, "its line stays");
    }
}

#[test]
fn an_edit_inside_a_month_is_found_only_play_by_play() {
    let world = archived(daily(90, |_| true));
    world.change(|history| {
        history.edit(50, |play| play.track = "New title".to_owned());
        history.edit(140, |play| play.artist = "New artist".to_owned());
    });
    // As many as before: by design, counting cannot see it.
    verify(&world, &[], 0);
    verify(&world, &["--repair"], 0);
    let everything = world.everything("alice");
    assert_eq!((everything.late.len(), everything.removed.len()), (0, 0));
    differs(&world, &["--deep"], 2, 2);
    repair(&world, &["--deep"]);
    let everything = world.everything("alice");
    assert_eq!((everything.late.len(), everything.removed.len()), (2, 2));
}

#[test]
fn an_edit_of_the_newest_play_is_found_play_by_play() {
    let world = archived(daily(40, |_| true));
    world.change(|history| {
        history.edit(119, |play| play.track = "New title".to_owned());
    });
    differs(&world, &["--deep"], 1, 1);
    repair(&world, &["--deep"]);
}

#[test]
fn a_play_that_moved_to_another_month_is_found_by_counting() {
    let world = archived(daily(90, |_| true));
    world.change(|history| {
        history.edit(50, |play| play.uts += 40 * DAY);
    });
    differs(&world, &[], 1, 1);
    repair(&world, &[]);
}

#[test]
fn an_album_that_changed_is_no_difference() {
    let world = archived(daily(40, |_| true));
    world.change(|history| {
        history.edit(50, |play| {
            play.album = "New album".to_owned();
            play.url = "https://www.last.fm/music/other".to_owned();
            play.mbid = "5b11f4ce-a62d-471e-81fc-a69a8278c7da".to_owned();
        });
    });
    verify(&world, &[], 0);
    verify(&world, &["--deep"], 0);
}

/// One late play, one removed and one edited.
fn three_changes(world: &World) {
    world.change(|history| {
        history.delete(20);
        history.add(play(35 * DAY + 77, "late"));
        history.edit(200, |play| play.track.push_str(" (edited)"));
    });
}

#[test]
fn every_reading_of_the_bounds_finds_the_same() {
    for from in [Bound::Inclusive, Bound::Exclusive] {
        for to in [Bound::Inclusive, Bound::Exclusive] {
            // Plays on every second around two ends of months and at the beginning and the end of all.
            let mut plays = daily(90, |_| true);
            for around in [0, month(2), month(3), 90 * DAY] {
                plays.extend((-4..4).map(|second| play(around + second, &format!("{second}"))));
            }
            plays.sort_by_key(|play| play.uts);
            let world = World::of(plays);
            world.configure(|config| (config.from_bound, config.to_bound) = (from, to));
            world.sync_well(&[]);
            agrees(&world);
            for second in [month(2) - 1, 90 * DAY + 2] {
                let name = format!("late at {second}");
                world.change(|history| history.add(play(second, &name)));
                differs(&world, &[], 1, 0);
                repair(&world, &[]);
                world.change(|history| {
                    history.delete_where(|play| play.track == name);
                });
                differs(&world, &[], 0, 1);
                repair(&world, &[]);
            }
            three_changes(&world);
            repair(&world, &["--deep"]);
        }
    }
}

#[test]
fn several_plays_a_second_on_the_boundary_of_months_are_compared_one_by_one() {
    let mut plays = daily(90, |_| true);
    for second in -3..3 {
        let names = ["a", "b", "c", "a", "b"];
        plays.extend(names.map(|name| play(month(2) + second, name)));
    }
    plays.sort_by_key(|play| play.uts);
    let world = archived(plays);
    agrees(&world);
    for second in -3..3 {
        let uts = NEW_YEAR_2020 + month(2) + second;
        world.change(|history| history.add(Play::new(uts, "Artist", "d")));
        differs(&world, &[], 1, 0);
        repair(&world, &[]);
        let is_it = |play: &Play| play.uts == uts && play.track == "c";
        world.change(|history| assert_eq!(history.delete_where(is_it), 1));
        differs(&world, &[], 0, 1);
        repair(&world, &[]);
    }
    let everything = world.everything("alice");
    assert_eq!((everything.late.len(), everything.removed.len()), (6, 6));
}

#[test]
fn of_true_repeats_any_may_be_deleted_or_added() {
    let mut plays = daily(40, |_| true);
    let second = 20 * DAY;
    plays.extend(["twin", "other", "twin", "twin"].map(|name| play(second, name)));
    plays.sort_by_key(|play| play.uts);
    let world = archived(plays);
    let twins = |world: &World| {
        let truth = world.truth("alice");
        let twins = truth
            .iter()
            .zip(0..)
            .filter(|(play, _)| play.track == "twin");
        twins.map(|(_, index)| index).collect::<Vec<usize>>()
    };
    // Of three, whichever is deleted: two are left, and the third one is noted.
    for chosen in [1, 0] {
        let indexes = twins(&world);
        world.change(|history| {
            history.delete(indexes[chosen]);
        });
        differs(&world, &[], 0, 1);
        repair(&world, &[]);
    }
    assert_eq!(world.everything("alice").events_of("twin"), ["removed"; 2]);
    // They come back, and one more than there ever were.
    for expected in [
        ["removed", "removed", "returned"].as_slice(),
        &["removed", "removed", "returned", "returned"],
    ] {
        world.change(|history| history.add(play(second, "twin")));
        differs(&world, &[], 1, 0);
        repair(&world, &[]);
        assert_eq!(world.everything("alice").events_of("twin"), expected);
    }
    world.change(|history| history.add(play(second, "twin")));
    repair(&world, &[]);
    assert_eq!(world.everything("alice").late_tracks(), ["twin"]);
}

#[test]
fn undated_imports_at_the_first_seconds_of_1970_are_compared_like_others() {
    // Imports without a date are numbered from 0 on: there is no second between them.
    let import = |uts: i64| Play::new(uts, "Artist", &format!("import {uts}"));
    for dated in [Vec::new(), daily(40, |_| true)] {
        let mut plays: Vec<Play> = (0..150).filter(|uts| *uts != 77).map(import).collect();
        plays.push(Play::new(3, "Artist", "also at three"));
        plays.extend(dated);
        plays.sort_by_key(|play| play.uts);
        let world = archived(plays);
        agrees(&world);
        world.change(|history| history.add(import(77)));
        differs(&world, &[], 1, 0);
        repair(&world, &[]);
        for uts in [0, 3, 100, 148] {
            let is_it = |play: &Play| play.track == format!("import {uts}");
            world.change(|history| assert_eq!(history.delete_where(is_it), 1));
            differs(&world, &[], 0, 1);
            repair(&world, &[]);
        }
        world.change(|history| history.add(Play::new(0, "Artist", "at the very first")));
        repair(&world, &[]);
        world.change(|history| {
            history.edit(30, |play| play.track = "edited".to_owned());
        });
        repair(&world, &["--deep"]);
    }
}
