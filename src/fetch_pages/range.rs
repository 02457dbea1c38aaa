//! Fetches the last pages of a window: an unbroken run of oldest pages that one moment of the history explains.

use super::pages::{Pages, Stop};
use super::plan::{self, Cover, Window};
use crate::archive::Standing;
use crate::lastfm::{Bounds, Numbers, Page};
use crate::scrobble::Play;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// How often a moved window is planned again before one page alone, which is one instant, must do.
const REPLANS_MAX: u32 = 2;

/// How many plans one item makes in all, the ones for a single page included.
const PLANS_MAX: u32 = 8;

/// Pages beyond the planned ones that are fetched while not one whole new second is in hand.
const FURTHER_PAGES_MAX: u32 = 100;

/// Most plays in one answer, for asking a second by itself.
const ONE_ANSWER: u32 = 1_000;

/// What a work item wants of Last.fm.
pub(super) struct Wanted<'a> {
    pub(super) window: Window,
    pub(super) standing: &'a Standing,
    /// Most pages.
    pub(super) pages: u32,
    /// Plays on a page.
    pub(super) page_size: u32,
    /// How many plays are probably left: only a guess at which page to ask first.
    pub(super) guess: Option<u64>,
}

/// What came of it.
pub(super) struct Fetched {
    /// The plays of the run, newest first. They are complete for every second that [`Fetched::cover`] wants.
    pub(super) rows: Vec<Play>,
    /// The last second that may be archived: `to`, or Last.fm's own clock where that is behind.
    pub(super) to: i64,
    pub(super) reaches_top: bool,
    /// Plays in the window by Last.fm's count, as asked (with a second too much at both ends).
    pub(super) total: u64,
    /// Why there is less than was wanted, if so.
    pub(super) stop: Option<Stop>,
}

impl Fetched {
    pub(super) fn cover<'a>(&self, standing: &'a Standing) -> Cover<'a> {
        let top = self.rows.first().map(|play| play.uts);
        Cover {
            standing,
            to: self.to,
            top,
            reaches_top: self.reaches_top,
        }
    }
}

/// The pages in hand of one plan: all of the same numbers, so all of one history.
struct Range {
    numbers: Numbers,
    pages: BTreeMap<u32, Page>,
}

/// How one plan ended.
enum Attempt {
    Done(Vec<Play>, bool),
    /// The window changed under us: these are its numbers now.
    Moved(Numbers),
    Stopped(Stop),
}

/// Fetches the last pages of the window, plans again while it moves, and gives what is safe to archive.
pub(super) async fn fetch(pages: &Pages<'_>, wanted: &Wanted<'_>) -> Fetched {
    let bounds = wanted.window.bounds();
    let mut fetched = Fetched {
        rows: Vec::new(),
        to: wanted.window.to,
        reaches_top: false,
        total: 0,
        stop: None,
    };
    let mut first = guessed_page(wanted.guess, wanted.page_size);
    for plan in 0..PLANS_MAX {
        let page = match pages.first(bounds, wanted.page_size, first).await {
            Ok(page) => page,
            Err(stop) => {
                fetched.stop = Some(stop);
                return fetched;
            }
        };
        // Plays that Last.fm's clock has not reached yet may still get company.
        fetched.to = page.date.map_or(fetched.to, |date| fetched.to.min(date));
        fetched.total = page.numbers.total;
        pages.report.plays_left(page.numbers.total);
        if page.numbers.total == 0 {
            fetched.reaches_top = true;
            return fetched;
        }
        let alone = plan > REPLANS_MAX;
        let numbers = page.numbers;
        if alone && page.number != numbers.total_pages {
            first = numbers.total_pages;
            continue;
        }
        let range = plan::last_pages(numbers, if alone { 1 } else { wanted.pages });
        let mut in_hand = Range {
            numbers,
            pages: BTreeMap::new(),
        };
        if range.contains(&page.number) {
            in_hand.pages.insert(page.number, page);
        }
        match fill(pages, wanted, bounds, range, in_hand, &mut fetched).await {
            Attempt::Done(rows, reaches_top) => {
                fetched.rows = rows;
                fetched.reaches_top = reaches_top;
                return fetched;
            }
            Attempt::Stopped(stop) => {
                fetched.stop = Some(stop);
                return fetched;
            }
            Attempt::Moved(numbers) => {
                tracing::debug!(
                    plan,
                    "the window moved while it was fetched: planning again"
                );
                first = numbers.total_pages.max(1);
            }
        }
    }
    fetched.stop = Some(Stop::Restless);
    fetched
}

/// The last page if the guess is right; page 1, which tells the numbers just as well, without one.
fn guessed_page(guess: Option<u64>, page_size: u32) -> u32 {
    let page = guess.map_or(1, |total| total.div_ceil(u64::from(page_size)));
    u32::try_from(page).unwrap_or(u32::MAX).max(1)
}

