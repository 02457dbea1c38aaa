//! The request budget: all instances together never exceed the configured rate to Last.fm.
//!
//! The budget is one number, the moment from which the next request may start. Requests are reserved before
//! they are made, by moving that moment ahead. Nothing is held, so nothing has to come back after a crash.
//! On Azure the number is a small blob that is replaced under `If-Match`; one process on a directory keeps it
//! in memory.

mod blob;
mod pacer;

pub use pacer::Pacer;

use crate::clock::{Clock, duration_of_ms, milliseconds};
use crate::storage::BlobClients;
use anyhow::Context;
use blob::BudgetBlob;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;

/// A longer wait than this is not spent inside an invocation: the work item goes back to the queue.
pub const WAIT_MAX: Duration = Duration::from_secs(20);

/// How long everybody pauses after Last.fm limits the rate: at least a minute, longer when it asks for it.
pub const PAUSE_MIN: Duration = Duration::from_mins(1);
/// Bound of what Last.fm may ask for.
pub const PAUSE_MAX: Duration = Duration::from_mins(15);

/// A budget further ahead than this was written by a broken clock: nothing here ever reserves so far.
const AHEAD_MAX_MS: i64 = 60 * 60 * 1_000;

/// About so much is reserved at a time.
const PORTION_MS: i64 = 1_000;

/// The longest lead of a reservation: slower storage than this is trouble of its own.
const LEAD_MAX_MS: i64 = 2_000;

/// How far apart two instances' clocks may be while they have seen few answers of the storage.
const CLOCKS_DIFFER_MS: i64 = 2_000;

/// The budget of one Last.fm key.
pub struct Budget {
    /// One request starts in each interval of this many milliseconds; nothing: no limit.
    interval_ms: Option<i64>,
    clock: Clock,
    store: Store,
    /// How long the last reservation took: the next one starts no earlier than that, or it would be over
    /// before its acknowledgement.
    lead_ms: AtomicI64,
    /// Until when this process knows that everybody pauses, whatever it still has reserved.
    paused_until_ms: AtomicI64,
}

enum Store {
    /// The number itself, guarded by the gate.
    Memory(Mutex<i64>),
    /// The blob and a gate, so that invocations of one process do not race each other.
    Blob(Box<BudgetBlob>, Mutex<()>),
}

/// A reserved run of intervals.
struct Portion {
    start_ms: i64,
    count: u32,
}

/// What a reservation must keep to.
#[derive(Clone, Copy)]
struct Limits {
    /// No interval that begins later than this from now is reserved: nobody would use it, and nobody else could.
    left: Duration,
    /// Of somebody who gives way: up to here the budget is reserved by the asker alone.
    own_end_ms: Option<i64>,
}

/// The budget is used up for longer than [`WAIT_MAX`], or by others while the asker gives way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy {
    /// How long until the next free interval.
    pub wait: Duration,
}

/// Why no request may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Come back later.
    Busy(Busy),
    /// No free interval begins before the deadline.
    Late,
}

impl Budget {
    /// A budget for one process. `rate` is in requests per second; 0 means no limit.
    pub fn in_memory(rate: f64, clock: Clock) -> Self {
        Self::new(rate, clock, Store::Memory(Mutex::new(0)))
    }

    /// The budget that all instances share, in the control container of the archive's account.
    pub fn in_blob(rate: f64, clock: Clock, clients: &BlobClients, container: &str) -> Self {
        let container = clients.retrying.blob_container_client(container);
        let blob = Box::new(BudgetBlob::new(container));
        Self::new(rate, clock, Store::Blob(blob, Mutex::new(())))
    }

    fn new(rate: f64, clock: Clock, store: Store) -> Self {
        let (lead_ms, paused_until_ms) = (AtomicI64::new(0), AtomicI64::new(0));
        Self {
            interval_ms: interval_ms(rate),
            clock,
            store,
            lead_ms,
            paused_until_ms,
        }
    }

