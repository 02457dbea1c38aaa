//! `sync` into a directory while nothing goes wrong: every play once, in order, as Last.fm told it.

use std::collections::HashSet;

use fake_lastfm::{Bound, EmptyShape, Numbers, OneRowShape, PastTheEnd, Play, histories};

use crate::support::checker;
use crate::support::local_world::{DAY, NEW_YEAR_2020, World, made_up, now, plain, play};

#[test]
fn three_users_are_archived_completely_and_in_order() {
    let users = [("Alice", 1_500), ("bob-2", 700), ("Carol_X", 0)];
    let users: Vec<(&str, Vec<Play>)> = users
        .iter()
        .zip(1..)
        .map(|(&(name, plays), seed)| (name, made_up(seed, plays)))
        .collect();
    let world = World::of_users(&users);
    world.server.with(|lastfm| {
        lastfm.user_mut("alice").now_playing = Some(play(0, "Playing"));
        lastfm.user_mut("carol_x").now_playing = Some(play(0, "Playing"));
    });
    world.sync_well(&[]);
    for user in ["alice", "bob-2", "carol_x"] {
        world.lines(user).assert_complete(&world.truth(user));
    }
}

#[test]
fn local_times_are_in_each_user_s_own_zone_however_the_user_is_named() {
    let world = World::of_users(&[("Alice", made_up(4, 300)), ("bob", made_up(5, 300))]);
    let users = "alice=Europe/Berlin,BOB=America/St_Johns";
    world.sync_well(&[("LASTFM_USERS", users)]);
    checker::read(&world.archive(), "bob", "America/St_Johns").assert_complete(&world.truth("bob"));
    let world_of_one = World::of(made_up(4, 300));
    let named = world_of_one.program(&["sync", "ALICE"]);
    named
        .set("LASTFM_USERS", "aLiCe=Europe/Berlin")
        .run()
        .expect(0);
    checker::read(&world_of_one.archive(), "alice", "Europe/Berlin")
        .assert_complete(&world_of_one.truth("alice"));
}

#[test]
fn a_full_sync_asks_hardly_more_often_than_there_are_pages() {
    let world = World::of(plain(4_000));
    world.sync_well(&[("LASTFM_PAGE_SIZE", "50"), ("PAGES_PER_ITEM", "10")]);
    world.assert_complete();
    // 80 pages in eight items; each item may ask once to learn the numbers, and once more at its seam.
    let requests = world.take_requests();
    assert!((80..=98).contains(&requests), "{requests} requests");
}

#[test]
fn a_second_run_adds_only_what_is_new_and_asks_little() {
    let world = World::of(made_up(7, 1_000));
    world.sync_well(&[]);
    let first = world.snapshot();
    world.take_requests();
    world.sync_well(&[]);
    assert_eq!(world.snapshot(), first, "nothing new changes nothing");
    let requests = world.take_requests();
    assert!(requests <= 2, "{requests} requests for nothing new");

    let later = NEW_YEAR_2020 + 700 * DAY;
    let news = histories::made_up(8, 150, later, later + 40 * DAY);
    world.change(|history| history.add_all(news));
    world.sync_well(&[]);
    world.assert_complete();
    let requests = world.take_requests();
    assert!(requests <= 3, "{requests} requests for one page of news");
    for (file, bytes) in first {
        assert!(
            std::fs::read(&file).unwrap().starts_with(&bytes),
            "{} was rewritten",
            file.display()
        );
    }
}

#[test]
fn a_play_added_at_the_newest_archived_second_is_found() {
    let world = World::of(vec![play(0, "a"), play(9, "b")]);
    world.sync_well(&[]);
    world.change(|history| history.add(play(9, "c")));
    world.sync_well(&[]);
    assert_eq!(world.lines("alice").tracks(), "a b c");
    world.change(|history| history.add_all([play(9, "d"), play(10, "e")]));
    world.sync_well(&[]);
    assert_eq!(world.lines("alice").tracks(), "a b c d e");
}

