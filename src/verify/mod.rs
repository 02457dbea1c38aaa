//! Holds one user's archive against Last.fm, as a whole: by counting, or play by play.
//!
//! Counting asks once for each month with plays. A month whose counts differ is narrowed by halving and looked at play by
//! play, so what differs is always known play by play. Edits that leave a month's count as it was, and a late play and a
//! removed one that cancel, are found by looking at everything only.

mod asking;
mod sums;
mod verdict;

pub(crate) use sums::Sums;
pub(crate) use verdict::{Asked, Verdict};

use crate::archive::{Month, Series};
use crate::comparison::{Comparison, Differences, Recorded, Seconds, Stretch};
use crate::environment::Environment;
use crate::fetch_pages::{Halt, Report};
use crate::user::{User, UserName};
use std::collections::BTreeMap;
use std::time::Duration;
use sums::Moment;

/// How often a used-up budget is waited for before it is an end.
const WAITS_MAX: u32 = 100;

/// Why there is no verdict.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Last.fm, or the end of the process.
    Halted(Halt),
    /// Somebody else writes to this user's archive.
    Contended,
}

/// Who is told how it goes.
pub(crate) trait Watcher {
    /// So many of so many months, or plays, are compared.
    fn progress(&self, done: u64, all: u64);
    /// Waiting for so long, for this reason.
    fn waiting(&self, wait: Duration, reason: &str);
}

/// Verifies one user's archive.
pub(crate) async fn verify(
    environment: &Environment,
    name: &UserName,
    asked: Asked,
    report: &Report<'_>,
    watcher: &dyn Watcher,
) -> anyhow::Result<Result<Verdict, Trouble>> {
    let user = environment.user(name);
    let run = format!("verify-{}", environment.clock.now_ms());
    let comparison = Comparison::begin(environment, user.clone(), format!("{run}-1")).await?;
    let moments = moments(&comparison).await?;
    let seconds = sums::seconds(&moments);
    // Windows are asked between cuts, where counts are right by any reading of Last.fm's bounds.
    let range = Stretch {
        from: asked.from.map(|from| seconds.cut_before(from)),
        to: seconds.cut_behind(asked.to + 1) - 1,
    };
    let mut work = Work {
        environment,
        user,
        comparison,
        seconds,
        asked,
        range,
        report,
        watcher,
        verdict: Verdict {
            range: Some(range),
            ..Verdict::default()
        },
        balances: BTreeMap::new(),
        unsure: Vec::new(),
    };
    let compared = if asked.deep {
        work.deep().await?
    } else {
        work.by_count(&moments).await?
    };
    if let Err(trouble) = compared {
        return Ok(Err(trouble));
    }
    if let Err(trouble) = work.second_look(&run).await? {
        return Ok(Err(trouble));
    }
    work.finish(&moments).await.map(Ok)
}

/// All archived plays of a user, in no particular order.
async fn moments(comparison: &Comparison<'_>) -> anyhow::Result<Vec<Moment>> {
    let mut moments = Vec::new();
    let files = comparison.files().iter();
    let each = |file: &crate::archive::DataFile, uts, id| {
        moments.push(Moment {
            uts,
            is_late: matches!(file.name.series, Series::Late(_)),
            is_removed: comparison.is_removed(id),
        });
    };
    comparison.each_moment(files, each).await?;
    Ok(moments)
}

/// A verification under way.
struct Work<'a> {
    environment: &'a Environment,
    user: User,
    comparison: Comparison<'a>,
    /// Today's view.
    seconds: Seconds,
    asked: Asked,
    range: Stretch,
    report: &'a Report<'a>,
    watcher: &'a dyn Watcher,
    verdict: Verdict,
    /// What Last.fm shows more than the archive had, by month.
    balances: BTreeMap<Month, i64>,
    /// What a second look is for: plays that the first one did not see.
    unsure: Vec<Stretch>,
}

/// What one step came to, if nothing came in between.
type Step<T> = anyhow::Result<Result<T, Trouble>>;

