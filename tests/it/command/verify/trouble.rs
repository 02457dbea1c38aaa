//! Last.fm in trouble during a verification: trouble that passes leaves no trace, trouble that stays is told, and nothing
//! false is ever written down.

use std::thread;
use std::time::Duration;

use fake_lastfm::Fault;
use nix::sys::signal::Signal;

use super::{agrees, archived, daily, repair};
use crate::support::local_world::{DAY, World, made_up, play};
use crate::support::program::Program;

const HOWS: [&[&str]; 4] = [&[], &["--deep"], &["--repair"], &["--deep", "--repair"]];

fn body(status: u16, body: &str) -> Fault {
    Fault::Body {
        status,
        body: body.to_owned(),
    }
}

/// An answer for Alice in which everything fits together, and that tells of no play at all.
fn nothing_at_all() -> Fault {
    body(
        200,
        "{\"recenttracks\":{\"track\":[],\"@attr\":{\"user\":\"Alice\",\"page\":\"1\",\"perPage\":\"1\",\"totalPages\":\"0\",\"total\":\"0\"}}}",
    )
}

/// Everything that another try may solve.
fn passing_troubles() -> Vec<Fault> {
    let mut troubles = vec![
        Fault::plain_500(),
        Fault::Html(503),
        Fault::Html(200),
        Fault::EmptyBody,
        Fault::TruncatedJson,
        Fault::Reset,
        Fault::CutInBody,
        Fault::OtherUser("Mallory".to_owned()),
        Fault::OtherUser("nobody-here".to_owned()),
        Fault::ShortPage(1),
        Fault::EmptyPage,
        Fault::HugeBody(9 * 1024 * 1024),
        body(200, "null"),
        body(200, "{}"),
        body(200, "{\"recenttracks\":{\"track\":[]}}"),
    ];
    for code in [8, 11, 16] {
        troubles.extend([200, 500].map(|status| Fault::Error { code, status }));
    }
    troubles
}

/// Alice's archive lacks a play, has one too many, and one is edited.
fn world() -> World {
    let world = World::of_users(&[
        ("Alice", daily(90, |_| true)),
        ("Mallory", made_up(79, 300)),
    ]);
    world.sync_well(&[]);
    world.change(|history| {
        history.add(play(40 * DAY, "late"));
        history.delete(10);
        history.edit(200, |play| play.track.push_str(" (edited)"));
    });
    world
}

fn of_alice(world: &World, how: &[&str]) -> Program {
    let program = world.program(&[&["verify", "alice", "--json"], how].concat());
    program.set("LASTFM_PAGE_SIZE", "20")
}

#[test]
fn passing_trouble_with_one_answer_leaves_no_trace() {
    for troubles in passing_troubles().chunks(6) {
        thread::scope(|scope| {
            for trouble in troubles {
                scope.spawn(move || {
                    for (how, request) in HOWS.into_iter().zip([2, 3, 4, 6]) {
                        survives(trouble, how, request);
                    }
                });
            }
        });
    }
}

#[track_caller]
fn survives(trouble: &Fault, how: &[&str], request: usize) {
    let world = world();
    let request = world.server.with(|lastfm| lastfm.log.total()) + request;
    let is_it = move |info: &fake_lastfm::RequestInfo| info.number == request;
    world.fault_when(1, is_it, trouble.clone());
    let ran = of_alice(&world, how).run();
    let context = format!("{trouble:?} {how:?}: {ran:?}");
    let repairs = how.contains(&"--repair");
    assert_eq!(ran.code(), if repairs { 0 } else { 3 }, "{context}");
    let pending = world.server.with(|lastfm| lastfm.faults.pending());
    assert_eq!(pending, 0, "not reached: {context}");
    let verdict = &ran.json_lines()[0];
    let edits = u64::from(how.contains(&"--deep"));
    assert_eq!(verdict["missing"], 1 + edits, "{context}");
    assert_eq!(verdict["vanished"], 1 + edits, "{context}");
    if repairs {
        let everything = world.everything("alice");
        let told = (
            everything.late.len() as u64,
            everything.removed.len() as u64,
        );
        assert_eq!(told, (1 + edits, 1 + edits), "{context}");
    }
}

