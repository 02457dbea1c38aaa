//! Bodies of Last.fm in every shape that was ever recorded: our own, and the recorded ones where they are at hand.

use std::io::Write as _;
use std::path::Path;

use lastfm_archive::lastfm::{Error, Page, read};
use lastfm_archive::user::UserName;
use serde_json::{Value, json};

use crate::support::checker::files_below;

/// What became of a body: the number of its plays, or the kind of the error.
type Verdict = Result<usize, &'static str>;

fn verdict_of(answer: &Result<Page, Error>) -> Verdict {
    match answer {
        Ok(page) => Ok(page.plays.len()),
        Err(Error::RateLimited { .. }) => Err("rate limited"),
        Err(Error::Failing(_)) => Err("failing"),
        Err(Error::Unreachable(_)) => Err("unreachable"),
        Err(Error::Broken(_)) => Err("broken"),
        Err(Error::NoSuchPage(_)) => Err("no such page"),
        Err(Error::UserNotFound(_)) => Err("user not found"),
        Err(Error::Private(_)) => Err("private"),
        Err(Error::KeyRejected { .. }) => Err("key rejected"),
        Err(Error::Refused { .. }) => Err("refused"),
    }
}

fn ask(body: &[u8], status: u16, user: &str, page: u32, raw: bool) -> Result<Page, Error> {
    let user = UserName::new(user).unwrap();
    read(body, status, None, (&user, page), raw)
}

/// The verdict, which must not depend on whether raw rows are kept.
#[track_caller]
fn verdict(body: &[u8], status: u16, user: &str, page: u32) -> Verdict {
    let verdict = verdict_of(&ask(body, status, user, page, false));
    let with_raw = verdict_of(&ask(body, status, user, page, true));
    assert_eq!(verdict, with_raw, "{}", String::from_utf8_lossy(body));
    verdict
}

/// A row with text `name` at second `uts`, in today's short shape.
fn row(uts: i64, name: &str) -> Value {
    json!({
        "artist": {"mbid": "", "#text": "Artist"}, "streamable": "0",
        "image": [{"size": "small", "#text": ""}], "mbid": "", "album": {"mbid": "", "#text": ""},
        "name": name, "url": "https://www.last.fm/music/Artist/_/x",
        "date": {"uts": uts.to_string(), "#text": "14 Nov 2023, 22:13"},
    })
}

fn playing(flag: &Value) -> Value {
    let mut row = row(0, "now");
    row.as_object_mut().unwrap().remove("date");
    row["@attr"] = json!({"nowplaying": flag});
    row
}

/// A page of `alice` with these rows that claims these numbers: page, rows a page, pages, total.
fn page(track: &Value, numbers: [u32; 4]) -> Value {
    let [page, per_page, pages, total] = numbers.map(|number| number.to_string());
    let attr = json!({"user": "Alice", "page": page, "perPage": per_page, "totalPages": pages, "total": total});
    json!({"recenttracks": {"track": track, "@attr": attr}})
}

#[track_caller]
fn check(body: &Value, asked: u32, expect: Verdict) {
    let found = verdict(body.to_string().as_bytes(), 200, "alice", asked);
    assert_eq!(found, expect, "{body}");
}

#[test]
fn every_recorded_shape_of_rows_is_read() {
    let (one, two) = (row(9, "one"), row(8, "two"));
    let now = playing(&json!("true"));
    check(&page(&json!([one, two]), [1, 50, 1, 2]), 1, Ok(2));
    check(&page(&json!([one]), [1, 50, 1, 1]), 1, Ok(1));
    check(&page(&one, [1, 50, 1, 1]), 1, Ok(1));
    check(&page(&json!([]), [1, 50, 0, 0]), 1, Ok(0));
    check(&page(&json!([]), [1, 50, 1, 0]), 1, Ok(0));
    check(&page(&now, [1, 50, 0, 0]), 1, Ok(0));
    check(&page(&json!([now, one, two]), [1, 2, 1, 2]), 1, Ok(2));
    check(&page(&json!([now, one]), [2, 2, 2, 3]), 2, Ok(1));
    check(&page(&json!([one, one]), [1, 50, 1, 2]), 1, Ok(2));
    // In 2014 page 0 was another name of page 1.
    check(&page(&json!([one]), [0, 1, 7, 7]), 1, Ok(1));
    // The flag together with a date, and neither of them, were met in the past: both are no plays.
    let mut dated = playing(&json!("true"));
    dated["date"] = json!({"uts": "9"});
    let mut bare = dated.clone();
    bare.as_object_mut().unwrap().remove("date");
    bare.as_object_mut().unwrap().remove("@attr");
    check(&page(&json!([dated, bare, one]), [1, 50, 1, 1]), 1, Ok(1));
    let mut not_playing = one.clone();
    not_playing["@attr"] = json!({"nowplaying": "false"});
    check(&page(&json!([not_playing]), [1, 50, 1, 1]), 1, Ok(1));
    let flat = json!({"recenttracks": {"#text": "\n", "user": "ALICE", "page": "0", "perPage": "20", "totalPages": "0", "total": "0"}});
    check(&flat, 1, Ok(0));
}

