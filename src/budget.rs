//! The request budget: all instances together never exceed the configured rate to Last.fm.
//!
//! The budget is one number, the moment from which the next request may start. Requests are reserved before
//! they are made, by moving that moment ahead. Nothing is held, so nothing has to come back after a crash.
//! On Azure the number is a small blob that is replaced under `If-Match`; one process on a directory keeps it
//! in memory.

use crate::clock::{Clock, duration_of_ms, milliseconds};
use crate::storage::{BlobClients, is_code, make_container};
use anyhow::{Context, bail};
use azure_core::http::{Etag, RequestContent};
use azure_storage_blob::models::BlobClientUploadOptions;
use azure_storage_blob::{BlobClient, BlobContainerClient};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
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

/// The longest lead of a reservation: slower storage than this is trouble of its own.
const LEAD_MAX_MS: i64 = 2_000;

/// How often a lost race for the blob is run again. Each loser pauses a little longer than the round before.
const RACES_MAX: u32 = 30;

const BLOB_NAME: &str = "budget.json";

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

/// The budget is used up for longer than [`WAIT_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy {
    /// How long until the next free interval.
    pub wait: Duration,
}

impl Budget {
    /// A budget for one process. `rate` is in requests per second; 0 means no limit.
    pub fn in_memory(rate: f64, clock: Clock) -> Self {
        Self::new(rate, clock, Store::Memory(Mutex::new(0)))
    }

