//! The timer: one work item for each user.
//!
//! Nothing of the timer's own status matters, so a null or year-1 one is as good as any: an item says "up to now",
//! and the archive says from where.

use super::App;
use super::invocation::Answer;
use super::milestone::{Milestone, milestone};
use crate::fetch_pages::FetchPages;
use crate::user::User;
use futures::StreamExt;
use std::time::Duration;

/// Messages that are sent at the same time: with a queue that does not answer, many users still fit into one run.
const SENDS_MAX: usize = 8;

pub(super) async fn run(app: &App, milestone: &Milestone) -> anyhow::Result<Answer> {
    let environment = &app.environment;
    let to = environment.clock.now();
    let users = &environment.settings.users;
    let mut sends = Vec::new();
    for user in users {
        sends.push(send(app, user, to));
    }
    // Every user is tried before a failure is told: one bad moment must not cost the others a day.
    let sent: Vec<_> = futures::stream::iter(sends)
        .buffer_unordered(SENDS_MAX)
        .collect()
        .await;
    let mut failures: Vec<anyhow::Error> = sent.into_iter().filter_map(Result::err).collect();
    if let Some(last) = failures.pop() {
        return Err(last.context(format!(
            "{} of {} users were not enqueued",
            failures.len() + 1,
            users.len()
        )));
    }
    milestone!(info, milestone, "users enqueued", users = users.len());
    Ok(Answer(format!("{} users enqueued", users.len())))
}

async fn send(app: &App, user: &User, to: i64) -> anyhow::Result<()> {
    let item = FetchPages::of(user.name.clone(), Some(to));
    app.queue.send(&item, Duration::ZERO).await.inspect_err(|error| {
        tracing::warn!(user = %user.name, error = format!("{error:#}"), "a user was not enqueued");
    })
}
