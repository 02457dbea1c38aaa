//! Compares the archive with the truth. Shares no code with the program.

use crate::truth::Truth;
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};

/// Everything that is wrong.
pub(crate) fn check(world: &World, last_second: i64) -> Vec<String> {
    let mut wrong = Vec::new();
    let files = data_files(world, &mut wrong);
    let mut found: BTreeMap<(i64, String, String), usize> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    let mut before = i64::MIN;
    for ((year, month, part), bytes) in &files {
        let name = format!("{year}-{month}/part-{part}");
        if !bytes.is_empty() && !bytes.ends_with(b"\n") {
            wrong.push(format!("{name} ends inside a line"));
        }
        for line in bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let Ok(json) = serde_json::from_slice::<serde_json::Value>(line) else {
                wrong.push(format!(
                    "{name}: no JSON: {}",
                    String::from_utf8_lossy(line)
                ));
                continue;
            };
            let text = |field: &str| json[field].as_str().unwrap_or_default().to_owned();
            let uts = json["uts"].as_i64().unwrap_or(i64::MIN);
            if uts < before {
                wrong.push(format!("{name}: {uts} after {before}"));
            }
            before = uts;
            if year_and_month(uts) != (*year, *month) {
                wrong.push(format!("{name} holds a play of {uts}"));
            }
            if !ids.insert(text("id")) {
                wrong.push(format!("{name}: twice the id of {uts} {}", text("track")));
            }
            *found
                .entry((uts, text("artist"), text("track")))
                .or_default() += 1;
        }
    }
    compare(&world.truth, &found, last_second, &mut wrong);
    if world.queue.continuations.len() > world.blobs.appends {
        wrong.push(format!(
            "{} continuations for {} appends",
            world.queue.continuations.len(),
            world.blobs.appends
        ));
    }
    // Ten seconds of the budget; clocks that are up to 3 s off stretch them at both ends.
    let most = world.rate * 16 + 2;
    let asked = &world.asked_ms;
    let crowded = (0..asked.len()).find(|first| {
        let window = asked[*first..]
            .iter()
            .take_while(|ms| **ms < asked[*first] + 10_000);
        window.count() as i64 > most
    });
    if let Some(first) = crowded.filter(|_| world.rate > 0) {
        wrong.push(format!(
            "more than {most} requests in 10 s from {} ms on",
            asked[first]
        ));
    }
    wrong
}

type Files = BTreeMap<(i64, i64, u64), Vec<u8>>;

fn data_files(world: &World, wrong: &mut Vec<String>) -> Files {
    let mut files = Files::new();
    for (name, blob) in world
        .blobs
        .containers
        .get("scrobbles")
        .into_iter()
        .flatten()
    {
        let numbers: Vec<i64> = name
            .split(|letter: char| !letter.is_ascii_digit())
            .filter_map(|digits| digits.parse().ok())
            .collect();
        match numbers[..] {
            [year, month, part] if name.starts_with("user=rj/") => {
                files.insert((year, month, part.unsigned_abs()), blob.bytes.clone());
            }
            _ => wrong.push(format!("a strange blob `{name}`")),
        }
    }
    files
}

fn compare(
    truth: &Truth,
    found: &BTreeMap<(i64, String, String), usize>,
    last_second: i64,
    wrong: &mut Vec<String>,
) {
    let mut bounds: BTreeMap<(i64, String, String), (usize, usize)> = BTreeMap::new();
    for entry in &truth.entries {
        let play = &entry.play;
        let (least, most) = bounds
            .entry((play.uts, play.artist.clone(), play.track.clone()))
            .or_default();
        *most += 1;
        // The exception of the design: what is inserted below the archive's newest second may be missed.
        *least += usize::from(!entry.late && !entry.deleted && play.uts <= last_second);
    }
    for (key, (least, most)) in &bounds {
        let count = found.get(key).copied().unwrap_or(0);
        if count < *least {
            wrong.push(format!("lost: {key:?} is there {count} times, not {least}"));
        }
        if count > *most {
            wrong.push(format!(
                "repeated: {key:?} is there {count} times, not {most}"
            ));
        }
    }
    for key in found.keys().filter(|key| !bounds.contains_key(*key)) {
        wrong.push(format!("invented: {key:?}"));
    }
}

/// The proleptic Gregorian calendar from days, after Howard Hinnant.
fn year_and_month(uts: i64) -> (i64, i64) {
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
    (year, month)
}
