//! The JSON, in today's and in former shapes.

use fake_lastfm::{EmptyShape, LastFm, Numbers, OneRowShape, Play, histories};
use serde_json::json;

use crate::{alice, ask, page};

/// A Last.fm whose Alice has one play with all fields.
fn one_full_play() -> LastFm {
    let mut lastfm = LastFm::new();
    let play = Play {
        uts: 1_458_168_739,
        artist: "An \"Artist\"\u{10}".to_owned(),
        artist_mbid: "a-1".to_owned(),
        track: "Track \\ A/B".to_owned(),
        mbid: "t-1".to_owned(),
        album: "Album".to_owned(),
        album_mbid: "b-1".to_owned(),
        url: "https://www.last.fm/music/A/_/T".to_owned(),
    };
    lastfm.add_user("Alice", [play]);
    lastfm
}

#[test]
fn a_row_has_the_fields_of_the_real_one() {
    let row = page(&mut one_full_play(), "")["track"][0].take();
    let image = |size, folder| {
        let url = format!("https://lastfm.freetls.fastly.net/i/u/{folder}/b1.jpg");
        json!({"size": size, "#text": url})
    };
    let expected = json!({
        "artist": {"mbid": "a-1", "#text": "An \"Artist\"\u{10}"},
        "album": {"mbid": "b-1", "#text": "Album"},
        "name": "Track \\ A/B",
        "mbid": "t-1",
        "url": "https://www.last.fm/music/A/_/T",
        "streamable": "0",
        "image": [
            image("small", "34s"),
            image("medium", "64s"),
            image("large", "174s"),
            image("extralarge", "300x300"),
        ],
        "date": {"uts": "1458168739", "#text": "16 Mar 2016, 22:52"},
    });
    assert_eq!(row, expected);
}

#[test]
fn the_extended_row_tells_the_artist_otherwise() {
    let row = page(&mut one_full_play(), "extended=1")["track"][0].take();
    assert_eq!(row["loved"], "0");
    assert_eq!(row["artist"]["name"], "An \"Artist\"\u{10}");
    assert_eq!(row["artist"]["url"], "https://www.last.fm/music/A");
    assert_eq!(row["artist"]["mbid"], "");
    assert_eq!(row["artist"]["image"].as_array().unwrap().len(), 4);
    assert_eq!(row["artist"].get("#text"), None);
}

#[test]
fn a_cached_row_is_written_anew_when_the_style_changes() {
    let mut lastfm = one_full_play();
    assert_eq!(page(&mut lastfm, "")["track"][0]["streamable"], "0");
    assert_eq!(page(&mut lastfm, "extended=1")["track"][0]["loved"], "0");
    assert_eq!(page(&mut lastfm, "")["track"][0].get("loved"), None);
    lastfm.config.numbers = Numbers::Plain;
    let page = page(&mut lastfm, "");
    assert_eq!(page["track"][0]["date"]["uts"], 1_458_168_739);
    assert_eq!(page["@attr"]["total"], 1);
}

#[test]
fn slashes_are_escaped_unless_asked_otherwise() {
    let mut lastfm = one_full_play();
    let escaped = ask(&mut lastfm, "").body;
    assert!(escaped.windows(4).any(|text| text == br"A\/B"));
    lastfm.config.escape_slashes = false;
    let plain = ask(&mut lastfm, "").body;
    assert!(plain.windows(3).any(|text| text == b"A/B"));
}

#[test]
fn no_rows_are_an_empty_list_today_and_a_line_break_formerly() {
    let mut lastfm = alice([]);
    let today = page(&mut lastfm, "");
    assert_eq!(today["track"], json!([]));
    assert_eq!(today["@attr"]["total"], "0");
    assert_eq!(today["@attr"]["totalPages"], "0");
    lastfm.config.no_rows = EmptyShape::FlatAttributes;
    let expected = json!({
        "#text": "\n", "user": "Alice", "page": "1", "perPage": "50", "totalPages": "0", "total": "0"
    });
    assert_eq!(page(&mut lastfm, ""), expected);
}

#[test]
fn a_single_row_may_stand_without_a_list() {
    let mut lastfm = alice([10]);
    assert!(page(&mut lastfm, "")["track"].is_array());
    lastfm.config.one_row = OneRowShape::Object;
    assert_eq!(page(&mut lastfm, "")["track"]["name"], "t10");
    lastfm.user_mut("alice").now_playing = Some(Play::new(0, "Artist", "now"));
    assert_eq!(page(&mut lastfm, "")["track"][1]["name"], "t10");
    assert_eq!(page(&mut lastfm, "from=11")["track"]["name"], "now");
}

#[test]
fn the_attributes_may_be_absent() {
    let mut lastfm = alice([10]);
    lastfm.config.page_attributes = false;
    assert_eq!(page(&mut lastfm, "").get("@attr"), None);
    assert_eq!(page(&mut lastfm, "").get("@attr"), None);
}

#[test]
fn a_thousand_odd_rows_are_valid_json_with_every_text_unchanged() {
    let plays = histories::made_up(5, 1000, 1_500_000_000, 1_600_000_000);
    let mut lastfm = LastFm::new();
    lastfm.add_user("alice", plays.clone());
    let body = page(&mut lastfm, "limit=1000");
    let rows = body["track"].as_array().unwrap();
    assert_eq!(rows.len(), 1000);
    for (row, play) in rows.iter().zip(plays.iter().rev()) {
        assert_eq!(row["name"], play.track);
        assert_eq!(row["artist"]["#text"], play.artist);
        assert_eq!(row["album"]["#text"], play.album);
        assert_eq!(row["date"]["uts"], play.uts.to_string());
    }
}
