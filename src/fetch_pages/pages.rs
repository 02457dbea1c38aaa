//! Asks for pages: inside the budget, several in flight, with bounded retries, until the deadline.

use super::Report;
use crate::budget::{Busy, Pacer, Refusal};
use crate::environment::Stop;
use crate::lastfm::{Bounds, Error, LastFm, Numbers, Page};
use crate::user::UserName;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Requests that wait for their answers at the same time. Enough to keep the full rate with answers that take
/// a second, few enough to be polite.
const IN_FLIGHT_MAX: usize = 4;

/// Attempts for one page.
const ATTEMPTS_MAX: u32 = 4;
/// First pause after a failed attempt; doubled each time, give or take a half.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Why no more pages come.
#[derive(Debug)]
pub(crate) enum Halt {
    /// The budget is used up for a while.
    Busy(Busy),
    /// This invocation's time is up.
    Deadline,
    /// The process is told to end.
    Interrupted,
    /// The window moves faster than it can be fetched.
    Restless,
    /// One second with more plays than can be fetched together.
    EndlessSecond(i64),
    /// Trouble that outlasted the attempts.
    Transient(Error),
    /// A page that fails again and again: smaller pages may get by.
    Shrink(Error),
    /// Trouble that another try does not solve.
    Permanent(Error),
    /// The budget's storage fails.
    Storage(anyhow::Error),
}

/// How asking for several pages of one history ended early.
pub(crate) enum Broken {
    /// An answer saw another history.
    Moved,
    /// No more answers come.
    Halted(Halt),
}

/// What one request came to.
enum Asked<T> {
    Answer(T),
    /// Last.fm asks everybody to pause.
    RateLimited(Option<Duration>),
    Halted(Halt),
}

/// One work item's access to Last.fm.
pub(crate) struct Fetcher<'a> {
    lastfm: LastFm,
    pub(crate) user: &'a UserName,
    pacer: Pacer<'a>,
    stop: &'a Stop,
    deadline: Instant,
    /// Set when Last.fm does not want any further request from this item: what is not sent yet stays unsent.
    closed: AtomicBool,
    pub(crate) report: &'a Report<'a>,
}

impl<'a> Fetcher<'a> {
    pub(crate) fn new(
        lastfm: LastFm,
        user: &'a UserName,
        pacer: Pacer<'a>,
        stop: &'a Stop,
        deadline: Instant,
        report: &'a Report<'a>,
    ) -> Self {
        Self {
            lastfm,
            user,
            pacer,
            stop,
            deadline,
            closed: AtomicBool::new(false),
            report,
        }
    }

    /// One page by itself. A page that does not exist is answered by page 1, which tells the numbers just as well.
    pub(crate) async fn one_page(
        &self,
        bounds: Bounds,
        limit: u32,
        page: u32,
    ) -> Result<Page, Halt> {
        self.pacer.expect(1);
        let mut page = page;
        loop {
            let asked = self
                .until_stopped(self.ask_page(bounds, limit, page))
                .await?;
            match self.settle(asked).await {
                Ok(page) => {
                    self.report.page(page.plays.len());
                    return Ok(page);
                }
                Err(Halt::Permanent(Error::NoSuchPage(_))) if page > 1 => page = 1,
                Err(halt) => return Err(halt),
            }
        }
    }

    /// How many plays lie within the bounds by Last.fm's own count: one request, whatever the size of the window.
    pub(crate) async fn count(&self, bounds: Bounds) -> Result<u64, Halt> {
        // The smallest page that tells the numbers.
        let page = self.one_page(bounds, 1, 1).await?;
        Ok(page.numbers.total)
    }

    /// How many plays the user's profile counts, undated ones among them.
    pub(crate) async fn playcount(&self) -> Result<u64, Halt> {
        self.pacer.expect(1);
        let ask = self.ask(0, || self.lastfm.playcount(self.user));
        let asked = self.until_stopped(ask).await?;
        self.settle(asked).await
    }

