//! The timer: one work item for each user.
//!
//! Nothing of the timer's own status matters, so a null or year-1 one is as good as any: an item says "up to now",
//! and the archive says from where.

use super::App;
use super::invocation::{Answer, Caller};
use crate::fetch_pages::FetchPages;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) async fn run(app: Arc<App>, caller: Caller) -> anyhow::Result<Answer> {
    let started = Instant::now();
    let environment = &app.environment;
    let to = environment.clock.now();
    let users = &environment.settings.users;
    let mut failures = Vec::new();
    // Every user is tried before a failure is told: one bad moment must not cost the others a day.
    for user in users {
        let item = FetchPages::of(user.name.clone(), Some(to));
        if let Err(error) = app.queue.send(&item, Duration::ZERO).await {
            tracing::warn!(user = %user.name, error = format!("{error:#}"), "a user was not enqueued");
            failures.push(error);
        }
    }
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
