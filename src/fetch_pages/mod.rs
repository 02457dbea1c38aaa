//! One work item: fetch one page range of a user's history and append it to the archive.
//!
//! [`run`] is the whole path but the queue: tail, stale check, budget, plan, fetch, batch, append. Its rules
//! are argued for in ARCHITECTURE.md; each odd-looking one answers a counterexample.

mod blocks;
mod message;
mod pages;
mod plan;
mod range;
mod report;

pub use blocks::{BLOCK_BYTES_MAX, Block, Blocks};
pub use message::{FetchPages, PAGE_SIZE_MAX, PAGES_MAX};
use plan::Window;
pub use report::{Counts, Report};

use crate::archive::{DataName, Landing, Place, Tail};
use crate::budget::Pacer;
use crate::environment::Environment;
use crate::lastfm::Error;
use crate::scrobble::LineWriter;
use crate::user::{User, UserName};
use bytes::Bytes;
use pages::{Pages, Stop};
use range::{Fetched, Wanted};
use std::time::Duration;
use tokio::time::Instant;

/// After this long no further page is fetched: what is in hand is archived and the rest is the continuation.
/// The host kills the process at `functionTimeout`, two minutes.
const FETCH_TIME_MAX: Duration = Duration::from_secs(60);
/// After this long no further block is appended.
const APPEND_TIME_MAX: Duration = Duration::from_secs(85);

/// How long an item is put back because of trouble, by how often it was already. After the last one it ends,
/// because the next tick starts again from the tail.
const PUT_BACK: [Duration; 3] = [
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(15 * 60),
];

/// An item that had to wait for the budget this often is at least a day old (each wait is longer than 20 s),
/// and a tick has followed: it is dropped.
const WAITS_MAX: u32 = 24 * 60 * 60 / 20;

/// Sizes of a page when larger ones fail again and again.
const SMALLER_PAGES: [u32; 5] = [200, 50, 10, 3, 1];

/// What becomes of a work item.
#[derive(Debug)]
pub enum Outcome {
    /// The archive holds the whole window.
    Done,
    /// Somebody else has brought the archive further: nothing was fetched, or what was fetched was not needed.
    Stale,
    /// A part has landed; this item does the rest. It is sent only now.
    Continue(FetchPages, Duration),
    /// Nothing has landed, for this reason; this copy tries again after the delay.
    PutBack(FetchPages, Duration, String),
    /// The attempts are used up. The next tick starts again from the tail.
    GaveUp(String),
    /// A person has to do something; the hint says what.
    Refused {
        /// What Last.fm said, or what cannot be done.
        reason: String,
        /// What to do about it.
        hint: Option<&'static str>,
        /// It concerns the key and so every user.
        for_everybody: bool,
    },
    /// The process ends.
    Interrupted,
}

/// Does one work item. `redelivered`: the queue has delivered this message before.
///
/// An error is trouble with storage, or something that nobody foresaw: the message should be delivered again.
pub async fn run(
    environment: &Environment,
    item: &FetchPages,
    redelivered: bool,
    report: &Report<'_>,
) -> anyhow::Result<Outcome> {
    let started = Instant::now();
    let user = environment.user(&item.user);
    let files = environment.archive.list(&user.name).await?;
    // The clock is asked after the listing, whose answer may have corrected it.
    let now = environment.clock.now();
    let tail = Tail::of_files(&environment.archive, &files, now).await?;
    if is_stale(item, &tail) && !redelivered && !item.redelivered {
        return Ok(Outcome::Stale);
    }
    let window = Window {
        newest: tail.standing.newest,
        to: item.to.unwrap_or(now).min(now),
    };
    if window.is_empty() {
        return Ok(Outcome::Done);
    }
    let deadline = started + FETCH_TIME_MAX;
    let pages = Pages::new(
        environment.lastfm()?,
        &user.name,
        &environment.budget,
        &environment.stop,
        deadline,
        report,
    );
    let step = Step {
        environment,
        item,
        redelivered: redelivered || item.redelivered,
        user: &user,
        tail,
        window,
        started,
    };
    let (fetched, page_size) = step.fetch(&pages).await;
    step.commit(fetched, page_size, report).await
}

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

/// Looks without writing: the plan and the counts. The outer error is the archive's trouble, the inner Last.fm's.
pub async fn preview(
    environment: &Environment,
    user: &UserName,
) -> anyhow::Result<Result<Preview, Error>> {
    let settings = &environment.settings;
    let now = environment.clock.now();
    let tail = Tail::read(&environment.archive, user, now).await?;
    let window = Window {
        newest: tail.standing.newest,
        to: now,
    };
    let lastfm = environment.lastfm()?;
    let pacer = Pacer::new(&environment.budget);
    let mut plays = 0;
    if !window.is_empty() {
        let ask = async |page| {
            if let Err(busy) = pacer.turn().await? {
                anyhow::bail!(
                    "the request budget is used up for {} s",
                    busy.wait.as_secs()
                );
            }
            Ok(lastfm
                .recent_tracks(user, window.bounds(), settings.page_size, page)
                .await)
        };
        let mut last = match ask(1).await? {
            Ok(page) => page,
            Err(error) => return Ok(Err(error)),
        };
        plays = last.numbers.total;
        if last.numbers.total_pages > 1 {
            last = match ask(last.numbers.total_pages).await? {
                Ok(page) => page,
                Err(error) => return Ok(Err(error)),
            };
        }
        // The window is asked a little too wide: what is archived already stands at the old end of it.
        let archived = last
            .plays
            .iter()
            .filter(|play| window.newest.is_some_and(|newest| play.uts <= newest));
        plays = plays.saturating_sub(archived.count() as u64);
    }
    let pages = plays.div_ceil(u64::from(settings.page_size));
    let work_items = pages.div_ceil(u64::from(settings.pages_per_item));
    Ok(Ok(Preview {
        newest: window.newest,
        plays,
        pages,
        work_items,
    }))
}

