//! The host's queue listener: receives messages, runs them in parallel, and deletes, releases or poisons each.

use std::pin::pin;
use std::process::ExitStatus;
use std::time::Duration;

use azure_core::base64;
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::payload::{self, QueueFacts};
use super::{Function, FunctionsHost, Invocation, MessageEncoding, Trigger, Verdict};
use crate::support::storage::{Queue, ReceivedMessage};

/// How long a received message stays invisible. The host renews it; no invocation here lasts as long as this.
const LEASE: Duration = Duration::from_mins(10);

/// What came of one message delivery.
#[derive(Clone, Debug)]
pub(crate) struct Handled {
    /// The function whose queue it was.
    pub(crate) function: String,
    /// The text on the queue.
    pub(crate) message: String,
    /// Which delivery of the message it was, from 1.
    pub(crate) dequeue_count: u64,
    /// The call of the program; none when the host settled the message without one.
    pub(crate) invocation: Option<Invocation>,
    /// What became of the message.
    pub(crate) outcome: Outcome,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The function succeeded and the message is gone.
    Deleted,
    /// The attempt failed for this reason, and the message is back on the queue.
    Released(String),
    /// The last attempt failed for this reason, or there was none, and a copy lies on the poison queue.
    Poisoned(String),
}

/// What a run of the listener did.
#[derive(Debug, Default)]
pub(crate) struct PumpSummary {
    /// Every delivery, in the order of completion.
    pub(crate) handled: Vec<Handled>,
    /// Messages still on the queues, nearly always ones that are delayed: the service does not show those to anybody.
    pub(crate) remaining: usize,
    /// Set when the run stopped at its limit of deliveries.
    pub(crate) reached_limit: bool,
    /// Set when the run stopped because the program had ended.
    pub(crate) exit_status: Option<ExitStatus>,
}

impl PumpSummary {
    /// Deliveries that called the program.
    pub(crate) fn invocations(&self) -> usize {
        self.handled
            .iter()
            .filter(|handled| handled.invocation.is_some())
            .count()
    }

    /// Deliveries that succeeded.
    pub(crate) fn successes(&self) -> usize {
        self.handled
            .iter()
            .filter(|handled| handled.outcome == Outcome::Deleted)
            .count()
    }

    /// The reason of each failed delivery.
    pub(crate) fn failures(&self) -> Vec<&str> {
        self.handled
            .iter()
            .filter_map(|handled| match &handled.outcome {
                Outcome::Deleted => None,
                Outcome::Released(reason) | Outcome::Poisoned(reason) => Some(reason.as_str()),
            })
            .collect()
    }

    /// Messages that went to a poison queue.
    pub(crate) fn poisoned(&self) -> usize {
        self.handled
            .iter()
            .filter(|handled| matches!(handled.outcome, Outcome::Poisoned(_)))
            .count()
    }

    /// Fails the test unless every delivery succeeded and no message remains, not even a delayed one.
    #[track_caller]
    pub(crate) fn expect_drained(&self) {
        let drained = self.failures().is_empty()
            && self.remaining == 0
            && !self.reached_limit
            && self.exit_status.is_none();
        assert!(
            drained,
            "the queue is not drained, or not without failures: {self:#?}"
        );
    }
}

/// One queue function and its queue.
#[derive(Clone)]
pub(super) struct Listener<'a> {
    function: &'a Function,
    queue: Queue,
    poison: Option<Queue>,
}

impl Listener<'_> {
    /// Whether it is the queue of this function.
    pub(super) fn serves(&self, function: &str) -> bool {
        self.function.name == function
    }

    /// Receives so many messages at most.
    pub(super) async fn receive(&self, count_max: usize) -> Vec<ReceivedMessage> {
        self.queue.receive(count_max, LEASE).await
    }
}

impl FunctionsHost {
    /// Receives one batch from the queue of each queue function, and settles it.
    pub(crate) async fn pump_queue(&self) -> PumpSummary {
        let listeners = self.listeners().await;
        let mut summary = PumpSummary::default();
        let mut running = FuturesUnordered::new();
        for listener in &listeners {
            for message in listener.receive(self.app.queues.batch_size).await {
                running.push(self.handle(listener, message));
            }
        }
        while let Some(handled) = running.next().await {
            summary.handled.push(handled);
        }
        self.finish(summary, &listeners).await
    }

