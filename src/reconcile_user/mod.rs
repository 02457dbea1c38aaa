//! One reconcile: what reached Last.fm late, what was removed or edited there, is found and written down.
//!
//! Two steps, each resumable and idempotent: the last 15 days are compared play by play, then one stretch of the older
//! history by count, so that all of it is counted within 30 days. New plays go first: a reconcile makes a request only
//! while nobody else has one reserved.

mod message;
mod outcome;
mod rotation;

pub use message::{ReconcileUser, Step};
pub use outcome::Outcome;
pub(crate) use outcome::put_back_for_quiet;

use crate::archive::Month;
use crate::budget::Pacer;
use crate::comparison::{Comparison, Recorded, Seconds, Stretch};
use crate::environment::Environment;
use crate::fetch_pages::{FETCH_TIME_MAX, Fetcher, Halt, Report};
use outcome::Progress;
use rotation::months_of_run;
use tokio::time::Instant;

/// How far back everything is compared play by play. Last.fm accepts plays up to 14 days old
/// (<https://github.com/pylast/pylast/issues/175>), and a run may come a day late.
const RECENT_S: i64 = 15 * 24 * 60 * 60;

/// Second looks in one reconcile. After a deletion of very many plays the next runs do the rest.
const SECOND_LOOKS_MAX: usize = 100;

/// What a reconcile came to, and what it has written down.
#[derive(Debug)]
pub struct Ended {
    /// How it goes on.
    pub outcome: Outcome,
    /// Late plays appended.
    pub late: u64,
    /// Plays noted as removed.
    pub removed: u64,
    /// Removed plays noted as returned.
    pub returned: u64,
    /// Plays not seen at a first look.
    pub missing: u64,
}

/// Does one reconcile, as far as it comes. `run` is the mark of its run.
///
/// An error is trouble with storage, or something that nobody foresaw: the message should be delivered again.
pub async fn run(
    environment: &Environment,
    message: &ReconcileUser,
    run: &str,
    report: &Report<'_>,
) -> anyhow::Result<Ended> {
    let deadline = Instant::now() + FETCH_TIME_MAX;
    let user = environment.user(&message.user);
    let comparison = Comparison::begin(environment, user, run.to_owned()).await?;
    // The clock is asked after the listing, whose answer may have corrected it.
    let now = environment.clock.now();
    let progress = Progress::new(ReconcileUser {
        to: Some(message.to.unwrap_or(now).min(now)),
        run: Some(run.to_owned()),
        ..message.clone()
    });
    let mut recorded = Recorded::default();
    let outcome = match (comparison.newest(), comparison.quiet_in()) {
        // The sync comes first.
        (None, _) => Outcome::Done,
        (Some(_), Some(wait)) => put_back_for_quiet(progress.message, wait, now),
        (Some(newest), None) => {
            let name = message.user.clone();
            let fetcher = Fetcher::new(
                environment.lastfm()?,
                &name,
                Pacer::giving_way(&environment.budget, deadline),
                &environment.stop,
                deadline,
                report,
            );
            let mut reconcile = Reconcile {
                environment,
                fetcher: &fetcher,
                comparison,
                newest,
                progress,
                recorded: &mut recorded,
            };
            match reconcile.steps().await? {
                None => Outcome::Done,
                Some(stopped) => reconcile
                    .progress
                    .stopped(stopped, environment.clock.now())?,
            }
        }
    };
    Ok(Ended {
        outcome,
        late: recorded.late,
        removed: recorded.removed,
        returned: recorded.returned,
        missing: recorded.missing,
    })
}

/// Why a reconcile ended before its end.
#[derive(Debug)]
enum Stopped {
    /// Last.fm, the budget, the deadline.
    Halted(Halt),
    /// Somebody else writes about the same user.
    Stale,
}

/// A reconcile under way.
struct Reconcile<'a> {
    environment: &'a Environment,
    fetcher: &'a Fetcher<'a>,
    comparison: Comparison<'a>,
    /// Second of the newest archived play.
    newest: i64,
    progress: Progress,
    recorded: &'a mut Recorded,
}

