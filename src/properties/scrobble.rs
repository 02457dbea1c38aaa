//! Ids and lines.

use super::{Verdict, check, play, text};
use crate::scrobble::{LineWriter, Play, PlayId, Words};
use crate::user::{User, UserName};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

const ZONES: [&str; 6] = [
    "UTC",
    "Europe/London",
    "America/St_Johns",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "Africa/Monrovia",
];

/// From the first to the last second that `local_time` can name in every zone.
fn seconds() -> impl Strategy<Value = i64> {
    prop_oneof![0..4_000_000_000_i64, -62_167_132_800..253_402_120_800_i64]
}

fn sha256_of(parts: &[&str]) -> String {
    let digest = Sha256::digest(parts.join("\u{1f}"));
    let hex: Vec<String> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    hex.concat()[..32].to_owned()
}

#[test]
fn an_id_is_the_published_hash_whatever_the_case_of_the_user() {
    let ordinal = prop_oneof![0..3_u32, any::<u32>()];
    let name = "[A-Za-z0-9_-]{1,64}";
    check(
        (name, any::<i64>(), text(), text(), ordinal),
        |(name, uts, artist, track, ordinal)| {
            let play = play(uts, &artist, &track);
            let user = UserName::new(&name).unwrap();
            let id = PlayId::new(user.as_str(), &play, ordinal);
            let lower = name.to_lowercase();
            let (second, number) = (uts.to_string(), ordinal.to_string());
            let published = sha256_of(&[&lower, &second, &artist, &track, &number]);
            prop_assert_eq!(id.to_hex(), published);
            prop_assert_eq!(PlayId::from_hex(&id.to_hex()), Some(id));
            let shouted = UserName::new(&name.to_uppercase()).unwrap();
            prop_assert_eq!(PlayId::new(shouted.as_str(), &play, ordinal), id);
            Ok(())
        },
    );
}

#[test]
fn only_hex_digits_are_an_id() {
    // A good one, with nothing or something else at one place of it.
    let other = prop_oneof![2 => "[0-9a-fA-F]", 2 => "[+ -]", 1 => any::<char>().prop_map(String::from), 1 => ""];
    let nearly = ("[0-9a-fA-F]{32}", 0..32_usize, other);
    check(nearly, |(mut text, place, other)| {
        text.replace_range(place..=place, &other);
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let read = PlayId::from_hex(&text).map(PlayId::to_hex);
        prop_assert_eq!(read, digits.then(|| text.to_lowercase()));
        Ok(())
    });
}

#[test]
fn every_play_is_one_line_that_the_schema_describes_and_that_says_it_all() {
    let schema = include_str!("../../schema/scrobble.schema.json");
    let schema: Value = serde_json::from_str(schema).unwrap();
    let schema = jsonschema::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap();
    let words = prop::collection::vec(text(), 7);
    let raw = prop::option::of(prop::collection::btree_map(text(), text(), 0..3));
    let values = (seconds(), words, raw, prop::sample::select(&ZONES[..]));
    check(values, |(uts, words, raw, zone)| {
        let user = User {
            name: UserName::new("rj").unwrap(),
            time_zone: TimeZone::get(zone).unwrap(),
        };
        let mut play = Play::new(uts, &named(&words)).unwrap();
        let raw = raw.map(|row| serde_json::to_string(&row).unwrap());
        play.raw = raw.clone().map(|row| RawValue::from_string(row).unwrap());
        let id = PlayId::new("rj", &play, 0);
        let mut block = b"earlier\n".to_vec();
        LineWriter::new(&user, 1_700_000_000_000)
            .write(&play, id, &mut block)
            .unwrap();
        let line = block.strip_prefix(b"earlier\n").unwrap();
        let line = line.strip_suffix(b"\n").unwrap();
        prop_assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
        let line: Value = serde_json::from_slice(line).unwrap();
        if let Some(error) = schema.iter_errors(&line).next() {
            return Err(TestCaseError::fail(format!("{error} in {line}")));
        }
        says_it_all(&line, uts, &words, raw.as_deref())?;
        let exact = user
            .time_zone
            .to_offset(Timestamp::from_second(uts).unwrap());
        let offset = offset_seconds(line["local_time"].as_str().unwrap());
        prop_assert!((offset - exact.seconds()).abs() <= 30);
        prop_assert_eq!(&line["id"], &Value::from(id.to_hex()));
        Ok(())
    });
}

/// Seven words in the order of [`Words`].
fn named(words: &[String]) -> Words<'_> {
    Words {
        artist: &words[0],
        artist_mbid: &words[1],
        track: &words[2],
        mbid: &words[3],
        album: &words[4],
        album_mbid: &words[5],
        url: &words[6],
    }
}

fn says_it_all(line: &Value, uts: i64, words: &[String], raw: Option<&str>) -> Verdict {
    let fields = [
        "artist",
        "artist_mbid",
        "track",
        "mbid",
        "album",
        "album_mbid",
        "url",
    ];
    for (field, word) in fields.iter().zip(words) {
        prop_assert_eq!(line[field].as_str(), Some(word.as_str()), "{}", field);
    }
    prop_assert_eq!(line["normalized_title"].as_str(), Some(words[2].trim()));
    prop_assert_eq!(line["uts"].as_i64(), Some(uts));
    let local = line["local_time"].as_str().unwrap();
    prop_assert_eq!(local.parse::<Timestamp>().unwrap().as_second(), uts);
    let raw = raw.map(|row| serde_json::from_str::<Value>(row).unwrap());
    prop_assert_eq!(line.get("raw"), raw.as_ref());
    Ok(())
}

/// The offset at the end of a time: `+05:45`.
fn offset_seconds(time: &str) -> i32 {
    let (rest, minutes) = time.rsplit_once(':').unwrap();
    let (_, hours) = rest.split_at(rest.len() - 3);
    let sign = if hours.starts_with('-') { -1 } else { 1 };
    let (hours, minutes): (i32, i32) = (hours[1..].parse().unwrap(), minutes.parse().unwrap());
    sign * (hours * 3_600 + minutes * 60)
}
