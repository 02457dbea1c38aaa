//! What one user played, and every change of it while work runs.

use fake_lastfm::{History, LastFm, Play};
use fastrand::Rng;
use std::collections::BTreeMap;

/// The users whose histories are archived, as Last.fm spells them.
pub(crate) const USERS: [&str; 3] = ["RJ", "ann_b", "Zed-9"];

/// An addition and a deletion this close, or one of them and a wrong total, could lie between two answers of one
/// invocation and cancel in `total`: design.md, "What counting cannot see". The simulation keeps them apart. An edit is both
/// at once, but takes the same place, so it hides nothing by itself; together with another order inside its second it
/// does, and is kept apart from that.
const APART_MS: i64 = 125_000;

/// A play as an archive tells it: second, artist, track.
pub(crate) type Key = (i64, String, String);

pub(crate) fn key(play: &Play) -> Key {
    (play.uts, play.artist.clone(), play.track.clone())
}

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
    /// How many equal plays Last.fm had, and from which moment on.
    pub(crate) counts: BTreeMap<Key, Vec<(i64, usize)>>,
    /// No page with this play comes, for as long as it is there.
    pub(crate) cursed: Option<Play>,
    serial: u32,
    added_ms: i64,
    deleted_ms: i64,
    edited_ms: i64,
    shuffled_ms: i64,
}

impl Truth {
    /// Somebody without plays.
    pub(crate) fn new(user: &'static str, lastfm: &mut LastFm) -> Self {
        lastfm.add_user(user, []);
        let never = i64::MIN / 2;
        Self {
            user,
            entries: Vec::new(),
            counts: BTreeMap::new(),
            cursed: None,
            serial: 0,
            added_ms: never,
            deleted_ms: never,
            edited_ms: never,
            shuffled_ms: never,
        }
    }

