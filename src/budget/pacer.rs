//! One work item's way through the budget: when each of its requests may start.

use super::{Budget, Busy, Limits, PORTION_MS, Refusal};
use crate::clock::duration_of_ms;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// A reservation that is this far ahead may be overtaken by a pause.
const LONG_WAIT_MS: i64 = 2_000;

/// One work item's way through the budget.
///
/// About a second's worth is reserved at a time, the next portion before the last is used up, so that a long
/// backfill and many small items share the rate finely.
pub struct Pacer<'a> {
    budget: &'a Budget,
    /// Starts of the intervals in hand, in milliseconds since 1970.
    intervals: Mutex<VecDeque<i64>>,
    expected: AtomicU32,
    deadline: Instant,
    /// For whoever gives way: where the own last reservation ends. What lies further ahead is somebody else's.
    own_end_ms: Option<AtomicI64>,
}

impl<'a> Pacer<'a> {
    /// A pacer with nothing reserved, for requests up to the deadline.
    pub fn new(budget: &'a Budget, deadline: Instant) -> Self {
        Self {
            budget,
            intervals: Mutex::new(VecDeque::new()),
            expected: AtomicU32::new(1),
            deadline,
            own_end_ms: None,
        }
    }

    /// A pacer that takes a request only while nobody else has one reserved ahead, and is [`Refusal::Busy`] otherwise.
    pub fn giving_way(budget: &'a Budget, deadline: Instant) -> Self {
        Self {
            own_end_ms: Some(AtomicI64::new(0)),
            ..Self::new(budget, deadline)
        }
    }

