//! Judges everything that is archived of a user: parts, late plays, and the logs of removed plays. By the design alone, from
//! paths and bytes, so that a directory and a container are judged alike.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::LazyLock;

use fake_lastfm::Play;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use jsonschema::Validator;
use serde_json::Value;

use super::checker::{id, judge, play_of, text, uts};

/// What is archived of one user. Each line was judged when it was read.
#[derive(Debug)]
pub(crate) struct Everything {
    user: String,
    /// Lines of `part` files, in the archive's order.
    pub(crate) parts: Vec<Value>,
    /// Lines of `late` files, month by month, in the order in which they were found.
    pub(crate) late: Vec<Value>,
    /// What happened to archived plays, in the order of the log.
    pub(crate) removed: Vec<Value>,
    /// The first looks, in the order of the log.
    pub(crate) looks: Vec<Value>,
}

/// A data file: late or not, then year, month and number.
type Place = (bool, i16, i8, u32);

impl Everything {
    /// Reads a user's files among these; each has its path below the archive and its bytes.
    #[track_caller]
    pub(crate) fn of(user: &str, files: &[(String, Vec<u8>)]) -> Self {
        let mut data: BTreeMap<Place, (&str, &[u8])> = BTreeMap::new();
        let mut logs: BTreeMap<(bool, u32), (&str, &[u8])> = BTreeMap::new();
        for (path, bytes) in files {
            if let Some(name) = path.strip_prefix(&format!("user={user}/")) {
                let place = place(name).unwrap_or_else(|| panic!("`{path}` is no data file"));
                data.insert(place, (path, bytes));
            }
            if let Some(name) = path.strip_prefix(&format!("removed/user={user}/")) {
                let part = number(name, "part-").map(|number| (false, number));
                let missing = || number(name, "missing-").map(|number| (true, number));
                let log = part.or_else(missing);
                let log = log.unwrap_or_else(|| panic!("`{path}` is no log"));
                logs.insert(log, (path, bytes));
            }
        }
        let mut everything = Self {
            user: user.to_owned(),
            parts: Vec::new(),
            late: Vec::new(),
            removed: Vec::new(),
            looks: Vec::new(),
        };
        for ((is_late, year, month, _), (path, bytes)) in data {
            for line in lines(path, bytes) {
                judge(&line, user, &TimeZone::UTC);
                let played = Timestamp::from_second(uts(&line)).unwrap();
                let played = played.to_zoned_datetime(TimeZone::UTC);
                let of_month = (played.year(), played.month()) == (year, month);
                assert!(of_month, "`{path}` is of another month than {line}");
                let series = if is_late {
                    &mut everything.late
                } else {
                    &mut everything.parts
                };
                series.push(line);
            }
        }
        for ((is_look, _), (path, bytes)) in logs {
            for line in lines(path, bytes) {
                everything.judge_event(&line, is_look);
                let log = if is_look {
                    &mut everything.looks
                } else {
                    &mut everything.removed
                };
                log.push(line);
            }
        }
        everything.judge_ids();
        everything.judge_log();
        everything
    }

    #[track_caller]
    fn judge_event(&self, line: &Value, is_look: bool) {
        static REMOVED: LazyLock<Validator> =
            LazyLock::new(|| schema(include_str!("../../../schema/removed.schema.json")));
        static LOOK: LazyLock<Validator> =
            LazyLock::new(|| schema(include_str!("../../../schema/missing.schema.json")));
        let schema = if is_look { &*LOOK } else { &*REMOVED };
        if let Err(error) = schema.validate(line) {
            panic!("{error}: {line}");
        }
        assert_eq!(text(line, "username"), self.user, "{line}");
        let play = self.ever().find(|play| play["id"] == line["id"]);
        let play = play.unwrap_or_else(|| panic!("never archived: {line}"));
        for field in ["uts", "artist", "track"] {
            assert_eq!(play[field], line[field], "{line}");
        }
        let run = line["run"].as_str();
        assert!(run.is_none_or(|run| !run.is_empty()), "no mark: {line}");
    }