/// Fetches what is missing of `range`, and further pages until there is something to archive.
async fn fill(
    pages: &Pages<'_>,
    wanted: &Wanted<'_>,
    bounds: Bounds,
    mut range: RangeInclusive<u32>,
    mut in_hand: Range,
    fetched: &mut Fetched,
) -> Attempt {
    let planned = *range.end() - *range.start() + 1;
    let mut further = 0;
    loop {
        let missing = plan::order(&range, |page| in_hand.pages.contains_key(&page));
        let stop = match pages
            .several(
                bounds,
                wanted.page_size,
                missing,
                &mut in_hand.pages,
                in_hand.numbers,
            )
            .await
        {
            Ok(()) => None,
            Err(Stop::Moved(numbers)) => return Attempt::Moved(numbers),
            Err(stop) => Some(stop),
        };
        let Some(run) = unbroken_run(&in_hand, &range) else {
            return stop.map_or(Attempt::Moved(in_hand.numbers), Attempt::Stopped);
        };
        if !in_order(&in_hand, &run) {
            return Attempt::Moved(in_hand.numbers);
        }
        let reaches_top = *run.start() == 1;
        let top = in_hand
            .pages
            .get(run.start())
            .and_then(|page| page.plays.first())
            .map(|play| play.uts);
        let cover = Cover {
            standing: wanted.standing,
            to: fetched.to,
            top,
            reaches_top,
        };
        let seconds = run
            .clone()
            .filter_map(|page| in_hand.pages.get(&page))
            .flat_map(|page| &page.plays);
        if cover.closes() || stop.is_some() || cover.has_new(seconds.map(|play| play.uts)) {
            return match finish(pages, cover, in_hand, run).await {
                Ok(rows) => {
                    fetched.stop = stop;
                    Attempt::Done(rows, reaches_top)
                }
                Err(Stop::Moved(numbers)) => Attempt::Moved(numbers),
                Err(stop) => Attempt::Stopped(stop),
            };
        }
        // One second fills all these pages: go on towards the newest until it is whole.
        if further >= FURTHER_PAGES_MAX {
            return Attempt::Stopped(Stop::EndlessSecond(top.unwrap_or_default()));
        }
        // As many pages again as were planned; one at a time while the window is restless.
        let start = (*range.start()).saturating_sub(planned).max(1);
        further += *range.start() - start;
        range = start..=*range.end();
    }
}

/// The pages from the oldest on, as far as they are in hand without a gap.
fn unbroken_run(in_hand: &Range, range: &RangeInclusive<u32>) -> Option<RangeInclusive<u32>> {
    let oldest = *range.end();
    let newest = range
        .clone()
        .rev()
        .take_while(|page| in_hand.pages.contains_key(page))
        .last()?;
    Some(newest..=oldest)
}

/// Whether each page goes on where the one before ended.
fn in_order(in_hand: &Range, run: &RangeInclusive<u32>) -> bool {
    let pages: Vec<&Page> = run
        .clone()
        .filter_map(|page| in_hand.pages.get(&page))
        .collect();
    pages
        .windows(2)
        .all(|pair| match (pair[0].plays.last(), pair[1].plays.first()) {
            (Some(newer), Some(older)) => newer.uts >= older.uts,
            _ => true,
        })
}

/// The rows of the run. A second whose order changed between two answers is asked again in one answer, and that
/// answer counts.
async fn finish(
    pages: &Pages<'_>,
    cover: Cover<'_>,
    mut in_hand: Range,
    run: RangeInclusive<u32>,
) -> Result<Vec<Play>, Stop> {
    let torn = {
        let rows = run
            .clone()
            .filter_map(|page| in_hand.pages.get(&page))
            .map(|page| page.plays.as_slice());
        plan::torn_seconds(rows)
    };
    let mut rows = Vec::new();
    for page in run {
        rows.append(
            &mut in_hand
                .pages
                .remove(&page)
                .map(|page| page.plays)
                .unwrap_or_default(),
        );
    }
    for second in torn.into_iter().filter(|second| cover.wants(*second)) {
        let bounds = Window {
            newest: Some(second),
            to: second,
        }
        .bounds();
        let answer = pages.first(bounds, ONE_ANSWER, 1).await?;
        if answer.numbers.total_pages > 1 {
            return Err(Stop::EndlessSecond(second));
        }
        let whole: Vec<Play> = answer
            .plays
            .into_iter()
            .filter(|play| play.uts == second)
            .collect();
        let start = rows
            .iter()
            .position(|play: &Play| play.uts == second)
            .unwrap_or(rows.len());
        let count = rows[start..]
            .iter()
            .take_while(|play| play.uts == second)
            .count();
        if whole.len() != count {
            return Err(Stop::Moved(in_hand.numbers));
        }
        rows.splice(start..start + count, whole);
    }
    Ok(rows)
}
