//! Compares the archive with the truth. Shares no code with the program.

use crate::reading::{Archive, archives};
use crate::truth::{Key, Truth, key};
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};

/// Everything that is wrong at the end. `last_second`: plays up to here must be there.
pub(crate) fn check(world: &World, last_second: i64) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut archives = archives(world, &mut wrong);
    for truth in &world.truths {
        let archive = archives.remove(&truth.user.to_lowercase());
        compare(truth, &archive.unwrap_or_default(), last_second, &mut wrong);
    }
    for name in &world.blobs.replaced {
        wrong.push(format!("`{name}` was written anew"));
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
    let (continuations, appends) = (world.queues.continuations.len(), world.blobs.appends);
    if continuations > appends {
        wrong.push(format!(
            "{continuations} continuations for {appends} appends"
        ));
    }
    // What the program has set aside with a reason, and what the host has given up.
    let (mut explained, mut given_up) = (BTreeSet::new(), BTreeSet::new());
    for (queue, text) in &world.queues.poison {
        let json = crate::queue::read(text).unwrap_or_default();
        match (json["reason"].as_str(), json["body"].as_str()) {
            (Some(reason), Some(body)) if !reason.is_empty() => {
                let plain = azure_core::base64::decode(body).ok();
                let plain = plain.and_then(|bytes| String::from_utf8(bytes).ok());
                explained.insert((queue.clone(), plain.unwrap_or_else(|| body.to_owned())));
            }
            _ => {
                given_up.insert((queue.clone(), String::from_utf8_lossy(text).into_owned()));
            }
        }
    }
    for (queue, text) in &world.bad_messages {
        let bad = ((*queue).to_owned(), text.clone());
        let bare = (bad.0.clone(), azure_core::base64::encode(text));
        let is_there = explained.remove(&bad);
        if !is_there && !given_up.contains(&bad) && !given_up.contains(&bare) {
            wrong.push(format!("`{text}` is not on the poison queue of {queue}"));
        }
    }
    for (queue, text) in explained {
        wrong.push(format!(
            "`{text}` was set aside from {queue}, and is not bad"
        ));
    }
}

fn compare(truth: &Truth, archive: &Archive, last_second: i64, wrong: &mut Vec<String>) {
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
    let mut bounds: BTreeMap<Key, usize> = BTreeMap::new();
    for entry in &truth.entries {
        let play = &entry.play;
        let least = bounds.entry(key(play)).or_default();
        // The exceptions of the design: what is inserted below the archive's newest second may be missed (the
        // reconcile finds it), and what cannot be fetched stops the archive.
        let wanted = !entry.late && !entry.deleted && play.uts <= last_second && play.uts < end;
        *least += usize::from(wanted);
    }
    for (key, least) in &bounds {
        // What a reconcile mends was lost all the same.
        let in_order = archive.parts.get(key).copied().unwrap_or(0);
        if in_order < *least {
            wrong.push(format!(
                "{user} lost: {key:?} is there {in_order} times, not {least}"
            ));
        }
        let (count, most) = (
            archive.ids.get(key).map_or(0, BTreeSet::len),
            truth.most(key),
        );
        if count > most || in_order > most {
            wrong.push(format!(
                "{user} repeated: {key:?} is there {count} times, not {most}"
            ));
        }
    }
    for key in archive.ids.keys() {
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
