//! The queue trigger: one work item, and what has to be put on the queue after it.

use super::App;
use super::invocation::{Answer, Caller, Invocation};
use crate::fetch_pages::{self, Counts, FetchPages, Outcome, Report};
use crate::queue::Poison;
use std::time::{Duration, Instant};

pub(super) async fn run(
    app: &App,
    invocation: Invocation,
    caller: Caller,
) -> anyhow::Result<Answer> {
    let started = Instant::now();
    let body = invocation.message()?;
    let dequeue_count = invocation.dequeue_count();
    let item = match FetchPages::parse(&body) {
        Ok(item) => item,
        Err(reason) => {
            let message_id = invocation.message_id();
            // Redelivery would not make it valid, so the host is told success.
            let poison = Poison::new(&reason, message_id.as_deref(), dequeue_count, &body);
            app.queue.send_poison(poison).await?;
            tracing::error!(
                reason,
                message_id,
                dequeue_count,
                invocation_id = caller.invocation_id,
                trace_id = caller.trace_id,
                "poison: a message is no work item and was moved to the poison queue"
            );
            return Ok(Answer(format!("poison: {reason}")));
        }
    };
    let report = Report::default();
    let outcome = fetch_pages::run(&app.environment, &item, dequeue_count > 1, &report).await?;
    let next = next_message(&outcome);
    if let Some((next, delay)) = next {
        app.queue.send(next, delay).await?;
    }
    let counts = report.counts();
    let milestone = Milestone {
        item: &item,
        counts: &counts,
        dequeue_count,
        caller: &caller,
        started,
    };
    milestone.log(&outcome);
    if matches!(outcome, Outcome::Interrupted) {
        anyhow::bail!("the process is about to end");
    }
    Ok(Answer(format!(
        "{}: {} plays archived, {}",
        item.user,
        counts.plays,
        in_words(&outcome)
    )))
}

/// What goes on the queue, and when it becomes visible.
fn next_message(outcome: &Outcome) -> Option<(&FetchPages, Duration)> {
    match outcome {
        Outcome::Continue(next, delay) | Outcome::PutBack(next, delay, _) => Some((next, *delay)),
        _ => None,
    }
}

fn in_words(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "up to date",
        Outcome::Stale => "stale: another work item was first",
        Outcome::Continue(..) => "more to come",
        Outcome::PutBack(..) => "put back",
        Outcome::GaveUp(_) => "given up until the next tick",
        Outcome::Refused { .. } => "refused",
        Outcome::Interrupted => "interrupted",
    }
}

/// The one line that each invocation leaves in the log, with fields that can be queried.
struct Milestone<'a> {
    item: &'a FetchPages,
    counts: &'a Counts,
    dequeue_count: u64,
    caller: &'a Caller,
    started: Instant,
}

impl Milestone<'_> {
    fn log(&self, outcome: &Outcome) {
        macro_rules! milestone {
            ($level:ident, $message:literal $(, $field:ident = $value:expr)*) => {
                tracing::$level!(
                    user = %self.item.user,
                    outcome = in_words(outcome),
                    pages = self.counts.pages,
                    plays = self.counts.plays,
                    requests = self.counts.requests,
                    retries = self.counts.retries_in_words(),
                    append_bytes = self.counts.append_bytes,
                    duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
                    dequeue_count = self.dequeue_count,
                    invocation_id = self.caller.invocation_id,
                    trace_id = self.caller.trace_id,
                    $($field = $value,)*
                    $message
                )
            };
        }
        match outcome {
            Outcome::Done | Outcome::Stale | Outcome::Continue(..) => {
                milestone!(info, "work item done");
            }
            Outcome::PutBack(_, delay, reason) => {
                milestone!(
                    info,
                    "work item put back",
                    reason = reason,
                    delay_s = delay.as_secs()
                );
            }
            Outcome::Interrupted => milestone!(info, "work item interrupted"),
            Outcome::GaveUp(reason) => {
                milestone!(
                    warn,
                    "work item given up; the next tick goes on from the archive",
                    reason = reason
                );
            }
            Outcome::Refused { reason, hint, .. } => {
                milestone!(error, "work item refused", reason = reason, hint = hint);
            }
        }
    }
}
