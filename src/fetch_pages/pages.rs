//! Asks for pages: inside the budget, several in flight, with bounded retries, until the deadline.

use super::Report;
use crate::budget::{Budget, Busy, Pacer};
use crate::environment::Stop as StopSignal;
use crate::lastfm::{Bounds, Error, LastFm, Numbers, Page};
use crate::user::UserName;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::collections::BTreeMap;
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
pub(super) enum Stop {
    /// The budget is used up for a while.
    Busy(Busy),
    /// This invocation's time is up.
    Deadline,
    /// The process is told to end.
    Interrupted,
    /// The window has other numbers now.
    Moved(Numbers),
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

/// One work item's access to Last.fm.
pub(super) struct Pages<'a> {
    lastfm: LastFm,
    user: &'a UserName,
    budget: &'a Budget,
    pacer: Pacer<'a>,
    stop: &'a StopSignal,
    deadline: Instant,
    pub(super) report: &'a Report<'a>,
}

impl<'a> Pages<'a> {
    pub(super) fn new(
        lastfm: LastFm,
        user: &'a UserName,
        budget: &'a Budget,
        stop: &'a StopSignal,
        deadline: Instant,
        report: &'a Report<'a>,
    ) -> Self {
        Self {
            lastfm,
            user,
            budget,
            pacer: Pacer::new(budget),
            stop,
            deadline,
            report,
        }
    }

    /// One page by itself. A page that does not exist is answered by page 1, which tells the numbers just as well.
    pub(super) async fn first(&self, bounds: Bounds, limit: u32, page: u32) -> Result<Page, Stop> {
        self.pacer.expect(1);
        let asked = async {
            match self.ask(bounds, limit, page).await {
                Err(Stop::Permanent(Error::NoSuchPage(_))) if page > 1 => {
                    self.ask(bounds, limit, 1).await
                }
                answer => answer,
            }
        };
        let page = self.until_stopped(asked).await?;
        self.report.page(page.plays.len());
        Ok(page)
    }

    /// All of `wanted`, in that order, into `pages`. Every answer must have these `numbers`. After a failure what
    /// is under way still arrives.
    pub(super) async fn several(
        &self,
        bounds: Bounds,
        limit: u32,
        wanted: Vec<u32>,
        pages: &mut BTreeMap<u32, Page>,
        numbers: Numbers,
    ) -> Result<(), Stop> {
        self.pacer
            .expect(u32::try_from(wanted.len()).unwrap_or(u32::MAX));
        let mut wanted = wanted.into_iter();
        let mut in_flight: FuturesUnordered<_> = wanted
            .by_ref()
            .take(IN_FLIGHT_MAX)
            .map(|page| self.ask(bounds, limit, page))
            .collect();
        let mut failure = None;
        while let Some(answer) = self
            .until_stopped(async { Ok(in_flight.next().await) })
            .await?
        {
            match answer {
                Ok(page) if page.numbers == numbers => {
                    self.report.page(page.plays.len());
                    pages.insert(page.number, page);
                    if failure.is_none() {
                        in_flight.extend(wanted.next().map(|page| self.ask(bounds, limit, page)));
                    }
                }
                // The history is another one now, so nothing else that is under way is of use.
                Ok(page) => return Err(Stop::Moved(page.numbers)),
                Err(stop) => failure = failure.or(Some(stop)),
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// What the future gives, unless the deadline or the end of the process comes first.
    async fn until_stopped<T>(
        &self,
        work: impl Future<Output = Result<T, Stop>>,
    ) -> Result<T, Stop> {
        tokio::select! {
            biased;
            () = self.stop.requested() => Err(Stop::Interrupted),
            () = tokio::time::sleep_until(self.deadline) => Err(Stop::Deadline),
            result = work => result,
        }
    }

    async fn ask(&self, bounds: Bounds, limit: u32, page: u32) -> Result<Page, Stop> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            match self.pacer.turn().await {
                Ok(Ok(())) => {}
                Ok(Err(busy)) => return Err(Stop::Busy(busy)),
                Err(error) => return Err(Stop::Storage(error)),
            }
            self.report.request();
            let error = match self
                .lastfm
                .recent_tracks(self.user, bounds, limit, page)
                .await
            {
                Ok(page) => return Ok(page),
                Err(error) => error,
            };
            tracing::debug!(user = %self.user, page, attempt, %error, "a page did not come");
            match error {
                Error::RateLimited { retry_after, .. } => {
                    tracing::warn!(user = %self.user, %error, "every instance pauses");
                    self.report.retry("rate limited");
                    return match self.budget.pause(retry_after).await {
                        Ok(wait) => Err(Stop::Busy(Busy { wait })),
                        Err(error) => Err(Stop::Storage(error)),
                    };
                }
                error if !error.is_transient() => return Err(Stop::Permanent(error)),
                error @ Error::Failing(_) if attempt == ATTEMPTS_MAX => {
                    return Err(Stop::Shrink(error));
                }
                error if attempt == ATTEMPTS_MAX => return Err(Stop::Transient(error)),
                error => self.report.retry(error.name()),
            }
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
            pause *= 2;
        }
        unreachable!("the last attempt returns")
    }
}