#[test]
fn an_edit_at_the_newest_archived_second_changes_nothing() {
    let world = World::of(vec![play(0, "a"), play(9, "b"), play(9, "c")]);
    world.sync_well(&[]);
    let before = world.snapshot();
    world.change(|history| {
        history.edit_where(|play| play.track == "c", |play| play.track = "x".to_owned());
    });
    world.sync_well(&[]);
    assert_eq!(world.snapshot(), before);
    world.change(|history| history.add(play(11, "d")));
    world.sync_well(&[]);
    assert_eq!(world.lines("alice").tracks(), "a c b d");
}

#[test]
fn a_true_repeat_added_at_the_newest_archived_second_is_kept() {
    let world = World::of(vec![play(0, "a"), play(9, "b")]);
    world.sync_well(&[]);
    world.change(|history| history.add(play(9, "b")));
    world.sync_well(&[]);
    world.assert_complete();
}

#[test]
fn every_reading_of_the_bounds_gives_the_same_archive() {
    for from in [Bound::Inclusive, Bound::Exclusive] {
        for to in [Bound::Inclusive, Bound::Exclusive] {
            let world = World::of(made_up(9, 300));
            world.configure(|config| (config.from_bound, config.to_bound) = (from, to));
            let settings = [("LASTFM_PAGE_SIZE", "20"), ("PAGES_PER_ITEM", "2")];
            world.sync_well(&settings);
            world.assert_complete();
            let newest = world.truth("alice").last().unwrap().uts;
            let news = [1, 1, 2].map(|second| Play::new(newest + second, "New", "x"));
            world.change(|history| history.add_all(news));
            world.sync_well(&settings);
            world.assert_complete();
        }
    }
}

#[test]
fn every_page_size_and_range_gives_the_same_archive() {
    for (page_size, plays) in [
        ("1", 120),
        ("2", 160),
        ("7", 300),
        ("200", 900),
        ("1000", 2_500),
    ] {
        for pages in ["1", "3"] {
            let world = World::of(made_up(10, plays));
            let settings = [("LASTFM_PAGE_SIZE", page_size), ("PAGES_PER_ITEM", pages)];
            world.sync_well(&settings);
            world.assert_complete();
            world.change(|history| {
                history.add_all(
                    (0..5).map(|second| play(600 * DAY + second / 2, &format!("{second}"))),
                );
            });
            world.sync_well(&settings);
            world.assert_complete();
        }
    }
}

#[test]
fn limits_that_last_fm_lowers_are_taken_as_answered() {
    let world = World::of(made_up(11, 1_700));
    world.configure(|config| config.limit_clamp = Some(200));
    world.sync_well(&[("LASTFM_PAGE_SIZE", "1000"), ("PAGES_PER_ITEM", "3")]);
    world.assert_complete();
}

#[test]
fn plain_numbers_and_bare_slashes_are_read_like_strings() {
    let world = World::of(made_up(12, 500));
    world.configure(|config| (config.numbers, config.escape_slashes) = (Numbers::Plain, false));
    world.sync_well(&[]);
    world.assert_complete();
}

#[test]
fn a_single_row_may_be_an_object() {
    for now_playing in [None, Some(play(0, "Playing"))] {
        let world = World::of(vec![play(5, "only")]);
        world.configure(|config| config.one_row = OneRowShape::Object);
        world
            .server
            .with(|lastfm| lastfm.user_mut("alice").now_playing = now_playing);
        world.sync_well(&[("LASTFM_PAGE_SIZE", "1")]);
        world.assert_complete();
        world.change(|history| history.add(play(6, "second")));
        world.sync_well(&[("LASTFM_PAGE_SIZE", "1")]);
        world.assert_complete();
    }
}

