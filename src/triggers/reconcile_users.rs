//! The timer of the reconciles: one message for each user.

use super::App;
use super::invocation::Answer;
use super::milestone::{Milestone, milestone};
use super::timer::send_to_all;
use crate::reconcile_user::ReconcileUser;

pub(super) async fn run(app: &App, milestone: &Milestone) -> anyhow::Result<Answer> {
    let environment = &app.environment;
    let to = environment.clock.now();
    // A run's mark: a play is removed only when two runs did not see it.
    let mark = format!("{}", environment.clock.now_ms());
    let users = &environment.settings.users;
    send_to_all(&app.reconciles, users, |user| {
        ReconcileUser::of(user.name.clone(), Some(to), Some(mark.clone()))
    })
    .await?;
    milestone!(info, milestone, "reconciles enqueued", users = users.len());
    Ok(Answer(format!("{} reconciles enqueued", users.len())))
}
