//! What one user played, and every change of it while work runs.

use fake_lastfm::{LastFm, Play};
use fastrand::Rng;

/// The users whose histories are archived, as Last.fm spells them.
pub(crate) const USERS: [&str; 3] = ["RJ", "ann_b", "Zed-9"];

/// An addition and a deletion this close, or one of them and a wrong total, could lie between two answers of one
/// invocation and cancel in `total`: design.md, "What counting cannot see". The simulation keeps them apart.
const APART_MS: i64 = 125_000;

pub(crate) struct Entry {
    pub(crate) play: Play,
    /// Added below the present while work ran.
    pub(crate) late: bool,
    pub(crate) deleted: bool,
}

/// Every play that one user ever had.
pub(crate) struct Truth {
    pub(crate) user: &'static str,
    pub(crate) entries: Vec<Entry>,
    /// No page with this play comes, for as long as it is there.
    pub(crate) cursed: Option<Play>,
    serial: u32,
    added_ms: i64,
    deleted_ms: i64,
}

impl Truth {
    /// The history before the first plan.
    pub(crate) fn begin(
        user: &'static str,
        lastfm: &mut LastFm,
        random: &mut Rng,
        now: i64,
    ) -> Self {
        lastfm.add_user(user, []);
        let mut truth = Self {
            user,
            entries: Vec::new(),
            cursed: None,
            serial: 0,
            added_ms: i64::MIN / 2,
            deleted_ms: i64::MIN / 2,
        };
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
                truth.add(lastfm, uts, false);
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
                truth.add(lastfm, uts, false);
                if random.u32(0..60) == 0 {
                    let repeat = truth.entries.last().expect("just added").play.clone();
                    truth.put(lastfm, repeat, false);
                }
            }
            left -= tie.min(left);
        }
        if random.u32(0..60) == 0 && !truth.entries.is_empty() {
            let some = random.usize(0..truth.entries.len());
            truth.cursed = Some(truth.entries[some].play.clone());
        }
        truth
    }

    fn add(&mut self, lastfm: &mut LastFm, uts: i64, late: bool) {
        self.serial += 1;
        let artist = format!("Artist {}", self.serial % 3);
        let play = Play::new(uts, &artist, &format!("{} {}", self.user, self.serial));
        self.put(lastfm, play, late);
    }

    fn put(&mut self, lastfm: &mut LastFm, play: Play, late: bool) {
        lastfm.user_mut(self.user).history.add(play.clone());
        self.entries.push(Entry {
            play,
            late,
            deleted: false,
        });
    }

    /// The play with which no page comes, if it is still there.
    pub(crate) fn curse(&self) -> Option<&Play> {
        let cursed = self.cursed.as_ref()?;
        let is_there = |entry: &Entry| !entry.deleted && entry.play == *cursed;
        self.entries.iter().any(is_there).then_some(cursed)
    }

    /// New plays at the present, or a little ahead of it.
    pub(crate) fn listen(&mut self, lastfm: &mut LastFm, random: &mut Rng, now_ms: i64) -> String {
        if now_ms - self.deleted_ms <= APART_MS {
            return "nothing".to_owned();
        }
        let ahead = *random.choice(&[0, 0, 0, 1, 2, 90]).expect("some");
        let uts = now_ms.div_euclid(1_000) + ahead;
        let plays = random.u32(1..5);
        for _ in 0..plays {
            self.add(lastfm, uts, false);
        }
        // A play of the future enters a window only later.
        self.added_ms = now_ms + ahead * 1_000;
        format!("{plays} plays added at {uts}")
    }

    /// A play that reaches Last.fm late, at or beside a second that has plays.
    pub(crate) fn insert_late(
        &mut self,
        lastfm: &mut LastFm,
        random: &mut Rng,
        now_ms: i64,
    ) -> String {
        if now_ms - self.deleted_ms <= APART_MS {
            return "nothing".to_owned();
        }
        self.added_ms = now_ms;
        let now = now_ms.div_euclid(1_000);
        let some = random.usize(0..self.entries.len().max(1));
        let near = self.entries.get(some);
        let near = near.map_or(now - 100, |entry| entry.play.uts);
        let uts = (near + random.i64(-1..=1)).clamp(0, now - 1);
        self.add(lastfm, uts, true);
        format!("a play inserted late at {uts}")
    }

    /// Whether a play was inserted or deleted a moment ago.
    pub(crate) fn moves(&self, now_ms: i64) -> bool {
        now_ms - self.added_ms.max(self.deleted_ms) <= APART_MS
    }

    /// Deletes a play, of the second `archived` (the archive's newest) rather than of another.
    ///
    /// With `small_blocks` a second can be cut between two blocks. When a crash comes between them and a play of
    /// the first half is deleted, the counts agree and the rest is never seen: ARCHITECTURE.md, "What counting
    /// cannot see". Then only seconds with one play lose it.
    pub(crate) fn delete(
        &mut self,
        lastfm: &mut LastFm,
        random: &mut Rng,
        now_ms: i64,
        archived: Option<i64>,
        small_blocks: bool,
    ) -> String {
        let history = &mut lastfm.user_mut(self.user).history;
        if history.is_empty() || now_ms - self.added_ms <= APART_MS {
            return "nothing".to_owned();
        }
        let at_archived = |uts| history.plays().position(|play| play.uts == uts);
        let index = archived
            .filter(|_| random.bool())
            .and_then(at_archived)
            .unwrap_or_else(|| random.usize(0..history.len()));
        let uts = history.get(index).expect("it is there").uts;
        if small_blocks && history.between(uts, uts + 1).len() > 1 {
            return "nothing".to_owned();
        }
        self.deleted_ms = now_ms;
        let play = history.delete(index).expect("it is there");
        let entries = self.entries.iter_mut();
        let entry = entries
            .rev()
            .find(|entry| !entry.deleted && entry.play == play);
        entry.expect("every play has an entry").deleted = true;
        format!("deleted {} {}", play.uts, play.track)
    }

    /// The order inside a second changes. Long seconds are met more often, being more of the entries.
    pub(crate) fn shuffle(&mut self, lastfm: &mut LastFm, random: &mut Rng) -> String {
        if self.entries.is_empty() {
            return "nothing".to_owned();
        }
        let uts = self.entries[random.usize(0..self.entries.len())].play.uts;
        let history = &mut lastfm.user_mut(self.user).history;
        let shared = history.shuffle_second(uts, random.u64(..));
        format!("{shared} plays at {uts} in another order")
    }
}
