//! Reads the archives as a stranger would, by what is published of them. Shares no code with the program.

use crate::parts::numbers;
use crate::truth::{Key, USERS};
use crate::world::World;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// What a line of plays has.
const PLAY_FIELDS: &str = "album album_mbid artist artist_mbid id ingested_at local_time mbid normalized_title source track url username uts";
/// What a line about a removed play has, and the one that a first look leaves.
const EVENT_FIELDS: &str = "artist event id noticed_at track username uts";
const LOOK_FIELDS: &str = "artist event id noticed_at run track username uts";

/// What one user's archive holds.
#[derive(Default)]
pub(crate) struct Archive {
    /// How often each play is in the parts.
    pub(crate) parts: BTreeMap<Key, usize>,
    /// The ids of each play, late ones too.
    pub(crate) ids: BTreeMap<Key, BTreeSet<String>>,
    /// The newest archived second.
    pub(crate) newest: Option<i64>,
    /// Whether the last line about an id says that Last.fm no longer has it.
    pub(crate) removed: BTreeMap<String, bool>,
    /// Whether the last look at an id did not see it.
    missing: BTreeMap<String, bool>,
}

/// A data file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Part,
    Late,
    Removed,
    Missing,
}

/// Reads everything, and looks at each line.
pub(crate) fn archives(world: &World, wrong: &mut Vec<String>) -> BTreeMap<String, Archive> {
    let mut files: BTreeMap<(String, Kind, Vec<u64>), &[u8]> = BTreeMap::new();
    let blobs = world.blobs.containers.get("scrobbles");
    for (name, blob) in blobs.into_iter().flatten() {
        match place(name) {
            Some((user, kind, numbers)) => {
                files.insert((user, kind, numbers), &blob.bytes);
            }
            None => wrong.push(format!("a strange blob `{name}`")),
        }
    }
    let mut archives: BTreeMap<String, Archive> = BTreeMap::new();
    // In the order of the plays; late ones and what is said of removed ones after all of them.
    let mut before = ((String::new(), Kind::Part), i64::MIN);
    for ((user, kind, numbers), bytes) in files {
        let archive = archives.entry(user.clone()).or_default();
        let name = format!("{user} {kind:?} {numbers:?}");
        if !bytes.is_empty() && !bytes.ends_with(b"\n") {
            wrong.push(format!("{name} ends inside a line"));
        }
        if before.0 != (user.clone(), kind) {
            before = ((user.clone(), kind), i64::MIN);
        }
        let lines = bytes.split(|byte| *byte == b'\n');
        for line in lines.filter(|line| !line.is_empty()) {
            let line = Line::read(&user, line);
            let Line { json, key, .. } = &line;
            let mut tell = |what: String| wrong.push(format!("{name}: {what}"));
            match kind {
                Kind::Part | Kind::Late => {
                    if !line.has(PLAY_FIELDS) {
                        tell(format!("no play: {json}"));
                    }
                    if kind == Kind::Part && key.0 < before.1 {
                        tell(format!("{} after {}", key.0, before.1));
                    }
                    before.1 = key.0;
                    let month = year_and_month(key.0);
                    if month.map(|number| u64::try_from(number).unwrap_or(0)) != numbers[..2] {
                        tell(format!("a play of {}", key.0));
                    }
                    if json["local_time"] != local_time(&user, key.0) {
                        tell(format!("{} is not {}", key.0, json["local_time"]));
                    }
                    let ids = archive.ids.entry(key.clone()).or_default();
                    if !ids.insert(line.id.clone()) {
                        tell(format!("twice the id of {key:?}"));
                    }
                    if kind == Kind::Part {
                        *archive.parts.entry(key.clone()).or_default() += 1;
                        archive.newest = Some(key.0);
                    } else if archive.newest.is_none_or(|newest| key.0 >= newest) {
                        tell(format!("{key:?} is not late"));
                    }
                }
                Kind::Removed | Kind::Missing => {
                    let (fields, yes, no, known) = if kind == Kind::Removed {
                        (EVENT_FIELDS, "removed", "returned", &mut archive.removed)
                    } else {
                        (LOOK_FIELDS, "missing", "found", &mut archive.missing)
                    };
                    if !line.has(fields) {
                        tell(format!("no event: {json}"));
                    }
                    let time = json["noticed_at"].as_str().unwrap_or_default();
                    if time.parse::<jiff::Timestamp>().is_err() {
                        tell(format!("no time: {json}"));
                    }
                    // One after the other, and the first one first.
                    let before = known.get(&line.id).copied().unwrap_or(false);
                    if json["event"] != if before { no } else { yes } {
                        tell(format!("not after what was said before: {json}"));
                    }
                    known.insert(line.id.clone(), !before);
                    let ids = archive.ids.get(key);
                    if !ids.is_some_and(|ids| ids.contains(&line.id)) {
                        tell(format!("nothing of the archive: {json}"));
                    }
                }
            }
        }
    }
    for (user, archive) in &archives {
        for (key, ids) in &archive.ids {
            let wanted: BTreeSet<String> = (0..ids.len()).map(|n| id(user, key, n)).collect();
            if *ids != wanted {
                wrong.push(format!("{user}: the ids of {key:?} are {ids:?}"));
            }
        }
    }
    archives
}

