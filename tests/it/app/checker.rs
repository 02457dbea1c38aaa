//! The checker tests itself: each way in which an archive can be wrong is noticed.

use std::io::Write;

use fake_lastfm::Play;
use serde_json::{Value, json};

use crate::support::blob_checker::{Truth, compare, hex_id};

const MAY: &str = "user=rj/year=2024/month=05/part-0.ndjson";
const FIRST: i64 = 1_715_000_000;

fn truth() -> Vec<Play> {
    let second = Play::new(FIRST + 1, "A", "two");
    vec![
        Play::new(FIRST, "A", "one"),
        second.clone(),
        second,
        Play::new(FIRST + 1, "A", "three"),
    ]
}

fn line(play: &Play, ordinal: u32) -> Value {
    let text = format!(
        "rj\u{1f}{}\u{1f}{}\u{1f}{}\u{1f}{ordinal}",
        play.uts, play.artist, play.track
    );
    let id = hex_id(&text);
    json!({
        "username": "rj", "artist": play.artist, "track": play.track, "normalized_title": play.track,
        "album": "", "uts": play.uts, "local_time": jiff::Timestamp::from_second(play.uts).unwrap().to_string(),
        "mbid": "", "source": "lastfm", "ingested_at": "2026-01-01T00:00:00.000Z", "id": id,
        "artist_mbid": "", "album_mbid": "", "url": "",
    })
}

/// The lines of a right archive: inside a second in Last.fm's order, newest first.
fn lines() -> Vec<Value> {
    let plays = truth();
    vec![
        line(&plays[0], 0),
        line(&plays[3], 0),
        line(&plays[2], 0),
        line(&plays[1], 1),
    ]
}

fn file(lines: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines {
        writeln!(bytes, "{line}").unwrap();
    }
    bytes
}

fn check(files: &[(String, Vec<u8>)]) -> Result<(), String> {
    compare(
        &Truth {
            user: "RJ",
            plays: &truth(),
        },
        files,
    )
}

#[track_caller]
fn wrong(lines: &[Value], problem: &str) {
    let error = check(&[(MAY.to_owned(), file(lines))]).unwrap_err();
    assert!(error.contains(problem), "{error}");
}

#[test]
fn a_right_archive_is_right_in_one_part_or_in_two() {
    let lines = lines();
    assert_eq!(check(&[(MAY.to_owned(), file(&lines))]), Ok(()));
    let parts = [
        (MAY.replace("part-0", "part-10"), file(&lines[3..])),
        (MAY.replace("part-0", "part-9"), file(&lines[1..3])),
        (MAY.to_owned(), file(&lines[..1])),
    ];
    assert_eq!(check(&parts), Ok(()));
}

#[test]
fn a_wrong_archive_is_wrong_with_its_reason() {
    let right = lines();
    let change = |index: usize, field: &str, value: Value| {
        let mut lines = lines();
        lines[index][field] = value;
        lines
    };
    wrong(&right[..3], "1 plays are missing");
    wrong(&[right.clone(), vec![right[0].clone()]].concat(), "twice");
    wrong(&change(0, "artist", json!("B")), "1 are too many");
    wrong(&change(0, "album", json!("B")), "1 are too many");
    wrong(&change(0, "id", json!("0".repeat(32))), "should be");
    wrong(&change(0, "username", json!("RJ")), "`username`");
    wrong(&change(0, "more", json!(1)), "the fields are");
    wrong(&change(0, "uts", json!(FIRST + 9)), "another moment");
    wrong(&change(0, "uts", json!("1715000000")), "no whole number");
    let mut swapped = right.clone();
    swapped.swap(0, 1);
    wrong(&swapped, "line 0 of all should be");
    let mut swapped = right.clone();
    swapped.swap(1, 2);
    wrong(&swapped, "line 1 of all should be");
    let mut swapped = right.clone();
    swapped.swap(2, 3);
    wrong(&swapped, "the id of");

    let other = |path: &str| check(&[(path.to_owned(), file(&right))]).unwrap_err();
    assert!(other("user=rj/year=2024/month=06/part-0.ndjson").contains("another month"));
    assert!(other("user=rj/year=2024/month=5/part-0.ndjson").contains("no name"));
    assert!(other("user=rj/late-0.ndjson").contains("no name"));
    let mut torn = file(&right);
    torn.pop();
    let torn = check(&[(MAY.to_owned(), torn)]).unwrap_err();
    assert!(torn.contains("line feed"), "{torn}");
}

#[test]
fn the_id_of_a_known_play_is_known() {
    // `printf 'rj\x1f1700000000\x1fA\x1fone\x1f0' | sha256sum`
    let id = hex_id("rj\u{1f}1700000000\u{1f}A\u{1f}one\u{1f}0");
    assert_eq!(id, "5dbd9da26b8b54ea829bd2b8543827b9");
}
