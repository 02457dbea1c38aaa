//! A user's data blobs with plays in their order, as they stand at a moment.

use crate::blobs::{Blob, Blobs};
use serde_json::Value;
use std::collections::BTreeMap;

/// What the names of a user's files with plays start with.
pub(crate) fn parts_prefix(user: &str) -> String {
    format!("user={}/", user.to_lowercase())
}

/// Whether a blob holds plays in their order.
pub(crate) fn is_part(name: &str) -> bool {
    name.starts_with("user=") && name.contains("/part-")
}

/// A user's data blobs with plays in their order.
pub(crate) fn parts<'a>(
    blobs: &'a Blobs,
    user: &str,
) -> impl Iterator<Item = (&'a String, &'a Blob)> {
    let prefix = parts_prefix(user);
    let files = blobs.containers.get("scrobbles").into_iter().flatten();
    files.filter(move |(name, _)| name.starts_with(&prefix) && is_part(name))
}

/// The second of the last line of the newest data blob: where a user's archive ends.
pub(crate) fn newest(blobs: &Blobs, user: &str) -> Option<i64> {
    let files = parts(blobs, user).filter(|(_, blob)| !blob.bytes.is_empty());
    let files: BTreeMap<Vec<u64>, &[u8]> = files
        .map(|(name, blob)| {
            let (_, place) = name.split_once('/').expect("a part has one");
            (numbers(place), blob.bytes.as_slice())
        })
        .collect();
    let (_, bytes) = files.last_key_value()?;
    let line = bytes.trim_ascii_end();
    let start = line.iter().rposition(|byte| *byte == b'\n');
    let line = &line[start.map_or(0, |start| start + 1)..];
    second(line)
}

/// When the play of a line was.
pub(crate) fn second(line: &[u8]) -> Option<i64> {
    let json: Value = serde_json::from_slice(line).ok()?;
    json["uts"].as_i64()
}

/// The numbers in a name: year, month and part.
pub(crate) fn numbers(name: &str) -> Vec<u64> {
    name.split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}
