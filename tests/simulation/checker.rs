//! Compares the archive with the truth. Shares no code with the program.

use crate::truth::{Truth, USERS};
use crate::witness::numbers;
use crate::world::World;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// A play as the archive tells it: second, artist, track.
type Key = (i64, String, String);

/// What an archive holds: how often each play is there.
type Found = BTreeMap<Key, usize>;

/// Everything that is wrong at the end. `last_second`: plays up to here must be there.
pub(crate) fn check(world: &World, last_second: i64) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut archives = archives(world, &mut wrong);
    for truth in &world.truths {
        let files = archives.remove(&truth.user.to_lowercase());
        let found = read(truth.user, &files.unwrap_or_default(), &mut wrong);
        compare(truth, &found, last_second, &mut wrong);
    }
    for user in archives.keys() {
        wrong.push(format!("an archive of somebody else: {user}"));
    }
    messages(world, &mut wrong);
    documents(world, &mut wrong);
    wrong
}

/// What a status document says about an archive of that length is right.
fn documents(world: &World, wrong: &mut Vec<String>) {
    let blobs = world.blobs.containers.get("control");
    for (name, blob) in blobs.into_iter().flatten() {
        let user = name
            .strip_prefix("status/")
            .and_then(|name| name.strip_suffix(".json"));
        let Some(user) = user else {
            continue;
        };
        let Ok(document) = serde_json::from_slice::<serde_json::Value>(&blob.bytes) else {
            wrong.push(format!("`{name}` is no JSON"));
            continue;
        };
        let prefix = format!("user={user}/");
        let archive = world.blobs.containers.get("scrobbles");
        let parts = archive.into_iter().flatten();
        let parts = parts.filter(|(name, _)| name.starts_with(&prefix) && name.contains("/part-"));
        let (mut bytes, mut plays) = (0, 0);
        for (_, part) in parts {
            bytes += part.bytes.len();
            plays += part.bytes.split_inclusive(|byte| *byte == b'\n').count();
        }
        let told = document["plays_archived"].as_u64();
        if document["archive_bytes"] == bytes && told.is_some_and(|told| told != plays as u64) {
            wrong.push(format!(
                "`{name}` tells of {told:?} plays where there are {plays}"
            ));
        }
    }
}

/// Only a landed append sends a continuation, and what is no work item is told why it was set aside.
fn messages(world: &World, wrong: &mut Vec<String>) {
    let (continuations, appends) = (world.queue.continuations.len(), world.blobs.appends);
    if continuations > appends {
        wrong.push(format!(
            "{continuations} continuations for {appends} appends"
        ));
    }
    let mut explained = BTreeSet::new();
    for text in &world.queue.poison {
        let json = crate::queue::read(text).unwrap_or_default();
        match (json["reason"].as_str(), json["body"].as_str()) {
            (Some(reason), Some(body)) if !reason.is_empty() => {
                let plain = azure_core::base64::decode(body).ok();
                let plain = plain.and_then(|bytes| String::from_utf8(bytes).ok());
                explained.insert(plain.unwrap_or_else(|| body.to_owned()));
            }
            // The host's own copy: the message as it was.
            _ => {
                explained.insert(String::from_utf8_lossy(text).into_owned());
            }
        }
    }
    for text in &world.bad_messages {
        let bare = azure_core::base64::encode(text);
        if !explained.remove(text) && !explained.remove(&bare) {
            wrong.push(format!("`{text}` is not on the poison queue"));
        }
    }
    let is_bad = |text: &&String| text.contains("reason");
    if let Some(text) = explained.iter().find(is_bad) {
        wrong.push(format!("poison of the program's own making: {text}"));
    }
}

/// Data files in the order of their plays.
type Files = BTreeMap<Vec<u64>, Vec<u8>>;

/// The data files of each user.
fn archives(world: &World, wrong: &mut Vec<String>) -> BTreeMap<String, Files> {
    let mut archives: BTreeMap<String, Files> = BTreeMap::new();
    let blobs = world.blobs.containers.get("scrobbles");
    for (name, blob) in blobs.into_iter().flatten() {
        let rest = name
            .strip_prefix("user=")
            .and_then(|rest| rest.split_once('/'));
        let place = rest.map(|(user, rest)| (user, rest, numbers(rest)));
        match place {
            Some((user, rest, numbers))
                if numbers.len() == 3
                    && rest
                        == format!(
                            "year={:04}/month={:02}/part-{}.ndjson",
                            numbers[0], numbers[1], numbers[2]
                        ) =>
            {
                let files = archives.entry(user.to_owned()).or_default();
                files.insert(numbers, blob.bytes.clone());
            }
            _ => wrong.push(format!("a strange blob `{name}`")),
        }
    }
    archives
}

