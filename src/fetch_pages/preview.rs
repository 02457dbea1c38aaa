//! `sync --dry-run`: looks without writing.

use super::FetchPages;
use super::Report;
use super::outcome::Outcome;
use super::pages::{Fetcher, Halt};
use super::plan::Window;
use super::range::Fetched;
use super::step::Step;
use crate::archive::{Standing, Tail};
use crate::budget::Pacer;
use crate::environment::Environment;
use crate::lastfm::Page;
use crate::user::UserName;
use tokio::time::Instant;

/// What a work item would find to do.
#[derive(Clone, Copy, Debug)]
pub struct Preview {
    /// Second of the newest archived play.
    pub newest: Option<i64>,
    /// Plays that are not archived yet.
    pub plays: u64,
    /// Pages that hold them.
    pub pages: u64,
    /// Work items that fetch these pages.
    pub work_items: u64,
}

/// The plan and the counts for `user`. The inner error is what a work item would have come to instead.
pub async fn preview(
    environment: &Environment,
    user: &UserName,
) -> anyhow::Result<Result<Preview, Outcome>> {
    let settings = &environment.settings;
    let files = environment.archive.list(user).await?;
    let now = environment.clock.now();
    let tail = Tail::of_files(&environment.archive, &files, now).await?;
    let window = Window {
        newest: tail.standing.newest,
        to: now,
    };
    let started = Instant::now();
    let report = Report::default();
    let stop = &environment.stop;
    let deadline = started + super::FETCH_TIME_MAX;
    let fetcher = Fetcher::new(
        environment.lastfm()?,
        user,
        Pacer::new(&environment.budget, deadline),
        stop,
        deadline,
        &report,
    );
    let counted = if window.is_empty() {
        Ok(0)
    } else {
        count(&fetcher, window, &tail.standing, settings.page_size).await
    };
    match counted {
        Ok(plays) => {
            let pages = plays.div_ceil(u64::from(settings.page_size));
            let work_items = pages.div_ceil(u64::from(settings.pages_per_item));
            Ok(Ok(Preview {
                newest: window.newest,
                plays,
                pages,
                work_items,
            }))
        }
        Err(halt) => {
            let item = FetchPages::of(user.clone(), None);
            let known = environment.user(user);
            let step = Step {
                environment,
                item: &item,
                redelivered: false,
                user: &known,
                tail,
                window,
                started,
            };
            let page_size = settings.page_size;
            step.without_progress(Fetched::nothing(now, Some(halt)), page_size)
                .map(Err)
        }
    }
}

/// Last.fm's total without the plays at both ends that are counted though they are archived, or not due yet: the
/// window is asked a little too wide.
async fn count(
    fetcher: &Fetcher<'_>,
    window: Window,
    standing: &Standing,
    page_size: u32,
) -> Result<u64, Halt> {
    let page = async |number| fetcher.one_page(window.bounds(), page_size, number).await;
    let first = page(1).await?;
    let numbers = first.numbers;
    let to = first.date.map_or(window.to, |date| window.to.min(date));
    let ahead = |page: &Page| page.plays.iter().take_while(|play| play.uts > to).count();
    let mut left = numbers.total.saturating_sub(ahead(&first) as u64);
    let mut number = 1;
    let mut full = ahead(&first) == first.plays.len();
    while full && number < numbers.total_pages {
        number += 1;
        let next = page(number).await?;
        full = ahead(&next) == next.plays.len();
        left = left.saturating_sub(ahead(&next) as u64);
    }
    let Some(newest) = window.newest else {
        return Ok(left);
    };
    // From the oldest page on, as long as there is nothing but archived seconds.
    let (mut below, mut at_newest) = (0, 0);
    for number in (1..=numbers.total_pages).rev() {
        let fetched;
        let plays = if number == 1 {
            &first.plays
        } else {
            fetched = page(number).await?;
            &fetched.plays
        };
        below += plays.iter().filter(|play| play.uts < newest).count();
        at_newest += plays.iter().filter(|play| play.uts == newest).count();
        if plays.first().is_some_and(|play| play.uts > newest) {
            break;
        }
    }
    let lacking = at_newest.saturating_sub(standing.held.len());
    Ok(left.saturating_sub((below + at_newest - lacking) as u64))
}
