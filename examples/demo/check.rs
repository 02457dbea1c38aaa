//! Looks at an archive from outside: as files with JSON lines, without any code of the program.

use anyhow::Context;
use fake_lastfm::Play;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What the files hold.
#[derive(Default)]
pub(crate) struct Archive {
    /// By name.
    pub(crate) users: BTreeMap<String, User>,
    /// Data files.
    pub(crate) files: usize,
    /// Bytes in data files.
    pub(crate) bytes: u64,
    /// What is wrong with the files themselves.
    pub(crate) problems: Vec<String>,
}

/// One user's lines.
#[derive(Default)]
pub(crate) struct User {
    /// In the order of their months, parts and places.
    pub(crate) lines: Vec<Line>,
    /// Months with plays.
    pub(crate) months: usize,
}

/// One line: where it stands, and what it says.
pub(crate) struct Line {
    place: String,
    month: (i16, i8),
    json: Value,
}

impl Line {
    fn text(&self, field: &str) -> &str {
        self.json[field].as_str().unwrap_or_default()
    }

    fn uts(&self) -> i64 {
        self.json["uts"].as_i64().unwrap_or(i64::MIN)
    }

    fn month_of_play(&self) -> Option<(i16, i8)> {
        let moment = jiff::Timestamp::from_second(self.uts()).ok()?;
        let date = jiff::tz::Offset::UTC.to_datetime(moment);
        Some((date.year(), date.month()))
    }
}

impl Archive {
    /// All plays of all users.
    pub(crate) fn plays(&self) -> usize {
        self.users.values().map(|user| user.lines.len()).sum()
    }
}

/// Reads all lines. A last line without its line feed, as a killed process can leave one, is a problem, not a line.
pub(crate) fn read(directory: &Path) -> anyhow::Result<Archive> {
    let mut archive = Archive::default();
    let mut files = Vec::new();
    for path in files_below(directory)? {
        let name = path.strip_prefix(directory)?.display().to_string();
        match place_of(&name) {
            Some((user, month, part)) => files.push((user, month, part, path)),
            // The lock, and what people may want to know: no plays.
            None if name == ".lock" || name.starts_with("status/") => {}
            None => archive
                .problems
                .push(format!("`{name}` has no business in the archive")),
        }
    }
    files.sort();
    let mut newest = None;
    for (name, month, part, path) in files {
        let text = fs::read_to_string(&path)
            .with_context(|| format!("cannot read `{}`", path.display()))?;
        archive.files += 1;
        archive.bytes += text.len() as u64;
        let user = archive.users.entry(name.clone()).or_default();
        if newest.replace((name.clone(), month)) != Some((name.clone(), month)) {
            user.months += 1;
        }
        for (number, line) in (1..).zip(text.split_inclusive('\n')) {
            let place = format!(
                "{name} {}-{:02} part {part} line {number}",
                month.0, month.1
            );
            match serde_json::from_str(line) {
                Ok(json) if line.ends_with('\n') => user.lines.push(Line { place, month, json }),
                _ => archive
                    .problems
                    .push(format!("{place} is no whole JSON line")),
            }
        }
    }
    Ok(archive)
}

/// What differs between a user's lines and what was really played.
pub(crate) fn compare(name: &str, user: &User, truth: &[Play]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut ids = HashSet::new();
    for line in &user.lines {
        let id = line.text("id");
        if id.len() != 32 || !ids.insert(id) {
            problems.push(format!("{}: its id `{id}` is not its own", line.place));
        }
        if line.text("username") != name {
            problems.push(format!("{} is about another user", line.place));
        }
        if line.month_of_play() != Some(line.month) {
            problems.push(format!("{} is in the wrong month", line.place));
        }
    }
    for pair in user.lines.windows(2) {
        if pair[0].uts() > pair[1].uts() {
            problems.push(format!(
                "{} is older than the line before it",
                pair[1].place
            ));
        }
    }
    let mut counts: HashMap<_, i64> = HashMap::new();
    for play in truth {
        let key = (
            play.uts,
            play.artist.as_str(),
            play.track.as_str(),
            play.album.as_str(),
        );
        *counts.entry(key).or_default() += 1;
    }
    for line in &user.lines {
        let key = (
            line.uts(),
            line.text("artist"),
            line.text("track"),
            line.text("album"),
        );
        *counts.entry(key).or_default() -= 1;
    }
    let mut differences: Vec<_> = counts
        .into_iter()
        .filter(|(_, count)| *count != 0)
        .collect();
    differences.sort_unstable();
    for ((uts, artist, track, _), count) in differences {
        let what = if count > 0 {
            "is missing"
        } else {
            "should not be there"
        };
        problems.push(format!(
            "{name}: {artist:?} - {track:?} at {uts} {what} ({} times)",
            count.abs()
        ));
    }
    problems
}

/// A user's file with the oldest plays.
pub(crate) fn oldest_file(directory: &Path, user: &str) -> Option<PathBuf> {
    let mut files = files_below(&directory.join(format!("user={user}"))).ok()?;
    files.sort();
    files.into_iter().next()
}

fn files_below(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        let entries = fs::read_dir(&directory)
            .with_context(|| format!("cannot look into `{}`", directory.display()))?;
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                directories.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    Ok(files)
}

/// `user=alice/year=2024/month=05/part-0.ndjson` as user, month and part.
fn place_of(name: &str) -> Option<(String, (i16, i8), u32)> {
    let name = name.replace('\\', "/");
    let mut segments = name.split('/');
    let user = segments.next()?.strip_prefix("user=")?.to_owned();
    let year = segments.next()?.strip_prefix("year=")?.parse().ok()?;
    let month = segments.next()?.strip_prefix("month=")?.parse().ok()?;
    let part = segments
        .next()?
        .strip_prefix("part-")?
        .strip_suffix(".ndjson")?
        .parse()
        .ok()?;
    segments
        .next()
        .is_none()
        .then_some((user, (year, month), part))
}
