//! The queue trigger of the reconciles: one message, and what has to be put on the queue after it.

use super::App;
use super::invocation::{Answer, Interrupted, Invocation};
use super::milestone::{Milestone, milestone};
use super::poison::set_aside;
use crate::reconcile_user::{self, Ended, Outcome, ReconcileUser};
use crate::status::{self, ReconcileStep};
use std::time::Duration;

pub(super) async fn run(
    app: &App,
    invocation: Invocation,
    milestone: &Milestone,
) -> anyhow::Result<Answer> {
    let _ = milestone.dequeue_count.set(invocation.dequeue_count());
    let body = invocation.message()?;
    let message = match ReconcileUser::parse(&body) {
        Ok(message) => message,
        Err(reason) => {
            return set_aside(&app.reconciles, &invocation, &body, reason, milestone).await;
        }
    };
    let _ = milestone.user.set(message.user.clone());
    // One message is one run, however often it is delivered.
    let mark = invocation
        .message_id()
        .filter(|id| ReconcileUser::is_mark(id))
        .unwrap_or_else(|| app.environment.clock.now_ms().to_string());
    let run = message.run.as_deref().unwrap_or(&mark);
    let ended = work(app, &message, run, milestone).await;
    let (result, ended) = match ended {
        Ok(ended) => (result(&ended.outcome), Ok(ended)),
        Err(error) => (format!("failed: {error:#}"), Err(error)),
    };
    let done = ended.as_ref().ok();
    let step = ReconcileStep {
        run,
        result: &result,
        late: done.map_or(0, |ended| ended.late),
        removed: done.map_or(0, |ended| ended.removed),
        returned: done.map_or(0, |ended| ended.returned),
        missing: done.map_or(0, |ended| ended.missing),
    };
    status::record_reconcile(&app.environment, &message.user, &step).await;
    let ended = ended?;
    if matches!(ended.outcome, Outcome::Interrupted) {
        return Err(Interrupted.into());
    }
    log(milestone, &ended);
    Ok(Answer(format!(
        "{}: {} late, {} removed, {} returned, {}",
        message.user,
        ended.late,
        ended.removed,
        ended.returned,
        in_words(&ended.outcome)
    )))
}

/// Does the reconcile, and puts on the queue what comes after it.
async fn work(
    app: &App,
    message: &ReconcileUser,
    run: &str,
    milestone: &Milestone,
) -> anyhow::Result<Ended> {
    let ended = reconcile_user::run(&app.environment, message, run, &milestone.report).await?;
    match &ended.outcome {
        Outcome::Continue(next) => app.reconciles.send(next, Duration::ZERO).await?,
        Outcome::PutBack(next, delay, _) => app.reconciles.send(next, *delay).await?,
        Outcome::Done | Outcome::GaveUp(_) | Outcome::Refused { .. } | Outcome::Interrupted => {}
    }
    Ok(ended)
}

fn in_words(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "compared",
        Outcome::Continue(_) => "more to come",
        Outcome::PutBack(..) => "put back",
        Outcome::GaveUp(_) => "given up until the next run",
        Outcome::Refused { .. } => "refused",
        Outcome::Interrupted => "interrupted",
    }
}

/// For the status document: the words, and why.
fn result(outcome: &Outcome) -> String {
    let words = in_words(outcome);
    match outcome {
        Outcome::PutBack(_, _, reason)
        | Outcome::GaveUp(reason)
        | Outcome::Refused { reason, .. } => format!("{words}: {reason}"),
        Outcome::Done | Outcome::Continue(_) | Outcome::Interrupted => words.to_owned(),
    }
}

fn log(milestone: &Milestone, ended: &Ended) {
    let outcome = in_words(&ended.outcome);
    macro_rules! tell {
        ($level:ident, $message:literal $(, $field:ident = $value:expr)*) => {
            milestone!(
                $level,
                milestone,
                $message,
                outcome = outcome,
                late = ended.late,
                removed = ended.removed,
                returned = ended.returned,
                missing = ended.missing,
                $($field = $value,)*
            )
        };
    }
    match &ended.outcome {
        Outcome::Done | Outcome::Continue(_) => tell!(info, "reconcile done"),
        Outcome::PutBack(_, delay, reason) => tell!(
            info,
            "reconcile put back",
            reason = reason,
            delay_s = delay.as_secs()
        ),
        // Told with its answer, which is a failure.
        Outcome::Interrupted => {}
        Outcome::GaveUp(reason) => tell!(
            warn,
            "reconcile given up; the next run starts again",
            reason = reason
        ),
        Outcome::Refused { reason, hint } => {
            tell!(error, "reconcile refused", reason = reason, hint = hint);
        }
    }
}
