//! What both timers do: one message for each user.

use crate::queue::{Message, WorkQueue};
use crate::user::User;
use futures::StreamExt;
use std::time::Duration;

/// Messages that are sent at the same time: with a queue that does not answer, many users still fit into one run.
const SENDS_MAX: usize = 8;

/// Puts a message for each user on the queue. Every user is tried before a failure is told: one bad moment must not cost
/// the others a day.
pub(super) async fn send_to_all<M: Message>(
    queue: &WorkQueue,
    users: &[User],
    message_for: impl Fn(&User) -> M,
) -> anyhow::Result<()> {
    let mut sends = Vec::new();
    for user in users {
        let message = message_for(user);
        sends.push(async move {
            queue.send(&message, Duration::ZERO).await.inspect_err(|error| {
                tracing::warn!(user = %user.name, error = format!("{error:#}"), "a user was not enqueued");
            })
        });
    }
    let sent: Vec<_> = futures::stream::iter(sends)
        .buffer_unordered(SENDS_MAX)
        .collect()
        .await;
    let mut failures: Vec<anyhow::Error> = sent.into_iter().filter_map(Result::err).collect();
    match failures.pop() {
        None => Ok(()),
        Some(last) => Err(last.context(format!(
            "{} of {} users were not enqueued",
            failures.len() + 1,
            users.len()
        ))),
    }
}