    /// No id stands twice, whichever file it stands in, and each is the one by the design's formula.
    #[track_caller]
    fn judge_ids(&self) {
        let user = &self.user;
        let sorted = self.parts.is_sorted_by_key(uts);
        assert!(sorted, "the parts of {user} are not in order");
        let ids: HashSet<&str> = self.ever().map(|line| text(line, "id")).collect();
        let lines = self.parts.len() + self.late.len();
        assert_eq!(ids.len(), lines, "an id of {user} stands twice");
        let mut equals: HashMap<(i64, &str, &str), Vec<&Value>> = HashMap::new();
        for line in self.ever() {
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

    /// Nothing is removed twice in a row, nothing returns that was not removed, and nothing is removed at one look.
    #[track_caller]
    fn judge_log(&self) {
        let mut removed: HashSet<&str> = HashSet::new();
        for line in &self.removed {
            let id = text(line, "id");
            let is_news = match text(line, "event") {
                "removed" => removed.insert(id),
                _ => removed.remove(id),
            };
            assert!(is_news, "said twice: {line}");
            let mut looks = self.looks.iter();
            let was_missing = looks.any(|look| look["id"] == id && look["event"] == "missing");
            assert!(was_missing, "removed without a first look: {line}");
        }
    }

    /// Everything ever archived, in no particular order.
    pub(crate) fn ever(&self) -> impl Iterator<Item = &Value> {
        self.parts.iter().chain(&self.late)
    }

    /// Today's view: everything but what the last word about it says was removed.
    pub(crate) fn today(&self) -> Vec<Play> {
        let mut last_words: HashMap<&str, &str> = HashMap::new();
        for line in &self.removed {
            last_words.insert(text(line, "id"), text(line, "event"));
        }
        let is_there = |line: &&Value| last_words.get(text(line, "id")) != Some(&"removed");
        self.ever().filter(is_there).map(play_of).collect()
    }

    /// Today's view is this history, each play as often as there.
    #[track_caller]
    pub(crate) fn assert_today(&self, truth: &[Play]) {
        let user = &self.user;
        let (mut found, mut wanted) = (self.today(), truth.to_vec());
        found.sort();
        wanted.sort();
        let lacking: Vec<_> = wanted.iter().filter(|play| !found.contains(play)).collect();
        let surplus: Vec<_> = found.iter().filter(|play| !wanted.contains(play)).collect();
        assert!(
            found == wanted,
            "today's view of {user} has {} plays and not {}; lacking: {lacking:#?}, too many: {surplus:#?}",
            found.len(),
            wanted.len(),
        );
    }

    /// The tracks of the late plays, month by month in the order of their files.
    pub(crate) fn late_tracks(&self) -> Vec<&str> {
        self.late.iter().map(|line| text(line, "track")).collect()
    }

    /// What was said of a track's plays, in the order of the log.
    pub(crate) fn events_of(&self, track: &str) -> Vec<&str> {
        let of_track = self.removed.iter().filter(|line| line["track"] == track);
        of_track.map(|line| text(line, "event")).collect()
    }
}

fn schema(text: &str) -> Validator {
    let options = jsonschema::options().should_validate_formats(true);
    options.build(&serde_json::from_str(text).unwrap()).unwrap()
}

/// `year=2024/month=05/part-0.ndjson`, or `late-0.ndjson` there.
fn place(name: &str) -> Option<Place> {
    let (year, name) = name.strip_prefix("year=")?.split_once("/month=")?;
    let (month, name) = name.split_once('/')?;
    let late = number(name, "late-");
    let part = late.or_else(|| number(name, "part-"))?;
    let right = year.len() == 4 && month.len() == 2;
    right.then_some(())?;
    Some((
        late.is_some(),
        year.parse().ok()?,
        month.parse().ok()?,
        part,
    ))
}

/// The number of `part-7.ndjson`.
fn number(name: &str, series: &str) -> Option<u32> {
    let number = name.strip_prefix(series)?.strip_suffix(".ndjson")?;
    let right = number == "0" || !number.starts_with('0');
    right.then(|| number.parse().ok())?
}

#[track_caller]
fn lines(path: &str, bytes: &[u8]) -> Vec<Value> {
    let text = str::from_utf8(bytes).unwrap_or_else(|error| panic!("`{path}`: {error}"));
    let whole = text.is_empty() || text.ends_with('\n');
    assert!(whole, "`{path}` does not end with a line feed");
    let read = |line| {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in `{path}`: {line}"))
    };
    text.lines().map(read).collect()
}
