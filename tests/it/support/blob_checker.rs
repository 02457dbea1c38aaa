//! Says whether an archive is what Last.fm has, from nothing but its files' paths and bytes.
//!
//! [`compare`] is pure; [`download`] brings the files of an Azure archive.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fake_lastfm::Play;
use jiff::Timestamp;
use jiff::tz::Offset;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::storage::Container;

/// What should be there.
pub(crate) struct Truth<'a> {
    /// The user's name in any case.
    pub(crate) user: &'a str,
    /// All plays, oldest first; inside a second the one that Last.fm lists last comes first.
    pub(crate) plays: &'a [Play],
}

/// The fields of a line, without `raw`.
const FIELDS: [&str; 14] = [
    "album",
    "album_mbid",
    "artist",
    "artist_mbid",
    "id",
    "ingested_at",
    "local_time",
    "mbid",
    "normalized_title",
    "source",
    "track",
    "url",
    "username",
    "uts",
];

/// Year, month and part of a data file.
type Place = (i16, i8, u32);

/// The data blobs below the user's prefix, path and bytes.
pub(crate) async fn download(container: &Container, user: &str) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for (name, _) in container.list(&format!("user={user}/")).await {
        let bytes = container.download(&name).await;
        files.push((name, bytes));
    }
    files
}

