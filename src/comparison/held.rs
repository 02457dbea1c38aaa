//! What the archive holds in some seconds: parts and late plays together.

use super::Comparison;
use super::seconds::{Seconds, Stretch};
use crate::archive::{DataFile, Month};
use crate::scrobble::PlayId;
use anyhow::Context;
use std::borrow::Cow;

/// An archived play, as far as a comparison needs it.
#[derive(Clone, Debug)]
pub(crate) struct HeldPlay {
    pub(crate) uts: i64,
    pub(crate) id: PlayId,
    pub(crate) artist: Box<str>,
    pub(crate) track: Box<str>,
}

impl HeldPlay {
    pub(super) fn new(uts: i64, id: PlayId, artist: &str, track: &str) -> Self {
        let (artist, track) = (artist.into(), track.into());
        Self {
            uts,
            id,
            artist,
            track,
        }
    }
}

/// The fields of a line that say which play it is.
#[derive(serde::Deserialize)]
struct Line<'a> {
    uts: i64,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    artist: Cow<'a, str>,
    #[serde(borrow)]
    track: Cow<'a, str>,
}

/// The two of them that say when.
#[derive(serde::Deserialize)]
struct Moment<'a> {
    uts: i64,
    #[serde(borrow)]
    id: Cow<'a, str>,
}

fn id_of(text: &str) -> anyhow::Result<PlayId> {
    PlayId::from_hex(text).context("its `id` is not 32 hex digits")
}

impl Comparison<'_> {
    /// Every archived play of the stretch, removed ones too.
    pub(super) async fn held(&self, stretch: Stretch) -> anyhow::Result<Vec<HeldPlay>> {
        let mut held = Vec::new();
        for file in self.files_of(stretch) {
            let take = |line: &[u8]| {
                let line: Line<'_> =
                    serde_json::from_slice(line).context("a line is no scrobble")?;
                if stretch.contains(line.uts) {
                    let id = id_of(&line.id)?;
                    held.push(HeldPlay::new(line.uts, id, &line.artist, &line.track));
                }
                Ok(())
            };
            self.environment.archive.each_line(file, take).await?;
        }
        Ok(held)
    }

    /// When the archive has plays in the stretch, those that are not removed.
    pub(crate) async fn seconds(&self, stretch: Stretch) -> anyhow::Result<Seconds> {
        let mut seconds = Vec::new();
        let each = |_: &DataFile, uts, id| {
            if stretch.contains(uts) && !self.ledger.is_removed(id) {
                seconds.push(uts);
            }
        };
        self.each_moment(self.files_of(stretch), each).await?;
        Ok(Seconds::new(seconds))
    }

    /// Tells second and id of each play in these files.
    pub(crate) async fn each_moment<'f>(
        &self,
        files: impl Iterator<Item = &'f DataFile>,
        mut each: impl FnMut(&DataFile, i64, PlayId),
    ) -> anyhow::Result<()> {
        for file in files {
            let take = |line: &[u8]| {
                let line: Moment<'_> =
                    serde_json::from_slice(line).context("a line is no scrobble")?;
                each(file, line.uts, id_of(&line.id)?);
                Ok(())
            };
            self.environment.archive.each_line(file, take).await?;
        }
        Ok(())
    }

    /// Whether Last.fm no longer has this play.
    pub(crate) fn is_removed(&self, id: PlayId) -> bool {
        self.ledger.is_removed(id)
    }

    /// The files that may hold plays of the stretch.
    fn files_of(&self, stretch: Stretch) -> impl Iterator<Item = &DataFile> {
        let first = stretch.from.map(Month::of);
        let last = Month::of(stretch.to);
        self.files.iter().filter(move |file| {
            file.name
                .series
                .month()
                .is_some_and(|month| first.is_none_or(|first| first <= month) && month <= last)
        })
    }
}