/// Reads one user's lines, and looks at each of them.
fn read(user: &str, files: &Files, wrong: &mut Vec<String>) -> Found {
    let mut ids: BTreeMap<Key, BTreeSet<String>> = BTreeMap::new();
    let mut found = Found::new();
    let mut before = i64::MIN;
    for (numbers, bytes) in files {
        let name = format!("{user} {numbers:?}");
        if !bytes.is_empty() && !bytes.ends_with(b"\n") {
            wrong.push(format!("{name} ends inside a line"));
        }
        let lines = bytes.split(|byte| *byte == b'\n');
        for line in lines.filter(|line| !line.is_empty()) {
            let Ok(json) = serde_json::from_slice::<serde_json::Value>(line) else {
                let line = String::from_utf8_lossy(line);
                wrong.push(format!("{name}: no JSON: {line}"));
                continue;
            };
            let text = |field: &str| json[field].as_str().unwrap_or_default().to_owned();
            let uts = json["uts"].as_i64().unwrap_or(i64::MIN);
            if uts < before {
                wrong.push(format!("{name}: {uts} after {before}"));
            }
            before = uts;
            let month = year_and_month(uts).map(|number| u64::try_from(number).unwrap_or(0));
            if month[..] != numbers[..2] {
                wrong.push(format!("{name} holds a play of {uts}"));
            }
            if text("local_time") != local_time(user, uts) {
                wrong.push(format!("{name}: {uts} is not {}", text("local_time")));
            }
            let key = (uts, text("artist"), text("track"));
            if !ids.entry(key.clone()).or_default().insert(text("id")) {
                wrong.push(format!("{name}: twice the id of {key:?}"));
            }
            *found.entry(key).or_default() += 1;
        }
    }
    for (key, ids) in &ids {
        let wanted: BTreeSet<String> = (0..ids.len()).map(|n| id(user, key, n)).collect();
        if *ids != wanted {
            wrong.push(format!("{user}: the ids of {key:?} are {ids:?}"));
        }
    }
    found
}

/// The first 32 digits of a hash over user, second, artist, track and ordinal.
fn id(user: &str, (uts, artist, track): &Key, ordinal: usize) -> String {
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
    let zone = USERS.iter().zip(zones).find(|(known, _)| **known == user);
    let time = jiff::Timestamp::from_second(uts).expect("in range");
    let time = time
        .in_tz(zone.map_or("UTC", |(_, zone)| zone))
        .expect("a zone");
    time.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

fn compare(truth: &Truth, found: &Found, last_second: i64, wrong: &mut Vec<String>) {
    let user = truth.user;
    // The archive ends below a play that never comes, and holds whole seconds only: the second before it cannot be
    // known to be whole.
    let cursed = truth.curse().map_or(i64::MAX, |play| play.uts);
    let there = truth.entries.iter().filter(|entry| !entry.deleted);
    let seconds: Vec<i64> = there.map(|entry| entry.play.uts).collect();
    let shown = seconds.iter().filter(|uts| **uts <= last_second);
    let below = seconds.iter().filter(|uts| **uts < cursed);
    let end = match cursed {
        i64::MAX => i64::MAX,
        // While it is the newest of all, it is on the first page of any size, so nobody can tell how many lie below.
        _ if shown.max() == Some(&cursed) => i64::MIN,
        _ => below.max().copied().unwrap_or(i64::MIN),
    };
    let mut bounds: BTreeMap<Key, (usize, usize)> = BTreeMap::new();
    for entry in &truth.entries {
        let play = &entry.play;
        let key = (play.uts, play.artist.clone(), play.track.clone());
        let (least, most) = bounds.entry(key).or_default();
        *most += 1;
        // The exceptions of the design: what is inserted below the archive's newest second may be missed (the
        // reconcile finds it), and what cannot be fetched stops the archive.
        let wanted = !entry.late && !entry.deleted && play.uts <= last_second && play.uts < end;
        *least += usize::from(wanted);
    }
    for (key, (least, most)) in &bounds {
        let count = found.get(key).copied().unwrap_or(0);
        if count < *least {
            wrong.push(format!(
                "{user} lost: {key:?} is there {count} times, not {least}"
            ));
        }
        if count > *most {
            wrong.push(format!(
                "{user} repeated: {key:?} is there {count} times, not {most}"
            ));
        }
    }
    for key in found.keys() {
        if !bounds.contains_key(key) {
            wrong.push(format!("{user} invented: {key:?}"));
        }
        if key.0 >= cursed {
            wrong.push(format!(
                "{user}: {key:?} passes the play at {cursed} that never came"
            ));
        }
    }
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
