//! Pages, whole and damaged: what is accepted is always what its numbers call for.

use super::{Page, read};
use crate::properties::{Verdict, check, text};
use crate::user::UserName;
use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

/// A history's page as Last.fm might send it.
#[derive(Clone, Debug)]
struct Sent {
    /// Second, artist and title of each row, newest first.
    plays: Vec<(i64, String, String)>,
    /// Which page this is, and how many plays are on the ones behind it.
    asked: u32,
    older: usize,
    shape: Shape,
}

/// The ways in which bodies differ that say the same.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a coin of its own")]
struct Shape {
    numbers_are_strings: bool,
    numbers_in_attr: bool,
    extended: bool,
    pretty: bool,
    /// The row that is playing now, if there is one: whether it carries the flag, and a date all the same.
    playing_now: Option<(bool, bool)>,
}

fn sent() -> impl Strategy<Value = Sent> {
    let play = (0..3_i64, text(), text());
    let plays = prop::collection::vec(play, 1..6);
    let playing_now = prop::sample::select(vec![
        None,
        Some((true, false)),
        Some((true, true)),
        Some((false, false)),
    ]);
    let shape = (any::<[bool; 4]>(), playing_now);
    (plays, 1..4_u32, 0..8_usize, shape).prop_map(|(plays, asked, older, (shape, playing_now))| {
        let mut uts = 1_700_000_000;
        let plays = plays.into_iter().map(|(gap, artist, track)| {
            uts -= gap;
            (uts, artist, track)
        });
        let shape = Shape {
            numbers_are_strings: shape[0],
            numbers_in_attr: shape[1],
            extended: shape[2],
            pretty: shape[3],
            playing_now,
        };
        Sent {
            plays: plays.collect(),
            asked,
            older,
            shape,
        }
    })
}

