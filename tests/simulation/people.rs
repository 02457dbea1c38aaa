//! What people do while work runs: listen, delete, put messages on the queue by hand.

use crate::truth::USERS;
use crate::witness::newest;
use crate::world::World;
use azure_core::base64;

/// One change of one user's history, in words.
pub(crate) fn change_history(world: &mut World) -> String {
    // `SIM_DELETE_ANYWHERE=1` shows what is known to be lost then.
    let careful = world.small_blocks && std::env::var_os("SIM_DELETE_ANYWHERE").is_none();
    let now_ms = world.now_ms();
    let some = world.random.usize(0..world.truths.len());
    let truth = &mut world.truths[some];
    let (lastfm, random) = (&mut world.lastfm, &mut world.random);
    let what = match random.u32(0..10) {
        0..=3 => truth.listen(lastfm, random, now_ms),
        4 => truth.insert_late(lastfm, random, now_ms),
        5..=6 => {
            let archived = newest(&world.blobs, truth.user);
            truth.delete(lastfm, random, now_ms, archived, careful)
        }
        _ => truth.shuffle(lastfm, random),
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

/// Puts on the queue by hand whatever people put there, plain or in base64.
pub(crate) fn send_message(world: &mut World) {
    let text = if world.random.u32(0..4) == 0 {
        let bad = bad_message(world);
        world.bad_messages.push(bad.clone());
        bad
    } else {
        work_item(world)
    };
    world.say("people", format!("put {text}"));
    let body = if world.random.bool() {
        base64::encode(text).into_bytes()
    } else {
        text.into_bytes()
    };
    let now_ms = world.now_ms();
    world.queue.put(body, now_ms);
}

fn bad_message(world: &mut World) -> String {
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
