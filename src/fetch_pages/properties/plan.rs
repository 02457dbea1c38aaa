//! The plan, held against its rules in other words.

use crate::archive::Standing;
use crate::fetch_pages::plan::{Cover, last_pages, order, torn_seconds};
use crate::lastfm::Numbers;
use crate::properties::{check, history};
use crate::scrobble::{Play, PlayId};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet};

/// A play as its second, artist, track and id.
pub(super) type Told = (i64, String, String, PlayId);

pub(super) fn told(plays: impl Iterator<Item = (Play, PlayId)>) -> Vec<Told> {
    plays
        .map(|(play, id)| {
            let (uts, artist, track) = play.identity();
            (uts, artist.to_owned(), track.to_owned(), id)
        })
        .collect()
}

/// All plays oldest first with their ids: the archive that every way of fetching must come to.
pub(super) fn whole_archive(newest_first: &[Play]) -> Vec<Told> {
    let mut seconds: BTreeMap<i64, Vec<&Play>> = BTreeMap::new();
    for play in newest_first {
        seconds.entry(play.uts).or_default().push(play);
    }
    let mut archive: Vec<Told> = Vec::new();
    for play in seconds.into_values().flatten() {
        let (uts, artist, track) = play.identity();
        let same = |other: &&Told| other.0 == uts && other.1 == artist && other.2 == track;
        let ordinal = u32::try_from(archive.iter().filter(same).count()).unwrap();
        let id = PlayId::new("rj", play, ordinal);
        archive.push((uts, artist.to_owned(), track.to_owned(), id));
    }
    archive
}

/// An archive that ends at this second of the rows (or between them), and holds these of its plays and so many that
/// Last.fm does not show any more.
fn standing(rows: &[Play], newest: Option<i64>, held: &HashSet<usize>, gone: u32) -> Standing {
    let Some(newest) = newest else {
        return Standing::default();
    };
    let at_newest = whole_archive(rows);
    let at_newest = at_newest.iter().filter(|(uts, ..)| *uts == newest);
    let mut ids: HashSet<PlayId> = at_newest
        .enumerate()
        .filter(|(number, _)| held.contains(number))
        .map(|(_, (.., id))| *id)
        .collect();
    let deleted = crate::properties::play(newest, "gone", "gone");
    ids.extend((0..gone).map(|ordinal| PlayId::new("rj", &deleted, ordinal)));
    Standing {
        newest: Some(newest),
        held: ids,
    }
}

#[test]
fn what_is_selected_is_what_the_rules_say() {
    let newest = prop::option::weighted(0.8, 998..1_020_i64);
    let held = (prop::collection::hash_set(0..4_usize, 0..4), 0..3_u32);
    let values = (history(14), newest, held, 995..1_030_i64, any::<bool>());
    check(values, |(rows, newest, (held, gone), to, reaches_top)| {
        let standing = standing(&rows, newest, &held, gone);
        let top = rows.first().map(|play| play.uts);
        let cover = Cover {
            standing: &standing,
            to,
            top,
            reaches_top,
        };
        let whole = whole_archive(&rows);
        let closes = reaches_top || whole.iter().any(|(uts, ..)| *uts > to);
        prop_assert_eq!(cover.closes(), closes);
        let shown_at_newest = whole.iter().filter(|(uts, ..)| Some(*uts) == newest);
        let more_at_newest = shown_at_newest.count() > standing.held.len();
        let expected = whole.into_iter().filter(|(uts, _, _, id)| {
            let in_window = *uts <= to && newest.is_none_or(|newest| *uts >= newest);
            let finished = closes || Some(*uts) != top;
            let lacking = Some(*uts) != newest || (more_at_newest && !standing.held.contains(id));
            in_window && finished && lacking
        });
        let expected: Vec<Told> = expected.collect();
        let has_new = cover.has_new(rows.iter().map(|play| play.uts));
        let selected = told(cover.select("rj", rows));
        prop_assert!(selected.is_sorted_by_key(|(uts, ..)| *uts));
        prop_assert_eq!(&selected, &expected);
        prop_assert_eq!(has_new, !expected.is_empty());
        Ok(())
    });
}

#[test]
fn a_range_is_the_last_pages_and_each_of_them_is_asked_once() {
    let values = (1..100_000_u64, 1..=1_000_u32, 0..120_u32);
    let in_hand = prop::collection::hash_set(0..130_u32, 0..20);
    check((values, in_hand), |((total, per_page, pages), in_hand)| {
        let total_pages = u32::try_from(total.div_ceil(u64::from(per_page))).unwrap();
        let numbers = Numbers {
            total,
            total_pages,
            per_page,
        };
        let range = last_pages(numbers, pages);
        prop_assert_eq!(*range.end(), total_pages);
        let count = range.clone().count();
        prop_assert_eq!(count, pages.clamp(1, total_pages) as usize);
        let rows: u64 = (1..=total_pages).map(|page| numbers.rows_on(page)).sum();
        prop_assert_eq!(rows, total);
        // Told from the end, so that some of them are in the range.
        let in_hand = |page: u32| in_hand.contains(&(total_pages - page));
        let asked = order(&range, in_hand);
        let mut sorted = asked.clone();
        sorted.sort_unstable();
        let missing: Vec<u32> = range.clone().filter(|page| !in_hand(*page)).collect();
        prop_assert_eq!(sorted, missing);
        // The newest page, then from the oldest on.
        let rest = asked.strip_prefix(&[*range.start()]).unwrap_or(&asked);
        prop_assert!(rest.is_sorted_by(|one, next| one > next));
        Ok(())
    });
}

/// Pages of these lengths, one after the other; what is left over is a page too.
pub(super) fn pages(mut rows: Vec<Play>, lengths: &[usize]) -> Vec<Vec<Play>> {
    let mut pages = Vec::new();
    for length in lengths {
        let rest = rows.split_off((*length).min(rows.len()));
        pages.push(std::mem::replace(&mut rows, rest));
    }
    pages.push(rows);
    pages
}

#[test]
fn a_second_is_torn_if_and_only_if_a_play_of_it_stands_on_two_pages() {
    // Short pages, so that a second spans several.
    let lengths = prop::collection::vec(0..3_usize, 0..14);
    check((history(14), lengths), |(rows, lengths)| {
        let pages = pages(rows, &lengths);
        let mut seen: BTreeMap<_, HashSet<usize>> = BTreeMap::new();
        for (number, page) in pages.iter().enumerate() {
            for play in page {
                seen.entry(play.identity()).or_default().insert(number);
            }
        }
        let expected = seen.iter().filter(|(_, pages)| pages.len() > 1);
        let mut expected: Vec<i64> = expected.map(|((uts, ..), _)| *uts).collect();
        expected.dedup();
        expected.reverse();
        let torn = torn_seconds(pages.iter().map(Vec::as_slice));
        prop_assert_eq!(torn, expected);
        Ok(())
    });
}
