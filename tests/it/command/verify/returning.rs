//! Plays that are removed, come back, and are removed again: the last word decides.

use fake_lastfm::Play;

use super::{archived, assert_only_appended, daily, differs, repair, verify};
use crate::support::local_world::{DAY, World, play};

fn index_of(world: &World, track: &str) -> usize {
    let truth = world.truth("alice");
    truth.iter().position(|play| play.track == track).unwrap()
}

#[track_caller]
fn take_away(world: &World, track: &str) -> Play {
    let index = index_of(world, track);
    let play = world.truth("alice")[index].clone();
    world.change(|history| {
        history.delete(index);
    });
    play
}

#[test]
fn each_change_of_mind_is_one_line() {
    for how in [&[][..], &["--deep"]] {
        let world = archived(daily(90, |_| true));
        let track = "day 40 play 1";
        let mut expected = Vec::new();
        let lines = world.lines("alice").len();
        for _ in 0..3 {
            let before = world.snapshot();
            let play = take_away(&world, track);
            differs(&world, how, 0, 1);
            repair(&world, how);
            expected.push("removed");
            assert_eq!(world.everything("alice").events_of(track), expected);
            world.change(|history| history.add(play));
            differs(&world, how, 1, 0);
            repair(&world, how);
            expected.push("returned");
            assert_eq!(world.everything("alice").events_of(track), expected);
            assert_only_appended(&before);
        }
        let everything = world.everything("alice");
        assert_eq!((everything.parts.len(), everything.late.len()), (lines, 0));
    }
}

#[test]
fn a_late_play_may_be_removed_and_return_too() {
    let world = archived(daily(90, |_| true));
    world.change(|history| history.add(play(40 * DAY, "late")));
    repair(&world, &[]);
    let late = take_away(&world, "late");
    differs(&world, &[], 0, 1);
    let verdict = repair(&world, &[]);
    assert_eq!(
        (&verdict["late"], &verdict["removed"]),
        (&1.into(), &1.into())
    );
    world.change(|history| history.add(late));
    differs(&world, &[], 1, 0);
    repair(&world, &[]);
    let everything = world.everything("alice");
    assert_eq!(everything.late.len(), 1, "not archived twice");
    assert_eq!(everything.events_of("late"), ["removed", "returned"]);
}

#[test]
fn the_newest_play_may_be_removed_and_return_too() {
    let world = archived(daily(40, |_| true));
    let newest = take_away(&world, "day 39 play 2");
    differs(&world, &[], 0, 1);
    repair(&world, &[]);
    // The sync still stands where it stood, and goes on from there.
    world.sync_well(&[]);
    world.change(|history| history.add_all([newest, play(39 * DAY + 36_000, "beside it")]));
    repair(&world, &[]);
    world.change(|history| history.add(play(60 * DAY, "new")));
    world.sync_well(&[]);
    repair(&world, &[]);
    let everything = world.everything("alice");
    assert_eq!(
        everything.events_of("day 39 play 2"),
        ["removed", "returned"]
    );
}

#[test]
fn an_edit_that_is_taken_back_is_a_return_and_a_removal() {
    let world = archived(daily(90, |_| true));
    let index = index_of(&world, "day 40 play 1");
    for (name, late, removed) in [
        ("edited", 1, 1),
        ("day 40 play 1", 1, 3),
        ("edited", 1, 5),
        ("edited again", 2, 6),
    ] {
        world.change(|history| {
            history.edit(index, |play| play.track = name.to_owned());
        });
        verify(&world, &[], 0);
        differs(&world, &["--deep"], 1, 1);
        repair(&world, &["--deep"]);
        let everything = world.everything("alice");
        let told = (everything.late.len(), everything.removed.len());
        assert_eq!(told, (late, removed), "{name}");
    }
    let events = ["removed", "returned", "removed"];
    assert_eq!(world.everything("alice").events_of("day 40 play 1"), events);
    let events = ["removed", "returned", "removed"];
    assert_eq!(world.everything("alice").events_of("edited"), events);
}

#[test]
fn what_is_known_to_be_removed_counts_on_neither_side() {
    let world = archived(daily(90, |_| true));
    take_away(&world, "day 40 play 1");
    repair(&world, &[]);
    let verdict = verify(&world, &[], 0);
    let february = &verdict["months"][1];
    let told = ["archived", "late", "removed", "lastfm", "difference"].map(|it| &february[it]);
    assert_eq!(
        told,
        [87, 0, 1, 86, 0].map(serde_json::Value::from).each_ref()
    );
    // One late play beside it is one difference, not none.
    world.change(|history| history.add(play(40 * DAY, "late")));
    differs(&world, &[], 1, 0);
    repair(&world, &[]);
}

#[test]
fn a_month_of_which_nothing_is_left_stays_counted() {
    let world = archived(daily(90, |_| true));
    let is_february = |play: &Play| super::month_of(play.uts) == "2020-02";
    world.change(|history| assert_eq!(history.delete_where(is_february), 87));
    let verdict = verify(&world, &[], 3);
    assert_eq!(verdict["vanished"], 87);
    repair(&world, &[]);
    world.change(|history| history.add(play(40 * DAY, "late")));
    differs(&world, &[], 1, 0);
    repair(&world, &[]);
}