impl Reconcile<'_> {
    async fn steps(&mut self) -> anyhow::Result<Option<Stopped>> {
        let to = self.progress.message.to.unwrap_or_default();
        // Around the archive's newest second nothing can be counted, since no cut lies behind it: it is always looked at.
        let month = Month::of(self.newest.min(to - RECENT_S));
        let recent = self.seconds(Some(month), Month::of(self.newest)).await?;
        let recent_from = (to - RECENT_S).min(recent.cut_before(self.newest));
        if self.progress.message.step == Step::Recent {
            let stretch = Stretch {
                from: Some(self.progress.message.from.unwrap_or(recent_from)),
                to: self.newest.min(to),
            };
            if let Some(stopped) = self.look_at(stretch, &recent).await? {
                return Ok(Some(stopped));
            }
            self.progress.next_step();
        }
        if let Some(stopped) = self.settle(recent_from).await? {
            return Ok(Some(stopped));
        }
        self.older(recent_from, to).await
    }

    /// Looks a second time at older plays that an earlier run did not see: their stretch has its turn again only after a
    /// month.
    async fn settle(&mut self, recent_from: i64) -> anyhow::Result<Option<Stopped>> {
        let unsettled = self.comparison.unsettled(recent_from);
        for stretch in unsettled.into_iter().take(SECOND_LOOKS_MAX) {
            // What is settled is no longer among them: that is all there is to remember.
            let from = self.progress.message.from;
            let stopped = self.look_at(stretch, &Seconds::default()).await?;
            self.progress.message.from = from;
            if stopped.is_some() {
                return Ok(stopped);
            }
        }
        Ok(None)
    }

    /// Counts the stretch of the day, and looks at what differs.
    async fn older(&mut self, recent_from: i64, to: i64) -> anyhow::Result<Option<Stopped>> {
        let months = self
            .comparison
            .files()
            .iter()
            .filter_map(|file| file.name.series.month());
        let (Some(first), last) = (months.min(), Month::of(recent_from)) else {
            return Ok(None);
        };
        if last < first {
            return Ok(None);
        }
        let (start, end) = months_of_run(first, last, to);
        let is_first = start == first;
        // With the months around, so that it can be cut a little wider.
        let before = (!is_first).then(|| Month::from_number(start.number() - 1));
        let behind = Month::from_number(end.number() + 1);
        let seconds = self.seconds(before, behind).await?;
        let from = match self.progress.message.from {
            Some(from) => Some(seconds.cut_before(from)),
            None => (!is_first).then(|| seconds.cut_before(start.first_second())),
        };
        let stretch = Stretch {
            from,
            to: seconds.cut_behind(behind.first_second().min(recent_from)) - 1,
        };
        if stretch.is_empty() {
            return Ok(None);
        }
        let narrowed = self
            .comparison
            .narrow(self.fetcher, stretch, &seconds, self.page_size())
            .await;
        for (stretch, _) in narrowed.differing {
            if let Some(stopped) = self.look_at(stretch, &seconds).await? {
                return Ok(Some(stopped));
            }
        }
        Ok(narrowed.halt.map(|(rest, halt)| {
            if let Some(from) = rest.from {
                self.progress.moved_to(from);
            }
            Stopped::Halted(halt)
        }))
    }

    /// Looks at a stretch play by play, and writes down what differs.
    async fn look_at(
        &mut self,
        mut stretch: Stretch,
        seconds: &Seconds,
    ) -> anyhow::Result<Option<Stopped>> {
        while !stretch.is_empty() {
            let pages = self.environment.settings.pages_per_item;
            let held = seconds.count(stretch);
            let look = self
                .comparison
                .look(self.fetcher, stretch, (pages, self.page_size()), held)
                .await?;
            let recorded = self
                .comparison
                .record(look.differences, self.fetcher.report)
                .await?;
            let Some(recorded) = recorded else {
                return Ok(Some(Stopped::Stale));
            };
            self.recorded.add(recorded);
            self.progress.message.page_size =
                (look.page_size < self.environment.settings.page_size).then_some(look.page_size);
            if let Some(covered) = look.covered {
                self.progress.moved_to(covered + 1);
                stretch.from = Some(covered + 1);
            }
            match look.halt {
                Some(halt) => return Ok(Some(Stopped::Halted(halt))),
                // Last.fm's clock is not there yet.
                None if look.covered.is_none() => break,
                None => {}
            }
        }
        Ok(None)
    }

    fn page_size(&self) -> u32 {
        let usual = self.environment.settings.page_size;
        self.progress.message.page_size.unwrap_or(usual)
    }

    /// When the archive has plays in these months; nothing: from the first one on.
    async fn seconds(&self, first: Option<Month>, last: Month) -> anyhow::Result<Seconds> {
        let behind = Month::from_number(last.number() + 1);
        let stretch = Stretch {
            from: first.map(Month::first_second),
            to: behind.first_second() - 1,
        };
        self.comparison.seconds(stretch).await
    }
}
