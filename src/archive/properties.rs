//! Names, and where an archive ends: held against plain readings of the same bytes.

use super::{Access, Archive, DataName, Directory, Month, Series, Standing, Tail, newest_second};
use crate::properties::{calendar_month, check, play};
use crate::scrobble::{LineWriter, PlayId};
use crate::user::{User, UserName};
use bytes::Bytes;
use futures::FutureExt;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use serde_json::Value;
use std::fs;

/// The first second of year 0 and the last of year 9999.
const CALENDAR: std::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;

fn rj() -> UserName {
    UserName::new("rj").unwrap()
}

fn seconds() -> impl Strategy<Value = i64> {
    prop_oneof![CALENDAR, any::<i64>(), -40_000_000_000..80_000_000_000_i64]
}

#[test]
fn a_month_is_that_of_the_calendar() {
    // jiff leaves the last day to zones that are behind UTC; who plays there is in December all the same.
    check(seconds(), |uts| {
        let inside = uts.clamp(*CALENDAR.start(), *CALENDAR.end());
        let Month { year, month } = Month::of(uts);
        let expected = calendar_month(inside);
        prop_assert_eq!((i64::from(year), i64::from(month)), expected);
        Ok(())
    });
}

#[test]
fn every_name_reads_back_and_names_are_ordered_like_their_plays() {
    let part = || prop_oneof![0..12_u32, any::<u32>()];
    let values = (seconds(), part(), seconds(), part());
    check(values, |(uts, part, other_uts, other_part)| {
        let name = |uts, part| DataName {
            user: rj(),
            series: Series::Part(Month::of(uts)),
            part,
        };
        let (one, other) = (name(uts, part), name(other_uts, other_part));
        for name in [&one, &other] {
            let read = DataName::parse(&rj(), &name.to_string());
            prop_assert_eq!(read.as_ref(), Some(name));
        }
        if one.series == other.series {
            prop_assert_eq!(one.cmp(&other), part.cmp(&other_part));
        } else {
            prop_assert_eq!(one < other, uts < other_uts);
        }
        Ok(())
    });
}

#[test]
fn only_what_this_program_would_write_is_a_data_file() {
    let nearly = "user=(rj|rjx|RJ)/year=[-+0-9]{3,5}/month=[-+0-9]{1,2}/part-[-+0-9]{1,3}\\.ndjson(/|\\.gz)?";
    let nearly = prop_oneof![
        4 => nearly,
        4 => "user=rj/year=20[0-9]{2}/month=[01][0-9]/part-[0-9]{1,2}\\.ndjson",
        1 => "\\PC{0,40}"
    ];
    check(nearly, |path| {
        if let Some(name) = DataName::parse(&rj(), &path) {
            prop_assert_eq!(name.to_string(), path);
        }
        Ok(())
    });
}