    /// All of `wanted`, in that order, into `in_hand`. Every answer must have these `numbers`. After a failure what
    /// is under way still arrives.
    pub(crate) async fn several(
        &self,
        bounds: Bounds,
        limit: u32,
        wanted: Vec<u32>,
        in_hand: &mut BTreeMap<u32, Page>,
        numbers: Numbers,
    ) -> Result<(), Broken> {
        self.pacer
            .expect(u32::try_from(wanted.len()).unwrap_or(u32::MAX));
        let mut wanted = wanted.into_iter();
        let mut in_flight: FuturesUnordered<_> = wanted
            .by_ref()
            .take(IN_FLIGHT_MAX)
            .map(|page| self.ask_page(bounds, limit, page))
            .collect();
        let mut failure = None;
        loop {
            let asked = match self.until_stopped(in_flight.next()).await {
                Ok(Some(asked)) => asked,
                Ok(None) => break,
                Err(halt) => return Err(Broken::Halted(halt)),
            };
            match self.settle(asked).await {
                Ok(page) if page.numbers == numbers => {
                    self.report.page(page.plays.len());
                    in_hand.insert(page.number, page);
                    if failure.is_none() {
                        in_flight
                            .extend(wanted.next().map(|page| self.ask_page(bounds, limit, page)));
                    }
                }
                // The history is another one now, so nothing else that is under way is of use.
                Ok(_) | Err(Halt::Permanent(Error::NoSuchPage(_))) => return Err(Broken::Moved),
                Err(halt) => failure = failure.or(Some(halt)),
            }
        }
        failure.map_or(Ok(()), |halt| Err(Broken::Halted(halt)))
    }

    /// What the work gives, unless the deadline or the end of the process comes first.
    async fn until_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, Halt> {
        tokio::select! {
            biased;
            () = self.stop.requested() => Err(Halt::Interrupted),
            () = tokio::time::sleep_until(self.deadline) => Err(Halt::Deadline),
            result = work => Ok(result),
        }
    }

    /// Passes a rate limit on to every instance. Not part of a request, because a request may be dropped half-way.
    async fn settle<T>(&self, asked: Asked<T>) -> Result<T, Halt> {
        match asked {
            Asked::Answer(answer) => Ok(answer),
            Asked::Halted(halt) => Err(halt),
            Asked::RateLimited(retry_after) => match self.pacer.budget().pause(retry_after).await {
                Ok(wait) => Err(Halt::Busy(Busy { wait })),
                Err(error) => Err(Halt::Storage(error)),
            },
        }
    }

    async fn ask_page(&self, bounds: Bounds, limit: u32, page: u32) -> Asked<Page> {
        self.ask(page, || {
            self.lastfm.recent_tracks(self.user, bounds, limit, page)
        })
        .await
    }

    /// Makes a request inside the budget, and again while it may help. `page` is for the log.
    async fn ask<T, F: Future<Output = Result<T, Error>>>(
        &self,
        page: u32,
        request: impl Fn() -> F,
    ) -> Asked<T> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=ATTEMPTS_MAX {
            match self.pacer.turn().await {
                Ok(Ok(())) => {}
                Ok(Err(Refusal::Busy(busy))) => return Asked::Halted(Halt::Busy(busy)),
                Ok(Err(Refusal::Late)) => return Asked::Halted(Halt::Deadline),
                Err(error) => return Asked::Halted(Halt::Storage(error)),
            }
            if self.closed.load(Ordering::Relaxed) {
                // Another request of this item has the reason, and it came first.
                return Asked::Halted(Halt::Deadline);
            }
            self.report.request();
            let error = match request().await {
                Ok(answer) => return Asked::Answer(answer),
                Err(error) => error,
            };
            tracing::debug!(user = %self.user, page, attempt, %error, "a page did not come");
            match error {
                Error::RateLimited { retry_after, .. } => {
                    tracing::warn!(user = %self.user, %error, "every instance pauses");
                    self.report.retry("rate limited");
                    self.closed.store(true, Ordering::Relaxed);
                    return Asked::RateLimited(retry_after);
                }
                error if !error.is_transient() => {
                    let concerns_page = matches!(error, Error::NoSuchPage(_));
                    self.closed.fetch_or(!concerns_page, Ordering::Relaxed);
                    return Asked::Halted(Halt::Permanent(error));
                }
                error @ Error::Failing(_) if attempt == ATTEMPTS_MAX => {
                    return Asked::Halted(Halt::Shrink(error));
                }
                error if attempt == ATTEMPTS_MAX => return Asked::Halted(Halt::Transient(error)),
                error => self.report.retry(error.name()),
            }
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
            pause *= 2;
        }
        unreachable!("the last attempt returns")
    }
}
