//! The reader of Last.fm's bodies. Input: a line with status and page (`200 1`), then the body.
#![no_main]

use lastfm_archive::archive::newest_second;
use lastfm_archive::lastfm::{Error, Page, read};
use lastfm_archive::scrobble::{LineWriter, PlayId};
use lastfm_archive::user::{User, UserName};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|input: &[u8]| {
    let (status, asked, body) = parts_of(input).unwrap_or((200, 1, input));
    let user = UserName::new("alice").expect("a name");
    let read = |keep_raw| read(body, status, None, (&user, asked), keep_raw);
    let (page, with_raw) = (read(false), read(true));
    agree(body, &page, &with_raw);
    for page in [page, with_raw].into_iter().flatten() {
        assert_eq!((status, page.number), (200, asked));
        is_what_its_numbers_call_for(&page);
        is_what_the_body_says(&page, body);
        can_be_archived(&page);
    }
});

fn parts_of(input: &[u8]) -> Option<(u16, u32, &[u8])> {
    let line_feed = input.iter().position(|byte| *byte == b'\n')?;
    let (line, body) = (&input[..line_feed], &input[line_feed + 1..]);
    let (status, page) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    // Nobody asks for page 0.
    let page = page.parse().ok().filter(|page| *page > 0)?;
    Some((status.parse().ok()?, page, body))
}

/// Whether raw rows are kept does not decide what is accepted.
fn agree(body: &[u8], page: &Result<Page, Error>, with_raw: &Result<Page, Error>) {
    match (page, with_raw) {
        (Ok(page), Ok(with_raw)) => {
            assert_eq!(page.numbers, with_raw.numbers);
            assert_eq!(page.plays.len(), with_raw.plays.len());
            for (play, with_raw) in page.plays.iter().zip(&with_raw.plays) {
                assert_eq!(play.uts, with_raw.uts);
                let words = [play, with_raw].map(|play| format!("{:?}", play.words()));
                assert_eq!(words[0], words[1]);
            }
        }
        // Only keeping a row shows that a field which nobody reads is no text.
        (Ok(_), Err(_)) => assert!(std::str::from_utf8(body).is_err()),
        // The rows of a page past the end are of no interest.
        (Err(_), Ok(page)) => assert!(page.number > page.numbers.total_pages),
        (Err(_), Err(_)) => {}
    }
}

fn is_what_its_numbers_call_for(page: &Page) {
    let past_the_end = page.number > page.numbers.total_pages;
    let called_for = page.numbers.rows_on(page.number);
    let called_for = if past_the_end { 0 } else { called_for };
    assert_eq!(page.plays.len() as u64, called_for);
    assert!(
        page.plays
            .is_sorted_by(|newer, older| newer.uts >= older.uts)
    );
}

/// For bodies of the usual shape, read another way.
fn is_what_the_body_says(page: &Page, body: &[u8]) {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return;
    };
    assert!(body.get("error").is_none_or(Value::is_null));
    let recent = &body["recenttracks"];
    if let Some(user) = recent["@attr"]["user"].as_str() {
        assert!(user.eq_ignore_ascii_case("alice"), "{user}");
    }
    let Some(rows) = recent["track"].as_array() else {
        return;
    };
    let odd = |row: &Value| {
        let date = &row["date"];
        !row.is_object() || !(date.is_object() || date.is_null()) || row["@attr"].is_array()
    };
    if page.number > page.numbers.total_pages || rows.iter().any(odd) {
        return;
    }
    let is_play =
        |row: &&Value| row["date"].is_object() && text(&row["@attr"]["nowplaying"]) != "true";
    let said: Vec<&Value> = rows.iter().filter(is_play).collect();
    assert_eq!(page.plays.len(), said.len());
    for (play, row) in page.plays.iter().zip(said) {
        assert_eq!(Some(play.uts), text(&row["date"]["uts"]).parse().ok());
        assert_eq!(play.words().track, text(&row["name"]));
    }
}

/// Text, a number or a truth in words; nothing for nothing.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// What is accepted can be written, and the archive's end can be read again.
fn can_be_archived(page: &Page) {
    let user = User {
        name: UserName::new("alice").expect("a name"),
        time_zone: jiff::tz::TimeZone::UTC,
    };
    let mut writer = LineWriter::new(&user, 1_700_000_000_000);
    let mut block = Vec::new();
    for (play, ordinal) in page.plays.iter().rev().zip(0..) {
        let id = PlayId::new("alice", play, ordinal);
        writer.write(play, id, &mut block).expect("a line");
    }
    let lines = block.split_inclusive(|byte| *byte == b'\n');
    assert_eq!(lines.count(), page.plays.len());
    let newest = page.plays.first().map(|play| play.uts);
    let standing = newest_second(&[block], 64 * 1024).expect("a tail");
    assert_eq!(standing.newest, newest);
    let at_newest = page.plays.iter().filter(|play| Some(play.uts) == newest);
    assert_eq!(standing.held.len(), at_newest.count());
}