#[test]
fn an_empty_history_of_any_shape_makes_no_file() {
    let row_alone = Some(play(0, "Playing"));
    for (shape, now_playing) in [
        (EmptyShape::Array, None),
        (EmptyShape::FlatAttributes, None),
        (EmptyShape::Array, row_alone),
    ] {
        let world = World::of(Vec::new());
        world.configure(|config| (config.no_rows, config.one_row) = (shape, OneRowShape::Object));
        world
            .server
            .with(|lastfm| lastfm.user_mut("alice").now_playing = now_playing);
        world.sync_well(&[]);
        assert!(world.snapshot().is_empty());
        world.change(|history| history.add(play(1, "first")));
        world.sync_well(&[]);
        world.assert_complete();
    }
}

#[test]
fn a_page_past_the_end_may_be_an_error_or_empty() {
    for past_the_end in [PastTheEnd::NoSuchPage, PastTheEnd::EmptyPage] {
        let world = World::of(made_up(13, 400));
        world.configure(|config| config.past_the_end = past_the_end);
        let settings = [("LASTFM_PAGE_SIZE", "7"), ("PAGES_PER_ITEM", "3")];
        world.sync_well(&settings);
        world.assert_complete();
        // The history shrinks to less than a page behind the archive's end, then grows again.
        world.change(|history| {
            history.delete_where(|play| play.uts > NEW_YEAR_2020 + 100 * DAY);
        });
        world.sync_well(&settings);
        assert_eq!(world.lines("alice").len(), 400, "deleted plays stay");
        world.change(|history| history.add(play(600 * DAY, "new")));
        world.sync_well(&settings);
        assert_eq!(world.lines("alice").len(), 401);
    }
}

#[test]
fn one_second_may_hold_more_plays_than_a_page_and_than_a_range_of_pages() {
    for (plays, page_size, pages) in [(9, "7", "1"), (23, "2", "3"), (450, "50", "2")] {
        let mut history = plain(3);
        history.extend((0..plays).map(|number| play(500, &format!("tie {number}"))));
        history.extend([play(501, "y"), play(700, "z")]);
        let world = World::of(history);
        let settings = [("LASTFM_PAGE_SIZE", page_size), ("PAGES_PER_ITEM", pages)];
        world.sync_well(&settings);
        world.assert_complete();
        world.sync_well(&settings);
        world.assert_complete();
    }
}

#[test]
fn a_newest_second_larger_than_a_range_of_pages_closes_the_window() {
    let mut history = plain(3);
    history.extend((0..20).map(|number| play(500, &format!("tie {number}"))));
    let world = World::of(history);
    let settings = [("LASTFM_PAGE_SIZE", "2"), ("PAGES_PER_ITEM", "2")];
    world.sync_well(&settings);
    world.assert_complete();
    world.change(|history| history.add_all([play(500, "late"), play(502, "next")]));
    world.sync_well(&settings);
    world
        .lines("alice")
        .assert_same_plays(&world.truth("alice"));
}

#[test]
fn undated_imports_at_the_first_seconds_of_1970_are_kept() {
    let plays =
        [(0, "a"), (0, "b"), (1, "c"), (2, "d")].map(|(uts, track)| Play::new(uts, "A", track));
    let settings = [("LASTFM_PAGE_SIZE", "1"), ("PAGES_PER_ITEM", "1")];
    for from in [Bound::Inclusive, Bound::Exclusive] {
        // Once all in one run, once one play a run.
        let world = World::of(plays.to_vec());
        world.configure(|config| config.from_bound = from);
        world.sync_well(&settings);
        world.assert_complete();
        let world = World::of(Vec::new());
        world.configure(|config| config.from_bound = from);
        for play in &plays {
            world.change(|history| history.add(play.clone()));
            world.sync_well(&settings);
        }
        world
            .lines("alice")
            .assert_same_plays(&world.truth("alice"));
    }
}

