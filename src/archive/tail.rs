//! Where a user's history stands, read from the end of the newest data file.

use super::{Archive, DataFile, DataName, Month, Series};
use crate::scrobble::PlayId;
use crate::user::UserName;
use anyhow::{Context, bail};
use std::collections::HashSet;
use std::ops::Range;

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

    /// [`Tail::read`] for files that are already listed, in their order. Only [`Series::Part`] counts: nothing else says
    /// where the archive ends.
    pub async fn of_files(archive: &Archive, files: &[DataFile], now: i64) -> anyhow::Result<Self> {
        let is_part = |file: &&DataFile| matches!(file.name.series, Series::Part(_));
        let files: Vec<&DataFile> = files
            .iter()
            .filter(|file| is_part(file) && file.length > 0)
            .collect();
        let Some(last) = files.last() else {
            return Ok(Self::default());
        };
        let mut standing = Standing::default();
        for file in files
            .iter()
            .rev()
            .take_while(|file| file.name.series == last.name.series)
        {
            if !read_backwards(archive, file, &mut standing).await? {
                break;
            }
        }
        let newest = standing.newest.unwrap_or_default();
        if Series::Part(Month::of(newest)) != last.name.series {
            let month = Month::of(newest);
            return Err(anyhow::anyhow!("its last play is of {month}"))
                .with_context(|| distrust(archive, last));
        }
        if newest > now + TOLERATED_SECONDS {
            return Err(anyhow::anyhow!(
                "its last play is dated {newest}, later than now ({now})"
            ))
            .with_context(|| distrust(archive, last));
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

fn distrust(archive: &Archive, file: &DataFile) -> String {
    format!(
        "the end of `{}` in {} cannot be trusted, so this user's sync stops here; \
         look at the last line of that file",
        file.name,
        archive.place()
    )
}

/// The two fields of a line that matter here.
#[derive(serde::Deserialize)]
struct Line {
    uts: i64,
    id: String,
}

/// Collects the plays at the newest second from the end of one file. True when the whole file is of that
/// second, so that it may go on in the part before.
async fn read_backwards(
    archive: &Archive,
    file: &DataFile,
    standing: &mut Standing,
) -> anyhow::Result<bool> {
    let mut end = Backwards::new(file.length, CHUNK_BYTES);
    loop {
        let next = end.collect(standing);
        match next.with_context(|| distrust(archive, file))? {
            // What cannot be read for the moment is not what cannot be trusted.
            Next::Read(range) => end.put(&archive.read(&file.name, range).await?),
            Next::PartBefore => return Ok(true),
            Next::OlderSecond => return Ok(false),
        }
    }
}

/// One file, read from its end. Pure: it says what it wants to read and is given it.
struct Backwards {
    /// How much of the file, from its start, has not been read.
    start: u64,
    /// What was read and holds no whole line yet, or lines that are not judged yet.
    unread: Vec<u8>,
    chunk_bytes: u64,
}

/// How reading goes on.
enum Next {
    /// These bytes are wanted.
    Read(Range<u64>),
    /// The whole file is of one second.
    PartBefore,
    /// A line of an older second is reached.
    OlderSecond,
}

impl Backwards {
    fn new(length: u64, chunk_bytes: u64) -> Self {
        Self {
            start: length,
            unread: Vec::new(),
            chunk_bytes,
        }
    }

    /// Takes the bytes that [`Next::Read`] asked for.
    fn put(&mut self, chunk: &[u8]) {
        self.unread.splice(..0, chunk.iter().copied());
        self.start -= chunk.len() as u64;
    }

    /// Collects the plays at the newest second as far as lines are in hand.
    fn collect(&mut self, standing: &mut Standing) -> anyhow::Result<Next> {
        // Lines from the back; the first one in hand may be cut off in front, unless the file starts there.
        while let Some(line_start) = last_line_start(&self.unread, self.start == 0) {
            let line = &self.unread[line_start..];
            let Some(text) = line.strip_suffix(b"\n") else {
                bail!("it does not end with a line feed")
            };
            // Fields that are not asked for are skipped unread, and a struct would be read from an array as well.
            let text = std::str::from_utf8(text)
                .ok()
                .filter(|text| text.starts_with('{'))
                .context("its last line is no scrobble")?;
            let Line { uts, id } =
                serde_json::from_str(text).context("its last line is no scrobble")?;
            let id =
                PlayId::from_hex(&id).context("the `id` of its last line is not 32 hex digits")?;
            if *standing.newest.get_or_insert(uts) != uts {
                return Ok(Next::OlderSecond);
            }
            standing.held.insert(id);
            self.unread.truncate(line_start);
        }
        if self.start == 0 {
            return Ok(Next::PartBefore);
        }
        if self.unread.len() as u64 > LINE_BYTES_MAX {
            bail!("its last line is longer than {LINE_BYTES_MAX} bytes");
        }
        Ok(Next::Read(
            self.start.saturating_sub(self.chunk_bytes)..self.start,
        ))
    }
}

/// What the parts of a month hold at its newest second, read in chunks of `chunk_bytes`: for tests and fuzzing.
#[cfg(any(test, fuzzing))]
pub fn newest_second(parts: &[impl AsRef<[u8]>], chunk_bytes: usize) -> anyhow::Result<Standing> {
    let mut standing = Standing::default();
    for part in parts.iter().rev().map(AsRef::as_ref) {
        let mut end = Backwards::new(part.len() as u64, chunk_bytes as u64);
        let mut unread = part;
        loop {
            match end.collect(&mut standing)? {
                Next::Read(range) => {
                    let chunk;
                    (unread, chunk) = unread.split_at(usize::try_from(range.start)?);
                    end.put(chunk);
                }
                Next::PartBefore => break,
                Next::OlderSecond => return Ok(standing),
            }
        }
    }
    Ok(standing)
}

/// Where the last line of `bytes` starts, if it is there from its start on.
fn last_line_start(bytes: &[u8], whole: bool) -> Option<usize> {
    let (_, before_last) = bytes.split_last()?;
    match memchr::memrchr(b'\n', before_last) {
        Some(line_feed) => Some(line_feed + 1),
        None => whole.then_some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"uts":7,"id":"00000000000000000000000000000001"}"#;

    #[track_caller]
    fn refused(text: impl AsRef<[u8]>, reason: &str) {
        let error = newest_second(&[text], 10).unwrap_err();
        assert!(format!("{error:#}").contains(reason), "{error:#}");
    }

    #[test]
    fn what_is_no_line_of_the_archive_is_no_tail() {
        assert_eq!(
            newest_second(&[format!("{LINE}\n")], 10).unwrap().newest,
            Some(7)
        );
        refused(LINE, "does not end with a line feed");
        refused(format!("{LINE}\n\n"), "no scrobble");
        refused(
            b"{\"uts\":7,\"id\":\"00000000000000000000000000000001\",\"raw\":\"\xff\"}\n",
            "no scrobble",
        );
        refused("[7,\"00000000000000000000000000000001\"]\n", "no scrobble");
        refused(
            LINE.replace("01\"", "1\"").replace('}', "}\n"),
            "not 32 hex digits",
        );
    }
}