/// All lines of all files as JSON; a line that does not parse fails the test.
#[track_caller]
pub(crate) fn rows(files: &[(String, Vec<u8>)]) -> Vec<Value> {
    let lines = files.iter().flat_map(|(_, bytes)| {
        bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
    });
    lines
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// Compares the files of one user with what should be there. The error is the first difference, in words.
pub(crate) fn compare(truth: &Truth<'_>, files: &[(String, Vec<u8>)]) -> Result<(), String> {
    let user = truth.user.to_lowercase();
    let mut by_place: BTreeMap<Place, (&str, &[u8])> = BTreeMap::new();
    for (path, bytes) in files {
        by_place.insert(place(&user, path)?, (path, bytes));
    }
    let mut archived = Vec::new();
    let mut ids = BTreeSet::new();
    for (place, (path, bytes)) in by_place {
        let text = std::str::from_utf8(bytes).map_err(|error| format!("`{path}`: {error}"))?;
        if !text.is_empty() && !text.ends_with('\n') {
            return Err(format!("`{path}` does not end with a line feed"));
        }
        for (index, line) in text.lines().enumerate() {
            let in_line = |problem: String| format!("`{path}` line {}: {problem}", index + 1);
            let row: Value =
                serde_json::from_str(line).map_err(|error| in_line(error.to_string()))?;
            check_row(&user, &row).map_err(in_line)?;
            let uts = row["uts"].as_i64().unwrap();
            let date = Offset::UTC.to_datetime(Timestamp::from_second(uts).unwrap());
            if (date.year(), date.month()) != (place.0, place.1) {
                return Err(in_line(format!("second {uts} is of another month")));
            }
            if !ids.insert(row["id"].as_str().unwrap().to_owned()) {
                return Err(in_line(format!("id {} stands twice", row["id"])));
            }
            archived.push(row);
        }
    }
    compare_plays(truth.plays, &archived)?;
    check_ids(&user, &archived)
}

/// As multisets first, for the better message; then the order.
fn compare_plays(truth: &[Play], archived: &[Value]) -> Result<(), String> {
    // Last.fm's list is newest first; the archive has the seconds turned round, and inside a second Last.fm's order.
    let mut expected: Vec<Play> = truth.iter().rev().cloned().collect();
    expected.sort_by_key(|play| play.uts);
    let found: Vec<Play> = archived.iter().map(play).collect();
    let mut balance: HashMap<&Play, i64> = HashMap::new();
    for play in &expected {
        *balance.entry(play).or_default() += 1;
    }
    for play in &found {
        *balance.entry(play).or_default() -= 1;
    }
    let missing: Vec<_> = balance.iter().filter(|(_, count)| **count > 0).collect();
    let surplus: Vec<_> = balance.iter().filter(|(_, count)| **count < 0).collect();
    if !missing.is_empty() || !surplus.is_empty() {
        return Err(format!(
            "{} lines for {} plays; {} plays are missing, such as {:?}; {} are too many, such as {:?}",
            found.len(),
            expected.len(),
            missing.len(),
            missing.iter().min(),
            surplus.len(),
            surplus.iter().min(),
        ));
    }
    match (0..expected.len()).find(|index| expected[*index] != found[*index]) {
        None => Ok(()),
        Some(index) => Err(format!(
            "line {index} of all should be {:?} and is {:?}",
            expected[index], found[index]
        )),
    }
}

/// `user=rj/year=2024/month=05/part-0.ndjson`.
fn place(user: &str, path: &str) -> Result<Place, String> {
    let read = || {
        let rest = path.strip_prefix(&format!("user={user}/year="))?;
        let (year, rest) = rest.split_once("/month=")?;
        let (month, rest) = rest.split_once("/part-")?;
        let part = rest.strip_suffix(".ndjson")?;
        let place = (year.parse().ok()?, month.parse().ok()?, part.parse().ok()?);
        (year.len() == 4 && month.len() == 2).then_some(place)
    };
    read().ok_or_else(|| format!("`{path}` is no name of a data file"))
}

fn check_row(user: &str, row: &Value) -> Result<(), String> {
    let object = row.as_object().ok_or("no object")?;
    let fields: BTreeSet<_> = object.keys().map(String::as_str).collect();
    if fields.iter().copied().ne(FIELDS) {
        return Err(format!("the fields are {fields:?}"));
    }
    if !row["uts"].is_i64() {
        return Err("`uts` is no whole number".to_owned());
    }
    for field in FIELDS.iter().filter(|field| **field != "uts") {
        if !row[field].is_string() {
            return Err(format!("`{field}` is no text"));
        }
    }
    let text = |field: &str| row[field].as_str().unwrap();
    let same = |field: &str, wanted: &str| match text(field) {
        value if value == wanted => Ok(()),
        value => Err(format!("`{field}` is `{value}` and not `{wanted}`")),
    };
    same("username", user)?;
    same("source", "lastfm")?;
    same("normalized_title", text("track").trim())?;
    text("ingested_at")
        .parse::<Timestamp>()
        .map_err(|error| format!("`ingested_at`: {error}"))?;
    let local: Timestamp = text("local_time")
        .parse()
        .map_err(|error| format!("`local_time`: {error}"))?;
    if Some(local.as_second()) != row["uts"].as_i64() {
        return Err("`local_time` is another moment than `uts`".to_owned());
    }
    Ok(())
}

fn play(row: &Value) -> Play {
    let text = |field: &str| row[field].as_str().unwrap().to_owned();
    Play {
        uts: row["uts"].as_i64().unwrap(),
        artist: text("artist"),
        artist_mbid: text("artist_mbid"),
        track: text("track"),
        mbid: text("mbid"),
        album: text("album"),
        album_mbid: text("album_mbid"),
        url: text("url"),
    }
}

/// Computes every id again, counting equal plays of a second from 0 in the order of the lines.
fn check_ids(user: &str, rows: &[Value]) -> Result<(), String> {
    let mut ordinals: HashMap<String, u32> = HashMap::new();
    for row in rows {
        let (artist, track) = (row["artist"].as_str(), row["track"].as_str());
        let start = [
            user,
            &row["uts"].to_string(),
            artist.unwrap(),
            track.unwrap(),
        ]
        .join("\u{1f}");
        let ordinal = ordinals.entry(start.clone()).or_default();
        let wanted = hex_id(&format!("{start}\u{1f}{ordinal}"));
        *ordinal += 1;
        if row["id"] != wanted {
            return Err(format!("the id of {row} should be {wanted}"));
        }
    }
    Ok(())
}

/// The first 32 hex digits of SHA-256.
pub(crate) fn hex_id(text: &str) -> String {
    let hash = Sha256::digest(text);
    let number = u128::from_be_bytes(hash[..16].try_into().unwrap());
    format!("{number:032x}")
}
