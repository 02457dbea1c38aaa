//! The timer: one work item for each user.
//!
//! Nothing of the timer's own status matters, so a null or year-1 one is as good as any: an item says "up to now",
//! and the archive says from where.

use super::App;
use super::invocation::{Answer, Caller};
use crate::fetch_pages::FetchPages;
use crate::user::User;
use futures::StreamExt;
use std::time::{Duration, Instant};

/// Messages that are sent at the same time: with a queue that does not answer, many users still fit into one run.
const SENDS_MAX: usize = 8;

pub(super) async fn run(app: &App, caller: Caller) -> anyhow::Result<Answer> {
    let started = Instant::now();
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
    let enqueued = users.len() - failures.len();
    tracing::info!(
        users = users.len(),
        enqueued,
        duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        invocation_id = caller.invocation_id,
        trace_id = caller.trace_id,
        "users enqueued"
    );
    match failures.pop() {
        None => Ok(Answer(format!("{enqueued} users enqueued"))),
        Some(last) => Err(last.context(format!(
            "{} of {} users were not enqueued",
            failures.len() + 1,
            users.len()
        ))),
    }
}

async fn send(app: &App, user: &User, to: i64) -> anyhow::Result<()> {
    let item = FetchPages::of(user.name.clone(), Some(to));
    app.queue.send(&item, Duration::ZERO).await.inspect_err(|error| {
        tracing::warn!(user = %user.name, error = format!("{error:#}"), "a user was not enqueued");
    })
}
