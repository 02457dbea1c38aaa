//! Writes down what differs: late plays in their months, and what happened to archived ones.

use super::Comparison;
use super::differences::Differences;
use super::held::HeldPlay;
use super::ledger::{Event, end_of};
use crate::archive::{DataFile, End, Landing, Place, Series};
use crate::fetch_pages::{Block, Blocks, Report};
use crate::scrobble::{LineWriter, Play, PlayId};
use bytes::Bytes;

/// What was written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// Plays that the archive lacked.
    pub(crate) late: u64,
    /// Plays that Last.fm no longer has, after a second look.
    pub(crate) removed: u64,
    /// Removed plays that Last.fm has again.
    pub(crate) returned: u64,
    /// Plays that were not seen at a first look.
    pub(crate) missing: u64,
}

impl Recorded {
    /// Adds what another look came to.
    pub(crate) fn add(&mut self, other: Self) {
        self.late += other.late;
        self.removed += other.removed;
        self.returned += other.returned;
        self.missing += other.missing;
    }
}

impl Comparison<'_> {
    /// Writes down what one look has found. Nothing when somebody else writes about the same user at the moment: what was
    /// compared is no longer what the archive holds. What has landed by then stays, and is no difference any more.
    ///
    /// The archive must be quiet ([`Comparison::quiet_in`]).
    pub(crate) async fn record(
        &mut self,
        differences: Differences,
        report: &Report<'_>,
    ) -> anyhow::Result<Option<Recorded>> {
        let Differences {
            lacking,
            vanished,
            returned,
            seen_again,
        } = differences;
        let late = lacking.len() as u64;
        if self.append_late(lacking, report).await? == Landing::Stale {
            return Ok(None);
        }
        let (removed, missing): (Vec<HeldPlay>, Vec<HeldPlay>) = vanished
            .into_iter()
            // Not seen in this very run before: that is the same look.
            .filter(|play| self.ledger.suspicion(play.id) != Some(self.run.as_str()))
            .partition(|play| self.ledger.suspicion(play.id).is_some());
        // A return ends the suspicion first: a crash between the two leaves it to be noticed again, the other way round
        // one look would remove the play the next time.
        for (event, plays) in [
            (Event::Missing, &missing),
            (Event::Removed, &removed),
            (Event::Found, &seen_again),
            (Event::Returned, &returned),
        ] {
            let now_ms = self.environment.clock.now_ms();
            let archive = &self.environment.archive;
            let append = self.ledger.append(archive, event, plays, &self.run, now_ms);
            if append.await? == Landing::Stale {
                return Ok(None);
            }
        }
        Ok(Some(Recorded {
            late,
            removed: removed.len() as u64,
            returned: returned.len() as u64,
            missing: missing.len() as u64,
        }))
    }

    /// Appends plays, oldest first.
    async fn append_late(
        &mut self,
        plays: Vec<(Play, PlayId)>,
        report: &Report<'_>,
    ) -> anyhow::Result<Landing> {
        let user = self.user.clone();
        let writer = LineWriter::new(&user, self.environment.clock.now_ms());
        // The archive's newest second is not behind it: there the sync may append as well, and so both go by the same
        // position. Its plays come last, and blocks end at whole seconds, so they have blocks of their own.
        let newest = self.newest();
        let (at_newest, late): (Vec<_>, Vec<_>) = plays
            .into_iter()
            .partition(|(play, _)| Some(play.uts) == newest);
        let limit = self.environment.block_bytes_max;
        for block in Blocks::new(late.into_iter(), writer, limit) {
            let block = block?;
            let place = end_of(&self.files, &user.name, Series::Late(block.month));
            if self.append(block, place, report).await? == Landing::Stale {
                return Ok(Landing::Stale);
            }
        }
        let writer = LineWriter::new(&user, self.environment.clock.now_ms());
        for block in Blocks::new(at_newest.into_iter(), writer, limit) {
            let Some(end) = self.tail.end.clone() else {
                continue;
            };
            let place = Place {
                name: end.name,
                position: end.position,
            };
            if self.append(block?, place, report).await? == Landing::Stale {
                return Ok(Landing::Stale);
            }
        }
        Ok(Landing::Landed)
    }

    async fn append(
        &mut self,
        block: Block,
        mut place: Place,
        report: &Report<'_>,
    ) -> anyhow::Result<Landing> {
        let bytes = Bytes::from(block.lines);
        let archive = &self.environment.archive;
        if archive.append(&mut place, &bytes).await? == Landing::Stale {
            return Ok(Landing::Stale);
        }
        report.append(block.plays, bytes.len(), block.newest);
        if matches!(place.name.series, Series::Part(_)) {
            self.tail.end = Some(End {
                name: place.name.clone(),
                position: place.position,
            });
        }
        let known = self.files.iter_mut().find(|file| file.name == place.name);
        match known {
            Some(file) => file.length = place.position,
            None => self.files.push(DataFile {
                name: place.name,
                length: place.position,
                modified_ms: None,
            }),
        }
        Ok(Landing::Landed)
    }
}
