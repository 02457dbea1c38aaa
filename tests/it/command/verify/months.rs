//! Archives that lack more than a play: behind Last.fm, empty, without a file of theirs, or in several parts.

use std::fs;

use super::{Found, agrees, archived, daily, found, repair, verify};
use crate::support::local_world::{DAY, World, made_up, now, play};

#[test]
fn an_archive_that_is_behind_is_told_to_sync() {
    let world = archived(daily(40, |_| true));
    world.change(|history| {
        history.add_all([play(45 * DAY, "new"), play(100 * DAY, "newer")]);
    });
    for how in [&[][..], &["--deep"]] {
        let verdict = verify(&world, how, 3);
        let behind = Found {
            missing: 2,
            vanished: 0,
            newer: 2,
        };
        assert_eq!(found(&verdict), behind, "{verdict}");
        assert_eq!(
            (&verdict["lastfm"], &verdict["difference"]),
            (&122.into(), &2.into())
        );
        let ran = world.program(&[&["verify"], how].concat()).run().expect(3);
        ran.says("alice: ").says("run `sync`");
    }
    let before = world.snapshot();
    repair(&world, &[]);
    assert_eq!(
        world.everything("alice").late.len(),
        0,
        "the sync brings them"
    );
    super::assert_only_appended(&before);
    world.assert_complete();
}

#[test]
fn an_archive_that_is_behind_and_lacks_plays_is_repaired_in_one_run() {
    let world = archived(daily(40, |_| true));
    world.change(|history| {
        history.add_all([play(45 * DAY, "new"), play(35 * DAY, "late")]);
        // In another month: in one month they cancel.
        history.delete(5);
    });
    let verdict = verify(&world, &[], 3);
    let expected = Found {
        missing: 2,
        vanished: 1,
        newer: 1,
    };
    assert_eq!(found(&verdict), expected, "{verdict}");
    repair(&world, &[]);
    assert_eq!(world.everything("alice").late_tracks(), ["late"]);
}

#[test]
fn plays_at_and_behind_the_newest_second_are_told_apart() {
    let world = archived(daily(40, |_| true));
    let newest = 39 * DAY + 10 * 3_600;
    world.change(|history| {
        history.add_all([play(newest, "at"), play(newest + 1, "one behind")]);
        history.add(play(newest - 1, "one before"));
    });
    for how in [&[][..], &["--deep"]] {
        let verdict = verify(&world, how, 3);
        let expected = Found {
            missing: 3,
            vanished: 0,
            newer: 1,
        };
        assert_eq!(found(&verdict), expected, "{verdict}");
    }
    repair(&world, &[]);
}

#[test]
fn an_empty_archive_lacks_everything_and_none_is_made_by_looking() {
    let world = World::of(daily(40, |_| true));
    for how in [&[][..], &["--deep"]] {
        let verdict = verify(&world, how, 3);
        let expected = Found {
            missing: 120,
            vanished: 0,
            newer: 120,
        };
        assert_eq!(found(&verdict), expected, "{verdict}");
        assert_eq!(verdict["months"], serde_json::json!([]));
    }
    assert!(!world.archive().exists());
    repair(&world, &[]);
    world.assert_complete();
}

#[test]
fn without_plays_on_either_side_they_agree() {
    let world = World::of(Vec::new());
    agrees(&world);
    assert!(!world.archive().exists());
    repair(&world, &[]);
    assert!(world.snapshot().is_empty());
}

#[test]
fn a_history_that_is_gone_is_noted_and_its_return_too() {
    let world = archived(daily(20, |_| true));
    let all = world.truth("alice");
    world.change(|history| {
        history.delete_where(|_| true);
    });
    let verdict = verify(&world, &[], 3);
    assert_eq!(
        (&verdict["vanished"], &verdict["lastfm"]),
        (&60.into(), &0.into())
    );
    repair(&world, &[]);
    world.change(|history| history.add_all(all));
    repair(&world, &[]);
    let everything = world.everything("alice");
    assert_eq!((everything.removed.len(), everything.late.len()), (120, 0));
}

#[test]
fn a_month_whose_file_is_lost_is_brought_back_as_late_plays() {
    for name in ["01", "02", "03"] {
        let world = archived(daily(120, |_| true));
        fs::remove_file(world.file(&format!("year=2020/month={name}/part-0.ndjson"))).unwrap();
        let lost = 120 * 3 - world.lines("alice").len();
        assert!(lost > 80);
        let verdict = verify(&world, &[], 3);
        assert_eq!(found(&verdict).missing, lost as u64, "{verdict}");
        repair(&world, &[]);
        assert_eq!(world.everything("alice").late.len(), lost);
        assert!(
            !world
                .file(&format!("year=2020/month={name}/part-0.ndjson"))
                .exists()
        );
        assert!(
            world
                .file(&format!("year=2020/month={name}/late-0.ndjson"))
                .exists()
        );
    }
}

