//! The time of day, as one value that everything shares.
//!
//! Deciding code never asks for the time: it is given seconds. Only the rim holds a [`Clock`].

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
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
}

#[derive(Clone, Debug)]
enum Source {
    System,
    /// Tokio's clock, which tests pause and move: the time at the instant of creation, and that instant.
    Tokio(i64, tokio::time::Instant),
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
    /// `before_ms` and `after_ms` are this clock's time of the request and of its answer: the service wrote the date
    /// in between.
    ///
    /// Every instance corrects by the same storage account, so all of them agree on the request budget.
    pub fn observe(&self, date: i64, before_ms: i64, after_ms: i64) {
        // The header has whole seconds.
        let (earliest_ms, latest_ms) = (date * 1_000, date * 1_000 + 999);
        let skew_ms = if latest_ms < before_ms - TOLERATED_SKEW_MS {
            latest_ms - before_ms
        } else if earliest_ms > after_ms + TOLERATED_SKEW_MS {
            earliest_ms - after_ms
        } else {
            return;
        };
        tracing::warn!(
            skew_ms,
            "this machine's clock differs from the storage's: the storage's is used"
        );
        self.correction_ms.fetch_add(skew_ms, Ordering::Relaxed);
    }

    fn own_ms(&self) -> i64 {
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
        clock.observe(1_000, clock.now_ms(), clock.now_ms());
        assert_eq!(clock.now_ms(), 1_000_999);
        clock.observe(1_060, clock.now_ms(), clock.now_ms());
        assert_eq!(clock.now(), 1_060);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_and_two_seconds_are_no_skew() {
        let clock = Clock::following_tokio(1_000_000);
        // The date was written at once, the answer took ten seconds; and the other way round.
        clock.observe(1_000, 1_000_000, 1_010_000);
        clock.observe(1_010, 1_000_000, 1_010_000);
        clock.observe(998, 1_000_000, 1_000_000);
        clock.observe(1_002, 1_000_000, 1_000_000);
        assert_eq!(clock.now_ms(), 1_000_000);
    }
}
