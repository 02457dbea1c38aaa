//! `sync --dry-run` writes nothing at all, and what it announces is what `sync` then archives.

use std::time::Duration;

use fake_lastfm::{Bound, Fault, Play};
use nix::sys::signal::Signal;

use crate::support::local_world::{World, made_up, now, plain, play};

/// The count that a dry run announces for `alice`.
#[track_caller]
fn announced(world: &World, page_size: &str) -> i64 {
    let before = (world.archive().exists(), world.snapshot());
    let program = world.program(&["sync", "--dry-run", "--json"]);
    let ran = program.set("LASTFM_PAGE_SIZE", page_size).run().expect(0);
    assert_eq!(
        (world.archive().exists(), world.snapshot()),
        before,
        "it wrote"
    );
    let [line] = &ran.json_lines()[..] else {
        panic!("{ran:?}")
    };
    assert_eq!(line["user"], "alice");
    line["plays"].as_i64().unwrap()
}

/// A dry run announces as many plays as the sync after it archives.
#[track_caller]
fn announces_what_is_archived(world: &World, page_size: &str, plays: i64) {
    assert_eq!(announced(world, page_size), plays, "pages of {page_size}");
    let program = world.sync().argument("--json");
    let ran = program.set("LASTFM_PAGE_SIZE", page_size).run().expect(0);
    assert_eq!(ran.json_lines()[0]["plays"], plays, "pages of {page_size}");
}

#[test]
fn a_dry_run_counts_and_does_not_even_make_the_directory() {
    let world = World::of_users(&[("Alice", made_up(40, 450)), ("bob", plain(3))]);
    let ran = world.program(&["sync", "--dry-run"]).run().expect(0);
    assert!(!world.archive().exists());
    assert!(ran.stdout.contains("alice: 450 plays"), "{}", ran.stdout);
    assert!(ran.stdout.contains("bob: 3 plays"), "{}", ran.stdout);
    assert_eq!(ran.stderr, "");
}

#[test]
fn the_count_of_a_dry_run_is_right_for_every_page_size_and_reading_of_the_bounds() {
    for from in [Bound::Inclusive, Bound::Exclusive] {
        for page_size in ["1", "2", "7", "200"] {
            let mut history = plain(30);
            // The newest second is shared, and the second before it is taken.
            history.extend([play(4_999, "x"), play(5_000, "y"), play(5_000, "z")]);
            let world = World::of(history);
            world.configure(|config| config.from_bound = from);
            announces_what_is_archived(&world, page_size, 33);
            announces_what_is_archived(&world, page_size, 0);
            world.change(|history| {
                history.add_all((0..4).map(|second| play(6_000 + second, "new")));
            });
            announces_what_is_archived(&world, page_size, 4);
        }
    }
}

#[test]
fn a_dry_run_counts_a_play_added_at_the_newest_archived_second() {
    let world = World::of(vec![play(0, "a"), play(9, "b")]);
    world.sync_well(&[]);
    world.change(|history| history.add(play(9, "c")));
    announces_what_is_archived(&world, "200", 1);
}

#[test]
fn a_dry_run_of_an_unknown_user_is_the_callers_input() {
    let world = World::of(plain(3));
    let program = world.program(&["sync", "--dry-run", "ghost", "alice"]);
    let ran = program.run().expect(1).says("error: ghost").says("hint: ");
    assert!(ran.stdout.contains("alice: 3 plays"), "{}", ran.stdout);
    assert!(!world.archive().exists());
}

#[test]
fn a_dry_run_does_not_count_what_last_fm_s_clock_has_not_reached() {
    let world = World::of(plain(3));
    world.change(|history| history.add(Play::new(now() - 100, "A", "soon")));
    world.configure(|config| config.date_skew_seconds = -3_600);
    announces_what_is_archived(&world, "200", 3);
}

#[test]
fn a_dry_run_survives_passing_trouble() {
    let world = World::of(plain(3));
    for fault in [Fault::plain_500(), Fault::Reset, Fault::EmptyBody] {
        world.fault(fault);
        assert_eq!(announced(&world, "200"), 3);
    }
}

#[test]
fn a_rate_limit_stops_a_dry_run_for_all_users() {
    let world = World::of_users(&[("Alice", plain(3)), ("bob", plain(3))]);
    world.fault_when(usize::MAX, |_| true, Fault::error(29));
    let running = world.program(&["sync", "--dry-run"]).start();
    running.ends_or_says("waiting", Duration::from_secs(10));
    running.signal(Signal::SIGINT);
    running.finish().expect(2);
    assert_eq!(world.take_requests(), 1);
}

#[test]
fn a_dry_run_ends_when_it_is_told_to() {
    let world = World::of(plain(3));
    world.fault(Fault::Hang);
    let running = world.program(&["sync", "--dry-run"]).start();
    let minute = Duration::from_mins(1);
    assert!(world.server.wait_until_requests(1, minute));
    running.signal(Signal::SIGINT);
    running.finish().expect(2);
}