/// Whose file it is, of what kind, and its numbers, if its name is one that is published.
fn place(name: &str) -> Option<(String, Kind, Vec<u64>)> {
    let (user, rest) = name.split_once("user=")?.1.split_once('/')?;
    let numbers = numbers(rest);
    let kinds = [
        (Kind::Part, "part"),
        (Kind::Late, "late"),
        (Kind::Removed, "part"),
        (Kind::Missing, "missing"),
    ];
    kinds.into_iter().find_map(|(kind, word)| {
        let spelled = match (kind, numbers.as_slice()) {
            (Kind::Part | Kind::Late, [year, month, number]) => {
                format!("user={user}/year={year:04}/month={month:02}/{word}-{number}.ndjson")
            }
            (Kind::Removed | Kind::Missing, [number]) => {
                format!("removed/user={user}/{word}-{number}.ndjson")
            }
            _ => return None,
        };
        (spelled == name).then(|| (user.to_owned(), kind, numbers.clone()))
    })
}

struct Line {
    json: Value,
    key: Key,
    id: String,
    of_user: bool,
}

impl Line {
    fn read(user: &str, line: &[u8]) -> Self {
        let text = String::from_utf8_lossy(line);
        let json: Value = serde_json::from_slice(line).unwrap_or(Value::String(text.into()));
        let text = |field: &str| json[field].as_str().unwrap_or_default().to_owned();
        let uts = json["uts"].as_i64().unwrap_or(i64::MIN);
        Self {
            key: (uts, text("artist"), text("track")),
            id: text("id"),
            of_user: json["username"] == user,
            json,
        }
    }

    /// Whether it has these fields and no other, and is about the user of its file.
    fn has(&self, fields: &str) -> bool {
        let names: BTreeSet<&str> = self.json.as_object().map_or_else(BTreeSet::new, |object| {
            object.keys().map(String::as_str).collect()
        });
        self.of_user && names == fields.split(' ').collect()
    }
}

/// The first 32 digits of a hash over user, second, artist, track and ordinal.
pub(crate) fn id(user: &str, (uts, artist, track): &Key, ordinal: usize) -> String {
    let parts = [
        user.to_lowercase(),
        uts.to_string(),
        artist.clone(),
        track.clone(),
        ordinal.to_string(),
    ];
    let hash: [u8; 32] = Sha256::digest(parts.join("\u{1f}")).into();
    let half = hash.first_chunk().expect("it is longer");
    format!("{:032x}", u128::from_be_bytes(*half))
}

fn local_time(user: &str, uts: i64) -> String {
    let zones = ["UTC", "Europe/Berlin", "America/St_Johns"];
    let mut zones = USERS.iter().zip(zones);
    let zone = zones.find(|(known, _)| known.to_lowercase() == user);
    let time = jiff::Timestamp::from_second(uts).unwrap_or_default();
    let time = time
        .in_tz(zone.map_or("UTC", |(_, zone)| zone))
        .expect("a zone");
    time.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// The proleptic Gregorian calendar from days, after Howard Hinnant.
fn year_and_month(uts: i64) -> [i64; 2] {
    let days = uts.div_euclid(86_400) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    [year, month]
}
