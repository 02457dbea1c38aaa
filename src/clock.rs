//! The time of day, as one value that everything shares.
//!
//! Deciding code never asks for the time: it is given seconds. Only the rim holds a [`Clock`].

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A smaller difference to the storage's clock is corrected without a word.
const REPORTED_SKEW_MS: i64 = 2_000;

/// Milliseconds since 1970, corrected by the storage service when this machine's clock is off.
///
/// Clones share the correction.
#[derive(Clone, Debug)]
pub struct Clock {
    source: Source,
    correction: Arc<Correction>,
}

/// What has to be added to this machine's clock.
#[derive(Debug)]
struct Correction {
    ms: AtomicI64,
    /// The least and the most that it can be by all that was observed.
    bounds_ms: Mutex<(i64, i64)>,
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
            correction: Arc::new(Correction {
                ms: AtomicI64::new(0),
                bounds_ms: Mutex::new((i64::MIN, i64::MAX)),
            }),
        }
    }

    /// Milliseconds since 1970, corrected.
    pub fn now_ms(&self) -> i64 {
        self.own_ms() + self.correction.ms.load(Ordering::Relaxed)
    }

    /// Whole seconds since 1970, corrected.
    pub fn now(&self) -> i64 {
        self.now_ms().div_euclid(1_000)
    }

    /// Learns from the storage's `Date` header (seconds since 1970) how far this machine's clock is off.
    /// `before_ms` and `after_ms` are [`Clock::own_ms`] at the request and at its answer: the service wrote the date
    /// in between.
    ///
    /// The header has whole seconds and the answer takes its time, so one observation only bounds the correction.
    /// Each further one narrows the bounds, and one that contradicts all before it starts anew: a clock was set.
    /// A clock that contradicts nothing is left alone.
    ///
    /// Every instance corrects by the same storage account, so all of them agree on the request budget.
    pub fn observe(&self, date: i64, before_ms: i64, after_ms: i64) {
        let seen = (date * 1_000 - after_ms, date * 1_000 + 999 - before_ms);
        let correction = &*self.correction;
        let mut bounds = correction
            .bounds_ms
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *bounds = match (bounds.0.max(seen.0), bounds.1.min(seen.1)) {
            (least, most) if least <= most => (least, most),
            _ => seen,
        };
        let (least, most) = *bounds;
        let new_ms = if (least..=most).contains(&0) {
            0
        } else {
            i64::midpoint(least, most)
        };
        let old_ms = correction.ms.swap(new_ms, Ordering::Relaxed);
        if (new_ms - old_ms).abs() > REPORTED_SKEW_MS {
            tracing::warn!(
                skew_ms = new_ms,
                "this machine's clock differs from the storage's: the storage's is used"
            );
        }
    }

    /// Milliseconds since 1970 by this machine alone.
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

    /// A clock that is `ahead_ms` off after answers at these moments (of the storage's clock, in milliseconds) that
    /// took `latency_ms`: how far it is off still.
    fn off_after(ahead_ms: i64, latency_ms: i64, answers_ms: &[i64]) -> i64 {
        let clock = Clock::new(Source::Tokio(0, tokio::time::Instant::now()));
        for answer_ms in answers_ms {
            let after_ms = answer_ms + ahead_ms;
            let written_ms = answer_ms - latency_ms / 2;
            clock.observe(
                written_ms.div_euclid(1_000),
                after_ms - latency_ms,
                after_ms,
            );
        }
        ahead_ms + clock.now_ms()
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_off_follows_the_storage_s() {
        // One answer leaves half a second either way; more at other moments of a second narrow it down.
        let answers = [1_000_000, 1_001_950, 1_003_040, 1_009_500];
        for ahead_ms in [30_000, -30_000, 1_500, -700] {
            let off_ms = off_after(ahead_ms, 0, &answers[..1]);
            assert!(off_ms.abs() <= 500, "{ahead_ms}: still {off_ms}");
            let off_ms = off_after(ahead_ms, 0, &answers);
            assert!(off_ms.abs() <= 50, "{ahead_ms}: still {off_ms}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_contradicts_nothing_is_left_alone() {
        for latency_ms in [0, 80, 10_000] {
            let answers = [1_000_000, 1_001_990, 1_003_010, 1_500_500];
            assert_eq!(off_after(0, latency_ms, &answers), 0);
        }
        assert_eq!(off_after(400, 1_000, &[1_000_500]), 400);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_was_set_is_observed_anew() {
        let clock = Clock::following_tokio(1_000_000);
        for date in 1_000..1_010 {
            clock.observe(date, date * 1_000, date * 1_000);
        }
        assert_eq!(clock.now_ms(), 1_000_000);
        clock.observe(1_070, 1_010_000, 1_010_000);
        assert_eq!(clock.now(), 1_060);
    }
}