    /// The budget that it keeps to.
    pub(crate) fn budget(&self) -> &'a Budget {
        self.budget
    }

    /// Tells how many requests will probably be made from here on, so that not more is reserved.
    pub fn expect(&self, requests: u32) {
        self.expected.store(requests, Ordering::Relaxed);
    }

    /// Returns when one request may start: inside its own interval. An interval that has passed is forfeited.
    pub async fn turn(&self) -> anyhow::Result<Result<(), Refusal>> {
        let Some(interval_ms) = self.budget.interval_ms else {
            return Ok(Ok(()));
        };
        // One request at a time waits for its interval: what the others would take out meanwhile would be reserved again.
        let mut intervals = self.intervals.lock().await;
        loop {
            let start_ms = match self.next_interval(interval_ms, &mut intervals).await? {
                Ok(start_ms) => start_ms,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let clock = &self.budget.clock;
            // Whoever waits for long looks again, shortly before the turn, whether everybody has to pause by now.
            let lead_ms = self.budget.lead_ms.load(Ordering::Relaxed);
            let long_ms = start_ms - lead_ms - clock.now_ms();
            if long_ms > LONG_WAIT_MS {
                tokio::time::sleep(duration_of_ms(long_ms)).await;
                if let Err(error) = self.budget.look(interval_ms).await {
                    // Nobody else uses what is in hand unlooked: who reserves anew sees the pause.
                    intervals.clear();
                    return Err(error);
                }
            }
            // More than once when the clock was corrected meanwhile.
            while clock.now_ms() < start_ms {
                tokio::time::sleep(duration_of_ms(start_ms - clock.now_ms())).await;
            }
            let now_ms = clock.now_ms();
            let paused_until_ms = self.budget.paused_until_ms.load(Ordering::Relaxed);
            if now_ms < paused_until_ms {
                let wait = duration_of_ms(paused_until_ms - now_ms);
                return Ok(Err(Refusal::Busy(Busy { wait })));
            }
            if now_ms < start_ms + interval_ms {
                return Ok(Ok(()));
            }
        }
    }

    async fn next_interval(
        &self,
        interval_ms: i64,
        intervals: &mut VecDeque<i64>,
    ) -> anyhow::Result<Result<i64, Refusal>> {
        // Who gives way holds nothing that others would have to wait for.
        let portion_max = match self.own_end_ms {
            Some(_) => 1,
            None => u32::try_from(PORTION_MS / interval_ms).unwrap_or(1).max(1),
        };
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
                let left = self.deadline.saturating_duration_since(Instant::now());
                let limits = Limits {
                    left,
                    own_end_ms: self
                        .own_end_ms
                        .as_ref()
                        .map(|own| own.load(Ordering::Relaxed)),
                };
                match self.budget.reserve(interval_ms, count, limits).await? {
                    Ok(portion) => {
                        if let Some(own) = &self.own_end_ms {
                            let end_ms = portion.start_ms + i64::from(portion.count) * interval_ms;
                            own.store(end_ms, Ordering::Relaxed);
                        }
                        let starts = (0..portion.count)
                            .map(|k| portion.start_ms + i64::from(k) * interval_ms);
                        intervals.extend(starts);
                        continue;
                    }
                    Err(refusal) if in_hand == 0 => return Ok(Err(refusal)),
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

#[cfg(test)]
mod tests {
    use super::super::{PAUSE_MAX, PAUSE_MIN, Store};
    use super::*;
    use crate::clock::Clock;
    use std::time::Duration;

    /// A pacer for an item that has as much time as it wants.
    fn unhurried(budget: &Budget) -> Pacer<'_> {
        Pacer::new(budget, Instant::now() + Duration::from_hours(1))
    }

    /// The budget's number, as another instance sees it.
    fn number(budget: &Budget) -> &Mutex<i64> {
        match &budget.store {
            Store::Memory(number) => number,
            Store::Blob(..) => panic!("this one is in memory"),
        }
    }

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
        let pacer = unhurried(&budget);
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
        let pacer = unhurried(&budget);
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
        let (one, two) = (unhurried(&budget), unhurried(&budget));
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
        let wait = Duration::from_secs(90);
        assert_eq!(
            unhurried(&budget).turn().await.unwrap(),
            Err(Refusal::Busy(Busy { wait }))
        );
        assert_eq!(
            budget.pause(Some(Duration::from_hours(24))).await.unwrap(),
            PAUSE_MAX
        );
        assert_eq!(budget.pause(None).await.unwrap(), PAUSE_MIN);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_way_waits_for_nobody_but_itself() {
        let clock = Clock::following_tokio(0);
        let budget = Budget::in_memory(4.0, clock.clone());
        let deadline = Instant::now() + Duration::from_hours(1);
        let polite = Pacer::giving_way(&budget, deadline);
        polite.expect(100);
        assert_eq!(turns(&polite, &clock, 4).await, [0, 250, 500, 750]);
        let other = unhurried(&budget);
        other.expect(8);
        turns(&other, &clock, 1).await;
        assert!(matches!(
            polite.turn().await.unwrap(),
            Err(Refusal::Busy(_))
        ));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(turns(&polite, &clock, 1).await, [clock.now_ms()]);
    }

    #[tokio::test(start_paused = true)]
    async fn no_limit_is_no_wait() {
        let clock = Clock::following_tokio(0);
        let budget = Budget::in_memory(0.0, clock.clone());
        assert_eq!(
            turns(&unhurried(&budget), &clock, 1_000).await.last(),
            Some(&0)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_reserved_that_begins_after_the_deadline() {
        let clock = Clock::following_tokio(0);
        let budget = Budget::in_memory(4.0, clock.clone());
        let hurried = Pacer::new(&budget, Instant::now() + Duration::from_millis(1_300));
        hurried.expect(100);
        assert_eq!(turns(&hurried, &clock, 6).await.last(), Some(&1_250));
        assert_eq!(hurried.turn().await.unwrap(), Err(Refusal::Late));
        assert_eq!(turns(&unhurried(&budget), &clock, 1).await, [1_500]);
    }

    #[tokio::test(start_paused = true)]
    async fn many_requests_at_once_reserve_no_more_than_one() {
        let clock = Clock::following_tokio(0);
        let budget = Budget::in_memory(4.0, clock.clone());
        let pacer = unhurried(&budget);
        pacer.expect(100);
        let mut waiting: Vec<_> = (0..4).map(|_| Box::pin(pacer.turn())).collect();
        for turn in &mut waiting {
            let _ = futures::poll!(turn);
        }
        assert_eq!(*number(&budget).lock().await, 1_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_by_another_instance_ends_the_use_of_what_is_in_hand() {
        let clock = Clock::following_tokio(0);
        let budget = Budget::in_memory(4.0, clock.clone());
        let pacer = unhurried(&budget);
        pacer.expect(100);
        turns(&pacer, &clock, 1).await;
        *number(&budget).lock().await = 60_000;
        // The next look at the budget is due with two intervals still in hand.
        turns(&pacer, &clock, 1).await;
        let wait = Duration::from_millis(60_000 - 500);
        assert_eq!(
            pacer.turn().await.unwrap(),
            Err(Refusal::Busy(Busy { wait }))
        );
    }
}
