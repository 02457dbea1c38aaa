//! A repair that is killed, or told to stop, in the middle: the next one ends what it began, and nothing stands twice.

use std::thread;
use std::time::Duration;

use fake_lastfm::{Fault, histories};
use nix::sys::signal::Signal;

use super::{archived, assert_only_appended, repair};
use crate::support::local_world::{DAY, NEW_YEAR_2020, World, made_up};
use crate::support::program::Program;

/// Late plays, removed ones and edits in every month, and plays that the sync has to bring.
fn world() -> World {
    let world = archived(made_up(76, 400));
    let late = histories::made_up(77, 40, NEW_YEAR_2020 + 9, NEW_YEAR_2020 + 540 * DAY);
    let newest = world.truth("alice").last().unwrap().uts;
    let news = histories::made_up(78, 30, newest + 1, newest + 20 * DAY);
    world.change(|history| {
        for index in (0..25).rev() {
            history.delete(index * 15 + 2);
        }
        for index in 0..15 {
            history.edit(index * 21 + 5, |play| play.track.push_str(" (edited)"));
        }
        history.add_all(late);
        history.add_all(news);
    });
    world
}

fn repairing(world: &World) -> Program {
    let program = world.program(&["verify", "--repair", "--deep"]);
    let program = program.set("LASTFM_PAGE_SIZE", "10");
    program.set("PAGES_PER_ITEM", "2")
}

/// A whole repair needs about so many requests.
fn requests_of_a_repair() -> usize {
    let world = world();
    world.take_requests();
    repairing(&world).run().expect(0);
    world.take_requests()
}

#[test]
fn killed_at_any_moment_the_next_repair_ends_it() {
    let all = requests_of_a_repair();
    assert!(all > 60, "{all}");
    let step = all / 12;
    thread::scope(|scope| {
        for request in (1..all).step_by(step) {
            // Once stuck before an answer, once running on while the signal is on its way.
            for stuck in [true, false] {
                scope.spawn(move || ended_at(request, stuck, Signal::SIGKILL));
            }
        }
    });
}

#[test]
fn told_to_stop_it_keeps_what_it_has() {
    thread::scope(|scope| {
        for (request, signal) in [
            (1, Signal::SIGINT),
            (20, Signal::SIGTERM),
            (45, Signal::SIGINT),
        ] {
            scope.spawn(move || ended_at(request, true, signal));
        }
    });
}

#[track_caller]
fn ended_at(request: usize, stuck: bool, signal: Signal) {
    let world = world();
    let before = world.snapshot();
    let first = world.server.with(|lastfm| lastfm.log.total());
    let last = first + request;
    if stuck {
        world.fault_when(usize::MAX, move |info| info.number >= last, Fault::Hang);
    }
    let running = repairing(&world).start();
    let minute = Duration::from_mins(1);
    assert!(world.server.wait_until_requests(last, minute));
    running.signal(signal);
    let code = running.finish().code();
    let expected = if signal == Signal::SIGKILL {
        128 + 9
    } else {
        2
    };
    assert!(code == expected || !stuck, "{code} at request {request}");
    // Whatever is there by now is right, if not all.
    world.everything("alice");
    assert_only_appended(&before);
    world.heal();
    repairing(&world).run().expect(0);
    world
        .everything("alice")
        .assert_today(&world.truth("alice"));
    repair(&world, &["--deep"]);
}
