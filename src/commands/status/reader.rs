//! What there is to tell of one user.

use crate::archive::{DataFile, DataName, Series, Tail, count_lines};
use crate::environment::Environment;
use crate::status::{Document, Moment};
use crate::user::UserName;
use jiff::Timestamp;
use std::collections::HashMap;

/// The last line of a file lies within so many bytes of its end, or its time is not told.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// Reads archives, and counts each line once however often it is asked.
#[derive(Default)]
pub(super) struct Reader {
    /// Bytes of a file that were counted, and the lines in them.
    counted: HashMap<DataName, (u64, u64)>,
}

/// What is known of one user.
pub(super) struct Standing {
    pub(super) user: UserName,
    /// Second of the newest play.
    pub(super) newest: Option<i64>,
    /// Lines in part files.
    pub(super) rows: u64,
    /// Lines in late files.
    pub(super) late: u64,
    /// Of both.
    pub(super) bytes: u64,
    /// Of both.
    pub(super) files: usize,
    /// When the newest play was archived.
    pub(super) ingested: Option<Moment>,
    pub(super) document: Option<Document>,
    /// Why the document could not be read.
    pub(super) trouble: Option<String>,
}

impl Standing {
    /// The last success: of an item, as the document tells, or of an append, as the archive itself does.
    pub(super) fn last_success(&self) -> Option<Moment> {
        let told = self.document.as_ref().and_then(|known| known.last_success);
        told.max(self.ingested)
    }

    /// Whether the last success is longer ago than this. Who never had one has waited since their first item; without
    /// an item and without a play there is nothing to wait for.
    pub(super) fn is_stale(&self, now: i64, after_hours: u32) -> bool {
        let since = || self.document.as_ref().and_then(|known| known.since);
        let last = self.last_success().or_else(since);
        last.is_some_and(|Moment(last)| now - last > i64::from(after_hours) * 3_600)
    }
}

impl Reader {
    pub(super) async fn read(
        &mut self,
        environment: &Environment,
        user: &UserName,
    ) -> anyhow::Result<Standing> {
        let archive = &environment.archive;
        let files = archive.list(user).await?;
        let tail = Tail::of_files(archive, &files, environment.clock.now()).await?;
        let (mut rows, mut late) = (0, 0);
        for file in &files {
            let lines = self.lines(environment, file).await?;
            match file.name.series {
                Series::Part(_) => rows += lines,
                _ => late += lines,
            }
        }
        let newest = tail.end.as_ref().map(|end| DataFile {
            name: end.name.clone(),
            length: end.position,
            modified_ms: None,
        });
        let ingested = match newest {
            Some(file) => ingested(environment, &file).await?,
            None => None,
        };
        let (document, trouble) = match environment.status.read(user).await {
            Ok(document) => (document, None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        Ok(Standing {
            user: user.clone(),
            newest: tail.standing.newest,
            rows,
            late,
            bytes: files.iter().map(|file| file.length).sum(),
            files: files.len(),
            ingested,
            document,
            trouble,
        })
    }

    async fn lines(&mut self, environment: &Environment, file: &DataFile) -> anyhow::Result<u64> {
        let counted = self.counted.get(&file.name).copied();
        // A file that has shrunk was cut, or is another one.
        let (from, before) = counted
            .filter(|(length, _)| *length <= file.length)
            .unwrap_or_default();
        let lines = count_lines(&environment.archive, file, from, None).await?;
        let lines = before + lines.unwrap_or(0);
        self.counted.insert(file.name.clone(), (file.length, lines));
        Ok(lines)
    }
}

/// When the last line of a file was archived.
async fn ingested(environment: &Environment, file: &DataFile) -> anyhow::Result<Option<Moment>> {
    let start = file.length.saturating_sub(LINE_BYTES_MAX);
    let end = environment.archive.read(&file.name, start..file.length);
    Ok(ingested_at(&end.await?))
}

fn ingested_at(end: &[u8]) -> Option<Moment> {
    #[derive(serde::Deserialize)]
    struct Line {
        ingested_at: String,
    }
    let line = end.strip_suffix(b"\n")?;
    let start = memchr::memrchr(b'\n', line).map_or(0, |line_feed| line_feed + 1);
    let Line { ingested_at } = serde_json::from_slice(&line[start..]).ok()?;
    let moment: Timestamp = ingested_at.parse().ok()?;
    Some(Moment(moment.as_second()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;
    const HOUR: i64 = 3_600;

    /// Hours ago: the document's beginning and last success, and the newest play's ingestion.
    #[track_caller]
    fn is_stale(since: Option<i64>, success: Option<i64>, ingested: Option<i64>) -> bool {
        let ago = |hours: Option<i64>| hours.map(|hours| Moment(NOW - hours * HOUR));
        let document = Document {
            since: ago(since),
            last_success: ago(success),
            ..Document::default()
        };
        let standing = Standing {
            user: UserName::new("rj").unwrap(),
            newest: None,
            rows: 0,
            late: 0,
            bytes: 0,
            files: 0,
            ingested: ago(ingested),
            document: since.map(|_| document),
            trouble: None,
        };
        standing.is_stale(NOW, 26)
    }

    #[test]
    fn a_user_is_stale_without_a_success_for_too_long() {
        assert!(!is_stale(None, None, None));
        assert!(!is_stale(Some(90), Some(26), None));
        assert!(is_stale(Some(90), Some(27), None));
        assert!(is_stale(Some(90), None, None));
        assert!(!is_stale(Some(9), None, None));
    }

    #[test]
    fn the_archive_tells_of_a_success_too() {
        assert!(!is_stale(None, None, Some(3)));
        assert!(is_stale(None, None, Some(27)));
        assert!(!is_stale(Some(90), Some(27), Some(3)));
        assert!(!is_stale(Some(90), Some(3), Some(27)));
    }

    #[test]
    fn the_last_line_tells_when_it_was_archived() {
        let line = |at: &str| format!("{{\"uts\":1,\"ingested_at\":\"{at}\"}}\n");
        let (old, new) = (
            line("2020-01-01T00:00:00Z"),
            line("2027-01-15T08:00:00.123456Z"),
        );
        assert_eq!(ingested_at(new.as_bytes()), Some(Moment(NOW)));
        assert_eq!(
            ingested_at(format!("{old}{new}").as_bytes()),
            Some(Moment(NOW))
        );
        assert_eq!(
            ingested_at(format!("cut off}}\n{new}").as_bytes()),
            Some(Moment(NOW))
        );
        assert_eq!(ingested_at(new.trim_end().as_bytes()), None);
        assert_eq!(ingested_at(b"{}\n"), None);
    }
}