#[test]
fn fields_may_have_any_recorded_form_and_text_stays_as_it_is() {
    let text = " \u{10}&amp; \"音\" \\ ";
    let long = json!({
        "artist": {"url": "u", "mbid": "m", "image": [], "name": text}, "loved": "1", "streamable": "0",
        "mbid": "t", "name": text, "url": "https://x/y", "album": {"mbid": "b", "#text": text},
        "date": {"uts": 7, "#text": ""},
    });
    let bare = json!({"artist": "Plain", "album": null, "name": null, "date": {"uts": "6"}});
    let numbers = json!({"user": "alice", "page": 1, "perPage": 50, "totalPages": 1, "total": 2});
    let body = json!({"recenttracks": {"@attr": numbers, "track": [long, bare]}});
    check(&body, 1, Ok(2));
    let escaped = body.to_string().replace('/', "\\/");
    for raw in [false, true] {
        let page = ask(escaped.as_bytes(), 200, "alice", 1, raw).unwrap();
        let [long, bare] = &page.plays[..] else {
            panic!()
        };
        assert_eq!(
            (long.words().artist, long.words().track, long.words().album),
            (text, text, text)
        );
        assert_eq!(
            (
                long.words().artist_mbid,
                long.words().mbid,
                long.words().album_mbid
            ),
            ("m", "t", "b")
        );
        assert_eq!((long.uts, long.words().url), (7, "https://x/y"));
        assert_eq!(
            (bare.words().artist, bare.words().album, bare.words().track),
            ("Plain", "", "")
        );
        assert_eq!((bare.words().mbid, bare.words().url, bare.uts), ("", "", 6));
        assert_eq!(long.raw.is_some(), raw);
    }
}

#[test]
fn what_does_not_hold_what_its_numbers_call_for_is_broken() {
    let (one, two) = (row(9, "one"), row(8, "two"));
    let both = json!([one, two]);
    let broken = Err("broken");
    check(&page(&both, [1, 50, 1, 3]), 1, broken);
    check(&page(&both, [1, 50, 1, 1]), 1, broken);
    check(&page(&both, [1, 50, 2, 2]), 1, broken);
    check(&page(&both, [1, 50, 0, 2]), 1, broken);
    check(&page(&both, [1, 0, 1, 2]), 1, broken);
    check(&page(&both, [1, 0, 0, 0]), 1, broken);
    check(&page(&both, [2, 2, 2, 4]), 1, broken);
    check(&page(&both, [1, 2, 2, 4]), 2, broken);
    check(&page(&json!([]), [1, 50, 1, 1]), 1, broken);
    check(&page(&json!([two, one]), [1, 50, 1, 2]), 1, broken);
    check(&page(&json!("text"), [1, 50, 1, 1]), 1, broken);
    check(&page(&json!(["row"]), [1, 50, 1, 1]), 1, broken);
    for uts in [json!("soon"), json!(""), json!(null), json!(1.5)] {
        let mut odd = one.clone();
        odd["date"]["uts"] = uts;
        check(&page(&json!([odd]), [1, 50, 1, 1]), 1, broken);
    }
    let mut stranger = page(&both, [1, 50, 1, 2]);
    stranger["recenttracks"]["@attr"]["user"] = json!("mallory");
    check(&stranger, 1, broken);
    check(&json!({"recenttracks": {"track": both}}), 1, broken);
    check(&json!({"user": {"name": "alice"}}), 1, broken);
    for body in [
        "",
        " ",
        "null",
        "[]",
        "{}",
        "<html></html>",
        "{\"recenttracks\":",
        "{}{}",
    ] {
        assert_eq!(verdict(body.as_bytes(), 200, "alice", 1), broken, "{body}");
        assert_eq!(
            verdict(body.as_bytes(), 503, "alice", 1),
            Err("failing"),
            "{body}"
        );
        assert_eq!(
            verdict(body.as_bytes(), 429, "alice", 1),
            Err("rate limited")
        );
        assert_eq!(verdict(body.as_bytes(), 400, "alice", 1), broken, "{body}");
    }
}

#[test]
fn every_way_to_cut_a_body_is_broken() {
    let body = page(&json!([row(9, "oné"), row(8, "two")]), [1, 50, 1, 2]).to_string();
    for length in 0..body.len() {
        let found = verdict(&body.as_bytes()[..length], 200, "alice", 1);
        assert_eq!(found, Err("broken"), "{}", &body[..length.min(40)]);
    }
}

