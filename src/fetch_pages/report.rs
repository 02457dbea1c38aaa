//! What one work item did, counted as it happens.

use crate::archive::DataFile;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Counts of one work item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pages that came and were whole.
    pub pages: u32,
    /// Plays on them.
    pub plays_fetched: u64,
    /// Requests to Last.fm, retries included.
    pub requests: u32,
    /// Retries by cause.
    pub retries: BTreeMap<&'static str, u32>,
    /// Plays that were appended.
    pub plays: u64,
    /// Blocks that were appended.
    pub appends: u32,
    /// Bytes that were appended.
    pub append_bytes: u64,
    /// Second of the newest play that was appended.
    pub newest: Option<i64>,
    /// Plays in the window by Last.fm's count, once it has answered; a few more than are new.
    pub plays_left: Option<u64>,
}

impl Counts {
    /// `failing 2, unreachable 1`; empty without retries.
    pub fn retries_in_words(&self) -> String {
        let words: Vec<String> = self
            .retries
            .iter()
            .map(|(cause, count)| format!("{cause} {count}"))
            .collect();
        words.join(", ")
    }
}

/// The archive as an item found it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When it was looked at, in seconds since 1970.
    pub at: i64,
    /// The user's files.
    pub files: Vec<DataFile>,
    /// Second of the newest play.
    pub newest: Option<i64>,
}

/// Told after each change.
type Watcher<'a> = Box<dyn Fn(&Counts) + Send + Sync + 'a>;

/// The running counts, and somebody who watches them.
#[derive(Default)]
pub struct Report<'a> {
    counts: Mutex<Counts>,
    seen: Mutex<Option<Seen>>,
    watcher: Option<Watcher<'a>>,
}

impl<'a> Report<'a> {
    /// A report that tells `watcher` of each change.
    pub fn watched_by(watcher: impl Fn(&Counts) + Send + Sync + 'a) -> Self {
        Self {
            watcher: Some(Box::new(watcher)),
            ..Self::default()
        }
    }

    /// The counts so far.
    pub fn counts(&self) -> Counts {
        self.counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What the archive held before; nothing while it has not been read.
    pub fn seen(&self) -> Option<Seen> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn see(&self, seen: Seen) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
    }

    pub(super) fn plays_left(&self, total: u64) {
        self.count(|counts| counts.plays_left = Some(total));
    }

    pub(super) fn request(&self) {
        self.count(|counts| counts.requests += 1);
    }

    pub(super) fn retry(&self, cause: &'static str) {
        self.count(|counts| *counts.retries.entry(cause).or_default() += 1);
    }

    pub(super) fn page(&self, plays: usize) {
        self.count(|counts| {
            counts.pages += 1;
            counts.plays_fetched += plays as u64;
        });
    }

    pub(crate) fn append(&self, plays: usize, bytes: usize, newest: i64) {
        self.count(|counts| {
            counts.appends += 1;
            counts.plays += plays as u64;
            counts.append_bytes += bytes as u64;
            counts.newest = Some(newest);
        });
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut counts);
        if let Some(watcher) = &self.watcher {
            watcher(&counts);
        }
    }
}