#[test]
fn a_month_whose_file_was_cut_is_completed_with_late_plays() {
    let world = archived(daily(120, |_| true));
    let file = world.file("year=2020/month=02/part-0.ndjson");
    let text = fs::read_to_string(&file).unwrap();
    // Whole lines are left: the first 40 of February.
    let end = text.match_indices('\n').nth(39).unwrap().0 + 1;
    fs::write(&file, &text[..end]).unwrap();
    let verdict = verify(&world, &[], 3);
    assert_eq!(found(&verdict).missing, 29 * 3 - 40, "{verdict}");
    repair(&world, &[]);
    // And an empty one.
    fs::write(&file, "").unwrap();
    repair(&world, &[]);
}

#[test]
fn a_lost_newest_month_is_the_sync_s_business() {
    let world = archived(daily(120, |_| true));
    let file = world.file("year=2020/month=04/part-0.ndjson");
    fs::remove_file(&file).unwrap();
    let verdict = verify(&world, &[], 3);
    let lost = found(&verdict);
    assert_eq!((lost.missing, lost.newer), (87, 87), "{verdict}");
    repair(&world, &[]);
    assert!(file.exists());
    assert_eq!(world.everything("alice").late.len(), 0);
}

#[test]
fn all_parts_of_a_month_are_one() {
    let world = archived(daily(90, |_| true));
    for name in ["01", "02", "03"] {
        let first = world.file(&format!("year=2020/month={name}/part-0.ndjson"));
        let text = fs::read_to_string(&first).unwrap();
        let half = text.match_indices('\n').nth(30).unwrap().0 + 1;
        for (part, text) in [(0, &text[..half]), (9, ""), (10, &text[half..])] {
            fs::write(first.with_file_name(format!("part-{part}.ndjson")), text).unwrap();
        }
    }
    agrees(&world);
    let newest = 89 * DAY + 10 * 3_600;
    world.change(|history| {
        history.add_all([play(20 * DAY, "late"), play(newest, "at the newest second")]);
        history.delete(100);
    });
    repair(&world, &[]);
    let last = fs::read_to_string(world.file("year=2020/month=03/part-10.ndjson")).unwrap();
    assert!(
        last.lines()
            .last()
            .unwrap()
            .contains("at the newest second")
    );
}

#[test]
fn late_files_in_any_number_are_read_and_the_newest_goes_on() {
    let world = archived(daily(90, |_| true));
    world.change(|history| history.add_all([play(20 * DAY, "one"), play(20 * DAY + 9, "two")]));
    repair(&world, &[]);
    let first = world.file("year=2020/month=01/late-0.ndjson");
    let text = fs::read_to_string(&first).unwrap();
    let half = text.find('\n').unwrap() + 1;
    fs::write(&first, &text[..half]).unwrap();
    fs::write(first.with_file_name("late-10.ndjson"), &text[half..]).unwrap();
    fs::write(first.with_file_name("late-9.ndjson"), "").unwrap();
    agrees(&world);
    world.change(|history| history.add(play(20 * DAY + 3, "three")));
    repair(&world, &[]);
    let newest = fs::read_to_string(first.with_file_name("late-10.ndjson")).unwrap();
    assert!(newest.lines().last().unwrap().contains("three"));
}

#[test]
fn plays_of_the_future_are_nobody_s_business_yet() {
    let world = archived(made_up(71, 300));
    world.change(|history| {
        history.add(fake_lastfm::Play::new(
            now() + 2 * DAY,
            "Artist",
            "tomorrow",
        ));
    });
    for how in [&[][..], &["--deep"], &["--repair"], &["--to", "2099-12-31"]] {
        let verdict = verify(&world, how, 0);
        assert_eq!(verdict["lastfm"], 300, "{verdict}");
    }
}

#[test]
fn what_plays_now_is_no_play() {
    let world = archived(daily(40, |_| true));
    world
        .server
        .with(|lastfm| lastfm.user_mut("alice").now_playing = Some(play(0, "Playing")));
    agrees(&world);
    world.change(|history| history.add(play(20 * DAY, "late")));
    repair(&world, &[]);
}

#[test]
fn files_that_are_not_ours_are_not_read_and_stay() {
    let world = archived(daily(90, |_| true));
    let names = [
        "user=alice/notes.txt",
        "user=alice/year=2020/month=01/late-x.ndjson",
        "user=alice/year=2020/month=01/late-00.ndjson",
        "user=alice/year=2020/month=01/late-0.ndjson.bak",
        "user=alice/year=2020/month=13/late-0.ndjson",
        "removed/user=alice/part-0.ndjson.bak",
        "removed/user=alice/notes.txt",
        "removed/user=bob/part-0.ndjson",
        "removed/notes.txt",
    ];
    for name in names {
        let file = world.archive().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "not ours, and with a torn end\nwhich stays").unwrap();
    }
    verify(&world, &[], 0);
    world.change(|history| {
        history.add(play(20 * DAY, "late"));
        history.delete(100);
    });
    verify(&world, &["--repair"], 0);
    verify(&world, &["--deep"], 0);
    for name in names {
        let text = fs::read_to_string(world.archive().join(name)).unwrap();
        assert_eq!(text, "not ours, and with a torn end\nwhich stays", "{name}");
    }
}
