//! What is known of plays that Last.fm no longer has: two append-only logs below `removed/user=…/`.
//!
//! `part-N.ndjson` is for readers: a play was removed, or has returned. `missing-N.ndjson` is for this program: a play was
//! not seen at a look, or was found again. The last line about an id decides. Only what is missing in two looks of two
//! runs is removed, so that one wrong answer of Last.fm removes nothing.

use super::held::HeldPlay;
use crate::archive::{Archive, DataFile, DataName, Landing, Place, Series};
use crate::scrobble::{PlayId, moment_of_block};
use crate::user::UserName;
use anyhow::Context;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Lines are collected into appends of about this many bytes.
const BLOCK_BYTES: usize = 1024 * 1024;

/// What is known of one user's removed plays, and where the next line about them must land.
#[derive(Debug)]
pub(crate) struct Ledger {
    user: UserName,
    removed: HashSet<PlayId>,
    /// Not seen at the last look at them.
    suspects: HashMap<PlayId, Suspicion>,
    removed_end: Place,
    missing_end: Place,
}

/// A look that did not see a play.
#[derive(Debug)]
struct Suspicion {
    /// The mark of the look's run.
    run: Box<str>,
    /// Second of the play.
    uts: i64,
}

/// What happened to a play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Event {
    /// Not seen at a look.
    Missing,
    /// Seen again before it was removed.
    Found,
    /// Missing in two looks of two runs.
    Removed,
    /// Removed, and seen again.
    Returned,
}

impl Event {
    fn series(self) -> Series {
        match self {
            Self::Missing | Self::Found => Series::Missing,
            Self::Removed | Self::Returned => Series::Removed,
        }
    }
}

/// A line of either log.
#[derive(Serialize)]
struct Line<'a> {
    username: &'a str,
    id: String,
    uts: i64,
    artist: &'a str,
    track: &'a str,
    event: Event,
    noticed_at: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<&'a str>,
}

/// What of a line is read again.
#[derive(Deserialize)]
struct Known {
    id: String,
    uts: i64,
    event: Event,
    #[serde(default)]
    run: Option<String>,
}

impl Ledger {
    /// Reads both logs of a user. A line that is none is an error that names the file.
    pub(super) async fn read(archive: &Archive, user: &UserName) -> anyhow::Result<Self> {
        let files = archive.list_removed(user).await?;
        let mut ledger = Self {
            removed_end: end_of(&files, user, Series::Removed),
            missing_end: end_of(&files, user, Series::Missing),
            ..Self::empty(user)
        };
        for file in &files {
            let take = |line: &[u8]| {
                let known: Known =
                    serde_json::from_slice(line).context("a line is no event of a play")?;
                let id = PlayId::from_hex(&known.id).context("its `id` is not 32 hex digits")?;
                anyhow::ensure!(
                    known.event.series() == file.name.series,
                    "the event belongs to another file"
                );
                let run = known.run.as_deref().unwrap_or_default();
                ledger.learn((id, known.uts), known.event, run);
                Ok(())
            };
            archive.each_line(file, take).await?;
        }
        Ok(ledger)
    }

    /// Nothing is known.
    pub(super) fn empty(user: &UserName) -> Self {
        Self {
            user: user.clone(),
            removed: HashSet::new(),
            suspects: HashMap::new(),
            removed_end: end_of(&[], user, Series::Removed),
            missing_end: end_of(&[], user, Series::Missing),
        }
    }

    /// Takes in a line.
    pub(super) fn learn(&mut self, (id, uts): (PlayId, i64), event: Event, run: &str) {
        match event {
            Event::Missing => {
                let run = run.into();
                self.suspects.insert(id, Suspicion { run, uts });
            }
            Event::Found => {
                self.suspects.remove(&id);
            }
            Event::Removed => {
                self.removed.insert(id);
            }
            Event::Returned => {
                self.removed.remove(&id);
            }
        }
    }

    /// Whether Last.fm no longer has this play.
    pub(crate) fn is_removed(&self, id: PlayId) -> bool {
        self.removed.contains(&id)
    }

    /// The mark of the run that did not see this play, unless it was seen again.
    pub(super) fn suspicion(&self, id: PlayId) -> Option<&str> {
        self.suspects.get(&id).map(|suspicion| &*suspicion.run)
    }

    /// Seconds before `end` of the plays that another run than `run` did not see, and that are neither found nor removed.
    pub(super) fn unsettled(&self, run: &str, end: i64) -> BTreeSet<i64> {
        let suspects = self.suspects.iter();
        suspects
            .filter(|(id, suspicion)| &*suspicion.run != run && !self.is_removed(**id))
            .map(|(_, suspicion)| suspicion.uts)
            .filter(|uts| *uts < end)
            .collect()
    }

    /// Writes the same event of several plays down. [`Landing::Stale`]: somebody else has written meanwhile.
    pub(super) async fn append(
        &mut self,
        archive: &Archive,
        event: Event,
        plays: &[HeldPlay],
        run: &str,
        now_ms: i64,
    ) -> anyhow::Result<Landing> {
        let noticed_at = moment_of_block(now_ms);
        let mut plays = plays.iter().peekable();
        while plays.peek().is_some() {
            let (mut block, mut told) = (Vec::new(), Vec::new());
            while let Some(play) = plays.next_if(|_| block.len() < BLOCK_BYTES) {
                let line = Line {
                    username: self.user.as_str(),
                    id: play.id.to_hex(),
                    uts: play.uts,
                    artist: &play.artist,
                    track: &play.track,
                    event,
                    noticed_at: &noticed_at,
                    run: (event.series() == Series::Missing).then_some(run),
                };
                serde_json::to_writer(&mut block, &line)?;
                block.push(b'\n');
                told.push((play.id, play.uts));
            }
            let end = match event.series() {
                Series::Removed => &mut self.removed_end,
                _ => &mut self.missing_end,
            };
            match archive.append(end, &Bytes::from(block)).await? {
                Landing::Landed => told
                    .into_iter()
                    .for_each(|play| self.learn(play, event, run)),
                Landing::Stale => return Ok(Landing::Stale),
            }
        }
        Ok(Landing::Landed)
    }
}

/// Where the next line of a series must land.
pub(super) fn end_of(files: &[DataFile], user: &UserName, series: Series) -> Place {
    let newest = files
        .iter()
        .filter(|file| file.name.series == series)
        .max_by_key(|file| file.name.part);
    let name = DataName {
        user: user.clone(),
        series,
        part: newest.map_or(0, |file| file.name.part),
    };
    Place {
        name,
        position: newest.map_or(0, |file| file.length),
    }
}
