//! Where a user's history stands, read from the end of the newest data file.

use super::{Archive, DataFile, DataName, Month};
use crate::scrobble::PlayId;
use crate::user::UserName;
use anyhow::{Context, bail};
use std::collections::HashSet;

/// How much is read at a time; holds some two hundred lines.
const CHUNK_BYTES: u64 = 64 * 1024;

/// The longest line that is believed. Last.fm's longest titles make lines of a few kilobytes.
const LINE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A tail this many seconds ahead of the clock is the future; less is two clocks that differ.
const TOLERATED_SECONDS: i64 = 5;

/// Where a user's archive ends, in terms of plays.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// `W`, the second of the newest archived play; nothing when there is none, which is not 0.
    pub newest: Option<i64>,
    /// The plays that the archive holds at that second, in all parts of its month.
    pub held: HashSet<PlayId>,
}

/// The newest data file with something in it.
#[derive(Clone, Debug)]
pub struct End {
    /// Its name.
    pub name: DataName,
    /// Its length, where the next block of that month must land.
    pub position: u64,
}

/// The end of a user's archive.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    /// What the plan needs of it.
    pub standing: Standing,
    /// What the append needs of it; nothing when nothing is archived.
    pub end: Option<End>,
}

impl Tail {
    /// Reads the tail of `user`. A tail that does not parse, or is dated later than `now` (seconds since 1970),
    /// is an error that names the file: the archive is never taken for empty because it cannot be read.
    pub async fn read(archive: &Archive, user: &UserName, now: i64) -> anyhow::Result<Self> {
        let files = archive.list(user).await?;
        Self::of_files(archive, &files, now).await
    }

    /// [`Tail::read`] for files that are already listed, in the order of their plays.
    pub async fn of_files(archive: &Archive, files: &[DataFile], now: i64) -> anyhow::Result<Self> {
        let files: Vec<&DataFile> = files.iter().filter(|file| file.length > 0).collect();
        let Some(last) = files.last() else {
            return Ok(Self::default());
        };
        let explain = |file: &DataFile| {
            format!(
                "the end of `{}` in {} cannot be trusted, so this user's sync stops here; \
                 look at the last line of that file",
                file.name,
                archive.place()
            )
        };
        let mut standing = Standing::default();
        for file in files
            .iter()
            .rev()
            .take_while(|file| file.name.month == last.name.month)
        {
            // A file that cannot be read for the moment is no file that cannot be trusted.
            let goes_on = read_backwards(archive, file, &mut standing)
                .await?
                .with_context(|| explain(file))?;
            if !goes_on {
                break;
            }
        }
        let newest = standing.newest.unwrap_or_default();
        if Month::of(newest) != last.name.month {
            let month = Month::of(newest);
            return Err(anyhow::anyhow!("its last play is of {month}"))
                .with_context(|| explain(last));
        }
        if newest > now + TOLERATED_SECONDS {
            return Err(anyhow::anyhow!(
                "its last play is dated {newest}, later than now ({now})"
            ))
            .with_context(|| explain(last));
        }
        let end = End {
            name: last.name.clone(),
            position: last.length,
        };
        Ok(Self {
            standing,
            end: Some(end),
        })
    }
}

/// The two fields of a line that matter here.
#[derive(serde::Deserialize)]
struct Line {
    uts: i64,
    id: String,
}

/// Collects the plays at the newest second from the end of one file. True when the whole file is of that
/// second, so that it may go on in the part before. The outer error is the store's, the inner one the file's.
async fn read_backwards(
    archive: &Archive,
    file: &DataFile,
    standing: &mut Standing,
) -> anyhow::Result<anyhow::Result<bool>> {
    let mut start = file.length;
    let mut unread: Vec<u8> = Vec::new();
    loop {
        match collect(&mut unread, start == 0, standing) {
            Ok(false) if start > 0 => {}
            Ok(reached_older) => return Ok(Ok(!reached_older)),
            Err(error) => return Ok(Err(error)),
        }
        let chunk_start = start.saturating_sub(CHUNK_BYTES);
        let mut chunk = Vec::from(archive.read(&file.name, chunk_start..start).await?);
        chunk.append(&mut unread);
        unread = chunk;
        start = chunk_start;
    }
}

/// Collects the plays at the newest second as far as lines are in hand. True when a line of an older second is reached.
fn collect(unread: &mut Vec<u8>, whole: bool, standing: &mut Standing) -> anyhow::Result<bool> {
    // Lines from the back; the first one in hand may be cut off in front, unless the file starts there.
    while let Some(line_start) = last_line_start(unread, whole) {
        let line = &unread[line_start..];
        let Some(text) = line.strip_suffix(b"\n") else {
            bail!("it does not end with a line feed")
        };
        let Line { uts, id } =
            serde_json::from_slice(text).context("its last line is no scrobble")?;
        let id = PlayId::from_hex(&id).context("the `id` of its last line is not 32 hex digits")?;
        if *standing.newest.get_or_insert(uts) != uts {
            return Ok(true);
        }
        standing.held.insert(id);
        unread.truncate(line_start);
    }
    if unread.len() as u64 > LINE_BYTES_MAX {
        bail!("its last line is longer than {LINE_BYTES_MAX} bytes");
    }
    Ok(false)
}

/// Where the last line of `bytes` starts, if it is there from its start on.
fn last_line_start(bytes: &[u8], whole: bool) -> Option<usize> {
    let (_, before_last) = bytes.split_last()?;
    match memchr::memrchr(b'\n', before_last) {
        Some(line_feed) => Some(line_feed + 1),
        None => whole.then_some(0),
    }
}
