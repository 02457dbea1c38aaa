//! `sync` while Last.fm has passing trouble, or trouble that stays: the archive is never wrong, and the next healthy
//! run completes it.

use std::net::{Ipv4Addr, TcpListener};
use std::thread;
use std::time::Duration;

use fake_lastfm::{Fault, Play};

use crate::support::local_world::{World, made_up, plain, play};
use crate::support::program::Program;

/// Ten pages in four items.
const SMALL: [(&str, &str); 2] = [("LASTFM_PAGE_SIZE", "20"), ("PAGES_PER_ITEM", "3")];
/// One play a page, so that there is no smaller page to try.
const SMALLEST: [(&str, &str); 2] = [("LASTFM_PAGE_SIZE", "1"), ("PAGES_PER_ITEM", "2")];

fn body(status: u16, body: &str) -> Fault {
    Fault::Body {
        status,
        body: body.to_owned(),
    }
}

/// Everything that another try may solve.
fn passing_troubles() -> Vec<Fault> {
    let mut troubles = vec![
        Fault::plain_500(),
        Fault::Html(503),
        Fault::Html(502),
        Fault::Html(400),
        Fault::Html(200),
        Fault::EmptyBody,
        Fault::TruncatedJson,
        Fault::Reset,
        Fault::CutInBody,
        Fault::OtherUser("Mallory".to_owned()),
        Fault::OtherUser("nobody-here".to_owned()),
        Fault::ShortPage(1),
        Fault::ShortPage(19),
        Fault::EmptyPage,
        Fault::WrongTotal(0),
        Fault::WrongTotal(7),
        Fault::WrongTotal(100_000),
        Fault::HugeBody(9 * 1024 * 1024),
        body(200, "null"),
        body(200, "[]"),
        body(200, "{}"),
        body(200, "{\"recenttracks\":{}}"),
        body(200, "{\"recenttracks\":{\"track\":[]}}"),
        body(204, ""),
        body(301, ""),
    ];
    for code in [8, 11, 16] {
        troubles.extend([200, 400, 500, 503].map(|status| Fault::Error { code, status }));
    }
    troubles
}

fn world() -> World {
    World::of_users(&[("Alice", made_up(20, 200)), ("Mallory", made_up(21, 300))])
}

#[test]
fn passing_trouble_with_one_answer_leaves_no_trace() {
    let troubles = passing_troubles();
    for troubles in troubles.chunks(8) {
        thread::scope(|scope| {
            for trouble in troubles {
                // The first answer, one of a range in flight, and one of a later item.
                for request in [1, 4, 9] {
                    scope.spawn(move || survives(trouble, request));
                }
            }
        });
    }
}

#[track_caller]
fn survives(trouble: &Fault, request: usize) {
    let world = world();
    let is_it = move |info: &fake_lastfm::RequestInfo| info.number == request;
    world.fault_when(1, is_it, trouble.clone());
    let mut program = world.program(&["sync", "alice"]);
    for (name, value) in SMALL {
        program = program.set(name, value);
    }
    let ran = program.run();
    let context = format!("{trouble:?} at request {request}: {}", ran.stderr);
    assert_eq!(ran.code(), 0, "{context}");
    let pending = world.server.with(|lastfm| lastfm.faults.pending());
    assert_eq!(pending, 0, "not reached: {context}");
    world.assert_complete();
}

#[test]
fn trouble_that_stays_ends_the_run_and_the_next_healthy_one_completes_it() {
    let mut troubles = passing_troubles();
    // A total that is always too small, with pages that agree with it, cannot be told from a shorter history.
    troubles.retain(|trouble| *trouble != Fault::WrongTotal(7));
    for troubles in troubles.chunks(12) {
        thread::scope(|scope| {
            for trouble in troubles {
                scope.spawn(move || stays(trouble));
            }
        });
    }
}

#[track_caller]
fn stays(trouble: &Fault) {
    let world = World::of_users(&[("Alice", plain(12)), ("Mallory", made_up(21, 30))]);
    world.sync_well(&SMALLEST);
    world.change(|history| history.add_all((20..30).map(|minute| play(minute * 60, "new"))));
    world.take_requests();
    world.fault_when(usize::MAX, |info| info.is_for("alice"), trouble.clone());
    let before = world.snapshot();
    let mut program = world.program(&["sync", "alice"]);
    for (name, value) in SMALLEST {
        program = program.set(name, value);
    }
    let ran = program.run();
    let context = format!("{trouble:?}: {}", ran.stderr);
    assert_eq!(ran.code(), 2, "{context}");
    assert_eq!(ran.errors(), 1, "{context}");
    assert!(ran.stderr.contains("alice"), "{context}");
    let requests = world.take_requests();
    assert!(
        (2..=16).contains(&requests),
        "{requests} requests: {context}"
    );
    assert!(world.snapshot() == before, "changed: {context}");
    world.heal();
    world.sync_well(&SMALLEST);
    world.assert_complete();
}

