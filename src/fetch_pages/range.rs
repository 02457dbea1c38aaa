//! Fetches the last pages of a window: an unbroken run of oldest pages that one moment of the history explains.

use super::message::PAGE_SIZE_MAX;
use super::pages::{Broken, Fetcher, Halt};
use super::plan::{self, Cover, Window};
use crate::archive::Standing;
use crate::lastfm::{Bounds, Numbers, Page};
use crate::scrobble::Play;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// How often a moved window is planned again before one page alone, which is one instant, must do.
const REPLANS_MAX: u32 = 2;

/// How many plans one item makes in all, the ones for a single page included.
const PLANS_MAX: u32 = 12;

/// Pages beyond the planned ones that are fetched while not one whole new second is in hand.
const FURTHER_PAGES_MAX: u32 = 100;

/// Sizes of a page when larger ones fail again and again.
const SMALLER_PAGES: [u32; 5] = [200, 50, 10, 3, 1];

/// Most plays in one answer, for asking a second by itself.
const ONE_ANSWER: u32 = PAGE_SIZE_MAX;

/// What a work item wants of Last.fm.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) window: Window,
    pub(crate) standing: &'a Standing,
    /// Most pages.
    pub(crate) pages: u32,
    /// Plays on a page.
    pub(crate) page_size: u32,
    /// How many plays are probably left: only a guess at which page to ask first.
    pub(crate) guess: Option<u64>,
    /// A play is known at the window's first second, so a window without it is asked once more.
    pub(crate) starts_at_a_play: bool,
}

/// What came of it.
pub(crate) struct Fetched {
    /// The plays of the run, newest first. They are complete for every second that [`Fetched::cover`] wants.
    pub(crate) rows: Vec<Play>,
    /// The last second that may be archived: `to`, or Last.fm's own clock where that is behind.
    pub(crate) to: i64,
    pub(crate) reaches_top: bool,
    /// Plays in the window by Last.fm's count, as asked (with a second too much at both ends), if it has answered.
    pub(crate) total: Option<u64>,
    /// Why there is less than was wanted, if so.
    pub(crate) halt: Option<Halt>,
}

impl Fetched {
    /// Nothing, and why.
    pub(crate) fn nothing(to: i64, halt: Option<Halt>) -> Self {
        Self {
            rows: Vec::new(),
            to,
            reaches_top: false,
            total: None,
            halt,
        }
    }

    pub(crate) fn cover<'a>(&self, standing: &'a Standing) -> Cover<'a> {
        self.cover_from(standing, self.rows.first().map(|play| play.uts))
    }

    /// [`Fetched::cover`] for somebody who has taken the rows out; `top` is the newest second among them.
    pub(crate) fn cover_from<'a>(&self, standing: &'a Standing, top: Option<i64>) -> Cover<'a> {
        Cover {
            standing,
            to: self.to,
            top,
            reaches_top: self.reaches_top,
        }
    }
}

/// The pages of one plan: all of the same numbers, so all of one history.
struct InHand {
    numbers: Numbers,
    pages: BTreeMap<u32, Page>,
}

/// What one plan came to.
struct Run {
    rows: Vec<Play>,
    reaches_top: bool,
    halt: Option<Halt>,
}

/// Fetches the last pages of the window, in smaller pages when larger ones fail again and again. Gives the page size
/// that served.
pub(crate) async fn fetch_in_smaller_pages(
    fetcher: &Fetcher<'_>,
    mut wanted: Wanted<'_>,
) -> (Fetched, u32) {
    loop {
        let page_size = wanted.page_size;
        let fetched = fetch(fetcher, &wanted).await;
        let seconds = fetched.rows.iter().map(|play| play.uts);
        let has_new = fetched.cover(wanted.standing).has_new(seconds);
        match (&fetched.halt, smaller(page_size)) {
            (Some(Halt::Shrink(error)), Some(size)) if !has_new => {
                tracing::warn!(user = %fetcher.user, page_size, smaller = size, %error, "a page fails again and again: trying smaller ones");
                wanted.page_size = size;
            }
            _ => return (fetched, page_size),
        }
    }
}

/// The next smaller page.
pub(super) fn smaller(page_size: u32) -> Option<u32> {
    SMALLER_PAGES.into_iter().find(|size| *size < page_size)
}