/// The archive has moved past the place where this item was planned.
fn is_stale(item: &FetchPages, tail: &Tail) -> bool {
    match (item.from, tail.standing.newest) {
        (Some(from), Some(newest)) => from < newest,
        _ => false,
    }
}

/// One item with what was read for it.
struct Step<'a> {
    environment: &'a Environment,
    item: &'a FetchPages,
    redelivered: bool,
    user: &'a User,
    tail: Tail,
    window: Window,
    started: Instant,
}

impl Step<'_> {
    /// Fetches the range, in smaller pages when larger ones fail again and again. Gives the page size that served.
    async fn fetch(&self, pages: &Pages<'_>) -> (Fetched, u32) {
        let settings = &self.environment.settings;
        let mut page_size = self.item.page_size.unwrap_or(settings.page_size);
        loop {
            let wanted = Wanted {
                window: self.window,
                standing: &self.tail.standing,
                pages: self
                    .item
                    .pages
                    .unwrap_or(settings.pages_per_item)
                    .min(settings.pages_per_item),
                page_size,
                guess: self.item.total,
            };
            let fetched = range::fetch(pages, &wanted).await;
            match (&fetched.stop, smaller(page_size)) {
                (Some(Stop::Shrink(error)), Some(size)) if fetched.rows.is_empty() => {
                    tracing::warn!(user = %self.user.name, page_size, smaller = size, %error, "a page fails again and again: trying smaller ones");
                    page_size = size;
                }
                _ => return (fetched, page_size),
            }
        }
    }

    /// Appends what is new, and says what is left to do.
    async fn commit(
        &self,
        mut fetched: Fetched,
        page_size: u32,
        report: &Report<'_>,
    ) -> anyhow::Result<Outcome> {
        let cover = fetched.cover(&self.tail.standing);
        let closes = cover.closes() && fetched.stop.is_none();
        let seconds: Vec<i64> = fetched.rows.iter().map(|play| play.uts).collect();
        let plays = cover.select(self.user.name.as_str(), std::mem::take(&mut fetched.rows));
        let writer = LineWriter::new(self.user, self.environment.clock.now_ms());
        let limit = self.environment.block_bytes_max;
        let mut blocks = Blocks::new(plays.into_iter(), writer, limit).peekable();
        let mut place: Option<Place> = None;
        let mut landed: Option<i64> = None;
        while let Some(block) = blocks.next() {
            let block = block?;
            let mut target = self.place_of(&block, place);
            let bytes = Bytes::from(block.lines);
            match self.environment.archive.append(&mut target, &bytes).await? {
                Landing::Landed => report.append(block.plays, bytes.len()),
                // Whoever was first has planned on, and sends the continuation.
                Landing::Stale => return Ok(Outcome::Stale),
            }
            landed = Some(block.newest);
            place = Some(target);
            let in_time =
                self.started.elapsed() < APPEND_TIME_MAX && !self.environment.stop.is_requested();
            if !in_time && blocks.peek().is_some() {
                let left = self.continuation(block.newest, &fetched, &seconds, page_size);
                return Ok(Outcome::Continue(left, Duration::ZERO));
            }
        }
        match landed {
            _ if closes => Ok(Outcome::Done),
            Some(newest) => {
                let left = self.continuation(newest, &fetched, &seconds, page_size);
                Ok(self.after_progress(left, fetched.stop))
            }
            None => self.without_progress(fetched.stop, page_size),
        }
    }

    /// Where a block must land: behind the one before, or at the archive's end, or at the start of its month.
    fn place_of(&self, block: &Block, before: Option<Place>) -> Place {
        let same_month = |name: &DataName| name.month == block.month;
        if let Some(place) = before.filter(|place| same_month(&place.name)) {
            return place;
        }
        match &self.tail.end {
            Some(end) if same_month(&end.name) => Place {
                name: end.name.clone(),
                position: end.position,
            },
            _ => {
                let name = DataName {
                    user: self.user.name.clone(),
                    month: block.month,
                    part: 0,
                };
                Place { name, position: 0 }
            }
        }
    }

    /// The item that goes on behind the second `newest`.
    fn continuation(
        &self,
        newest: i64,
        fetched: &Fetched,
        seconds: &[i64],
        page_size: u32,
    ) -> FetchPages {
        // The next window starts one second before, so rows from there on are counted again.
        let behind = seconds
            .iter()
            .filter(|second| **second < newest - 1)
            .count() as u64;
        let usual = self.environment.settings.page_size;
        let shrunk = page_size < self.item.page_size.unwrap_or(usual);
        // After a page that failed, sizes go up again one step an item.
        let page_size = if shrunk {
            page_size
        } else {
            larger(page_size).min(usual)
        };
        FetchPages {
            from: Some(newest),
            to: Some(fetched.to),
            pages: self.item.pages,
            total: Some(fetched.total.saturating_sub(behind)),
            page_size: Some(page_size),
            ..FetchPages::of(self.item.user.clone(), None)
        }
    }

    /// A part has landed; `stop` says why it was not all.
    fn after_progress(&self, left: FetchPages, stop: Option<Stop>) -> Outcome {
        match stop {
            Some(Stop::Permanent(error)) => refused(&error),
            Some(Stop::EndlessSecond(second)) => endless(second),
            Some(Stop::Busy(busy)) => Outcome::Continue(left, busy.wait),
            Some(Stop::Transient(_) | Stop::Shrink(_) | Stop::Storage(_) | Stop::Restless) => {
                Outcome::Continue(left, PUT_BACK[0])
            }
            Some(Stop::Deadline | Stop::Interrupted | Stop::Moved(_)) | None => {
                Outcome::Continue(left, Duration::ZERO)
            }
        }
    }

    /// Nothing has landed. That is in order only when Last.fm has nothing new, which [`Step::commit`] has seen.
    fn without_progress(&self, stop: Option<Stop>, page_size: u32) -> anyhow::Result<Outcome> {
        let window = format!(
            "the plays of `{}` after {:?} up to {}",
            self.user.name, self.window.newest, self.window.to
        );
        Ok(match stop {
            Some(Stop::Busy(busy)) => self.wait_for_budget(busy.wait),
            Some(Stop::Interrupted) => Outcome::Interrupted,
            Some(Stop::Storage(error)) => return Err(error),
            Some(Stop::EndlessSecond(second)) => endless(second),
            // Sometimes false for a user who exists; one whose history is already here does.
            Some(Stop::Permanent(Error::UserNotFound(reason)))
                if self.window.newest.is_some() && self.item.attempt < 3 =>
            {
                self.put_back(format!(
                    "Last.fm denies that `{}` exists: {reason}",
                    self.user.name
                ))
            }
            Some(Stop::Permanent(error)) => refused(&error),
            Some(Stop::Shrink(error)) => self.put_back(format!(
                "{window} cannot be fetched in pages of {page_size} or larger: {error}"
            )),
            Some(Stop::Transient(error)) => {
                self.put_back(format!("{window} cannot be fetched: {error}"))
            }
            Some(Stop::Restless | Stop::Moved(_)) => {
                self.put_back(format!("{window} change faster than they can be fetched"))
            }
            Some(Stop::Deadline) => self.put_back(format!("{window} did not come in time")),
            None => anyhow::bail!(
                "{window} were planned without an end: this is a mistake of this program"
            ),
        })
    }

    fn wait_for_budget(&self, wait: Duration) -> Outcome {
        let reason = "the request budget is used up".to_owned();
        if self.item.waits >= WAITS_MAX {
            return Outcome::GaveUp(format!("{reason} since a day"));
        }
        let copy = FetchPages {
            waits: self.item.waits + 1,
            ..self.copy()
        };
        Outcome::PutBack(copy, wait, reason)
    }

    fn put_back(&self, reason: String) -> Outcome {
        let attempts = usize::try_from(self.item.attempt).unwrap_or(usize::MAX);
        match PUT_BACK.get(attempts) {
            Some(delay) => {
                let copy = FetchPages {
                    attempt: self.item.attempt + 1,
                    ..self.copy()
                };
                Outcome::PutBack(copy, *delay, reason)
            }
            None => Outcome::GaveUp(reason),
        }
    }

    /// The same item, with its window frozen and its history remembered.
    fn copy(&self) -> FetchPages {
        FetchPages {
            to: Some(self.window.to),
            redelivered: self.redelivered,
            ..self.item.clone()
        }
    }
}

fn refused(error: &Error) -> Outcome {
    let for_everybody = matches!(error, Error::KeyRejected { .. });
    Outcome::Refused {
        reason: error.to_string(),
        hint: error.hint(),
        for_everybody,
    }
}

fn endless(second: i64) -> Outcome {
    Outcome::Refused {
        reason: format!("second {second} holds more plays than can be fetched together"),
        hint: Some("raise `LASTFM_PAGE_SIZE` (at most 1000) or `PAGES_PER_ITEM` (at most 100)"),
        for_everybody: false,
    }
}

fn smaller(page_size: u32) -> Option<u32> {
    SMALLER_PAGES.into_iter().find(|size| *size < page_size)
}

fn larger(page_size: u32) -> u32 {
    SMALLER_PAGES
        .into_iter()
        .rev()
        .find(|size| *size > page_size)
        .unwrap_or(PAGE_SIZE_MAX)
}