#[test]
fn a_total_of_nothing_over_an_archive_is_doubted_once_and_removes_nothing() {
    let world = World::of(plain(12));
    world.sync_well(&[]);
    let empty = "{\"recenttracks\":{\"track\":[],\"@attr\":{\"user\":\"Alice\",\"page\":\"1\",\"perPage\":\"200\",\"totalPages\":\"0\",\"total\":\"0\"}}}";
    world.change(|history| history.add(play(7_000, "new")));
    world.fault(body(200, empty));
    world.fault(body(200, empty));
    world.sync_well(&[]);
    assert_eq!(world.assert_prefix(), 12);
    // The archived play at the window's old end is missing from such an answer: it is asked for again.
    world.fault(body(200, empty));
    world.sync_well(&[]);
    world.assert_complete();
}

#[test]
fn pages_that_fail_at_their_size_are_fetched_in_smaller_ones() {
    thread::scope(|scope| {
        for (page_size, fails_at) in [("1000", 1_000), ("1000", 200), ("200", 200), ("50", 11)] {
            scope.spawn(move || {
                let world = World::of(made_up(22, 1_300));
                world.fault_when(
                    usize::MAX,
                    move |info| info.limit >= fails_at,
                    Fault::plain_500(),
                );
                world.sync_well(&[("LASTFM_PAGE_SIZE", page_size)]);
                world.assert_complete();
            });
        }
    });
}

#[test]
fn trouble_after_a_part_has_landed_does_not_make_the_run_wait_in_silence() {
    let world = World::of(plain(200));
    // The oldest pages of the first item come, its newest never does.
    world.fault_when(usize::MAX, |info| info.page == 8, Fault::EmptyBody);
    let mut program = world.sync();
    for (name, value) in SMALL {
        program = program.set(name, value);
    }
    let running = program.start();
    // Either it ends with its error or it tells that it waits and goes on by itself.
    running.ends_or_says("waiting for 60 s", Duration::from_secs(20));
    running.signal(nix::sys::signal::Signal::SIGINT);
    running.finish().expect(2);
    assert_eq!(
        world.assert_prefix(),
        39,
        "two pages but their newest second"
    );
    world.heal();
    world.sync_well(&[]);
    world.assert_complete();
}

#[test]
fn after_a_rate_limit_the_run_says_that_it_waits() {
    thread::scope(|scope| {
        // At the first answer, and after a part has landed.
        for request in [1, 6] {
            scope.spawn(move || waits_after(request, "0"));
        }
    });
}

#[test]
fn a_rate_limit_stops_the_requests_that_wait_for_their_turn() {
    waits_after(3, "5");
}

#[track_caller]
fn waits_after(request: usize, rate: &str) {
    let world = World::of(plain(200));
    world.fault_when(
        usize::MAX,
        move |info| info.number >= request,
        Fault::error(29),
    );
    let mut program = world.sync().set("LASTFM_REQUESTS_PER_SECOND", rate);
    for (name, value) in SMALL {
        program = program.set(name, value);
    }
    let running = program.start();
    running.wait_for_stderr("waiting for 60 s", Duration::from_secs(20));
    running.signal(nix::sys::signal::Signal::SIGINT);
    running.finish().expect(2);
    // Without a rate three more may be under way already; within one nothing may start any more.
    let more = if rate == "0" { 3 } else { 0 };
    let requests = world.take_requests();
    assert!(
        requests <= request + more,
        "{requests} requests, limited at {request}"
    );
    world.assert_prefix();
    world.heal();
    world.sync_well(&[]);
    world.assert_complete();
}

#[test]
fn a_wait_that_last_fm_asks_for_is_honoured_within_bounds() {
    thread::scope(|scope| {
        for (asked, wait) in [(5, "60 s"), (120, "120 s"), (1_000_000, "900 s")] {
            scope.spawn(move || {
                let world = World::of(plain(3));
                let retry_after_seconds = Some(asked);
                world.fault(Fault::RateLimited {
                    retry_after_seconds,
                });
                let running = world.sync().start();
                running.wait_for_stderr(&format!("waiting for {wait}"), Duration::from_secs(10));
                running.signal(nix::sys::signal::Signal::SIGTERM);
                running.finish().expect(2);
                assert_eq!(world.take_requests(), 1);
            });
        }
    });
}

