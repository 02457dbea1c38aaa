//! Judges an archive on disk by the design alone. Shares no code with the program.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use fake_lastfm::Play;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use jsonschema::Validator;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The lines of one user's archive, in the archive's order. Each was judged by itself when it was read.
#[derive(Debug)]
pub(crate) struct Lines(pub(crate) Vec<Value>);

/// Reads and judges all data files of a user whose local times are in `zone`.
#[track_caller]
pub(crate) fn read(root: &Path, user: &str, zone: &str) -> Lines {
    let zone = TimeZone::get(zone).unwrap();
    let mut files: BTreeMap<(i16, i8, u32), PathBuf> = BTreeMap::new();
    for file in files_below(&root.join(format!("user={user}"))) {
        if let Some(place) = place(root, user, &file) {
            files.insert(place, file);
        }
    }
    let mut lines = Vec::new();
    for ((year, month, _), file) in files {
        let text = String::from_utf8(fs::read(&file).unwrap()).expect("a data file is UTF-8");
        let whole = text.is_empty() || text.ends_with('\n');
        assert!(whole, "{} does not end with a line feed", file.display());
        for text in text.lines() {
            let line: Value = serde_json::from_str(text)
                .unwrap_or_else(|error| panic!("{error} in {}: {text}", file.display()));
            judge(&line, user, &zone);
            let played = Timestamp::from_second(uts(&line)).unwrap();
            let played = played.to_zoned_datetime(TimeZone::UTC);
            assert_eq!((played.year(), played.month()), (year, month), "{line}");
            lines.push(line);
        }
    }
    let lines = Lines(lines);
    lines.judge_order_and_ids(user);
    lines
}

/// All files below a directory; none when there is no such directory.
pub(crate) fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// Year, month and part of `user=<u>/year=YYYY/month=MM/part-N.ndjson`; nothing for every other file.
fn place(root: &Path, user: &str, file: &Path) -> Option<(i16, i8, u32)> {
    let name = file.strip_prefix(root).ok()?.to_str()?;
    let name = name.strip_prefix(&format!("user={user}/year="))?;
    let (year, name) = name.split_once("/month=")?;
    let (month, name) = name.split_once("/part-")?;
    let part = name.strip_suffix(".ndjson")?;
    let right = year.len() == 4 && month.len() == 2 && (part == "0" || !part.starts_with('0'));
    right.then_some(())?;
    let month = month
        .parse()
        .ok()
        .filter(|month| (1..=12).contains(month))?;
    Some((year.parse().ok()?, month, part.parse().ok()?))
}

/// What can be said of a line without the others.
#[track_caller]
pub(crate) fn judge(line: &Value, user: &str, zone: &TimeZone) {
    static SCHEMA: OnceLock<Validator> = OnceLock::new();
    let schema = SCHEMA.get_or_init(|| {
        let text = include_str!("../../../schema/scrobble.schema.json");
        let options = jsonschema::options().should_validate_formats(true);
        options.build(&serde_json::from_str(text).unwrap()).unwrap()
    });
    let errors: Vec<String> = schema
        .iter_errors(line)
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?} in {line}");
    assert_eq!(line["username"], user, "{line}");
    assert_eq!(text(line, "normalized_title"), text(line, "track").trim());
    let local = Timestamp::from_second(uts(line))
        .unwrap()
        .to_zoned_datetime(zone.clone());
    let local = local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
    assert_eq!(line["local_time"], local, "{line}");
    let ingested_at = text(line, "ingested_at");
    assert!(ingested_at.ends_with('Z'), "not in UTC: {line}");
    let age = Timestamp::now().as_second() - ingested_at.parse::<Timestamp>().unwrap().as_second();
    assert!((0..600).contains(&age), "not ingested just now: {line}");
}

/// The id by the design's formula.
pub(crate) fn id(line: &Value, ordinal: usize) -> String {
    let [user, artist, track] = ["username", "artist", "track"].map(|field| text(line, field));
    let words = [
        user,
        &uts(line).to_string(),
        artist,
        track,
        &ordinal.to_string(),
    ];
    let digest = Sha256::digest(words.join("\u{1f}"));
    let hex = digest[..16].iter().map(|byte| format!("{byte:02x}"));
    hex.collect()
}

pub(crate) fn uts(line: &Value) -> i64 {
    line["uts"].as_i64().unwrap()
}

pub(crate) fn text<'a>(line: &'a Value, field: &str) -> &'a str {
    line[field].as_str().unwrap()
}