/// The next larger page.
pub(super) fn larger(page_size: u32) -> u32 {
    SMALLER_PAGES
        .into_iter()
        .rev()
        .find(|size| *size > page_size)
        .unwrap_or(PAGE_SIZE_MAX)
}

/// Fetches the last pages of the window, plans again while it moves, and gives what is safe to archive.
async fn fetch(fetcher: &Fetcher<'_>, wanted: &Wanted<'_>) -> Fetched {
    let bounds = wanted.window.bounds();
    let mut fetched = Fetched::nothing(wanted.window.to, None);
    let mut first = guessed_page(wanted.guess, wanted.page_size);
    let mut doubted = false;
    for plan in 0..PLANS_MAX {
        let page = match fetcher.one_page(bounds, wanted.page_size, first).await {
            Ok(page) => page,
            Err(halt) => {
                fetched.halt = Some(halt);
                return fetched;
            }
        };
        let numbers = page.numbers;
        if numbers.total == 0 && page.number > 1 {
            // What stands behind the end is not established, so an empty window is believed on page 1 only.
            first = 1;
            continue;
        }
        // Plays that Last.fm's clock has not reached yet may still get company.
        fetched.to = page.date.map_or(fetched.to, |date| fetched.to.min(date));
        fetched.total = Some(numbers.total);
        fetcher.report.plays_left(numbers.total);
        let alone = plan > REPLANS_MAX;
        if alone && page.number != numbers.total_pages && numbers.total > 0 {
            first = numbers.total_pages;
            continue;
        }
        let range = plan::last_pages(numbers, if alone { 1 } else { wanted.pages });
        let mut in_hand = InHand {
            numbers,
            pages: BTreeMap::new(),
        };
        if range.contains(&page.number) {
            in_hand.pages.insert(page.number, page);
        }
        let run = if numbers.total == 0 {
            Some(Run {
                rows: Vec::new(),
                reaches_top: true,
                halt: None,
            })
        } else {
            fill(fetcher, wanted, bounds, fetched.to, range, in_hand).await
        };
        match run {
            Some(run) if run.halt.is_none() && !doubted && is_doubtful(wanted, &run) => {
                tracing::debug!(
                    plan,
                    "the archive's newest play is not in the window: asking once more"
                );
                doubted = true;
            }
            Some(run) => {
                fetched.rows = run.rows;
                fetched.reaches_top = run.reaches_top;
                fetched.halt = run.halt;
                return fetched;
            }
            None => tracing::debug!(
                plan,
                "the window moved while it was fetched: planning again"
            ),
        }
        first = numbers.total_pages.max(1);
    }
    fetched.halt = Some(Halt::Restless);
    fetched
}

