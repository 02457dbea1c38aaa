//! The host's queue listener in its own time: it looks again at once while it finds messages, and ever more seldom while it does not.
//!
//! As in `QueueListener` and `RandomizedExponentialBackoffStrategy` of the storage extension. Nothing wakes it early: the end of an
//! invocation does not, nor does a message that the program puts.

use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::FunctionsHost;
use super::pump::PumpSummary;

/// The pause after the first look that finds nothing.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// When the listener looks next.
struct Backoff {
    exponent: u32,
    max: Duration,
}

impl Backoff {
    fn new(max: Duration) -> Self {
        Self { exponent: 0, max }
    }

    fn pause(&mut self) -> Duration {
        let step = PAUSE_MIN.mul_f64(0.8 + 0.4 * fastrand::f64());
        let pause = match self.exponent {
            0 => PAUSE_MIN,
            exponent => PAUSE_MIN + step * 2_u32.saturating_pow(exponent - 1),
        };
        self.exponent += 1;
        pause.min(self.max)
    }

    fn reset(&mut self) {
        self.exponent = 0;
    }
}

impl FunctionsHost {
    /// Works on the queue of work items as a host in production does, with this longest pause between two looks (in production
    /// host.json's `maxPollingInterval`), until the program ends.
    pub(crate) async fn listen(&self, pause_max: Duration) -> PumpSummary {
        let mut listeners = self.listeners().await;
        listeners.retain(|listener| listener.serves("fetch_pages"));
        let [listener] = &listeners[..] else {
            panic!("the application has no `fetch_pages`");
        };
        let mut summary = PumpSummary::default();
        let mut running = FuturesUnordered::new();
        let mut backoff = Backoff::new(pause_max);
        loop {
            let batch = listener.receive(self.app.queues.batch_size).await;
            let pause = if batch.is_empty() {
                backoff.pause()
            } else {
                backoff.reset();
                Duration::ZERO
            };
            let deliveries = batch.into_iter();
            running.extend(deliveries.map(|message| self.handle(listener, message)));
            let mut rest = pin!(tokio::time::timeout(pause, pending::<()>()));
            let mut rested = pause.is_zero();
            while !rested || running.len() > self.app.queues.new_batch_threshold {
                tokio::select! {
                    Some(handled) = running.next() => summary.handled.push(handled),
                    _ = &mut rest, if !rested => rested = true,
                }
                if self.exit_status().is_some() {
                    summary.handled.extend(running.collect::<Vec<_>>().await);
                    return self.finish(summary, &listeners).await;
                }
            }
        }
    }
}

#[test]
fn the_listener_looks_ever_more_seldom_and_at_once_after_it_has_found_something() {
    let mut backoff = Backoff::new(Duration::from_secs(1));
    for _ in 0..2 {
        let pauses: Vec<u128> = (0..7).map(|_| backoff.pause().as_millis()).collect();
        let around = [100, 200, 300, 500, 900, 1_000, 1_000];
        for (pause, around) in pauses.iter().zip(around) {
            assert!(pause.abs_diff(around) <= around / 5, "{pauses:?}");
        }
        backoff.reset();
    }
}