/// The part of a line that Last.fm has said.
pub(crate) fn play_of(line: &Value) -> Play {
    let field = |name| text(line, name).to_owned();
    Play {
        uts: uts(line),
        artist: field("artist"),
        artist_mbid: field("artist_mbid"),
        track: field("track"),
        mbid: field("mbid"),
        album: field("album"),
        album_mbid: field("album_mbid"),
        url: field("url"),
    }
}

/// A history, oldest first, in the order of the archive: by second, and inside a second as Last.fm lists it.
fn in_archive_order(truth: &[Play]) -> Vec<Play> {
    let seconds = truth.chunk_by(|older, newer| older.uts == newer.uts);
    seconds
        .flat_map(|second| second.iter().rev())
        .cloned()
        .collect()
}

impl Lines {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The tracks in the archive's order, for short histories.
    pub(crate) fn tracks(&self) -> String {
        let tracks: Vec<&str> = self.0.iter().map(|line| text(line, "track")).collect();
        tracks.join(" ")
    }

    fn plays(&self) -> Vec<Play> {
        self.0.iter().map(play_of).collect()
    }

    #[track_caller]
    fn judge_order_and_ids(&self, user: &str) {
        let sorted = self.0.is_sorted_by_key(uts);
        assert!(sorted, "the archive of {user} is not in order");
        let ids: HashSet<&str> = self.0.iter().map(|line| text(line, "id")).collect();
        assert_eq!(ids.len(), self.len(), "the archive of {user} repeats an id");
        let mut equals: HashMap<(i64, &str, &str), Vec<&Value>> = HashMap::new();
        for line in &self.0 {
            let identity = (uts(line), text(line, "artist"), text(line, "track"));
            equals.entry(identity).or_default().push(line);
        }
        for lines in equals.values() {
            let mut expected: Vec<String> = (0..lines.len())
                .map(|ordinal| id(lines[0], ordinal))
                .collect();
            let mut found: Vec<&str> = lines.iter().map(|line| text(line, "id")).collect();
            expected.sort();
            found.sort_unstable();
            assert_eq!(found, expected, "ids of {}", lines[0]);
        }
    }

    /// Every play of the history exactly once, nothing else, in Last.fm's order inside a second.
    #[track_caller]
    pub(crate) fn assert_complete(&self, truth: &[Play]) {
        self.assert_same_plays(truth);
        for (found, expected) in self.plays().iter().zip(in_archive_order(truth)) {
            assert_eq!(*found, expected, "order inside second {}", expected.uts);
        }
    }

    /// Every play of the history exactly once and nothing else, in any order inside a second.
    #[track_caller]
    pub(crate) fn assert_same_plays(&self, truth: &[Play]) {
        let (missing, surplus) = self.difference(truth);
        assert!(
            missing.is_empty() && surplus.is_empty(),
            "of {} plays, missing: {missing:#?}, too many: {surplus:#?}",
            truth.len()
        );
    }

    /// Every play of `throughout` exactly as often as there, and nothing that is not in `ever`.
    #[track_caller]
    pub(crate) fn assert_between(&self, throughout: &[Play], ever: &[Play]) {
        let (missing, _) = self.difference(throughout);
        assert!(missing.is_empty(), "missing: {missing:#?}");
        let (_, surplus) = self.difference(ever);
        assert!(surplus.is_empty(), "too many: {surplus:#?}");
    }

    /// The oldest plays of the history up to a whole second, and nothing else. Gives their number.
    #[track_caller]
    pub(crate) fn assert_prefix(&self, truth: &[Play]) -> usize {
        let truth = in_archive_order(truth);
        let plays = self.plays();
        assert!(plays.len() <= truth.len(), "more than there is");
        for (found, expected) in plays.iter().zip(&truth) {
            assert_eq!(found, expected, "the archive is no prefix of the history");
        }
        if let (Some(last), Some(next)) = (plays.last(), truth.get(plays.len())) {
            assert_ne!(last.uts, next.uts, "the archive ends inside a second");
        }
        plays.len()
    }

    /// What the archive lacks, and what it has too often.
    fn difference(&self, truth: &[Play]) -> (Vec<Play>, Vec<Play>) {
        let mut counts: BTreeMap<&Play, i64> = BTreeMap::new();
        for play in truth {
            *counts.entry(play).or_default() += 1;
        }
        let plays = self.plays();
        for play in &plays {
            *counts.entry(play).or_default() -= 1;
        }
        let those = |wanted: fn(i64) -> bool| {
            let found = counts.iter().filter(|(_, count)| wanted(**count));
            found.map(|(play, _)| (*play).clone()).collect()
        };
        (those(|count| count > 0), those(|count| count < 0))
    }
}
