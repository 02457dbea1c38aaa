//! The history changes between the requests of one sync: whatever was there all the time is archived once, in order.

use std::sync::{Arc, Mutex};

use fake_lastfm::{LastFm, Play};

use crate::support::checker::Lines;
use crate::support::local_world::{DAY, NEW_YEAR_2020, World, made_up, plain, play};
use crate::support::moving::MovingLastFm;
use crate::support::program::Ran;

const SMALL_PAGES: [(&str, &str); 2] = [("LASTFM_PAGE_SIZE", "5"), ("PAGES_PER_ITEM", "3")];

/// A world whose Last.fm follows a script: it gets the core and the number of the request that comes.
struct Moving {
    world: World,
    lastfm: MovingLastFm,
}

impl Moving {
    fn new(plays: Vec<Play>, script: impl FnMut(&mut LastFm, usize) + Send + 'static) -> Self {
        let mut lastfm = LastFm::new();
        lastfm.add_user("Alice", plays);
        Self {
            world: World::of(Vec::new()),
            lastfm: MovingLastFm::start(lastfm, script),
        }
    }

    fn sync(&self) -> Ran {
        let mut program = self.world.sync().set("LASTFM_API_URL", self.lastfm.url());
        for (name, value) in SMALL_PAGES {
            program = program.set(name, value);
        }
        program.run()
    }

    fn lines(&self) -> Lines {
        self.world.lines("alice")
    }

    fn truth(&self) -> Vec<Play> {
        let plays = |lastfm: &mut LastFm| lastfm.user("alice").history.plays().cloned().collect();
        self.lastfm.with(plays)
    }
}

#[test]
fn new_plays_at_the_top_shift_the_pages_and_nothing_is_lost() {
    for every in [1, 2, 5] {
        let moving = Moving::new(plain(150), move |lastfm, request| {
            if request.is_multiple_of(every) && request < 50 {
                let second = 200 * DAY + i64::try_from(request).unwrap();
                lastfm
                    .user_mut("alice")
                    .history
                    .add(play(second, &format!("new {request}")));
            }
        });
        moving.sync().expect(0);
        moving.lines().assert_between(&plain(150), &moving.truth());
        moving.sync().expect(0);
        moving.lines().assert_complete(&moving.truth());
    }
}

#[test]
fn deletions_shift_the_pages_back_and_nothing_else_is_lost() {
    for every in [1, 3, 4] {
        let moving = Moving::new(plain(200), move |lastfm, request| {
            if request.is_multiple_of(every) && request < 40 {
                let history = &mut lastfm.user_mut("alice").history;
                history.delete(history.len() / 2);
            }
        });
        // A history that changes before every single answer may be given up, but not taken down wrong.
        let mut gave_up = 0;
        while moving.sync().code() == 2 {
            gave_up += 1;
            assert!(every == 1 && gave_up < 5, "gave up at one in {every}");
        }
        moving.lines().assert_between(&moving.truth(), &plain(200));
    }
}

#[test]
fn plays_inserted_anywhere_do_not_hide_others() {
    for every in [1, 3, 4] {
        let moving = Moving::new(plain(200), move |lastfm, request| {
            if request.is_multiple_of(every) && request < 40 {
                let second = (i64::try_from(request).unwrap() * 7_919) % 12_000;
                lastfm
                    .user_mut("alice")
                    .history
                    .add(play(second, &format!("late {request}")));
            }
        });
        moving.sync().expect(0);
        moving.lines().assert_between(&plain(200), &moving.truth());
    }
}

#[test]
fn a_second_whose_order_changes_with_every_answer_is_archived_once() {
    for ties in [4, 12, 40] {
        let mut history = plain(12);
        history.extend((0..ties).map(|number| play(330, &format!("tie {number}"))));
        // Also at the very end, where the window closes.
        history.extend((0..ties).map(|number| play(5_000, &format!("end {number}"))));
        let moving = Moving::new(history, |lastfm, request| {
            let history = &mut lastfm.user_mut("alice").history;
            history.shuffle_second(NEW_YEAR_2020 + 330, request as u64);
            history.rotate_second(NEW_YEAR_2020 + 5_000);
        });
        for _ in 0..2 {
            moving.sync().expect(0);
            moving.lines().assert_same_plays(&moving.truth());
        }
    }
}

#[test]
fn true_repeats_in_a_second_whose_order_changes_are_all_kept() {
    let mut history = plain(12);
    history.extend((0..30).map(|number| play(330, &format!("tie {}", number % 7))));
    history.push(play(900, "end"));
    let moving = Moving::new(history, |lastfm, request| {
        let history = &mut lastfm.user_mut("alice").history;
        history.shuffle_second(NEW_YEAR_2020 + 330, request as u64);
    });
    moving.sync().expect(0);
    moving.lines().assert_same_plays(&moving.truth());
}

#[test]
fn one_random_change_before_every_answer_harms_nothing_that_was_always_there() {
    for seed in 0..12 {
        println!("seed {seed}");
        let ever = Arc::new(Mutex::new(made_up(seed, 160)));
        let seen = Arc::clone(&ever);
        let mut random = fastrand::Rng::with_seed(seed);
        let start = made_up(seed, 160);
        let end = start.last().unwrap().uts;
        let moving = Moving::new(start.clone(), move |lastfm, request| {
            let history = &mut lastfm.user_mut("alice").history;
            let index = random.usize(..history.len().max(1));
            let near = history.get(index).map_or(NEW_YEAR_2020, |play| play.uts);
            let uts = match random.u8(..if request < 80 { 9 } else { 1 }) {
                1 => Some(end + i64::try_from(request).unwrap()),
                2 => Some(near),
                3 => Some(near + 1),
                4 | 5 => {
                    history.delete(index);
                    None
                }
                6 | 7 => {
                    history.rotate_second(near);
                    None
                }
                _ => None,
            };
            if let Some(uts) = uts {
                let play = Play::new(uts, "Changed", &format!("{request}"));
                seen.lock().unwrap().push(play.clone());
                history.add(play);
            }
        });
        moving.sync().expect(0);
        moving.sync().expect(0);
        let mut throughout = moving.truth();
        throughout.retain(|play| start.contains(play));
        moving
            .lines()
            .assert_between(&throughout, &ever.lock().unwrap());
    }
}