/// The window starts one second before the archive's newest play, so by any reading of the bounds that play is
/// its oldest but one second. Where it is missing, either it was deleted at Last.fm, or the numbers are wrong in a
/// way that agrees with itself: a second look decides.
fn is_doubtful(wanted: &Wanted<'_>, run: &Run) -> bool {
    if !wanted.starts_at_a_play {
        return false;
    }
    match (wanted.window.newest, run.rows.last()) {
        (Some(newest), Some(oldest)) => oldest.uts > newest,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

/// The last page if the guess is right; page 1, which tells the numbers just as well, without one.
fn guessed_page(guess: Option<u64>, page_size: u32) -> u32 {
    let page = guess.map_or(1, |total| total.div_ceil(u64::from(page_size)));
    u32::try_from(page).unwrap_or(u32::MAX).max(1)
}

/// Fetches what is missing of `range`, and further pages until there is something to archive. Nothing when the
/// window moved.
async fn fill(
    fetcher: &Fetcher<'_>,
    wanted: &Wanted<'_>,
    bounds: Bounds,
    to: i64,
    mut range: RangeInclusive<u32>,
    mut in_hand: InHand,
) -> Option<Run> {
    let planned = *range.end() - *range.start() + 1;
    let mut further = 0;
    loop {
        let missing = plan::order(&range, |page| in_hand.pages.contains_key(&page));
        let numbers = in_hand.numbers;
        let several = fetcher.several(
            bounds,
            wanted.page_size,
            missing,
            &mut in_hand.pages,
            numbers,
        );
        let halt = match several.await {
            Ok(()) => None,
            Err(Broken::Moved) => return None,
            Err(Broken::Halted(halt)) => Some(halt),
        };
        let Some(run) = unbroken_run(&in_hand, &range) else {
            return Some(Run {
                rows: Vec::new(),
                reaches_top: false,
                halt,
            });
        };
        if !in_order(&in_hand, &run) {
            return None;
        }
        let top = in_hand
            .pages
            .get(run.start())
            .and_then(|page| page.plays.first())
            .map(|play| play.uts);
        let cover = Cover {
            standing: wanted.standing,
            to,
            top,
            reaches_top: *run.start() == 1,
        };
        let plays = run
            .clone()
            .filter_map(|page| in_hand.pages.get(&page))
            .flat_map(|page| &page.plays);
        if cover.closes() || halt.is_some() || cover.has_new(plays.map(|play| play.uts)) {
            return finish(fetcher, cover, in_hand, run, halt).await;
        }
        // One second fills all these pages: go on towards the newest until it is whole.
        if further >= FURTHER_PAGES_MAX {
            let halt = Some(Halt::EndlessSecond(top.unwrap_or_default()));
            return Some(Run {
                rows: Vec::new(),
                reaches_top: false,
                halt,
            });
        }
        // As many pages again as were planned; one at a time while the window is restless.
        let start = (*range.start()).saturating_sub(planned).max(1);
        further += *range.start() - start;
        range = start..=*range.end();
    }
}

/// The pages from the oldest on, as far as they are in hand without a gap.
fn unbroken_run(in_hand: &InHand, range: &RangeInclusive<u32>) -> Option<RangeInclusive<u32>> {
    let oldest = *range.end();
    let newest = range
        .clone()
        .rev()
        .take_while(|page| in_hand.pages.contains_key(page))
        .last()?;
    Some(newest..=oldest)
}

/// Whether each page goes on where the one before ended.
fn in_order(in_hand: &InHand, run: &RangeInclusive<u32>) -> bool {
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
/// answer counts; where none comes, the run ends below that second.
async fn finish(
    fetcher: &Fetcher<'_>,
    cover: Cover<'_>,
    mut in_hand: InHand,
    run: RangeInclusive<u32>,
    halt: Option<Halt>,
) -> Option<Run> {
    let torn = {
        let pages = run.clone().filter_map(|page| in_hand.pages.get(&page));
        plan::torn_seconds(pages.map(|page| page.plays.as_slice()))
    };
    let plays = run
        .clone()
        .filter_map(|page| in_hand.pages.get(&page))
        .map(|page| page.plays.len());
    let mut rows = Vec::with_capacity(plays.sum());
    for page in run {
        rows.append(
            &mut in_hand
                .pages
                .remove(&page)
                .map(|page| page.plays)
                .unwrap_or_default(),
        );
    }
    // Oldest first: what stands below a second that does not come is still good.
    for second in torn.into_iter().rev().filter(|second| cover.wants(*second)) {
        let start = rows
            .iter()
            .position(|play: &Play| play.uts == second)
            .unwrap_or(rows.len());
        let count = rows[start..]
            .iter()
            .take_while(|play| play.uts == second)
            .count();
        match whole_second(fetcher, second).await {
            Ok(plays) if plays.len() == count => {
                rows.splice(start..start + count, plays);
            }
            Ok(_) => return None,
            Err(halt) => {
                // The torn second stays on top, where it counts as unfinished.
                rows.drain(..start);
                return Some(Run {
                    rows,
                    reaches_top: false,
                    halt: Some(halt),
                });
            }
        }
    }
    Some(Run {
        rows,
        reaches_top: cover.reaches_top,
        halt,
    })
}

/// All plays of one second, in one answer.
async fn whole_second(fetcher: &Fetcher<'_>, second: i64) -> Result<Vec<Play>, Halt> {
    let bounds = Window {
        newest: Some(second),
        to: second,
    }
    .bounds();
    let answer = match fetcher.one_page(bounds, ONE_ANSWER, 1).await {
        Ok(answer) => answer,
        // It is not the range's pages that are too large.
        Err(Halt::Shrink(error)) => return Err(Halt::Transient(error)),
        Err(halt) => return Err(halt),
    };
    if answer.numbers.total_pages > 1 {
        return Err(Halt::EndlessSecond(second));
    }
    Ok(answer
        .plays
        .into_iter()
        .filter(|play| play.uts == second)
        .collect())
}
