//! A message that is not valid: set aside with its reason, for redelivery would not make it valid.

use super::invocation::{Answer, Invocation};
use super::milestone::{Milestone, milestone};
use crate::queue::{Poison, WorkQueue};

/// Puts the message on the poison queue beside `queue`. The host is told success.
pub(super) async fn set_aside(
    queue: &WorkQueue,
    invocation: &Invocation,
    body: &[u8],
    reason: String,
    milestone: &Milestone,
) -> anyhow::Result<Answer> {
    let message_id = invocation.message_id();
    let dequeue_count = invocation.dequeue_count();
    let poison = Poison::new(&reason, message_id.as_deref(), dequeue_count, body);
    queue.send_poison(poison).await?;
    milestone!(
        error,
        milestone,
        "poison: a message is no work item and was moved to the poison queue",
        reason = reason,
        message_id = message_id,
    );
    Ok(Answer(format!("poison: {reason}")))
}