#[test]
fn the_code_of_an_error_wins_over_its_status() {
    let kinds = [
        (2, "refused"),
        (3, "refused"),
        (4, "key rejected"),
        (7, "refused"),
        (8, "failing"),
        (9, "key rejected"),
        (10, "key rejected"),
        (11, "failing"),
        (13, "key rejected"),
        (16, "failing"),
        (17, "private"),
        (26, "key rejected"),
        (27, "refused"),
        (29, "rate limited"),
        (99, "refused"),
    ];
    for (code, kind) in kinds {
        for status in [200, 400, 403, 429, 500, 503] {
            let text = format!("{{\"message\":\"m\",\"error\":{code},\"links\":[]}}");
            let libre = format!("{{\"error\":{{\"#text\":\"m\",\"code\":\"{code}\"}}}}");
            for body in [text, libre] {
                assert_eq!(
                    verdict(body.as_bytes(), status, "alice", 1),
                    Err(kind),
                    "{body}"
                );
            }
        }
    }
    for (message, kind) in [
        ("User not found", "user not found"),
        ("No user with that name was found", "user not found"),
        ("no such page", "no such page"),
        ("limit param out of bounds (1-1000)", "refused"),
        (
            "Invalid parameters - Your request is missing a required parameter",
            "refused",
        ),
    ] {
        let body = json!({"error": 6, "message": message}).to_string();
        assert_eq!(
            verdict(body.as_bytes(), 400, "alice", 1),
            Err(kind),
            "{message}"
        );
        assert_eq!(
            verdict(format!("\u{feff}{body}").as_bytes(), 200, "alice", 1),
            Err(kind)
        );
    }
}

#[test]
fn recorded_bodies_are_read_as_their_numbers_say() {
    let Some(folder) = std::env::var_os("LASTFM_FIXTURES") else {
        tell("real bodies checked: 0 (LASTFM_FIXTURES is not set)");
        return;
    };
    let folder = Path::new(&folder).join("lastfm");
    let files = files_below(&folder);
    let bodies = files
        .iter()
        .filter(|file| file.extension().is_some_and(|it| it == "json"));
    let (mut pages, mut refused) = (0, 0);
    for file in bodies {
        let body = std::fs::read(file).unwrap();
        let (status, user, page, expect) = expectation(&body);
        let found = verdict(&body, status, &user, page);
        assert_eq!(found, expect, "{}", file.display());
        match found {
            Ok(_) => pages += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(
        pages > 0 && refused > 0,
        "no bodies in {}",
        folder.display()
    );
    let all = pages + refused;
    tell(&format!(
        "real bodies checked: {all} ({pages} pages, {refused} refused)"
    ));
}

/// Past the test runner's capture: how much was checked is worth a line in every run.
fn tell(line: &str) {
    std::io::stderr()
        .write_all(format!("{line}\n").as_bytes())
        .unwrap();
}

/// A likely status, whose body it is, which page, and what must become of it, judged from the bare JSON.
fn expectation(body: &[u8]) -> (u16, String, u32, Verdict) {
    let nobody = |status, kind| (status, "nobody".to_owned(), 1, Err(kind));
    let text = String::from_utf8(body.to_vec()).unwrap();
    let Ok(body) = serde_json::from_str::<Value>(text.trim_start_matches('\u{feff}')) else {
        return nobody(200, "broken");
    };
    if let Some(code) = body["error"].as_i64() {
        let message = body["message"].as_str().unwrap().to_lowercase();
        return match code {
            4 | 10 => nobody(403, "key rejected"),
            6 if message.contains("user not found") => nobody(404, "user not found"),
            6 if message.contains("no user") => nobody(404, "user not found"),
            6 if message.contains("page") => nobody(400, "no such page"),
            6 => nobody(400, "refused"),
            8 | 11 | 16 => nobody(500, "failing"),
            17 => nobody(403, "private"),
            29 => nobody(429, "rate limited"),
            _ => panic!("nothing is expected of code {code}"),
        };
    }
    let tracks = &body["recenttracks"];
    let flat = tracks["@attr"].is_null() && tracks["total"].is_string();
    let attr = if flat { tracks } else { &tracks["@attr"] };
    let number = |name: &str| {
        attr[name]
            .as_str()
            .and_then(|text| text.parse::<usize>().ok())
    };
    let [Some(total), Some(page), Some(per_page)] = ["total", "page", "perPage"].map(number) else {
        return nobody(200, "broken");
    };
    let page = page.max(1);
    let rows = match &tracks["track"] {
        Value::Array(rows) => rows.iter().filter(|row| row["date"].is_object()).count(),
        track => usize::from(track["date"].is_object()),
    };
    let called_for = total.saturating_sub((page - 1) * per_page).min(per_page);
    let expect = if rows == called_for {
        Ok(rows)
    } else {
        Err("broken")
    };
    let user = attr["user"].as_str().unwrap().to_owned();
    (200, user, u32::try_from(page).unwrap(), expect)
}
