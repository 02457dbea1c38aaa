//! What was played, and every change of it while work runs.

use fake_lastfm::{LastFm, Play};
use fastrand::Rng;

/// The user whose history is archived.
pub(crate) const USER: &str = "rj";

/// An addition and a deletion this close could lie between two answers of one invocation and cancel in `total`:
/// design.md, "What counting cannot see". The simulation keeps them apart.
const APART_MS: i64 = 125_000;

pub(crate) struct Entry {
    pub(crate) play: Play,
    /// Added below the present while work ran.
    pub(crate) late: bool,
    pub(crate) deleted: bool,
}

/// Every play that ever existed.
#[derive(Default)]
pub(crate) struct Truth {
    pub(crate) entries: Vec<Entry>,
    serial: u32,
    added_ms: i64,
    deleted_ms: i64,
}

impl Truth {
    fn add(&mut self, lastfm: &mut LastFm, uts: i64, late: bool) {
        self.serial += 1;
        let play = Play::new(
            uts,
            &format!("Artist {}", self.serial % 3),
            &format!("Track {}", self.serial),
        );
        self.put(lastfm, play, late);
    }

    fn put(&mut self, lastfm: &mut LastFm, play: Play, late: bool) {
        lastfm.user_mut(USER).history.add(play.clone());
        self.entries.push(Entry {
            play,
            late,
            deleted: false,
        });
    }

    /// The history before the first plan.
    pub(crate) fn begin(&mut self, lastfm: &mut LastFm, random: &mut Rng, now: i64) {
        self.added_ms = i64::MIN / 2;
        self.deleted_ms = i64::MIN / 2;
        let plays = match random.u32(0..10) {
            0 => 0,
            1 => 1,
            2..=7 => random.u32(2..60),
            _ => random.u32(60..200),
        };
        let gap_max = *random.choice(&[2, 200, 20_000, 600_000]).expect("some");
        let mut uts = now - i64::from(plays) * gap_max / 2 - random.i64(0..100);
        let mut left = plays;
        if random.u32(0..5) == 0 {
            let zero = random.u32(1..4);
            for second in 0..zero {
                let uts = i64::from(second * random.u32(0..2));
                self.add(lastfm, uts, false);
            }
        }
        while left > 0 {
            uts += random.i64(1..=gap_max);
            let tie = match random.u32(0..20) {
                0 => random.u32(2..40),
                1..=4 => random.u32(2..5),
                _ => 1,
            };
            for _ in 0..tie.min(left) {
                self.add(lastfm, uts, false);
                if random.u32(0..60) == 0 {
                    let repeat = self.entries.last().expect("just added").play.clone();
                    self.put(lastfm, repeat, false);
                }
            }
            left -= tie.min(left);
        }
    }

    /// One change, in words.
    ///
    /// With `small_blocks` a second can be cut between two blocks. When the second half of it is not there yet and a
    /// play of the first half is deleted, the counts agree and the rest is never seen (found by seed 14578290026372,
    /// before this rule): only seconds with one play lose it then.
    pub(crate) fn change(
        &mut self,
        lastfm: &mut LastFm,
        random: &mut Rng,
        now_ms: i64,
        small_blocks: bool,
    ) -> String {
        let now = now_ms.div_euclid(1_000);
        let may_add = now_ms - self.deleted_ms > APART_MS;
        let may_delete = now_ms - self.added_ms > APART_MS;
        match random.u32(0..10) {
            0..=3 if may_add => {
                self.added_ms = now_ms;
                let ahead = *random.choice(&[0, 0, 0, 1, 2, 90]).expect("some");
                let plays = random.u32(1..5);
                for _ in 0..plays {
                    self.add(lastfm, now + ahead, false);
                }
                // A play of the future enters a window only later.
                self.added_ms = now_ms + ahead * 1_000;
                format!("{plays} plays added at {}", now + ahead)
            }
            4 if may_add => {
                self.added_ms = now_ms;
                let some = random.usize(0..self.entries.len().max(1));
                let near = self
                    .entries
                    .get(some)
                    .map_or(now - 100, |entry| entry.play.uts);
                let uts = (near + random.i64(-1..=1)).clamp(0, now - 1);
                self.add(lastfm, uts, true);
                format!("a play inserted late at {uts}")
            }
            5..=6 if may_delete => {
                let plays = lastfm.user(USER).history.len();
                if plays == 0 {
                    return "nothing".to_owned();
                }
                let index = random.usize(0..plays);
                let history = &mut lastfm.user_mut(USER).history;
                let uts = history.get(index).expect("it is there").uts;
                if small_blocks && history.between(uts, uts + 1).len() > 1 {
                    return "nothing".to_owned();
                }
                self.deleted_ms = now_ms;
                let play = history.delete(index).expect("it is there");
                let entry = self.entries.iter_mut();
                let entry = entry
                    .rev()
                    .find(|entry| !entry.deleted && entry.play == play);
                entry.expect("every play has an entry").deleted = true;
                format!("deleted {} {}", play.uts, play.track)
            }
            _ => {
                let plays = self.entries.len();
                if plays == 0 {
                    return "nothing".to_owned();
                }
                // Long seconds are met more often, being more of the entries.
                let uts = self.entries[random.usize(0..plays)].play.uts;
                let shared = lastfm
                    .user_mut(USER)
                    .history
                    .shuffle_second(uts, random.u64(..));
                format!("{shared} plays at {uts} in another order")
            }
        }
    }
}