#[test]
fn an_unknown_user_gets_one_error_with_a_hint_and_the_others_are_archived() {
    let world = World::of(made_up(23, 60));
    let users = "ghost,Alice,spectre";
    let ran = world.sync().set("LASTFM_USERS", users).run().expect(1);
    assert_eq!(
        (ran.count("error: ghost"), ran.count("error: spectre")),
        (1, 1)
    );
    assert_eq!((ran.errors(), ran.count("hint: ")), (2, 2));
    let ran = ran
        .says("Last.fm knows no user of that name")
        .says("spelling");
    assert_eq!(ran.stdout, "");
    world.assert_complete();
    assert!(!world.archive().join("user=ghost").exists());
}

#[test]
fn a_private_profile_gets_one_error_with_a_hint_and_the_others_are_archived() {
    let world = World::of_users(&[("hidden", plain(3)), ("Alice", made_up(24, 60))]);
    world
        .server
        .with(|lastfm| lastfm.user_mut("hidden").private = true);
    let ran = world.sync().run().expect(1).says("error: hidden: ");
    assert_eq!((ran.errors(), ran.count("hint: ")), (1, 1));
    ran.says("the user hides recent listening")
        .says("last.fm/settings/privacy");
    world.assert_complete();
    world
        .server
        .with(|lastfm| lastfm.user_mut("hidden").private = false);
    world.sync_well(&[]);
    world.lines("hidden").assert_complete(&plain(3));
}

fn three_users() -> World {
    let plays: Vec<Play> = plain(200);
    World::of_users(&[
        ("Alice", plays.clone()),
        ("bob", plays.clone()),
        ("carol", plays),
    ])
}

#[test]
fn a_rejected_key_ends_everything_at_once() {
    for code in [4, 9, 10, 13, 26] {
        let world = three_users();
        world.fault_when(usize::MAX, |_| true, Fault::error(code));
        let ran = world.sync().run().expect(1).says("rejects the key");
        assert_eq!(
            (ran.errors(), ran.count("hint: ")),
            (1, 1),
            "{}",
            ran.stderr
        );
        assert_eq!(world.take_requests(), 1, "code {code}");
        world.heal();
        world.sync_well(&[]);
        world.assert_complete();
    }
}

#[test]
fn a_key_rejected_half_way_stops_the_requests_that_wait_for_their_turn() {
    let world = three_users();
    world.fault_when(usize::MAX, |info| info.number >= 3, Fault::error(26));
    let mut program = world.sync().set("LASTFM_REQUESTS_PER_SECOND", "5");
    for (name, value) in SMALL {
        program = program.set(name, value);
    }
    program.run().expect(1).says("suspended");
    assert_eq!(world.take_requests(), 3);
    world.assert_prefix();
    world.heal();
    world.sync_well(&[]);
    world.assert_complete();
}

#[test]
fn a_dry_run_with_a_rejected_key_asks_once() {
    let world = three_users();
    world.fault_when(usize::MAX, |_| true, Fault::error(10));
    let ran = world.program(&["sync", "--dry-run"]).run().expect(1);
    ran.says("rejects the key");
    assert_eq!(world.take_requests(), 1);
}

#[test]
fn codes_that_another_try_does_not_solve_are_not_tried_again() {
    for code in [2, 3, 5, 7, 27, 99] {
        let world = World::of(plain(3));
        world.fault_when(usize::MAX, |_| true, Fault::error(code));
        world.sync().run().expect(1).says(&format!("code {code}"));
        assert_eq!(world.take_requests(), 1, "code {code}");
    }
}

#[test]
fn an_unreachable_last_fm_ends_the_run_soon_with_trouble() {
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let world = World::of(plain(3));
    let unreachable = |program: Program| {
        let program = program.set("LASTFM_API_URL", format!("http://{address}/2.0/"));
        program.set("RUST_LOG", "trace").run().expect(2)
    };
    unreachable(world.sync())
        .says("not reachable")
        .says("alice");
    world.sync_well(&[]);
    world.assert_complete();
    let before = world.snapshot();
    unreachable(world.sync());
    unreachable(world.program(&["sync", "--dry-run"]));
    assert_eq!(world.snapshot(), before);
}
