//! Many steps, each of which fetches some pages and archives some blocks: the end is always the same archive.

use super::plan::{Told, told, whole_archive};
use crate::archive::Standing;
use crate::fetch_pages::plan::{Cover, Window, last_pages};
use crate::lastfm::Numbers;
use crate::properties::{check, history};
use crate::scrobble::Play;
use proptest::prelude::*;

/// What is different from step to step.
#[derive(Clone, Copy, Debug)]
struct Way {
    page_size: usize,
    pages: u32,
    /// A row at the bound is part of the answer: at `from`, at `to`.
    inclusive: (bool, bool),
    /// The step ends after so many plays, wherever that is.
    dies_after: usize,
}

fn ways() -> impl Strategy<Value = Vec<Way>> {
    let dies_after = prop_oneof![2 => Just(usize::MAX), 1 => 1..6_usize];
    let way = (1..6_usize, 1..4_u32, any::<(bool, bool)>(), dies_after);
    let way = way.prop_map(|(page_size, pages, inclusive, dies_after)| Way {
        page_size,
        pages,
        inclusive,
        dies_after,
    });
    prop::collection::vec(way, 1..8)
}

/// What Last.fm shows of a window.
fn shown(history: &[Play], window: Window, (at_from, at_to): (bool, bool)) -> Vec<Play> {
    let bounds = window.bounds();
    let from = bounds
        .from
        .map_or(i64::MIN, |from| from + i64::from(!at_from));
    let to = bounds.to - i64::from(!at_to);
    let rows = history
        .iter()
        .filter(|play| (from..=to).contains(&play.uts));
    rows.cloned().collect()
}

fn standing_of(archive: &[Told]) -> Standing {
    let newest = archive.last().map(|(uts, ..)| *uts);
    let held = archive.iter().filter(|(uts, ..)| Some(*uts) == newest);
    Standing {
        newest,
        held: held.map(|(.., id)| *id).collect(),
    }
}

/// One work item, without its failures. Nothing: there is nothing new.
fn step(history: &[Play], archive: &[Told], to: i64, way: Way) -> Option<Vec<Told>> {
    let standing = standing_of(archive);
    let window = Window {
        newest: standing.newest,
        to,
    };
    let rows = shown(history, window, way.inclusive);
    if window.is_empty() || rows.is_empty() {
        return None;
    }
    let numbers = Numbers {
        total: rows.len() as u64,
        total_pages: u32::try_from(rows.len().div_ceil(way.page_size)).unwrap(),
        per_page: u32::try_from(way.page_size).unwrap(),
    };
    let mut first = *last_pages(numbers, way.pages).start();
    loop {
        // From the first page of the range to the last row.
        let rows = &rows[(first as usize - 1) * way.page_size..];
        let cover = Cover {
            standing: &standing,
            to,
            top: rows.first().map(|play| play.uts),
            reaches_top: first == 1,
        };
        if cover.closes() || cover.has_new(rows.iter().map(|play| play.uts)) {
            let mut selected = told(cover.select("rj", rows.to_vec()));
            let whole = selected.len();
            selected.truncate(way.dies_after);
            return (whole > 0).then_some(selected);
        }
        first -= 1;
    }
}

#[test]
fn every_way_through_a_history_ends_with_the_same_plays_ids_and_order() {
    // The first window ends somewhere in the history, later ones a few seconds later each.
    let values = (history(24), ways(), 1_000..1_060_i64, 1..30_usize);
    check(values, |(history, ways, first_to, pace)| {
        let expected = whole_archive(&history);
        let end = history.first().map_or(first_to, |newest| newest.uts + 1);
        let mut tos = (first_to..end).step_by(pace).chain([end]);
        let mut to = first_to;
        let mut ways = ways.into_iter().cycle();
        let mut archive: Vec<Told> = Vec::new();
        loop {
            if let Some(new) = step(&history, &archive, to, ways.next().unwrap()) {
                archive.extend(new);
                // At every moment it is how the history begins.
                let beginning = expected.get(..archive.len());
                prop_assert_eq!(Some(&archive[..]), beginning);
                continue;
            }
            // Nothing new: the window is archived, but for a death inside its very last second.
            if archive.last().is_none_or(|(newest, ..)| *newest < to) {
                let window = expected.iter().take_while(|(uts, ..)| *uts <= to);
                prop_assert_eq!(archive.len(), window.count());
            }
            let Some(later) = tos.next() else { break };
            to = later;
        }
        prop_assert_eq!(archive, expected);
        Ok(())
    });
}
