//! What is known about one user, and what an event makes of it. Pure: values in, values out.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest reason that is kept, in bytes.
const REASON_BYTES_MAX: usize = 1_000;

/// A second since 1970; RFC 3339 in the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

/// The document of one user, as it is stored. A field that is missing there is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Document {
    /// Whose it is.
    pub user: String,
    /// When the first item ended that left a document.
    pub since: Option<Moment>,
    /// When the last item ended that was a success: the archive was up to date, or a part had landed and more was to
    /// come.
    pub last_success: Option<Moment>,
    /// Second of the newest archived play.
    pub newest_uts: Option<i64>,
    /// The same in words.
    pub newest: Option<Moment>,
    /// Plays in the part files; nothing when they were too many to count in time.
    pub plays_archived: Option<u64>,
    /// Length of all part files together when [`Document::plays_archived`] was noted. Other lengths mean that somebody
    /// else has written, and that the plays have to be counted again.
    pub archive_bytes: Option<u64>,
    /// Plays that Last.fm has and the archive has not, by Last.fm's count; nothing when it is up to date.
    pub plays_left: Option<u64>,
    /// When they will have been archived, if it goes on as it went since [`Document::backfill`] began.
    pub estimated_done: Option<Moment>,
    /// The work since the archive was last up to date, from which the end is estimated.
    pub backfill: Option<Backfill>,
    /// The trouble since the last success.
    pub last_error: Option<LastError>,
    /// The last reconcile.
    pub last_reconcile: Option<LastReconcile>,
}

/// Items that were not the last of their chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backfill {
    /// When the first of them began.
    pub began: Moment,
    /// Plays that were archived since.
    pub plays: u64,
}

/// Why an item did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    /// When it ended.
    pub at: Moment,
    /// What was attempted and what came back.
    pub reason: String,
    /// What a person can do about it.
    pub hint: Option<String>,
}

/// One reconcile with all of its steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastReconcile {
    /// When its latest step ended.
    pub at: Moment,
    /// The mark that its steps share.
    pub run: String,
    /// How that step ended, in words.
    pub result: String,
    /// Late plays that were found and archived.
    pub late: u64,
    /// Plays that were recorded as removed.
    pub removed: u64,
    /// Plays that were recorded as returned.
    pub returned: u64,
    /// Plays that were missed for the first time.
    pub missing: u64,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A work item ended.
    Item(Item),
    /// A step of a reconcile ended.
    Reconcile(LastReconcile),
}

/// A work item that has ended.
#[derive(Clone, Debug)]
pub struct Item {
    /// When it began.
    pub began: Moment,
    /// When it ended.
    pub at: Moment,
    /// What the archive held when it began; nothing when that could not be read.
    pub held: Option<Held>,
    /// Plays that it archived.
    pub plays: u64,
    /// Bytes that it archived.
    pub bytes: u64,
    /// Second of the newest play that it archived.
    pub newest: Option<i64>,
    /// Plays that are left in its window, as far as Last.fm has told.
    pub left: Option<u64>,
    /// How it ended.
    pub end: End,
}

/// What the part files of an archive held.
#[derive(Clone, Copy, Debug, Default)]
pub struct Held {
    /// Their length.
    pub bytes: u64,
    /// Second of the newest play.
    pub newest: Option<i64>,
    /// Their plays, if the document could not tell.
    pub counted: Counted,
}

/// Plays that were counted in the archive itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counted {
    /// Nobody has counted: the next item does.
    #[default]
    No,
    /// There are too many to count in time, for every item.
    TooMany,
    /// So many.
    Plays(u64),
}

/// How an item ended.
#[derive(Clone, Debug)]
pub enum End {
    /// The archive holds the whole window.
    UpToDate,
    /// A part has landed, and another item does the rest.
    MoreToCome,
    /// The request budget was used up, which is nobody's mistake.
    Waiting,
    /// Something else was in its way.
    Trouble {
        /// What.
        reason: String,
        /// What a person can do about it.
        hint: Option<String>,
    },
}

impl Document {
    /// Whether it can tell how many plays so many bytes of part files hold, or that nobody can.
    pub fn describes(&self, bytes: u64) -> bool {
        bytes == 0 || self.archive_bytes == Some(bytes)
    }

    /// The document after this event.
    #[must_use]
    pub fn apply(self, user: &str, event: &Event) -> Self {
        let document = match event {
            Event::Item(item) => self.after_item(item),
            Event::Reconcile(step) => self.after_reconcile(step),
        };
        Self {
            user: user.to_owned(),
            ..document
        }
    }

    fn after_item(mut self, item: &Item) -> Self {
        self.since = self.since.or(Some(item.at));
        if let Some(held) = &item.held {
            self.newest_uts = item.newest.or(held.newest);
            self.newest = self.newest_uts.map(Moment);
            let (plays, is_known) = self.plays_in(held);
            self.plays_archived = plays.map(|plays| plays + item.plays);
            self.archive_bytes = is_known.then_some(held.bytes + item.bytes);
        }
        match &item.end {
            End::UpToDate => {
                self.plays_left = None;
                self.estimated_done = None;
                self.backfill = None;
            }
            End::MoreToCome | End::Waiting | End::Trouble { .. } => self.go_on(item),
        }
        match &item.end {
            End::UpToDate | End::MoreToCome => {
                self.last_success = self.last_success.max(Some(item.at));
                self.last_error = None;
            }
            End::Waiting => {}
            End::Trouble { reason, hint } => {
                self.last_error = Some(LastError {
                    at: item.at,
                    reason: shortened(reason),
                    hint: hint.clone(),
                });
            }
        }
        self
    }

    /// The plays that are held, and whether the document tells about these bytes from now on.
    fn plays_in(&self, held: &Held) -> (Option<u64>, bool) {
        match held.counted {
            _ if held.bytes == 0 => (Some(0), true),
            Counted::Plays(plays) => (Some(plays), true),
            Counted::TooMany => (None, true),
            Counted::No if self.describes(held.bytes) => (self.plays_archived, true),
            Counted::No => (None, false),
        }
    }

    /// There is more to do.
    fn go_on(&mut self, item: &Item) {
        self.plays_left = item.left.or(self.plays_left);
        let mut backfill = self.backfill.take().unwrap_or(Backfill {
            began: item.began,
            plays: 0,
        });
        backfill.plays += item.plays;
        if item.plays > 0 {
            let took_s = i128::from((item.at.0 - backfill.began.0).max(0));
            let left = i128::from(self.plays_left.unwrap_or(0));
            let left_s = took_s * left / i128::from(backfill.plays);
            let done = i64::try_from(i128::from(item.at.0) + left_s).ok();
            self.estimated_done = done.map(Moment);
        }
        self.backfill = Some(backfill);
    }

    /// The counts of a run add up over its steps.
    fn after_reconcile(mut self, step: &LastReconcile) -> Self {
        let earlier = self.last_reconcile.take();
        let mut sum = step.clone();
        sum.result = shortened(&sum.result);
        if let Some(earlier) = earlier.filter(|earlier| earlier.run == step.run) {
            sum.late += earlier.late;
            sum.removed += earlier.removed;
            sum.returned += earlier.returned;
            sum.missing += earlier.missing;
        }
        self.last_reconcile = Some(sum);
        self
    }
}

fn shortened(text: &str) -> String {
    text[..text.floor_char_boundary(REASON_BYTES_MAX)].to_owned()
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let moment = Timestamp::from_second(self.0).unwrap_or(Timestamp::MAX);
        serializer.collect_str(&moment)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let moment: Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        Ok(Self(moment.as_second()))
    }
}

#[cfg(test)]
mod tests;
