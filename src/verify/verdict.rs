//! What is asked of a verification, and what it says.

use super::sums::Sums;
use crate::archive::Month;
use crate::comparison::{Recorded, Stretch};
use std::collections::BTreeMap;

/// What is to be verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// The first second; nothing: from the beginning on.
    pub(crate) from: Option<i64>,
    /// The last second.
    pub(crate) to: i64,
    /// Up to now: together with no first second, the whole history.
    pub(crate) is_to_now: bool,
    /// Play by play, not by count.
    pub(crate) deep: bool,
    /// Write down what differs.
    pub(crate) repair: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// The seconds that were compared: as asked, or a little wider.
    pub(crate) range: Option<Stretch>,
    /// By month of play.
    pub(crate) months: BTreeMap<Month, Sums>,
    /// Last.fm shows them, the archive lacks them; newer ones too.
    pub(crate) missing: u64,
    /// Of the missing ones, those newer than everything in the archive: the sync has not brought them yet.
    pub(crate) newer: u64,
    /// The archive has them, Last.fm does not show them.
    pub(crate) vanished: u64,
    /// Plays that the profile counts and that have no date; nothing when it is not known.
    pub(crate) undated: Option<u64>,
    /// What was repaired.
    pub(crate) recorded: Recorded,
    /// Requests to Last.fm.
    pub(crate) requests: u32,
}

impl Verdict {
    /// All months together, and what is newer.
    pub(crate) fn sum(&self) -> Sums {
        let mut sum = Sums::default();
        for month in self.months.values() {
            sum.add(month);
        }
        sum.lastfm += i64::try_from(self.newer).unwrap_or(i64::MAX);
        sum
    }

    /// Whether the archive is what Last.fm shows: found so, or made so.
    pub(crate) fn agrees(&self) -> bool {
        let Recorded {
            late,
            removed,
            returned,
            ..
        } = self.recorded;
        let is_repaired = late + returned >= self.missing && removed >= self.vanished;
        let none = self.missing == 0 && self.vanished == 0;
        let mut months = self.months.values();
        (none || is_repaired) && months.all(|month| month.difference() == 0)
    }
}
