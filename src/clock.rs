//! The time of day, as one value that everything shares.
//!
//! Deciding code never asks for the time: it is given seconds. Only the rim holds a [`Clock`].

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A difference to the storage's clock up to this many milliseconds is tolerated.
const TOLERATED_SKEW_MS: i64 = 2_000;

/// Milliseconds since 1970, corrected by the storage service when this machine's clock is off.
///
/// Clones share the correction.
#[derive(Clone, Debug)]
pub struct Clock {
    source: Source,
    correction_ms: Arc<AtomicI64>,
    skew: Arc<Mutex<Option<Skew>>>,
}

#[derive(Clone, Debug)]
enum Source {
    System,
    /// Tokio's clock, which tests pause and move: the time at the instant of creation, and that instant.
    Tokio(i64, tokio::time::Instant),
}

/// How far the storage's clock is ahead of this machine's, in milliseconds, as far as its answers tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Skew {
    least_ms: i64,
    most_ms: i64,
}

impl Skew {
    /// By one answer. The service wrote `date`, which has whole seconds, between these moments of this machine's clock.
    fn of(date: i64, before_ms: i64, after_ms: i64) -> Self {
        Self {
            least_ms: date * 1_000 - after_ms,
            most_ms: date * 1_000 + 999 - before_ms,
        }
    }

    /// By one more answer. One that contradicts those before begins anew: somebody has set a clock.
    fn and(self, latest: Self) -> Self {
        let both = Self {
            least_ms: self.least_ms.max(latest.least_ms),
            most_ms: self.most_ms.min(latest.most_ms),
        };
        if both.least_ms <= both.most_ms {
            both
        } else {
            latest
        }
    }

    fn correction_ms(self) -> i64 {
        if self.least_ms > TOLERATED_SKEW_MS || self.most_ms < -TOLERATED_SKEW_MS {
            i64::midpoint(self.least_ms, self.most_ms)
        } else {
            0
        }
    }
}

impl Clock {
    /// This machine's clock.
    pub fn system() -> Self {
        Self::new(Source::System)
    }

    /// A clock that stands at `now_ms` now and moves with tokio's, for simulated time.
    pub fn following_tokio(now_ms: i64) -> Self {
        Self::new(Source::Tokio(now_ms, tokio::time::Instant::now()))
    }

    fn new(source: Source) -> Self {
        Self {
            source,
            correction_ms: Arc::new(AtomicI64::new(0)),
            skew: Arc::default(),
        }
    }

    /// Milliseconds since 1970, corrected.
    pub fn now_ms(&self) -> i64 {
        self.own_ms() + self.correction_ms.load(Ordering::Relaxed)
    }

    /// Whole seconds since 1970, corrected.
    pub fn now(&self) -> i64 {
        self.now_ms().div_euclid(1_000)
    }

    /// Learns from the storage's `Date` header (seconds since 1970) how far this machine's clock is off.
    /// `before_ms` and `after_ms` are [`Clock::own_ms`] at the request and at its answer: the service wrote the date
    /// in between. Uncorrected, because the answer to another request may correct the clock meanwhile.
    ///
    /// Every instance corrects by the same storage account, so all of them agree on the request budget. One answer tells
    /// the storage's time to a second; each further one, at another fraction of it, narrows that.
    pub fn observe(&self, date: i64, before_ms: i64, after_ms: i64) {
        let latest = Skew::of(date, before_ms, after_ms);
        let mut skew = self.skew.lock().unwrap_or_else(PoisonError::into_inner);
        let known = skew.map_or(latest, |known| known.and(latest));
        *skew = Some(known);
        let correction_ms = known.correction_ms();
        let before_ms = self.correction_ms.swap(correction_ms, Ordering::Relaxed);
        if (correction_ms - before_ms).abs() > TOLERATED_SKEW_MS {
            tracing::warn!(
                skew_ms = correction_ms,
                "this machine's clock differs from the storage's: the storage's is used"
            );
        }
    }

    /// Milliseconds since 1970 by this machine's clock.
    pub(crate) fn own_ms(&self) -> i64 {
        match self.source {
            Source::System => system_ms(),
            Source::Tokio(start_ms, instant) => start_ms + milliseconds(instant.elapsed()),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that asks the machine for the time"
)]
fn system_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, milliseconds)
}

/// A duration in whole milliseconds, the program's unit of waiting.
pub(crate) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// `ms` milliseconds as a duration; nothing for the past.
pub(crate) fn duration_of_ms(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_off_follows_the_storage_s() {
        let clock = Clock::following_tokio(1_030_000);
        clock.observe(1_000, clock.own_ms(), clock.own_ms());
        assert_eq!(clock.now(), 1_000);
        // Somebody sets one of the clocks.
        clock.observe(1_060, clock.own_ms(), clock.own_ms());
        assert_eq!(clock.now(), 1_060);
        clock.observe(1_030, clock.own_ms(), clock.own_ms());
        assert_eq!(clock.now_ms(), 1_030_000);
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_are_under_way_together_correct_once() {
        let clock = Clock::following_tokio(1_030_000);
        for _ in 0..3 {
            clock.observe(1_000, 1_030_000, 1_030_010);
        }
        assert_eq!(clock.now(), 1_000);
    }

    #[tokio::test(start_paused = true)]
    async fn each_answer_at_another_fraction_of_a_second_tells_the_time_more_exactly() {
        let clock = Clock::following_tokio(1_030_000);
        for _ in 0..40 {
            let storage_ms = clock.own_ms() - 29_640;
            let before_ms = clock.own_ms();
            tokio::time::advance(Duration::from_millis(12)).await;
            clock.observe(storage_ms.div_euclid(1_000), before_ms, clock.own_ms());
            tokio::time::advance(Duration::from_millis(371)).await;
        }
        let off_ms = clock.now_ms() - (clock.own_ms() - 29_640);
        assert!(off_ms.abs() <= 20, "{off_ms}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_and_two_seconds_are_no_skew() {
        // The date was written at once, the answer took ten seconds; and the other way round.
        for (date, after_ms) in [
            (1_000, 1_010_000),
            (1_010, 1_010_000),
            (998, 1_000_000),
            (1_002, 1_000_000),
        ] {
            let clock = Clock::following_tokio(1_000_000);
            clock.observe(date, 1_000_000, after_ms);
            assert_eq!(clock.now_ms(), 1_000_000);
        }
    }
}