#[test]
fn plays_in_the_future_wait_until_their_time_has_come() {
    let mut history = plain(30);
    let soon = now() - 1_000;
    history.extend([Play::new(soon, "A", "soon"), Play::new(soon, "B", "soon")]);
    let world = World::of(history);
    world.change(|history| history.add(Play::new(now() + 2 * DAY, "A", "far")));
    // Last.fm's clock is an hour behind, so it has not seen `soon` pass yet; then it is right.
    world.configure(|config| config.date_skew_seconds = -3_600);
    let settings = [("LASTFM_PAGE_SIZE", "10"), ("PAGES_PER_ITEM", "1")];
    world.sync_well(&settings);
    world.lines("alice").assert_complete(&plain(30));
    // Ahead by more than the far future: our own clock is the earlier one.
    for skew in [0, 3 * DAY] {
        world.configure(|config| config.date_skew_seconds = skew);
        world.sync_well(&settings);
        let past: Vec<Play> = world.truth("alice").into_iter().take(32).collect();
        world.lines("alice").assert_complete(&past);
    }
}

#[test]
fn true_repeats_are_all_kept() {
    for page_size in ["1", "2", "7", "200"] {
        let mut history = made_up(14, 150);
        histories::true_repeats(15, &mut history, 40);
        history.extend([
            play(0, "twice"),
            play(0, "twice"),
            play(0, "other"),
            play(0, "twice"),
        ]);
        let world = World::of(history);
        let settings = [("LASTFM_PAGE_SIZE", page_size), ("PAGES_PER_ITEM", "3")];
        world.sync_well(&settings);
        world.assert_complete();
    }
}

#[test]
fn the_raw_row_is_kept_on_request() {
    let world = World::of(made_up(16, 250));
    let playing = Some(play(0, "Playing"));
    world
        .server
        .with(|lastfm| lastfm.user_mut("alice").now_playing = playing);
    world.sync_well(&[("INCLUDE_RAW", "true")]);
    world.assert_complete();
    for line in world.lines("alice").0 {
        let raw = &line["raw"];
        assert_eq!((&raw["name"], &raw["url"]), (&line["track"], &line["url"]));
        assert_eq!(raw["artist"]["#text"], line["artist"]);
        assert_eq!(raw["date"]["uts"], checker::uts(&line).to_string());
        assert_eq!(raw["image"].as_array().unwrap().len(), 4, "{raw}");
    }
}

#[test]
fn without_the_request_no_raw_row_is_kept() {
    let world = World::of(made_up(17, 50));
    world.sync_well(&[("INCLUDE_RAW", "false")]);
    let lines = world.lines("alice").0;
    let with_raw = lines.iter().filter(|line| line.get("raw").is_some());
    assert_eq!((lines.len(), with_raw.count()), (50, 0));
}

#[test]
fn a_year_of_months_makes_one_file_for_each_month_with_plays() {
    let months = (0..14).map(|month| play(month * 31 * DAY, &format!("{month}")));
    let world = World::of(months.collect());
    world.sync_well(&[]);
    world.assert_complete();
    let files: HashSet<_> = world.snapshot().into_iter().map(|(file, _)| file).collect();
    assert!(files.contains(&world.file("year=2020/month=01/part-0.ndjson")));
    assert!(files.contains(&world.file("year=2021/month=02/part-0.ndjson")));
    assert_eq!(files.len(), 14);
}

#[test]
fn every_request_names_the_program_and_asks_for_json() {
    let world = World::of(plain(30));
    world.sync_well(&[("LASTFM_PAGE_SIZE", "7")]);
    world.server.with(|lastfm| {
        for entry in lastfm.log.entries() {
            let agent = entry.request.user_agent.as_deref().unwrap_or_default();
            assert!(
                agent.starts_with("lastfm-archive/") && agent.contains("http"),
                "{agent}"
            );
            assert!(entry.request.json && entry.request.limit == 7, "{entry:?}");
        }
    });
}

#[test]
fn a_second_too_large_for_one_append_is_archived_whole() {
    let mut history = plain(3);
    let title = "long ".repeat(300);
    history.extend((0..3_000).map(|number| play(500, &format!("{title}{number}"))));
    history.push(play(501, "end"));
    let world = World::of(history);
    world.sync_well(&[("LASTFM_PAGE_SIZE", "1000")]);
    world.assert_complete();
    world.sync_well(&[]);
    world.assert_complete();
}
