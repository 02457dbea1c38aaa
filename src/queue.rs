//! A queue of messages and the poison queue beside it.
//!
//! Messages are written as base64 of JSON: the SDK adds no encoding, the service loses control characters, and
//! any `messageEncoding` of the host carries base64.

use crate::clock::{Clock, milliseconds};
use crate::storage::{Connection, Service, explained, is_code, queue_client};
use crate::user::UserName;
use anyhow::Context;
use azure_core::base64;
use azure_core::http::HttpClient;
use azure_storage_queue::QueueClient;
use azure_storage_queue::models::{QueueClientSendMessageOptions, QueueMessage};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// A message may wait for up to seven days; no delay here comes near.
const DELAY_MAX: Duration = Duration::from_hours(24);

/// 64 KiB on the wire, before base64.
const MESSAGE_BYTES_MAX: usize = 48 * 1024;

/// A second from here on (the year 5138) was meant as milliseconds. Last.fm would silently take it.
const SECONDS_END: i64 = 100_000_000_000;

/// The longest reason for refusing a message, in bytes.
const REASON_BYTES_MAX: usize = 300;

/// How much of a bad message the poison queue keeps, in bytes.
const POISON_BODY_BYTES_MAX: usize = 8 * 1024;

/// What stands on a queue of this program.
pub trait Message {
    /// What one is called, with its article: `a work item`.
    const NAME: &'static str;

    /// Whom it is about.
    fn user(&self) -> &UserName;

    /// The message as this program writes it.
    fn to_message(&self) -> String;
}

/// The queue that one function fills and another empties, and the one for messages that are none.
pub struct WorkQueue {
    work: QueueClient,
    poison: QueueClient,
    name: String,
}

/// A message that is not valid, as the poison queue keeps it.
#[derive(Serialize)]
pub struct Poison<'a> {
    /// Why it is not valid.
    pub reason: &'a str,
    /// The service's id of the original, if the host told it.
    pub message_id: Option<&'a str>,
    /// How often the original was delivered.
    pub dequeue_count: u64,
    /// The text as received (lossy UTF-8), cut to 8 KiB.
    pub body: String,
    /// The length of the original in bytes.
    pub body_bytes: usize,
}

impl<'a> Poison<'a> {
    /// Describes the message `body`.
    pub fn new(
        reason: &'a str,
        message_id: Option<&'a str>,
        dequeue_count: u64,
        body: &[u8],
    ) -> Self {
        let mut text =
            String::from_utf8_lossy(&body[..body.len().min(POISON_BODY_BYTES_MAX)]).into_owned();
        text.truncate(text.floor_char_boundary(POISON_BODY_BYTES_MAX));
        Self {
            reason,
            message_id,
            dequeue_count,
            body: text,
            body_bytes: body.len(),
        }
    }
}

impl WorkQueue {
    /// The queue `name` in the host's storage.
    pub fn new(
        host_storage: &Connection,
        name: &str,
        http: &Arc<dyn HttpClient>,
        clock: &Clock,
    ) -> anyhow::Result<Self> {
        let queues = queue_client("AzureWebJobsStorage", host_storage, http, clock)?;
        Ok(Self {
            work: queues.queue_client(name)?,
            poison: queues.queue_client(&format!("{name}-poison"))?,
            name: name.to_owned(),
        })
    }

    /// Puts a message on the queue, visible after `delay`.
    pub async fn send<M: Message>(&self, message: &M, delay: Duration) -> anyhow::Result<()> {
        send(&self.work, message.to_message(), delay)
            .await
            .map_err(refused)
            .with_context(|| {
                format!(
                    "cannot put {} for `{}` on queue `{}`",
                    M::NAME,
                    message.user(),
                    self.name
                )
            })
    }

    /// Keeps a message that is not valid.
    pub async fn send_poison(&self, mut poison: Poison<'_>) -> anyhow::Result<()> {
        let mut json = serde_json::to_vec(&poison)?;
        // Control characters take six bytes each in JSON, which can exceed what a message carries.
        while json.len() > MESSAGE_BYTES_MAX && !poison.body.is_empty() {
            poison
                .body
                .truncate(poison.body.floor_char_boundary(poison.body.len() / 2));
            json = serde_json::to_vec(&poison)?;
        }
        let text = base64::encode(json);
        send(&self.poison, text, Duration::ZERO)
            .await
            .map_err(refused)
            .with_context(|| format!("cannot put a bad message on queue `{}-poison`", self.name))
    }
}

/// Reads a message as any tool may have written it: plain JSON, or base64 of it. The error is the reason that the poison
/// queue gets; `what` is what a message is called.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8], what: &str) -> Result<T, String> {
    let plain = match serde_json::from_slice::<Value>(body) {
        Ok(value) => Some(value),
        // As people and tools send it: with or without line breaks around it.
        Err(_) => base64::decode(body.trim_ascii())
            .ok()
            .and_then(|decoded| serde_json::from_slice(&decoded).ok()),
    };
    let example = format!("a {what} looks like {{\"user\":\"rj\"}}");
    let Some(value) = plain else {
        let found = if std::str::from_utf8(body).is_ok() {
            "neither JSON nor base64 of JSON"
        } else {
            "not UTF-8"
        };
        return Err(format!("the message is {found}; {example}"));
    };
    if !value.is_object() {
        return Err(format!("the message is not a JSON object; {example}"));
    }
    serde_json::from_value(value).map_err(|error| {
        // The error repeats what it met, which may be as long as a message.
        let mut reason = format!("the {what} is not valid: {error}");
        reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
        reason
    })
}

/// A message as this program writes it.
pub(crate) fn text_of(wire: &impl Serialize) -> String {
    // Numbers and checked text always serialise.
    base64::encode(serde_json::to_vec(wire).unwrap_or_default())
}

/// Refuses a second that was meant as milliseconds.
pub(crate) fn check_second(field: &str, second: Option<i64>) -> Result<(), String> {
    if second.is_some_and(|second| second >= SECONDS_END) {
        return Err(format!(
            "`{field}` is in milliseconds; whole seconds since 1970 are wanted"
        ));
    }
    Ok(())
}

/// Refuses a number that is not from 1 to `max`.
pub(crate) fn check_range(
    field: &str,
    value: Option<u32>,
    max: u32,
) -> Result<Option<u32>, String> {
    match value {
        Some(value) if !(1..=max).contains(&value) => Err(format!("`{field}` must be 1 to {max}")),
        value => Ok(value),
    }
}

async fn send(queue: &QueueClient, text: String, delay: Duration) -> anyhow::Result<()> {
    // Whole seconds, rounded up: a copy that comes back too early only has to wait again.
    let seconds = (milliseconds(delay.min(DELAY_MAX)) + 999) / 1_000;
    let visibility_timeout = i32::try_from(seconds).ok().filter(|seconds| *seconds > 0);
    for made_queue in [false, true] {
        let message = QueueMessage {
            message_text: Some(text.clone()),
        };
        let options = QueueClientSendMessageOptions {
            visibility_timeout,
            ..Default::default()
        };
        match queue.send_message(message.try_into()?, Some(options)).await {
            Ok(_) => return Ok(()),
            Err(error) if is_code(&error, "QueueNotFound") && !made_queue => {
                queue.create(None).await.context("cannot make the queue")?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// What a refusal means, in front of it.
fn refused(error: anyhow::Error) -> anyhow::Error {
    explained(error, Service::Queues)
}