#[test]
fn trouble_that_stays_is_told_once_and_nothing_is_written() {
    for troubles in passing_troubles().chunks(7) {
        thread::scope(|scope| {
            for trouble in troubles {
                scope.spawn(move || stays(trouble));
            }
        });
    }
}

#[track_caller]
fn stays(trouble: &Fault) {
    let world = world();
    let before = world.snapshot();
    // Pages and counts only: the profile is not needed.
    let is_page = |info: &fake_lastfm::RequestInfo| info.method == "user.getrecenttracks";
    world.fault_when(usize::MAX, is_page, trouble.clone());
    for how in HOWS {
        let ran = of_alice(&world, how).set("LASTFM_PAGE_SIZE", "1").run();
        let context = format!("{trouble:?} {how:?}: {ran:?}");
        assert_eq!(ran.code(), 2, "{context}");
        assert_eq!(ran.errors(), 1, "{context}");
        assert!(ran.stderr.contains("error: alice: "), "{context}");
        assert_eq!(ran.stdout, "", "no verdict: {context}");
        assert!(world.snapshot() == before, "changed: {context}");
    }
    world.heal();
    repair(&world, &["--deep"]);
}

#[test]
fn trouble_in_the_middle_of_a_repair_keeps_what_was_found_by_then() {
    for nth in [4, 8, 14] {
        let world = world();
        let first = world.server.with(|lastfm| lastfm.log.total());
        let after = move |info: &fake_lastfm::RequestInfo| info.number >= first + nth;
        world.fault_when(usize::MAX, after, Fault::plain_500());
        let ran = of_alice(&world, &["--deep", "--repair"]).run();
        assert!([0, 2].contains(&ran.code()), "{ran:?}");
        world.everything("alice");
        world.heal();
        repair(&world, &["--deep"]);
        let everything = world.everything("alice");
        assert_eq!((everything.late.len(), everything.removed.len()), (2, 2));
    }
}

#[test]
fn one_wrong_total_writes_nothing() {
    thread::scope(|scope| {
        for total in [0, 1, 92, 94, 100_000] {
            scope.spawn(move || wrong_total_once(total));
        }
    });
}

#[track_caller]
fn wrong_total_once(total: usize) {
    let world = archived(daily(90, |_| true));
    let before = world.snapshot();
    for nth in 1..=3 {
        let request = world.server.with(|lastfm| lastfm.log.total()) + nth;
        let is_it = move |info: &fake_lastfm::RequestInfo| info.number == request;
        for how in [&[][..], &["--repair"]] {
            world.fault_when(1, is_it, Fault::WrongTotal(total));
            let ran = of_alice(&world, how).run();
            // A count that is wrong is looked into, and then nothing differs. Only of what is newer than the archive the count
            // is all that there is.
            assert_ne!(ran.code(), 1, "{total} {nth} {ran:?}");
            if ran.code() != 2 {
                let verdict = &ran.json_lines()[0];
                assert_eq!(verdict["vanished"], 0, "{total} {nth} {ran:?}");
                assert_eq!(
                    verdict["missing"], verdict["newer"],
                    "{total} {nth} {ran:?}"
                );
            }
            world.heal();
        }
    }
    assert!(world.snapshot() == before, "{total}");
    agrees(&world);
}

#[test]
fn totals_that_stay_wrong_are_trouble_or_a_disagreement_and_write_nothing() {
    thread::scope(|scope| {
        for total in [1, 7, 100_000] {
            for how in HOWS {
                scope.spawn(move || wrong_totals(total, how));
            }
        }
    });
}