/// Hands trouble on.
macro_rules! step {
    ($step:expr) => {
        match $step.await? {
            Ok(done) => done,
            Err(trouble) => return Ok(Err(trouble)),
        }
    };
}

impl Work<'_> {
    async fn by_count(&mut self, moments: &[Moment]) -> Step<()> {
        let months = sums::by_month(moments, self.range);
        let windows = sums::windows(self.range, &self.seconds, months.into_keys());
        let all = windows.len() as u64;
        for (done, window) in (0..).zip(windows) {
            self.watcher.progress(done, all);
            let differing = step!(self.narrow(window));
            for (stretch, shown) in differing {
                step!(self.explain(stretch, shown));
            }
        }
        self.watcher.progress(all, all);
        Ok(Ok(()))
    }

    async fn deep(&mut self) -> Step<()> {
        let newest = self.comparison.newest();
        // Around the archive's newest second nothing can be counted, since no cut lies behind it.
        let end = newest.map_or(self.range.from, |newest| {
            Some(
                self.seconds
                    .cut_before(newest)
                    .max(self.range.from.unwrap_or(i64::MIN)),
            )
        });
        if let Some(end) = end.filter(|_| newest.is_some()) {
            let before = Stretch {
                to: (end - 1).min(self.range.to),
                ..self.range
            };
            step!(self.look_at(before));
        }
        let rest = Stretch {
            from: end,
            ..self.range
        };
        if !rest.is_empty() {
            let shown = step!(self.count(rest));
            step!(self.explain(rest, shown));
        }
        Ok(Ok(()))
    }

    /// Looks at a stretch that Last.fm counts `shown` plays in. What is newer than the archive is counted only.
    async fn explain(&mut self, stretch: Stretch, shown: u64) -> Step<()> {
        let held = self.seconds.count(stretch);
        let mut balance = 0;
        let newest = self.comparison.newest();
        if let Some(newest) =
            newest.filter(|newest| stretch.from.is_none_or(|from| from <= *newest))
        {
            balance = step!(self.look_at(Stretch {
                to: stretch.to.min(newest),
                ..stretch
            }));
        }
        if newest.is_none_or(|newest| newest < stretch.to) {
            let number = |plays: u64| i64::try_from(plays).unwrap_or(i64::MAX);
            let newer = |shown| u64::try_from(number(shown) - number(held) - balance).unwrap_or(0);
            let mut count = newer(shown);
            if count > 0 {
                // Nobody looks at these, so one wrong number must not make them.
                count = count.min(newer(step!(self.count(stretch))));
            }
            self.verdict.newer += count;
            self.verdict.missing += count;
        }
        Ok(Ok(()))
    }

    /// Looks at a stretch play by play, and repairs it if that is asked for. Gives by how much Last.fm's count exceeds the
    /// archive's.
    async fn look_at(&mut self, mut stretch: Stretch) -> Step<i64> {
        let mut balance = 0;
        let all = self.seconds.count(stretch);
        while !stretch.is_empty() {
            let left = self.seconds.count(stretch);
            if self.asked.deep {
                self.watcher.progress(all - left, all);
            }
            let look = step!(self.look(stretch));
            let Some(covered) = look.covered else {
                // Last.fm's clock is not there yet.
                break;
            };
            balance += look.differences.balance();
            let seen = Stretch {
                to: covered,
                ..stretch
            };
            self.take(&look.differences, seen);
            if self.asked.repair {
                step!(self.record(look.differences));
            }
            stretch.from = Some(covered + 1);
        }
        if self.asked.deep {
            self.watcher.progress(all, all);
        }
        Ok(Ok(balance))
    }

    /// Counts what a look has found.
    fn take(&mut self, differences: &Differences, seen: Stretch) {
        self.take_more(differences);
        let vanished = &differences.vanished;
        self.verdict.vanished += vanished.len() as u64;
        for play in vanished {
            *self.balances.entry(Month::of(play.uts)).or_default() -= 1;
        }
        // Each by itself, unless all of the stretch is not much more.
        let size = u64::from(self.environment.settings.page_size);
        let pages = self.seconds.count(seen).div_ceil(size);
        let mut moments: Vec<i64> = vanished.iter().map(|play| play.uts).collect();
        moments.dedup();
        if moments.len() as u64 > pages.max(1) {
            self.unsure.push(seen);
        } else {
            self.unsure.extend(moments.into_iter().map(|uts| Stretch {
                from: Some(uts),
                to: uts,
            }));
        }
    }

    /// Counts what Last.fm shows more than the archive.
    fn take_more(&mut self, differences: &Differences) {
        let lacking = differences.lacking.iter().map(|(play, _)| play.uts);
        let returned = differences.returned.iter().map(|play| play.uts);
        for uts in lacking.chain(returned) {
            self.verdict.missing += 1;
            *self.balances.entry(Month::of(uts)).or_default() += 1;
        }
    }

    /// Looks once more at what the first look did not see: only then a play is removed.
    async fn second_look(&mut self, run: &str) -> Step<()> {
        if !self.asked.repair {
            return Ok(Ok(()));
        }
        self.comparison.begin_run(format!("{run}-2"));
        for mut stretch in std::mem::take(&mut self.unsure) {
            while !stretch.is_empty() {
                let look = step!(self.look(stretch));
                let Some(covered) = look.covered else { break };
                // What is seen now had not vanished after all.
                for play in &look.differences.seen_again {
                    self.verdict.vanished = self.verdict.vanished.saturating_sub(1);
                    *self.balances.entry(Month::of(play.uts)).or_default() += 1;
                }
                self.take_more(&look.differences);
                step!(self.record(look.differences));
                stretch.from = Some(covered + 1);
            }
        }
        Ok(Ok(()))
    }

    async fn record(&mut self, differences: Differences) -> Step<()> {
        if differences.is_nothing() {
            return Ok(Ok(()));
        }
        for _ in 0..WAITS_MAX {
            let Some(wait) = self.comparison.quiet_in() else {
                break;
            };
            let reason = "the app may be writing to this archive";
            if !self.wait(wait, reason).await {
                return Ok(Err(Trouble::Halted(Halt::Interrupted)));
            }
            self.comparison.look_for_quiet().await?;
        }
        if self.comparison.quiet_in().is_some() {
            return Ok(Err(Trouble::Contended));
        }
        match self.comparison.record(differences, self.report).await? {
            Some(recorded) => {
                self.verdict.recorded.add(recorded);
                Ok(Ok(()))
            }
            None => Ok(Err(Trouble::Contended)),
        }
    }

    /// The sums, and what the profile says.
    async fn finish(mut self, moments: &[Moment]) -> anyhow::Result<Verdict> {
        let mut months = sums::by_month(moments, self.range);
        for sums in months.values_mut() {
            sums.lastfm = sums.view();
        }
        for (month, balance) in &self.balances {
            months.entry(*month).or_default().lastfm += balance;
        }
        if self.verdict.recorded != Recorded::default() {
            // What is said to be repaired is read back.
            let run = String::new();
            let after = Comparison::begin(self.environment, self.user.clone(), run).await?;
            let after = sums::by_month(&self::moments(&after).await?, self.range);
            for (month, sums) in after {
                let lastfm = months.get(&month).map_or(0, |before| before.lastfm);
                months.insert(month, Sums { lastfm, ..sums });
            }
        }
        self.verdict.months = months;
        if self.asked.from.is_none()
            && self.asked.is_to_now
            && let Ok(playcount) = self.fetcher()?.playcount().await
        {
            let dated = u64::try_from(self.verdict.sum().lastfm).unwrap_or(0);
            self.verdict.undated = Some(playcount.saturating_sub(dated));
        }
        self.verdict.requests = self.report.counts().requests;
        Ok(self.verdict)
    }
}
