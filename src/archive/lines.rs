//! Reads a file line by line, a piece at a time.

use super::{Archive, DataFile};
use anyhow::{Context, bail};

/// How much is read at a time.
const CHUNK_BYTES: u64 = 1024 * 1024;

/// The longest line that is believed.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

impl Archive {
    /// Gives `take` each line of a file, without its line feed, up to the length that was listed. An error of `take`,
    /// and an end inside a line, name the file.
    pub async fn each_line(
        &self,
        file: &DataFile,
        mut take: impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut rest = Vec::new();
        let mut start = 0;
        while start < file.length {
            let end = (start + CHUNK_BYTES).min(file.length);
            let chunk = self.read(&file.name, start..end).await?;
            start = end;
            let whole = memchr::memrchr(b'\n', &chunk).map_or(0, |line_feed| line_feed + 1);
            let (lines, torn) = chunk.split_at(whole);
            if whole > 0 && !rest.is_empty() {
                let (line, lines) = lines.split_at(memchr::memchr(b'\n', lines).unwrap_or(0) + 1);
                rest.extend_from_slice(line);
                self.take_all(file, &rest, &mut take)?;
                self.take_all(file, lines, &mut take)?;
                rest.clear();
            } else {
                self.take_all(file, lines, &mut take)?;
            }
            rest.extend_from_slice(torn);
            if rest.len() > LINE_BYTES_MAX {
                bail!(
                    "{}: a line is longer than {LINE_BYTES_MAX} bytes",
                    self.distrust(file)
                );
            }
        }
        if !rest.is_empty() {
            bail!("{}: it does not end with a line feed", self.distrust(file));
        }
        Ok(())
    }

    fn take_all(
        &self,
        file: &DataFile,
        lines: &[u8],
        take: &mut impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            take(line).with_context(|| {
                let text = String::from_utf8_lossy(&line[..line.len().min(100)]);
                format!("{}, at `{}`", self.distrust(file), text.escape_debug())
            })?;
        }
        Ok(())
    }

    fn distrust(&self, file: &DataFile) -> String {
        format!(
            "`{}` in {} cannot be read as what it should be",
            file.name,
            self.place()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Access, DataName, Directory, Month, Series};
    use super::*;
    use crate::user::UserName;
    use futures::FutureExt;

    /// The lines of a file with these bytes, or why there are none.
    fn lines(bytes: &[u8]) -> anyhow::Result<Vec<usize>> {
        let folder = tempfile::tempdir().unwrap();
        let name = DataName {
            user: UserName::new("rj").unwrap(),
            series: Series::Late(Month::of(0)),
            part: 0,
        };
        let path = folder.path().join(name.to_string());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
        let archive = Archive::Directory(Directory::open(folder.path(), Access::Read).unwrap());
        let file = DataFile {
            name,
            length: bytes.len() as u64,
            modified_ms: None,
        };
        let mut lengths = Vec::new();
        let read = archive.each_line(&file, |line| {
            anyhow::ensure!(!line.is_empty(), "an empty line");
            lengths.push(line.len());
            Ok(())
        });
        read.now_or_never().unwrap().map(|()| lengths)
    }

    #[test]
    fn lines_come_whole_wherever_the_pieces_end() {
        assert_eq!(lines(b"").unwrap(), [0_usize; 0]);
        assert_eq!(lines(b"one\nthree\n").unwrap(), [3, 5]);
        let piece = usize::try_from(CHUNK_BYTES).unwrap();
        let lengths = [piece - 1, piece, 2 * piece + 3, 1, piece + 1, 5];
        let mut bytes = Vec::new();
        for length in lengths {
            bytes.extend(std::iter::repeat_n(b'x', length));
            bytes.push(b'\n');
        }
        assert_eq!(lines(&bytes).unwrap(), lengths);
    }

    #[test]
    fn what_is_no_line_is_told_with_its_file() {
        for (bytes, reason) in [
            (&b"one\ntw"[..], "line feed"),
            (b"one\n\n", "an empty line"),
        ] {
            let error = format!("{:#}", lines(bytes).unwrap_err());
            assert!(
                error.contains(reason) && error.contains("month=01/late-0.ndjson"),
                "{error}"
            );
        }
    }
}