/// Lines as the archive has them, and what may stand there instead. Few seconds, so that they repeat.
fn line() -> impl Strategy<Value = Bytes> {
    let good =
        (1_714_560_000..1_714_560_003_i64, "[a-c]", 0..3_u32).prop_map(|(uts, track, ordinal)| {
            let user = User {
                name: rj(),
                time_zone: TimeZone::UTC,
            };
            let play = play(uts, "artist", &track);
            let mut line = Vec::new();
            LineWriter::new(&user, 0)
                .write(&play, PlayId::new("rj", &play, ordinal), &mut line)
                .unwrap();
            line
        });
    // What follows the second's own lines decides little, so broken ones are rare.
    let line = prop_oneof![
        30 => good,
        1 => "\\{\"uts\":(17145600[01]{2}|1e3|-1|\"1\"),\"id\":\"[0-9a-f]{31,32}\"\\}\n".prop_map(String::into_bytes),
        1 => Just(b"\n".to_vec()),
        1 => Just(b"{\"uts\":1714560000,\"id\":\"00000000000000000000000000000000\",\"raw\":\"\xff\"}\n".to_vec()),
        1 => Just(b"[1714560000,\"00000000000000000000000000000000\"]\n".to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ];
    line.prop_map(Bytes::from)
}

/// The parts of a month: whole lines mostly, sometimes cut anywhere.
fn parts() -> impl Strategy<Value = Vec<Bytes>> {
    let file = (prop::collection::vec(line(), 0..8), 0..40_usize);
    let file = file.prop_map(|(lines, cut)| {
        let bytes = Bytes::from(lines.concat());
        let length = bytes.len() * cut.min(4) / 4;
        bytes.slice(..length)
    });
    prop::collection::vec(file, 0..4)
}

/// The standing by a plain reading of all lines; nothing where a line that matters is no scrobble.
fn plainly(parts: &[Bytes]) -> Option<Standing> {
    let mut standing = Standing::default();
    for part in parts.iter().rev() {
        for line in part.split_inclusive(|byte| *byte == b'\n').rev() {
            let text = line.strip_suffix(b"\n")?;
            let line: Value = serde_json::from_slice(text).ok()?;
            let line = line.as_object()?;
            let (uts, id) = (line.get("uts")?.as_i64()?, line.get("id")?.as_str()?);
            let id = PlayId::from_hex(id)?;
            if *standing.newest.get_or_insert(uts) != uts {
                return Some(standing);
            }
            standing.held.insert(id);
        }
    }
    Some(standing)
}

#[test]
fn an_end_is_read_like_the_whole_file_whatever_the_chunks() {
    let values = (parts(), 1..700_usize);
    check(values, |(parts, chunk_bytes)| {
        let expected = plainly(&parts);
        for chunk_bytes in [1, chunk_bytes, 64 * 1024] {
            match (newest_second(&parts, chunk_bytes), &expected) {
                (Ok(found), Some(expected)) => {
                    prop_assert_eq!(found.newest, expected.newest);
                    prop_assert_eq!(&found.held, &expected.held);
                }
                (Err(_), None) => {}
                (found, _) => prop_assert!(false, "{found:?} instead of {expected:?}"),
            }
        }
        Ok(())
    });
}

#[test]
fn a_tail_is_whole_lines_of_its_month_or_an_error_that_names_the_file() {
    let now = 1_714_560_001;
    check((parts(), 4..7_i8), |(parts, month)| {
        let folder = tempfile::tempdir().unwrap();
        let series = Series::Part(Month { year: 2024, month });
        let mut names = Vec::new();
        for (part, bytes) in (0..).zip(&parts) {
            let user = rj();
            let name = DataName { user, series, part };
            let path = folder.path().join(name.to_string());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
            names.push(name.to_string());
        }
        let directory = Directory::open(folder.path(), Access::Read).unwrap();
        let archive = Archive::Directory(directory);
        let tail = Tail::read(&archive, &rj(), now).now_or_never().unwrap();
        match tail {
            Ok(tail) => {
                // A directory leaves a torn last line out of account.
                let newest_file = parts.iter().rposition(|bytes| !bytes.is_empty());
                let mut whole = parts.clone();
                if let Some(file) = newest_file {
                    let lines = whole[file].iter().rposition(|byte| *byte == b'\n');
                    whole[file].truncate(lines.map_or(0, |line_feed| line_feed + 1));
                }
                let standing = plainly(&whole).unwrap();
                prop_assert_eq!(tail.standing.newest, standing.newest);
                prop_assert_eq!(tail.standing.held, standing.held);
                if let Some(newest) = standing.newest {
                    prop_assert_eq!(calendar_month(newest), (2024, i64::from(month)));
                    prop_assert!(newest <= now + 5);
                }
            }
            Err(error) => {
                let error = format!("{error:#}");
                prop_assert!(names.iter().any(|name| error.contains(name)), "{}", error);
            }
        }
        Ok(())
    });
}