    /// Receives and settles messages until no visible one is left and nothing runs, or after `deliveries_max` deliveries,
    /// or until the program ends. Delayed messages are not waited for, only counted in `remaining`.
    pub(crate) async fn pump_until_idle(&self, deliveries_max: usize) -> PumpSummary {
        let listeners = self.listeners().await;
        let mut summary = PumpSummary::default();
        let mut started = 0;
        let mut running = FuturesUnordered::new();
        let mut running_of = vec![0; listeners.len()];
        loop {
            for (index, listener) in listeners.iter().enumerate() {
                // As in the host, for each function: the next batch when few enough still run, so at most
                // batchSize + newBatchThreshold at once.
                let busy = running_of[index] > self.app.queues.new_batch_threshold;
                if busy || self.exit_status().is_some() {
                    continue;
                }
                let count = self.app.queues.batch_size.min(deliveries_max - started);
                if count == 0 {
                    summary.reached_limit = true;
                    continue;
                }
                for message in listener.receive(count).await {
                    started += 1;
                    running_of[index] += 1;
                    running.push(async move { (index, self.handle(listener, message).await) });
                }
            }
            let Some((index, handled)) = running.next().await else {
                return self.finish(summary, &listeners).await;
            };
            running_of[index] -= 1;
            summary.handled.push(handled);
        }
    }

    /// Works as in [`FunctionsHost::pump_until_idle`] and kills the program at this moment; false when the work was done before.
    pub(crate) async fn pump_until_killed(&self, moment: impl Future<Output = ()>) -> bool {
        let mut pump = pin!(self.pump_until_idle(usize::MAX));
        tokio::select! {
            _ = &mut pump => false,
            () = moment => {
                self.kill().await;
                pump.await;
                true
            }
        }
    }

    pub(super) async fn finish(
        &self,
        mut summary: PumpSummary,
        listeners: &[Listener<'_>],
    ) -> PumpSummary {
        for listener in listeners {
            summary.remaining += listener.queue.approximate_count().await;
        }
        summary.reached_limit &= summary.remaining > 0;
        summary.exit_status = self.exit_status();
        summary
    }

    /// The queue functions; like the host, creates their queues.
    pub(super) async fn listeners(&self) -> Vec<Listener<'_>> {
        let azurite = self
            .azurite
            .expect("`HostBuilder::storage` names the storage whose queues are polled");
        let mut listeners = Vec::new();
        for function in self.app.functions.values() {
            let Trigger::Queue { queue } = &function.trigger else {
                continue;
            };
            let has_poison = !queue.ends_with("-poison");
            let poison = has_poison.then(|| azurite.queue(&format!("{queue}-poison")));
            let queue = azurite.queue(queue);
            queue.create().await;
            listeners.push(Listener {
                function,
                queue,
                poison,
            });
        }
        assert!(
            !listeners.is_empty(),
            "the application has no queue function"
        );
        listeners
    }

    /// The bytes that the function gets; none when the text is not what `messageEncoding` says.
    fn content(&self, message: &ReceivedMessage) -> Option<Vec<u8>> {
        match self.app.queues.message_encoding {
            MessageEncoding::None => Some(message.text.clone().into_bytes()),
            MessageEncoding::Base64 => base64::decode(&message.text).ok(),
        }
    }

    /// One delivery, from the received message to its end.
    pub(super) async fn handle(
        &self,
        listener: &Listener<'_>,
        message: ReceivedMessage,
    ) -> Handled {
        let text = message.text.clone();
        self.exchanged.lock().unwrap().push(("message", text));
        let mut handled = Handled {
            function: listener.function.name.clone(),
            message: message.text.clone(),
            dequeue_count: message.dequeue_count,
            invocation: None,
            outcome: Outcome::Deleted,
        };
        if message.dequeue_count > self.app.queues.max_dequeue_count {
            let reason = format!("received {} times already", message.dequeue_count - 1);
            handled.outcome = poison(listener, &message, reason).await;
            return handled;
        }
        let Some(content) = self.content(&message) else {
            let reason = "the text is not base64".to_owned();
            handled.outcome = poison(listener, &message, reason).await;
            return handled;
        };
        let facts = QueueFacts {
            dequeue_count: message.dequeue_count,
            message: Some(&message),
        };
        let invocation = self
            .invoke(
                listener.function,
                payload::queue(listener.function, &content, &facts),
            )
            .await;
        handled.outcome = match &invocation.verdict {
            Verdict::Success(_) => {
                // Somebody else may have it by now; to the host that is no more than a debug line.
                listener.queue.delete(&message).await;
                Outcome::Deleted
            }
            Verdict::Failure(reason) | Verdict::Hang(reason)
                if message.dequeue_count < self.app.queues.max_dequeue_count =>
            {
                listener.queue.release(&message, self.release_delay).await;
                Outcome::Released(reason.clone())
            }
            Verdict::Failure(reason) | Verdict::Hang(reason) => {
                poison(listener, &message, reason.clone()).await
            }
        };
        handled.invocation = Some(invocation);
        handled
    }
}

/// Copies the message to the poison queue and deletes it. Without a poison queue the message just stays invisible.
async fn poison(listener: &Listener<'_>, message: &ReceivedMessage, reason: String) -> Outcome {
    if let Some(poison) = &listener.poison {
        poison.create().await;
        poison.put(&message.text).await;
        listener.queue.delete(message).await;
    }
    Outcome::Poisoned(reason)
}
