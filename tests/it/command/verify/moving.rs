//! The history changes between the requests of one verification: nothing false is noted, and the next one ends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fake_lastfm::{LastFm, Play};

use super::{daily, tree};
use crate::support::local_world::{DAY, NEW_YEAR_2020, World, play};
use crate::support::moving::MovingLastFm;
use crate::support::program::Ran;

/// An archive whose Last.fm changes while it is verified.
struct Moving {
    world: World,
    lastfm: MovingLastFm,
    /// How many changes are still to come.
    left: Arc<AtomicUsize>,
}

impl Moving {
    /// Before every so many requests, `change` gets the number of changes that are still to come.
    fn new(
        every: usize,
        change: impl Fn(&mut fake_lastfm::History, usize) + Send + 'static,
    ) -> Self {
        let left = Arc::new(AtomicUsize::new(0));
        let mut lastfm = LastFm::new();
        lastfm.add_user("Alice", daily(90, |_| true));
        let counter = Arc::clone(&left);
        let script = move |lastfm: &mut LastFm, request: usize| {
            let number = counter.load(Ordering::SeqCst);
            if request.is_multiple_of(every) && number > 0 {
                counter.store(number - 1, Ordering::SeqCst);
                change(&mut lastfm.user_mut("alice").history, number);
            }
        };
        let moving = Self {
            world: World::of(Vec::new()),
            lastfm: MovingLastFm::start(lastfm, script),
            left,
        };
        moving.run(&["sync"]).expect(0);
        moving.left.store(30, Ordering::SeqCst);
        moving
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let program = self.world.program(arguments);
        let program = program.set("LASTFM_API_URL", self.lastfm.url());
        let program = program.set("LASTFM_USERS", "alice");
        program
            .set("LASTFM_PAGE_SIZE", "10")
            .set("PAGES_PER_ITEM", "3")
            .run()
    }

    fn truth(&self) -> Vec<Play> {
        let plays = |lastfm: &mut LastFm| lastfm.user("alice").history.plays().cloned().collect();
        self.lastfm.with(plays)
    }

    /// Looks in every way while it moves, then repairs twice, the second time at rest.
    fn verify(&self) {
        let before = tree(&self.world.archive());
        for how in [&["verify"][..], &["verify", "--deep"]] {
            let code = self.run(how).code();
            assert!([0, 2, 3].contains(&code), "{code}");
            assert!(tree(&self.world.archive()) == before);
            self.left.store(30, Ordering::SeqCst);
        }
        let code = self.run(&["verify", "--repair", "--deep"]).code();
        assert!([0, 2, 3].contains(&code), "{code}");
        self.world.everything("alice");
        self.left.store(0, Ordering::SeqCst);
        self.run(&["verify", "--repair", "--deep"]).expect(0);
        self.run(&["verify", "--deep"]).expect(0);
        let everything = self.world.everything("alice");
        everything.assert_today(&self.truth());
    }
}

#[test]
fn plays_that_are_added_anywhere_remove_nothing() {
    for every in [1, 3] {
        for (place, name) in [(200 * DAY, "new"), (20 * DAY, "late"), (-50 * DAY, "first")] {
            let moving = Moving::new(every, move |history, number| {
                let second = place + i64::try_from(history.len() + number).unwrap();
                history.add(play(second, name));
            });
            moving.verify();
            let everything = moving.world.everything("alice");
            assert_eq!(everything.removed.len(), 0, "{name}");
        }
    }
}

#[test]
fn plays_that_are_deleted_meanwhile_are_noted_and_no_others() {
    for every in [1, 3] {
        let moving = Moving::new(every, |history, number| {
            history.delete(number);
        });
        moving.verify();
        let everything = moving.world.everything("alice");
        let gone = 270 - moving.truth().len();
        assert_eq!(everything.removed.len(), gone);
    }
}

#[test]
fn the_order_inside_a_second_may_change_meanwhile() {
    let moving = Moving::new(1, |history, _| {
        history.rotate_second(NEW_YEAR_2020 + 20 * DAY + 8 * 3_600);
    });
    moving.lastfm.with(|lastfm| {
        let history = &mut lastfm.user_mut("alice").history;
        let second = 20 * DAY + 8 * 3_600;
        history.add_all((0..25).map(|number| play(second, &format!("tie {number}"))));
    });
    moving.verify();
    let everything = moving.world.everything("alice");
    assert_eq!((everything.late.len(), everything.removed.len()), (25, 0));
}
