//! Counting lines, which are plays.

use super::{Archive, DataFile};
use tokio::time::Instant;

/// How much is read at a time.
const CHUNK_BYTES: u64 = 4 * 1024 * 1024;

/// The lines of a file from the position `from` on. Nothing when the deadline passes before they are counted.
pub async fn count_lines(
    archive: &Archive,
    file: &DataFile,
    from: u64,
    deadline: Option<Instant>,
) -> anyhow::Result<Option<u64>> {
    let mut lines = 0;
    let mut start = from;
    while start < file.length {
        let end = (start + CHUNK_BYTES).min(file.length);
        let chunk = archive.read(&file.name, start..end);
        let chunk = match deadline {
            None => chunk.await?,
            Some(deadline) => match tokio::time::timeout_at(deadline, chunk).await {
                Ok(chunk) => chunk?,
                Err(_) => return Ok(None),
            },
        };
        lines += memchr::memchr_iter(b'\n', &chunk).count() as u64;
        start = end;
        // A directory answers at once, so the limit is not noticed while waiting.
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) && start < file.length {
            return Ok(None);
        }
    }
    Ok(Some(lines))
}
