//! Blocks: everything once and in order, whole seconds of one month, no more bytes than allowed.

use crate::fetch_pages::{Block, Blocks};
use crate::properties::{Verdict, calendar_month, check};
use crate::scrobble::{LineWriter, Play, PlayId, Words};
use crate::user::{User, UserName};
use jiff::tz::TimeZone;
use proptest::prelude::*;
use serde_json::Value;

/// Plays around the start of a month, oldest first, with titles of this length.
fn plays() -> impl Strategy<Value = Vec<(i64, usize)>> {
    const MONTHS: [i64; 4] = [1_704_067_200, 1_709_251_200, 951_868_800, 0];
    let gap = prop_oneof![4 => Just(0), 3 => 1..3_i64, 1 => 1..5_000_000_i64];
    let play = (gap, prop_oneof![4 => 0..50_usize, 1 => 0..900_usize]);
    let start = (prop::sample::select(&MONTHS[..]), -4..2_i64);
    (start, prop::collection::vec(play, 0..40)).prop_map(|((month, offset), plays)| {
        let mut uts = month + offset;
        plays
            .into_iter()
            .map(|(gap, length)| {
                uts += gap;
                (uts, length)
            })
            .collect()
    })
}

/// One line of a block.
struct Line {
    uts: i64,
    id: String,
    bytes: usize,
}

fn lines_of(block: &Block) -> Vec<Line> {
    let lines = block.lines.split_inclusive(|byte| *byte == b'\n');
    lines
        .map(|line| {
            let text = line.strip_suffix(b"\n").unwrap();
            let json: Value = serde_json::from_slice(text).unwrap();
            Line {
                uts: json["uts"].as_i64().unwrap(),
                id: json["id"].as_str().unwrap().to_owned(),
                bytes: line.len(),
            }
        })
        .collect()
}

#[test]
fn blocks_hold_every_play_once_in_order_and_end_at_whole_seconds() {
    let bytes_max = prop_oneof![1..1_500_usize, 1_500..20_000_usize];
    check((plays(), bytes_max), |(plays, bytes_max)| {
        let user = User {
            name: UserName::new("rj").unwrap(),
            time_zone: TimeZone::UTC,
        };
        let mut given = Vec::new();
        for (number, (uts, length)) in plays.into_iter().enumerate() {
            let track = format!("{number}{}", "x".repeat(length));
            let words = Words {
                track: &track,
                ..Words::default()
            };
            let play = Play::new(uts, &words).unwrap();
            let id = PlayId::new("rj", &play, 0);
            given.push((play, id));
        }
        let expected: Vec<_> = given
            .iter()
            .map(|(play, id)| (play.uts, id.to_hex()))
            .collect();
        let blocks = Blocks::new(given.into_iter(), LineWriter::new(&user, 0), bytes_max);
        let blocks: Vec<Block> = blocks.map(Result::unwrap).collect();
        let lines: Vec<Vec<Line>> = blocks.iter().map(lines_of).collect();
        let found: Vec<_> = lines
            .iter()
            .flatten()
            .map(|line| (line.uts, line.id.clone()))
            .collect();
        prop_assert_eq!(found, expected);
        for (block, lines) in blocks.iter().zip(&lines) {
            is_sound(block, lines, bytes_max)?;
        }
        for pair in lines.windows(2) {
            is_cut_rightly(&pair[0], &lines, &pair[1], bytes_max)?;
        }
        Ok(())
    });
}

fn is_sound(block: &Block, lines: &[Line], bytes_max: usize) -> Verdict {
    prop_assert!(!lines.is_empty());
    prop_assert_eq!(block.plays, lines.len());
    prop_assert_eq!(Some(block.newest), lines.last().map(|line| line.uts));
    prop_assert!(block.lines.len() <= bytes_max || lines.len() == 1);
    let month = (i64::from(block.month.year), i64::from(block.month.month));
    for line in lines {
        prop_assert_eq!(calendar_month(line.uts), month);
    }
    Ok(())
}

/// Between two blocks a second ends, unless it is larger than a block, and the second that follows would not have
/// fitted any more.
fn is_cut_rightly(one: &[Line], all: &[Vec<Line>], next: &[Line], bytes_max: usize) -> Verdict {
    let second_bytes = |uts: i64| -> usize {
        let lines = all.iter().flatten().filter(|line| line.uts == uts);
        lines.map(|line| line.bytes).sum()
    };
    let (newest, following) = (one[one.len() - 1].uts, next[0].uts);
    if newest == following {
        prop_assert!(
            second_bytes(newest) > bytes_max,
            "a second is cut without need"
        );
    } else if calendar_month(newest) == calendar_month(following)
        // A second of several blocks stands alone in them.
        && second_bytes(newest) <= bytes_max
    {
        let bytes: usize = one.iter().map(|line| line.bytes).sum();
        prop_assert!(
            bytes + second_bytes(following) > bytes_max,
            "a block is smaller than it need be"
        );
    }
    Ok(())
}