    /// The budget that all instances share, in the control container of the archive's account.
    pub fn in_blob(rate: f64, clock: Clock, clients: &BlobClients, container: &str) -> Self {
        let container = clients.retrying.blob_container_client(container);
        let blob = container.blob_client(BLOB_NAME);
        let blob = Box::new(BudgetBlob { container, blob });
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
    async fn reserve(&self, interval_ms: i64, count: u32) -> anyhow::Result<Result<Portion, Busy>> {
        let asked_ms = self.clock.now_ms();
        let lead_ms = self.lead_ms.load(Ordering::Relaxed);
        let advance = |free_at_ms: i64| {
            // The clock is asked after the budget was read, for its answer may have corrected it.
            let now_ms = self.clock.now_ms();
            let start_ms = believable(free_at_ms, now_ms).max(now_ms + lead_ms);
            let wait = duration_of_ms(start_ms - now_ms);
            if wait > WAIT_MAX {
                return Err(Busy { wait });
            }
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
                reserved.context("cannot reserve requests in the control container")
            }
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
            Store::Blob(blob, gate) => {
                let _turn = gate.lock().await;
                let paused = blob.update(|free_at_ms| Ok::<_, Busy>((advance(free_at_ms), ())));
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

/// One work item's way through the budget.
///
/// About a second's worth is reserved at a time, the next portion before the last is used up, so that a long
/// backfill and many small items share the rate finely.
pub struct Pacer<'a> {
    budget: &'a Budget,
    /// Starts of the intervals in hand, in milliseconds since 1970.
    intervals: Mutex<VecDeque<i64>>,
    expected: AtomicU32,
}

impl<'a> Pacer<'a> {
    /// A pacer with nothing reserved.
    pub fn new(budget: &'a Budget) -> Self {
        Self {
            budget,
            intervals: Mutex::new(VecDeque::new()),
            expected: AtomicU32::new(1),
        }
    }

    /// Tells how many requests will probably be made from here on, so that not more is reserved.
    pub fn expect(&self, requests: u32) {
        self.expected.store(requests, Ordering::Relaxed);
    }

    /// Returns when one request may start: inside its own interval. An interval that has passed is forfeited.
    pub async fn turn(&self) -> anyhow::Result<Result<(), Busy>> {
        let Some(interval_ms) = self.budget.interval_ms else {
            return Ok(Ok(()));
        };
        loop {
            let start_ms = match self.next_interval(interval_ms).await? {
                Ok(start_ms) => start_ms,
                Err(busy) => return Ok(Err(busy)),
            };
            let clock = &self.budget.clock;
            // More than once when the clock was corrected meanwhile.
            while clock.now_ms() < start_ms {
                tokio::time::sleep(duration_of_ms(start_ms - clock.now_ms())).await;
            }
            let now_ms = clock.now_ms();
            let paused_until_ms = self.budget.paused_until_ms.load(Ordering::Relaxed);
            if now_ms < paused_until_ms {
                return Ok(Err(Busy {
                    wait: duration_of_ms(paused_until_ms - now_ms),
                }));
            }
            if now_ms < start_ms + interval_ms {
                return Ok(Ok(()));
            }
        }
    }

    async fn next_interval(&self, interval_ms: i64) -> anyhow::Result<Result<i64, Busy>> {
        let portion_max = u32::try_from(1_000 / interval_ms).unwrap_or(1).max(1);
        let mut intervals = self.intervals.lock().await;
        loop {
            let now_ms = self.budget.clock.now_ms();
            while intervals
                .front()
                .is_some_and(|start_ms| start_ms + interval_ms <= now_ms)
            {
                intervals.pop_front();
            }
            let in_hand = u32::try_from(intervals.len()).unwrap_or(u32::MAX);
            let expected = self.expected.load(Ordering::Relaxed).max(1);
            if in_hand <= portion_max / 2 && in_hand < expected {
                let count = (expected - in_hand).min(portion_max);
                match self.budget.reserve(interval_ms, count).await? {
                    Ok(portion) => {
                        let starts = (0..portion.count)
                            .map(|k| portion.start_ms + i64::from(k) * interval_ms);
                        intervals.extend(starts);
                        continue;
                    }
                    Err(busy) if in_hand == 0 => return Ok(Err(busy)),
                    // What is in hand comes first.
                    Err(_) => {}
                }
            }
            if let Some(start_ms) = intervals.pop_front() {
                self.expected.store(expected - 1, Ordering::Relaxed);
                return Ok(Ok(start_ms));
            }
        }
    }
}

struct BudgetBlob {
    container: BlobContainerClient,
    blob: BlobClient,
}

#[derive(Deserialize, Serialize)]
struct Document {
    free_at_ms: i64,
}

impl BudgetBlob {
    /// Reads the number, replaces it by what `advance` makes of it, and runs a lost race again.
    async fn update<T, E>(
        &self,
        advance: impl Fn(i64) -> Result<(i64, T), E>,
    ) -> anyhow::Result<Result<T, E>> {
        for race in 0..RACES_MAX {
            let (free_at_ms, etag) = self.read().await?;
            let (next, result) = match advance(free_at_ms) {
                Ok(next) => next,
                Err(refusal) => return Ok(Err(refusal)),
            };
            if self.replace(next, etag).await? {
                return Ok(Ok(result));
            }
            let pause_ms = fastrand::u64(0..20 * u64::from(race + 1));
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
        bail!("{RACES_MAX} attempts met another writer of `{BLOB_NAME}`")
    }

    async fn read(&self) -> anyhow::Result<(i64, Option<Etag>)> {
        let answer = match self.blob.download(None).await {
            Ok(answer) => answer,
            Err(error) if is_code(&error, "BlobNotFound") => return Ok((0, None)),
            Err(error) if is_code(&error, "ContainerNotFound") => {
                make_container(&self.container).await?;
                return Ok((0, None));
            }
            Err(error) => return Err(error.into()),
        };
        let etag = answer
            .properties
            .etag
            .clone()
            .context("the budget has no ETag")?;
        let text = answer.body.collect().await?;
        let free_at_ms = match serde_json::from_slice::<Document>(&text) {
            Ok(document) => document.free_at_ms,
            Err(error) => {
                tracing::warn!(%error, "`{BLOB_NAME}` is not readable and is written anew");
                0
            }
        };
        Ok((free_at_ms, Some(etag)))
    }

    /// False when another writer was first.
    async fn replace(&self, free_at_ms: i64, etag: Option<Etag>) -> anyhow::Result<bool> {
        let text = serde_json::to_vec(&Document { free_at_ms })?;
        let options = BlobClientUploadOptions {
            blob_content_type: Some("application/json".to_owned()),
            if_none_match: etag.is_none().then(|| "*".into()),
            if_match: etag,
            ..Default::default()
        };
        match self
            .blob
            .upload(RequestContent::from(text), Some(options))
            .await
        {
            Ok(_) => Ok(true),
            Err(error)
                if is_code(&error, "ConditionNotMet") || is_code(&error, "BlobAlreadyExists") =>
            {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moments (ms after the start) at which `requests` turns come.
    async fn turns(pacer: &Pacer<'_>, clock: &Clock, requests: u32) -> Vec<i64> {
        let mut moments = Vec::new();
        for _ in 0..requests {
            pacer.turn().await.unwrap().unwrap();
            moments.push(clock.now_ms());
        }
        moments
    }

    #[tokio::test(start_paused = true)]
    async fn one_request_starts_in_each_interval() {
        let clock = Clock::following_tokio(0);
        let budget = Budget::in_memory(4.0, clock.clone());
        let pacer = Pacer::new(&budget);
        pacer.expect(6);
        assert_eq!(
            turns(&pacer, &clock, 6).await,
            [0, 250, 500, 750, 1_000, 1_250]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_interval_that_has_passed_is_forfeited() {
        let clock = Clock::following_tokio(0);
        let budget = Budget::in_memory(4.0, clock.clone());
        let pacer = Pacer::new(&budget);
        pacer.expect(4);
        pacer.turn().await.unwrap().unwrap();
        tokio::time::advance(Duration::from_millis(630)).await;
        assert_eq!(turns(&pacer, &clock, 2).await, [630, 750]);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(turns(&pacer, &clock, 1).await, [10_750]);
    }

    #[tokio::test(start_paused = true)]
    async fn two_items_share_the_rate() {
        let clock = Clock::following_tokio(0);
        let budget = Budget::in_memory(4.0, clock.clone());
        let (one, two) = (Pacer::new(&budget), Pacer::new(&budget));
        one.expect(8);
        two.expect(8);
        let (one, two) = tokio::join!(turns(&one, &clock, 8), turns(&two, &clock, 8));
        let mut all: Vec<_> = one.into_iter().chain(two).collect();
        all.sort_unstable();
        assert!(
            all.windows(2).all(|pair| pair[1] - pair[0] >= 250),
            "{all:?}"
        );
        assert!(*all.last().unwrap() <= 16 * 250, "{all:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_rate_limit_everybody_is_told_to_come_back() {
        let clock = Clock::following_tokio(0);
        let budget = Budget::in_memory(4.0, clock.clone());
        assert_eq!(
            budget.pause(Some(Duration::from_secs(90))).await.unwrap(),
            Duration::from_secs(90)
        );
        let busy = Pacer::new(&budget).turn().await.unwrap().unwrap_err();
        assert_eq!(busy.wait, Duration::from_secs(90));
        assert_eq!(
            budget.pause(Some(Duration::from_hours(24))).await.unwrap(),
            PAUSE_MAX
        );
        assert_eq!(budget.pause(None).await.unwrap(), PAUSE_MIN);
    }

    #[tokio::test(start_paused = true)]
    async fn no_limit_is_no_wait() {
        let clock = Clock::following_tokio(0);
        let budget = Budget::in_memory(0.0, clock.clone());
        assert_eq!(
            turns(&Pacer::new(&budget), &clock, 1_000).await.last(),
            Some(&0)
        );
    }
}