impl Sent {
    /// `page`, `perPage`, `totalPages`, `total`.
    fn numbers(&self) -> [(&'static str, u64); 4] {
        // A page is full unless it is the last one.
        let (rows, asked) = (self.plays.len() as u64, u64::from(self.asked));
        let total = asked * rows + self.older as u64;
        [
            ("page", asked),
            ("perPage", rows),
            ("totalPages", total.div_ceil(rows)),
            ("total", total),
        ]
    }

    fn number(&self, number: impl ToString + Into<Value>) -> Value {
        if self.shape.numbers_are_strings {
            number.to_string().into()
        } else {
            number.into()
        }
    }

    fn row(&self, (uts, artist, track): &(i64, String, String)) -> Value {
        let name = if self.shape.extended { "name" } else { "#text" };
        json!({
            "artist": {"mbid": "", name: artist}, "streamable": "0", "image": [{"size": "small", "#text": ""}],
            "mbid": "", "album": {"mbid": "", "#text": "An album"}, "name": track, "url": "https://www.last.fm/",
            "date": {"uts": self.number(*uts), "#text": "14 Nov 2023, 22:13"},
        })
    }

    fn body(&self) -> Value {
        let mut rows: Vec<Value> = self.plays.iter().map(|play| self.row(play)).collect();
        if let Some((flagged, dated)) = self.shape.playing_now {
            let mut now = self.row(&(0, "now".to_owned(), "now".to_owned()));
            if !dated {
                now.as_object_mut().unwrap().remove("date");
            }
            if flagged {
                now["@attr"] = json!({"nowplaying": "true"});
            }
            rows.insert(0, now);
        }
        let mut numbers = json!({"user": "Alice"});
        for (name, number) in self.numbers() {
            numbers[name] = self.number(number);
        }
        let mut recent = json!({"track": rows});
        if self.shape.numbers_in_attr {
            recent["@attr"] = numbers;
        } else {
            let members = recent.as_object_mut().unwrap();
            members.append(numbers.as_object_mut().unwrap());
        }
        json!({"recenttracks": recent})
    }

    fn bytes(&self, body: &Value) -> Bytes {
        let bytes = if self.shape.pretty {
            serde_json::to_vec_pretty(body)
        } else {
            serde_json::to_vec(body)
        };
        bytes.unwrap().into()
    }
}

fn alice() -> UserName {
    UserName::new("alice").unwrap()
}

/// Reads it with raw rows and without, which must not make a difference; nothing when it is refused.
fn page(body: &[u8], status: u16, asked: u32) -> Result<Option<Page>, TestCaseError> {
    let [with_raw, page] =
        [true, false].map(|raw| read(body, status, None, (&alice(), asked), raw).ok());
    let told = |page: &Option<Page>| {
        page.as_ref().map(|page| {
            let plays = page
                .plays
                .iter()
                .map(|play| format!("{:?} {:?}", play.uts, play.words()));
            (page.number, page.numbers, plays.collect::<Vec<_>>())
        })
    };
    prop_assert_eq!(told(&with_raw), told(&page));
    for play in with_raw.iter().flat_map(|page| &page.plays) {
        let raw = play.raw.as_ref().unwrap().get();
        prop_assert!(!raw.contains(['\n', '\r']));
        prop_assert!(serde_json::from_str::<Value>(raw).is_ok());
    }
    Ok(page)
}

/// What every accepted page holds to.
fn is_sound(page: &Page, asked: u32) -> Verdict {
    prop_assert_eq!(page.number, asked);
    let past_the_end = asked > page.numbers.total_pages;
    let called_for = page.numbers.rows_on(asked);
    let called_for = if past_the_end { 0 } else { called_for };
    prop_assert_eq!(page.plays.len() as u64, called_for);
    prop_assert!(
        page.plays
            .is_sorted_by(|newer, older| newer.uts >= older.uts)
    );
    Ok(())
}

#[test]
fn a_page_in_any_shape_gives_its_plays_in_their_order() {
    check(sent(), |sent| {
        let page = page(&sent.bytes(&sent.body()), 200, sent.asked)?.unwrap();
        is_sound(&page, sent.asked)?;
        let plays = page.plays.iter().map(|play| {
            let (uts, artist, track) = play.identity();
            (uts, artist.to_owned(), track.to_owned())
        });
        prop_assert_eq!(plays.collect::<Vec<_>>(), sent.plays);
        Ok(())
    });
}

#[test]
fn a_body_that_is_cut_anywhere_or_comes_with_a_failure_is_refused() {
    check(
        (sent(), any::<Index>(), 201..600_u16),
        |(sent, cut, status)| {
            let whole = sent.bytes(&sent.body());
            let cut = &whole[..cut.index(whole.len())];
            prop_assert!(page(cut, 200, sent.asked)?.is_none());
            prop_assert!(page(&whole, status, sent.asked)?.is_none());
            prop_assert!(
                page(&whole, 200, sent.asked + 1)?.is_none_or(|page| page.plays.is_empty())
            );
            Ok(())
        },
    );
}

#[test]
fn a_page_with_a_row_or_a_number_wrong_is_refused() {
    let values = (sent(), any::<Index>(), 0..6_u32, 1..5_u64);
    check(values, |(sent, place, damage, by)| {
        let mut body = sent.body();
        let first = usize::from(sent.shape.playing_now.is_some());
        let place = first + place.index(sent.plays.len());
        let recent = &mut body["recenttracks"];
        let rows = recent["track"].as_array_mut().unwrap();
        match damage {
            0 => drop(rows.remove(place)),
            1 => rows.insert(place, rows[place].clone()),
            2 => rows[place]["date"]["uts"] = "soon".into(),
            3 => rows.push(sent.row(&(1_700_000_001, String::new(), String::new()))),
            _ => {
                let numbers = if sent.shape.numbers_in_attr {
                    &mut recent["@attr"]
                } else {
                    recent
                };
                if damage == 4 {
                    numbers["user"] = "mallory".into();
                } else {
                    let (_, pages) = sent.numbers()[2];
                    numbers["totalPages"] = sent.number(pages + by);
                }
            }
        }
        prop_assert!(page(&sent.bytes(&body), 200, sent.asked)?.is_none());
        Ok(())
    });
}

#[test]
fn a_body_with_any_bytes_changed_is_sound_or_refused() {
    let change = (
        any::<Index>(),
        prop_oneof![
            any::<u8>(),
            b'0'..=b'9',
            prop::sample::select(&b"{}[]\":,\\"[..])
        ],
    );
    let changes = prop::collection::vec(change, 1..4);
    let status = prop_oneof![9 => Just(200), 1 => any::<u16>()];
    check((sent(), changes, status), |(sent, changes, status)| {
        let mut bytes = sent.bytes(&sent.body()).to_vec();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        // A row's own text may hold any bytes, and only keeping it shows whether they are text.
        if std::str::from_utf8(&bytes).is_ok()
            && let Some(page) = page(&bytes, status, sent.asked)?
        {
            is_sound(&page, sent.asked)?;
        }
        Ok(())
    });
}
