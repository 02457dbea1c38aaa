//! What a repair writes, that it writes nothing twice, and that `sync` and `status` go on behind it.

use std::fs;
use std::time::Duration;

use fake_lastfm::{Fault, histories};
use nix::sys::signal::Signal;

use super::{agrees, archived, assert_only_appended, daily, repair, verify};
use crate::support::local_world::{DAY, NEW_YEAR_2020, World, made_up, play};

/// Late plays in every month, removed ones, and edits.
fn many_changes(world: &World, seed: u64) {
    let late = histories::made_up(seed, 60, NEW_YEAR_2020 + 9, NEW_YEAR_2020 + 540 * DAY);
    world.change(|history| {
        for index in (0..30).rev() {
            history.delete(index * 17 + 3);
        }
        for index in 0..20 {
            history.edit(index * 29 + 7, |play| play.track.push_str(" (edited)"));
        }
        history.add_all(late);
    });
}

#[test]
fn late_plays_are_lines_like_others_in_the_order_of_their_discovery() {
    let world = archived(daily(90, |_| true));
    for (second, name) in [
        (50 * DAY, "first"),
        (35 * DAY, "second"),
        (40 * DAY, "third"),
    ] {
        world.change(|history| history.add(play(second, name)));
        repair(&world, &[]);
    }
    // [`World::everything`] holds each line against the published schema.
    let everything = world.everything("alice");
    assert_eq!(everything.late_tracks(), ["first", "second", "third"]);
    let part = &everything.parts[0];
    for line in &everything.late {
        let names = |line: &serde_json::Value| -> Vec<String> {
            line.as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(names(line), names(part));
    }
    assert!(world.file("year=2020/month=02/late-0.ndjson").exists());
    assert!(!world.file("year=2020/month=02/late-1.ndjson").exists());
}

#[test]
fn a_late_play_has_its_user_s_own_local_time_and_its_raw_row_on_request() {
    let world = World::of(daily(40, |_| true));
    world.sync_well(&[("LASTFM_USERS", "alice=Europe/Berlin")]);
    world.change(|history| history.add(play(10 * DAY, "late")));
    let program = world.program(&["verify", "--repair"]);
    let program = program.set("LASTFM_USERS", "alice=Europe/Berlin");
    program.set("INCLUDE_RAW", "true").run().expect(0);
    let text = fs::read_to_string(world.file("year=2020/month=01/late-0.ndjson")).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
    assert_eq!(line["local_time"], "2020-01-11T01:00:00+01:00");
    assert_eq!(line["raw"]["name"], "late");
}

#[test]
fn many_differences_are_repaired_in_one_run_and_once() {
    for (page_size, pages) in [("200", "40"), ("50", "2"), ("7", "3")] {
        let world = archived(made_up(72, 1_200));
        many_changes(&world, 73);
        let before = world.snapshot();
        let program = world.program(&["verify", "--repair", "--deep"]);
        let program = program.set("LASTFM_PAGE_SIZE", page_size);
        program.set("PAGES_PER_ITEM", pages).run().expect(0);
        assert_only_appended(&before);
        let everything = world.everything("alice");
        everything.assert_today(&world.truth("alice"));
        assert_eq!((everything.late.len(), everything.removed.len()), (80, 50));
        repair(&world, &[]);
        repair(&world, &["--deep"]);
    }
}

#[test]
fn a_plain_repair_leaves_only_what_counting_cannot_see() {
    let world = archived(made_up(74, 1_200));
    many_changes(&world, 75);
    verify(&world, &["--repair"], 0);
    world.everything("alice");
    verify(&world, &[], 0);
    repair(&world, &["--deep"]);
}

#[test]
fn the_sync_goes_on_behind_a_repair() {
    let world = archived(daily(90, |_| true));
    // One more at the newest second, a late one, and one that is gone.
    world.change(|history| {
        history.add_all([
            play(89 * DAY + 36_000, "same second"),
            play(50 * DAY, "late"),
        ]);
        history.delete(9);
    });
    repair(&world, &[]);
    let before = world.snapshot();
    world.sync_well(&[]).says("up to date");
    assert!(world.snapshot() == before, "nothing new");
    let status = || {
        let ran = world.program(&["status", "--json"]).run();
        let newest = ran.json_lines()[0]["newest_uts"].clone();
        (ran.code() == 0 || ran.code() == 3, newest)
    };
    assert_eq!(status(), (true, (NEW_YEAR_2020 + 89 * DAY + 36_000).into()));
    for round in 0..3 {
        // News in the same month and in later ones, the first of them right behind the newest second.
        let newest = world.truth("alice").last().unwrap().uts - NEW_YEAR_2020;
        world.change(|history| {
            history.add_all([
                play(newest + 1, &format!("new {round}")),
                play(newest + 40 * DAY, &format!("newer {round}")),
                play((30 + round) * DAY + 11, &format!("late {round}")),
            ]);
        });
        let lines = world.lines("alice").len();
        world.sync_well(&[]);
        assert_eq!(
            world.lines("alice").len(),
            lines + 2,
            "late ones are not the sync's"
        );
        let newest = world.truth("alice").last().unwrap().uts;
        assert_eq!(status(), (true, newest.into()));
        repair(&world, &[]);
        world.sync_well(&[]).says("up to date");
    }
    assert_only_appended(&before);
}

#[test]
fn a_late_file_alone_is_no_end_of_an_archive() {
    // The newest play of all is in a late file whose month has no part, as after the loss of a file.
    let world = archived(daily(90, |_| true));
    let part = world.file("year=2020/month=03/part-0.ndjson");
    let late = world.file("year=2020/month=03/late-0.ndjson");
    fs::rename(&part, &late).unwrap();
    agrees_or_is_behind(&world);
    world.sync_well(&[]);
    // The sync has fetched that month again: it knows parts only. Whoever reads both sees the ids and drops one of each.
    let lines = world.lines("alice").len();
    assert_eq!(lines, 270);
}

/// Nothing breaks; whether late plays behind the archive's end count as archived is nobody's promise.
#[track_caller]
fn agrees_or_is_behind(world: &World) {
    let ran = world.program(&["verify", "--json"]).run();
    assert!([0, 3].contains(&ran.code()), "{ran:?}");
}

#[test]
fn a_repair_waits_for_no_other_writer_but_says_so() {
    let world = archived(daily(40, |_| true));
    world.change(|history| {
        history.add_all([play(60 * DAY, "new"), play(20 * DAY, "late")]);
    });
    let requests = world.server.with(|lastfm| lastfm.log.total());
    world.fault_when(usize::MAX, |_| true, Fault::Hang);
    let sync = world.sync().start();
    let minute = Duration::from_mins(1);
    assert!(world.server.wait_until_requests(requests + 1, minute));
    let ran = world.program(&["verify", "--repair"]).run().expect(2);
    let ran = ran.says("another process is writing");
    assert_eq!((ran.errors(), ran.stdout.as_str()), (1, ""));
    // Looking needs no lock.
    world.heal();
    verify(&world, &[], 3);
    sync.signal(Signal::SIGKILL);
    sync.finish();
    repair(&world, &[]);
}

#[test]
fn while_a_repair_runs_the_sync_is_told_so() {
    let world = archived(daily(40, |_| true));
    world.change(|history| history.add(play(20 * DAY, "late")));
    let requests = world.server.with(|lastfm| lastfm.log.total());
    world.fault_when(usize::MAX, |_| true, Fault::Hang);
    let running = world.program(&["verify", "--repair"]).start();
    let minute = Duration::from_mins(1);
    assert!(world.server.wait_until_requests(requests + 1, minute));
    world
        .sync()
        .run()
        .expect(2)
        .says("another process is writing");
    running.signal(Signal::SIGKILL);
    running.finish();
    world.heal();
    repair(&world, &[]);
}

#[test]
fn only_the_second_look_of_a_command_notes_a_removal() {
    // The first look misses a play that the second one sees.
    let world = archived(daily(40, |_| true));
    let requests = world.server.with(|lastfm| lastfm.log.total());
    let gone = world.truth("alice")[60].clone();
    world.change(|history| {
        history.delete(60);
    });
    let server = &world.server;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Three requests of the sync and the two months; it is back before the second look, or during it.
            server.wait_until_requests(requests + 5, Duration::from_mins(1));
            server.with(|lastfm| lastfm.user_mut("alice").history.add(gone));
        });
        world.program(&["verify", "--repair"]).run();
    });
    repair(&world, &[]);
    let events = world.everything("alice");
    let last = events.removed.last();
    assert!(last.is_none_or(|line| line["event"] == "returned"));
    agrees(&world);
}