    /// The history before the first plan.
    pub(crate) fn begin(
        user: &'static str,
        lastfm: &mut LastFm,
        random: &mut Rng,
        now: i64,
    ) -> Self {
        let mut truth = Self::new(user, lastfm);
        let before_ms = i64::MIN / 2;
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
                truth.add(lastfm, uts, false, before_ms);
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
                truth.add(lastfm, uts, false, before_ms);
                if random.u32(0..60) == 0 {
                    let repeat = truth.entries.last().expect("just added").play.clone();
                    truth.put(lastfm, repeat, false, before_ms);
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

    /// A play of a track that nobody has played before.
    pub(crate) fn add(&mut self, lastfm: &mut LastFm, uts: i64, late: bool, now_ms: i64) {
        let play = self.fresh(uts);
        self.put(lastfm, play, late, now_ms);
    }

    fn fresh(&mut self, uts: i64) -> Play {
        self.serial += 1;
        let artist = format!("Artist {}", self.serial % 3);
        Play::new(uts, &artist, &format!("{} {}", self.user, self.serial))
    }

    fn put(&mut self, lastfm: &mut LastFm, play: Play, late: bool, now_ms: i64) {
        lastfm.user_mut(self.user).history.add(play.clone());
        self.note(&play, 1, now_ms);
        self.entries.push(Entry {
            play,
            late,
            deleted: false,
        });
    }

    /// Notes that Last.fm has so many more or fewer of a play from now on.
    fn note(&mut self, play: &Play, more: isize, now_ms: i64) {
        let counts = self.counts.entry(key(play)).or_default();
        let before = counts.last().map_or(0, |(_, count)| *count);
        let count = before.checked_add_signed(more).expect("not below 0");
        counts.push((now_ms, count));
    }

    /// How many of a play Last.fm has.
    pub(crate) fn count(&self, key: &Key) -> usize {
        let counts = self.counts.get(key);
        counts
            .and_then(|counts| counts.last())
            .map_or(0, |(_, count)| *count)
    }

    /// How many of a play Last.fm had at most.
    pub(crate) fn most(&self, key: &Key) -> usize {
        let counts = self.counts.get(key).into_iter().flatten();
        counts.map(|(_, count)| *count).max().unwrap_or(0)
    }

    /// Whether Last.fm had so many of a play at some moment since then, and whether it had fewer.
    pub(crate) fn since(&self, key: &Key, number: usize, since_ms: i64) -> (bool, bool) {
        let (mut had, mut lacked) = (false, false);
        let counts = self.counts.get(key).map_or(&[][..], Vec::as_slice);
        let first = counts.partition_point(|(from_ms, _)| *from_ms <= since_ms);
        let at_first = first.checked_sub(1).map_or(0, |before| counts[before].1);
        let later = counts[first..].iter().map(|(_, count)| *count);
        for count in std::iter::once(at_first).chain(later) {
            had |= count >= number;
            lacked |= count < number;
        }
        (had, lacked)
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
            self.add(lastfm, uts, false, now_ms);
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
        self.add(lastfm, uts, true, now_ms);
        format!("a play inserted late at {uts}")
    }

    /// Whether a play was inserted or deleted a moment ago.
    pub(crate) fn moves(&self, now_ms: i64) -> bool {
        now_ms - self.added_ms.max(self.deleted_ms) <= APART_MS
    }

    /// Deletes a play, of the second `archived` (the archive's newest) rather than of another.
    ///
    /// Where blocks are small (`careful`) a second can be cut between two of them. When a crash comes between them and a play of
    /// the first half is deleted, the counts agree and the rest is never seen: ARCHITECTURE.md, "What counting
    /// cannot see". Then only seconds with one play lose it.
    pub(crate) fn delete(
        &mut self,
        lastfm: &mut LastFm,
        random: &mut Rng,
        now_ms: i64,
        archived: Option<i64>,
        careful: bool,
    ) -> String {
        if now_ms - self.added_ms <= APART_MS {
            return "nothing".to_owned();
        }
        let history = &lastfm.user(self.user).history;
        let Some(index) = pick(history, random, archived, careful) else {
            return "nothing".to_owned();
        };
        self.deleted_ms = now_ms;
        let play = self.remove(lastfm, index, now_ms);
        format!("deleted {} {}", play.uts, play.track)
    }

    /// Takes the play at this index of the history away.
    pub(crate) fn remove(&mut self, lastfm: &mut LastFm, index: usize, now_ms: i64) -> Play {
        let history = &mut lastfm.user_mut(self.user).history;
        let play = history.delete(index).expect("it is there");
        self.gone(&play, now_ms);
        play
    }

    fn gone(&mut self, play: &Play, now_ms: i64) {
        self.note(play, -1, now_ms);
        let entries = self.entries.iter_mut();
        let entry = entries
            .rev()
            .find(|entry| !entry.deleted && entry.play == *play);
        entry.expect("every play has an entry").deleted = true;
    }

    /// Somebody corrects artist or track of a play, at the archive's newest second rather than at another. `careful` as
    /// for [`Self::delete`]: an edited play that had landed counts for one that had not.
    pub(crate) fn edit(
        &mut self,
        lastfm: &mut LastFm,
        random: &mut Rng,
        now_ms: i64,
        archived: Option<i64>,
        careful: bool,
    ) -> String {
        if now_ms - self.shuffled_ms <= APART_MS {
            return "nothing".to_owned();
        }
        let history = &lastfm.user(self.user).history;
        let Some(index) = pick(history, random, archived, careful) else {
            return "nothing".to_owned();
        };
        self.edited_ms = now_ms;
        let (old, new) = self.rename(lastfm, random, index, now_ms);
        format!("edited {} {} into {}", old.uts, old.track, new.track)
    }

    /// Gives the play at this index of the history another artist or track, now and then those of another play of its
    /// second.
    pub(crate) fn rename(
        &mut self,
        lastfm: &mut LastFm,
        random: &mut Rng,
        index: usize,
        now_ms: i64,
    ) -> (Play, Play) {
        let history = &lastfm.user(self.user).history;
        let old = history.get(index).expect("it is there").clone();
        let beside: Vec<Play> = history.between(old.uts, old.uts + 1).cloned().collect();
        let new = match random.u32(0..8) {
            0 => random.choice(&beside).expect("itself").clone(),
            1..=3 => Play {
                artist: format!("{}, corrected", old.artist),
                ..old.clone()
            },
            _ => self.fresh(old.uts),
        };
        if new != old {
            let history = &mut lastfm.user_mut(self.user).history;
            history.edit(index, |play| *play = new.clone());
            self.gone(&old, now_ms);
            self.note(&new, 1, now_ms);
            self.entries.push(Entry {
                play: new.clone(),
                late: true,
                deleted: false,
            });
        }
        (old, new)
    }

    /// A deleted play is there again.
    pub(crate) fn come_back(
        &mut self,
        lastfm: &mut LastFm,
        random: &mut Rng,
        now_ms: i64,
    ) -> String {
        if now_ms - self.deleted_ms <= APART_MS {
            return "nothing".to_owned();
        }
        match self.bring_back(lastfm, random, i64::MIN, now_ms) {
            Some(play) => {
                self.added_ms = now_ms;
                format!("{} {} is there again", play.uts, play.track)
            }
            None => "nothing".to_owned(),
        }
    }

    /// Lets one of the deleted plays since then be there again.
    pub(crate) fn bring_back(
        &mut self,
        lastfm: &mut LastFm,
        random: &mut Rng,
        since: i64,
        now_ms: i64,
    ) -> Option<Play> {
        // Not the cursed one: the archive may have passed it meanwhile.
        let cursed = self.cursed.as_ref();
        let deleted = self.entries.iter_mut().filter(|entry| {
            entry.deleted && entry.play.uts >= since && cursed != Some(&entry.play)
        });
        let entry = random.choice(deleted.collect::<Vec<_>>())?;
        (entry.deleted, entry.late) = (false, true);
        let play = entry.play.clone();
        self.note(&play, 1, now_ms);
        lastfm.user_mut(self.user).history.add(play.clone());
        Some(play)
    }

    /// The order inside a second changes. Long seconds are met more often, being more of the entries.
    pub(crate) fn shuffle(&mut self, lastfm: &mut LastFm, random: &mut Rng, now_ms: i64) -> String {
        if self.entries.is_empty() || now_ms - self.edited_ms <= APART_MS {
            return "nothing".to_owned();
        }
        self.shuffled_ms = now_ms;
        let uts = self.entries[random.usize(0..self.entries.len())].play.uts;
        let history = &mut lastfm.user_mut(self.user).history;
        let shared = history.shuffle_second(uts, random.u64(..));
        format!("{shared} plays at {uts} in another order")
    }
}

/// A play of the second `archived` rather than of another; with `careful` only one that has its second for itself.
fn pick(
    history: &History,
    random: &mut Rng,
    archived: Option<i64>,
    careful: bool,
) -> Option<usize> {
    if history.is_empty() {
        return None;
    }
    let at_archived = |uts| history.plays().position(|play| play.uts == uts);
    let index = archived
        .filter(|_| random.bool())
        .and_then(at_archived)
        .unwrap_or_else(|| random.usize(0..history.len()));
    let uts = history.get(index).expect("it is there").uts;
    (!careful || history.between(uts, uts + 1).len() == 1).then_some(index)
}
