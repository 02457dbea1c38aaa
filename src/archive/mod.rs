//! The archive: NDJSON files that are only ever appended to, each append at a position that its writer expects.
//!
//! Two production stores, one behaviour: Azure append blobs and a local directory. There is no watermark file;
//! where a user's history stands is read from the newest data file ([`Tail`]), so data and progress cannot
//! disagree.

mod append_blobs;
mod count;
mod directory;
mod forget;
mod lines;
mod names;
#[cfg(test)]
mod properties;
mod tail;

pub use append_blobs::AppendBlobs;
pub use count::count_lines;
pub use directory::{Access, Directory};
pub use forget::UserFile;
pub use names::{DataName, Month, Series};
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub use tail::newest_second;
pub use tail::{End, Standing, Tail};

use crate::storage::{Service, explained};
use crate::user::UserName;
use anyhow::Context;
use bytes::Bytes;
use std::ops::Range;

/// Where the plays are kept.
#[derive(Debug)]
pub enum Archive {
    /// Append blobs in a container of an Azure storage account.
    Azure(Box<AppendBlobs>),
    /// Files below a local directory.
    Directory(Directory),
}

/// A data file and its length in bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DataFile {
    /// Its name; files are ordered by it.
    pub name: DataName,
    /// Bytes that are readable.
    pub length: u64,
    /// When it last changed, in milliseconds since 1970 by the service's clock. Nothing in a directory, which has one
    /// writer at a time.
    pub modified_ms: Option<i64>,
}

/// Where the next block must land.
#[derive(Clone, Debug)]
pub struct Place {
    /// The file to append to.
    pub name: DataName,
    /// The length that it must have.
    pub position: u64,
}

/// What became of one append to one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Appended {
    /// The block stands at its position.
    Landed,
    /// Something else stands there: another writer was first.
    Stale,
    /// The service takes no more blocks for this file.
    Full,
}

/// What became of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landing {
    /// It stands at its position.
    Landed,
    /// Another writer was first: whatever this one planned is stale.
    Stale,
}

impl Archive {
    /// A user's files with plays, [`Series::Part`] in the order of their plays, then [`Series::Late`]. Other files are
    /// left out.
    pub async fn list(&self, user: &UserName) -> anyhow::Result<Vec<DataFile>> {
        let files = match self {
            Self::Azure(blobs) => blobs.list(user, DataName::prefix(user)).await,
            Self::Directory(directory) => directory.list(user),
        };
        self.listed(user, files)
    }

    /// A user's files about plays that Last.fm no longer has.
    pub async fn list_removed(&self, user: &UserName) -> anyhow::Result<Vec<DataFile>> {
        let files = match self {
            Self::Azure(blobs) => blobs.list(user, DataName::removed_prefix(user)).await,
            Self::Directory(directory) => directory.list_removed(user),
        };
        self.listed(user, files)
    }

    fn listed(
        &self,
        user: &UserName,
        files: anyhow::Result<Vec<DataFile>>,
    ) -> anyhow::Result<Vec<DataFile>> {
        let mut files = files
            .map_err(refused)
            .with_context(|| format!("cannot list the archive of `{user}` in {}", self.place()))?;
        files.sort_unstable();
        Ok(files)
    }

    /// The bytes of `range`, all of them.
    pub async fn read(&self, name: &DataName, range: Range<u64>) -> anyhow::Result<Bytes> {
        let bytes = match self {
            Self::Azure(blobs) => blobs.read(name, range.clone()).await.map_err(refused),
            Self::Directory(directory) => directory.read(name, range.clone()),
        };
        let bytes = bytes.with_context(|| format!("cannot read `{name}` in {}", self.place()))?;
        anyhow::ensure!(
            bytes.len() as u64 == range.end - range.start,
            "cannot read `{name}` in {}: {} bytes came instead of {}",
            self.place(),
            bytes.len(),
            range.end - range.start
        );
        Ok(bytes)
    }

    /// Puts a block at its place and moves the place behind it; rolls over to the next part when, and only
    /// when, the service takes no more blocks for this one.
    pub async fn append(&self, place: &mut Place, block: &Bytes) -> anyhow::Result<Landing> {
        loop {
            let appended = match self {
                Self::Azure(blobs) => blobs.append(place, block).await.map_err(refused),
                Self::Directory(directory) => directory.append(place, block),
            };
            let name = &place.name;
            match appended
                .with_context(|| format!("cannot append to `{name}` in {}", self.place()))?
            {
                Appended::Landed => {
                    place.position += block.len() as u64;
                    return Ok(Landing::Landed);
                }
                Appended::Stale => return Ok(Landing::Stale),
                // A new part is empty or somebody else's, so this goes round once.
                Appended::Full => {
                    place.name.part += 1;
                    place.position = 0;
                }
            }
        }
    }

    /// The store in words, without any secret.
    pub fn place(&self) -> String {
        match self {
            Self::Azure(blobs) => format!("container `{}`", blobs.address()),
            Self::Directory(directory) => format!("directory `{}`", directory.root().display()),
        }
    }
}

/// What a refusal means, in front of it.
fn refused(error: anyhow::Error) -> anyhow::Error {
    explained(error, Service::Blobs)
}