    /// Reserves the next `count` free intervals, unless they lie too far ahead.
    async fn reserve(
        &self,
        interval_ms: i64,
        count: u32,
        limits: Limits,
    ) -> anyhow::Result<Result<Portion, Refusal>> {
        let asked_ms = self.clock.now_ms();
        let lead_ms = self.lead_ms.load(Ordering::Relaxed);
        let advance = |free_at_ms: i64| {
            // The clock is asked after the budget was read, for its answer may have corrected it.
            let now_ms = self.clock.now_ms();
            let free_at_ms = believable(free_at_ms, now_ms);
            self.notice_pause(free_at_ms, now_ms, interval_ms);
            let start_ms = free_at_ms.max(now_ms + lead_ms);
            let wait = duration_of_ms(start_ms - now_ms);
            let is_others = |own_end_ms: i64| free_at_ms > own_end_ms.max(now_ms);
            if wait > WAIT_MAX || limits.own_end_ms.is_some_and(is_others) {
                return Err(Refusal::Busy(Busy { wait }));
            }
            let Some(spare) = limits.left.checked_sub(wait) else {
                return Err(Refusal::Late);
            };
            let usable = milliseconds(spare) / interval_ms + 1;
            let count = count.min(u32::try_from(usable).unwrap_or(u32::MAX));
            Ok((
                start_ms + i64::from(count) * interval_ms,
                Portion { start_ms, count },
            ))
        };
        match &self.store {
            Store::Memory(number) => {
                let mut free_at_ms = number.lock().await;
                Ok(advance(*free_at_ms).map(|(next, portion)| {
                    *free_at_ms = next;
                    portion
                }))
            }
            Store::Blob(blob, gate) => {
                let _turn = gate.lock().await;
                let reserved = blob.update(advance).await;
                let took_ms = (self.clock.now_ms() - asked_ms).clamp(0, LEAD_MAX_MS);
                self.lead_ms.store(took_ms, Ordering::Relaxed);
                reserved.context("cannot reserve requests")
            }
        }
    }

    /// Looks whether another instance has made everybody pause since this one reserved.
    async fn look(&self, interval_ms: i64) -> anyhow::Result<()> {
        // In one process a pause is known without looking.
        if let Store::Blob(blob, _) = &self.store {
            let read = blob.read().await;
            let free_at_ms = read.context("cannot look at the request budget")?;
            let now_ms = self.clock.now_ms();
            self.notice_pause(believable(free_at_ms, now_ms), now_ms, interval_ms);
        }
        Ok(())
    }

    /// Remembers a pause by another instance: what lies further ahead than reservations reach. From then on nothing
    /// that this process still has reserved is used.
    fn notice_pause(&self, free_at_ms: i64, now_ms: i64, interval_ms: i64) {
        let reserved_ms =
            milliseconds(WAIT_MAX) + interval_ms.max(PORTION_MS) + LEAD_MAX_MS + CLOCKS_DIFFER_MS;
        if free_at_ms > now_ms + reserved_ms {
            self.paused_until_ms
                .fetch_max(free_at_ms, Ordering::Relaxed);
        }
    }

    /// Makes every instance pause, after Last.fm limited the rate. Returns how long.
    pub async fn pause(&self, asked: Option<Duration>) -> anyhow::Result<Duration> {
        let pause = asked.unwrap_or(PAUSE_MIN).clamp(PAUSE_MIN, PAUSE_MAX);
        let now_ms = self.clock.now_ms();
        let end_ms = now_ms + milliseconds(pause);
        self.paused_until_ms.fetch_max(end_ms, Ordering::Relaxed);
        let advance = |free_at_ms: i64| believable(free_at_ms, now_ms).max(end_ms);
        match &self.store {
            Store::Memory(number) => {
                let mut free_at_ms = number.lock().await;
                *free_at_ms = advance(*free_at_ms);
            }
            // Past the gate: a request of this very item may hold it, and does not move on while its item pauses.
            Store::Blob(blob, _) => {
                let paused = blob.update(|free_at_ms| Ok::<_, Refusal>((advance(free_at_ms), ())));
                let _never_busy = paused.await.context("cannot make every instance pause")?;
            }
        }
        Ok(pause)
    }
}

/// The number that was read, unless a broken clock has written it.
fn believable(free_at_ms: i64, now_ms: i64) -> i64 {
    if free_at_ms > now_ms + AHEAD_MAX_MS {
        now_ms
    } else {
        free_at_ms
    }
}

/// Rounded up, so that the rate is never exceeded.
#[expect(
    clippy::cast_possible_truncation,
    reason = "settings bound the rate; a saturated interval is still safe"
)]
fn interval_ms(rate: f64) -> Option<i64> {
    (rate > 0.0).then(|| (1_000.0 / rate).ceil() as i64)
}