#[track_caller]
fn wrong_totals(total: usize, how: &[&str]) {
    let world = archived(daily(90, |_| true));
    let before = world.snapshot();
    let is_page = |info: &fake_lastfm::RequestInfo| info.method == "user.getrecenttracks";
    world.fault_when(usize::MAX, is_page, Fault::WrongTotal(total));
    let ran = of_alice(&world, how).run();
    assert!([2, 3].contains(&ran.code()), "{total} {how:?} {ran:?}");
    assert!(world.snapshot() == before, "{total} {how:?} {ran:?}");
    world.heal();
    agrees(&world);
}

#[test]
fn one_answer_without_plays_removes_nothing() {
    thread::scope(|scope| {
        for how in HOWS {
            scope.spawn(move || no_plays_once(how));
        }
    });
}

#[track_caller]
fn no_plays_once(how: &[&str]) {
    let world = archived(daily(90, |_| true));
    for nth in [1, 2, 3, 5, 8, 11] {
        let request = world.server.with(|lastfm| lastfm.log.total()) + nth;
        let is_it = move |info: &fake_lastfm::RequestInfo| {
            info.number == request && info.method == "user.getrecenttracks"
        };
        world.fault_when(1, is_it, nothing_at_all());
        let ran = of_alice(&world, how).run();
        assert!([0, 2, 3].contains(&ran.code()), "{nth} {how:?} {ran:?}");
        let everything = world.everything("alice");
        let told = (everything.late.len(), everything.removed.len());
        assert_eq!(told, (0, 0), "{nth} {how:?} {ran:?}");
        world.heal();
        // What the wrong answer left among the first looks is taken back.
        of_alice(&world, &["--deep", "--repair"]).run().expect(0);
    }
    repair(&world, &["--deep"]);
}

#[test]
fn after_a_rate_limit_it_says_that_it_waits_and_can_be_told_to_end() {
    thread::scope(|scope| {
        for how in HOWS {
            for nth in [1, 4] {
                scope.spawn(move || {
                    let world = world();
                    let first = world.server.with(|lastfm| lastfm.log.total());
                    let after = move |info: &fake_lastfm::RequestInfo| info.number >= first + nth;
                    world.fault_when(usize::MAX, after, Fault::error(29));
                    let running = of_alice(&world, how).start();
                    running.wait_for_stderr("waiting for 60 s", Duration::from_secs(30));
                    running.signal(Signal::SIGINT);
                    let ran = running.finish().expect(2);
                    assert_eq!(ran.stdout, "");
                    world.everything("alice");
                    world.heal();
                    repair(&world, &["--deep"]);
                });
            }
        }
    });
}

#[test]
fn a_wait_that_last_fm_asks_for_is_honoured() {
    let world = archived(daily(5, |_| true));
    let retry_after_seconds = Some(120);
    world.fault(Fault::RateLimited {
        retry_after_seconds,
    });
    let running = world.program(&["verify"]).start();
    running.wait_for_stderr("waiting for 120 s", Duration::from_secs(20));
    running.signal(Signal::SIGTERM);
    running.finish().expect(2);
}

#[test]
fn an_unreachable_last_fm_is_trouble() {
    let world = archived(daily(5, |_| true));
    let nobody = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let before = world.snapshot();
    for how in HOWS {
        let program = of_alice(&world, how);
        let program = program.set("LASTFM_API_URL", format!("http://{address}/2.0/"));
        program.run().expect(2).says("not reachable");
    }
    assert!(world.snapshot() == before);
}

#[test]
fn the_key_is_in_no_output_however_much_is_logged() {
    // Whatever a program prints is searched for the key.
    let world = world();
    for how in HOWS {
        let program = of_alice(&world, how).set("RUST_LOG", "trace");
        program.run();
    }
    for fault in [Fault::error(10), Fault::Reset, Fault::Html(503)] {
        world.heal();
        world.fault_when(usize::MAX, |_| true, fault);
        let program = of_alice(&world, &[]).set("RUST_LOG", "trace");
        assert_ne!(program.run().code(), 0);
    }
    world.heal();
    verify_is_fine(&world);
}

#[track_caller]
fn verify_is_fine(world: &World) {
    let ran = of_alice(world, &[]).run().expect(0);
    assert_eq!(ran.json_lines()[0]["agrees"], true);
}
