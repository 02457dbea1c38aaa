//! The queue trigger: one work item, and what has to be put on the queue after it.

use super::App;
use super::invocation::{Answer, Interrupted, Invocation};
use super::milestone::{Milestone, milestone};
use super::poison::set_aside;
use crate::fetch_pages::{self, FetchPages, Outcome, Report};
use crate::status;
use std::time::Duration;

pub(super) async fn run(
    app: &App,
    invocation: Invocation,
    milestone: &Milestone,
) -> anyhow::Result<Answer> {
    let dequeue_count = invocation.dequeue_count();
    let _ = milestone.dequeue_count.set(dequeue_count);
    let body = invocation.message()?;
    let item = match FetchPages::parse(&body) {
        Ok(item) => item,
        Err(reason) => {
            return set_aside(&app.queue, &invocation, &body, reason, milestone).await;
        }
    };
    let _ = milestone.user.set(item.user.clone());
    let report = &milestone.report;
    let result = work(app, &item, dequeue_count > 1, report).await;
    status::record_item(&app.environment, &item, &result, report).await;
    let outcome = result?;
    if matches!(outcome, Outcome::Interrupted) {
        return Err(Interrupted.into());
    }
    log(milestone, &outcome);
    Ok(Answer(format!(
        "{}: {} plays archived, {}",
        item.user,
        report.counts().plays,
        in_words(&outcome)
    )))
}

/// Does the item, and puts on the queue what comes after it.
async fn work(
    app: &App,
    item: &FetchPages,
    redelivered: bool,
    report: &Report<'_>,
) -> anyhow::Result<Outcome> {
    let outcome = fetch_pages::run(&app.environment, item, redelivered, report).await?;
    if let Some((next, delay)) = next_message(&outcome) {
        app.queue.send(next, delay).await?;
    }
    Ok(outcome)
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

fn log(milestone: &Milestone, outcome: &Outcome) {
    let words = in_words(outcome);
    match outcome {
        Outcome::Done | Outcome::Stale | Outcome::Continue(..) => {
            milestone!(info, milestone, "work item done", outcome = words);
        }
        Outcome::PutBack(_, delay, reason) => {
            milestone!(
                info,
                milestone,
                "work item put back",
                outcome = words,
                reason = reason,
                delay_s = delay.as_secs(),
            );
        }
        // Told with its answer, which is a failure.
        Outcome::Interrupted => {}
        Outcome::GaveUp(reason) => {
            milestone!(
                warn,
                milestone,
                "work item given up; the next tick goes on from the archive",
                outcome = words,
                reason = reason,
            );
        }
        Outcome::Refused { reason, hint, .. } => {
            milestone!(
                error,
                milestone,
                "work item refused",
                outcome = words,
                reason = reason,
                hint = hint,
            );
        }
    }
}
