//! What people do while work runs: listen, delete, correct, put messages on the queues by hand.

use crate::parts::newest;
use crate::queue::{RECONCILES, WORK};
use crate::truth::USERS;
use crate::world::World;
use azure_core::base64;

/// More reconciles than this on the queue are too many.
const RECONCILES_MAX: usize = 5;

/// One change of one user's history, in words. In the small hours nobody listens.
pub(crate) fn change_history(world: &mut World, small_hours: bool) -> String {
    // `SIM_DELETE_ANYWHERE=1` shows what is known to be lost then.
    let careful = world.small_blocks && std::env::var_os("SIM_DELETE_ANYWHERE").is_none();
    let now_ms = world.now_ms();
    let some = world.random.usize(0..world.truths.len());
    let truth = &mut world.truths[some];
    let (lastfm, random) = (&mut world.lastfm, &mut world.random);
    let archived = newest(&world.blobs, truth.user);
    let what = match random.u32(if small_hours { 4..14 } else { 0..14 }) {
        0..=3 => truth.listen(lastfm, random, now_ms),
        4..=5 => truth.insert_late(lastfm, random, now_ms),
        6..=7 => truth.delete(lastfm, random, now_ms, archived, careful),
        8..=9 => truth.edit(lastfm, random, now_ms, archived, careful),
        10 => truth.come_back(lastfm, random, now_ms),
        _ => truth.shuffle(lastfm, random, now_ms),
    };
    format!("{}: {what}", truth.user)
}

/// Somebody copies a data file onto itself, or moves it to another tier: only its version and its date change.
pub(crate) fn touch_a_file(world: &mut World) {
    let files = world
        .blobs
        .containers
        .get("scrobbles")
        .into_iter()
        .flatten();
    let names: Vec<String> = files.map(|(name, _)| name.clone()).collect();
    if let Some(name) = world.random.choice(names) {
        world.say("people", format!("touch {name}"));
        world.blobs.touch("scrobbles", &name);
    }
}

/// Puts on a queue by hand whatever people put there, plain or in base64.
pub(crate) fn send_message(world: &mut World, queue: &'static str) {
    let is_work = queue == WORK;
    let text = if world.random.u32(0..4) == 0 {
        let bad = if is_work {
            bad_item(world)
        } else {
            bad_reconcile(world)
        };
        world.bad_messages.push((queue, bad.clone()));
        bad
    } else if is_work {
        work_item(world)
    } else {
        reconcile(world)
    };
    world.say("people", format!("put {text} on {queue}"));
    let body = if world.random.bool() {
        base64::encode(text).into_bytes()
    } else {
        text.into_bytes()
    };
    let now_ms = world.now_ms();
    // Who is in doubt puts it there once more.
    let twice = queue == RECONCILES && world.random.bool();
    for _ in 0..=usize::from(twice) {
        world.queues.put(queue, body.clone(), now_ms);
    }
}

/// Somebody clears away reconciles when there are too many: copies that wait for the archive to be quiet become more with
/// every delivery that is repeated. The next run starts again, so none is ever missed.
pub(crate) fn clear_reconciles(world: &mut World) {
    let bad = &world.bad_messages;
    let is_bad = |text: &[u8]| {
        let mut bad = bad.iter().map(|(_, bad)| bad);
        bad.any(|bad| bad.as_bytes() == text || base64::encode(bad).as_bytes() == text)
    };
    let all = world.queues.messages.iter();
    let ids = all.filter(|message| message.queue == RECONCILES && !is_bad(&message.text));
    let ids: Vec<u64> = ids.map(|message| message.id).collect();
    if ids.len() > RECONCILES_MAX {
        world.say("people", format!("clear away {ids:?}"));
        for id in ids {
            world.queues.delete(id);
        }
    }
}

fn bad_item(world: &mut World) -> String {
    let number = world.bad_messages.len();
    let now_ms = world.now_ms() + i64::try_from(number).expect("few");
    let texts = [
        format!(r#"{{"user":"rj","to":{now_ms}}}"#),
        format!(r#"{{"user":"../{number}"}}"#),
        format!(r#"{{"user":"rj","note":{number}}}"#),
        format!(r#"["rj",{number}]"#),
        format!("rj, please ({number})"),
    ];
    world.random.choice(texts).expect("some")
}

fn bad_reconcile(world: &mut World) -> String {
    let number = world.bad_messages.len();
    let now_ms = world.now_ms() + i64::try_from(number).expect("few");
    let texts = [
        format!(r#"{{"user":"rj","to":{now_ms}}}"#),
        format!(r#"{{"user":"a b {number}"}}"#),
        format!(r#"{{"user":"rj","pages":{number}}}"#),
        format!(r#"{{"user":"rj","step":"step {number}"}}"#),
        format!(r#"{{"run":"run {number}"}}"#),
        format!("rj, look again ({number})"),
    ];
    world.random.choice(texts).expect("some")
}

/// A valid reconcile, of another day or begun in the middle.
fn reconcile(world: &mut World) -> String {
    let now = world.now_ms().div_euclid(1_000);
    let random = &mut world.random;
    let truth = random.choice(&world.truths).expect("some");
    let user = match random.u32(0..12) {
        0 => "nobody".to_owned(),
        1..=3 => truth.user.to_uppercase(),
        _ => truth.user.to_lowercase(),
    };
    let some = random.choice(&truth.entries);
    let some = some.map_or(now - 100, |entry| entry.play.uts);
    let mut json = serde_json::json!({ "user": user });
    // Each day has its own part of the older history.
    match random.u32(0..3) {
        0 => json["to"] = (now - random.i64(0..30) * 86_400).into(),
        1 => json["to"] = (*random.choice(&[now, now + 5_000, some, 0]).expect("some")).into(),
        _ => {}
    }
    if random.u32(0..3) == 0 {
        json["run"] = (*random.choice(&["one", "two"]).expect("some")).into();
    }
    if random.u32(0..4) == 0 {
        json["step"] = (*random.choice(&["recent", "older"]).expect("some")).into();
    }
    if random.u32(0..6) == 0 {
        json["from"] = (some + random.i64(-1..=1)).max(0).into();
    }
    if random.u32(0..6) == 0 {
        json["page_size"] = (*random.choice(&[1, 3, 50, 1_000]).expect("some")).into();
    }
    json.to_string()
}

/// A valid work item with whatever hints come to mind.
fn work_item(world: &mut World) -> String {
    let now = world.now_ms().div_euclid(1_000);
    let random = &mut world.random;
    let truth = random.choice(&world.truths).expect("some");
    let oldest = truth.entries.first();
    let oldest = oldest.map_or(now - 100, |entry| entry.play.uts);
    let user = match random.u32(0..12) {
        0 => "nobody".to_owned(),
        1..=4 => truth.user.to_lowercase(),
        5 => truth.user.to_uppercase(),
        _ => USERS[0].to_owned(),
    };
    let mut json = serde_json::json!({ "user": user });
    let mut maybe = |name: &str, values: &[i64]| {
        if random.u32(0..3) == 0 {
            json[name] = (*random.choice(values).expect("some")).into();
        }
    };
    maybe("pages", &[1, 2, 40]);
    let half = oldest + (now - oldest) / 2;
    maybe("to", &[now + 5_000, now, half, 0, now - 1]);
    maybe("from", &[0, oldest, now - 50, now + 50]);
    maybe("total", &[0, 1, 7, 60, 299, 100_000]);
    maybe("page_size", &[1, 2, 10, 60, 200, 1_000]);
    json.to_string()
}
