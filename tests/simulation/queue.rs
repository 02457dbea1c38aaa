//! The program's queues with the host's way of taking messages, and the queue service's way of sending them.

use crate::blobs::{Call, Reply, http_date};
use azure_core::base64;
use std::collections::BTreeSet;

/// The longest text of a message, and how long it may be hidden and is kept.
const TEXT_BYTES_MAX: usize = 64 * 1024;
const DELAY_S_MAX: i64 = 7 * 24 * 60 * 60;
const KEPT_S: i64 = 7 * 24 * 60 * 60;

/// Work items for `fetch_pages`.
pub(crate) const WORK: &str = "page-ranges";
/// Messages for `reconcile_user`.
pub(crate) const RECONCILES: &str = "reconciles";

#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// No other message of any queue has it.
    pub(crate) id: u64,
    pub(crate) queue: String,
    pub(crate) text: Vec<u8>,
    pub(crate) visible_ms: i64,
    pub(crate) dequeue_count: u64,
}

/// All queues of one account.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    names: BTreeSet<String>,
    pub(crate) messages: Vec<Message>,
    /// Texts on the poison queues, the program's and the host's, with the queue from which they come.
    pub(crate) poison: Vec<(String, Vec<u8>)>,
    /// Continuations of work items that were ever sent, each once.
    pub(crate) continuations: BTreeSet<String>,
    sent: u64,
}

impl Queues {
    pub(crate) fn put(&mut self, queue: &str, text: Vec<u8>, visible_ms: i64) {
        self.sent += 1;
        self.messages.push(Message {
            id: self.sent,
            queue: queue.to_owned(),
            text,
            visible_ms,
            dequeue_count: 0,
        });
    }

    pub(crate) fn answer(&mut self, call: &Call, now_ms: i64) -> Reply {
        let path = call.path.trim_start_matches("/devstoreaccount1/");
        match (call.method.as_str(), path.split_once('/')) {
            ("PUT", None) if call.query.is_empty() => {
                let is_new = self.names.insert(path.to_owned());
                Reply::new(if is_new { 201 } else { 204 })
            }
            ("POST", Some((queue, "messages"))) => self.send(queue, call, now_ms),
            _ => Reply::refused(400, "UnsupportedByTheSimulation"),
        }
    }

    fn send(&mut self, queue: &str, call: &Call, now_ms: i64) -> Reply {
        if call.query.keys().any(|name| name != "visibilitytimeout") {
            return Reply::refused(400, "UnsupportedByTheSimulation");
        }
        let delay_s: i64 = call.query("visibilitytimeout").parse().unwrap_or(0);
        let xml = String::from_utf8(call.body.clone()).expect("XML is text");
        let text = xml
            .split_once("<MessageText>")
            .and_then(|(_, rest)| rest.split_once("</MessageText>"))
            .expect("a message has a text")
            .0
            .to_owned();
        if text.len() > TEXT_BYTES_MAX {
            return Reply::refused(413, "RequestBodyTooLarge");
        }
        if delay_s > DELAY_S_MAX {
            return Reply::refused(400, "OutOfRangeQueryParameterValue");
        }
        if !self.names.contains(queue) {
            return Reply::refused(404, "QueueNotFound");
        }
        let seen_ms = now_ms + delay_s * 1_000;
        if let Some(queue) = queue.strip_suffix("-poison") {
            self.poison.push((queue.to_owned(), text.into_bytes()));
        } else {
            let json = read(text.as_bytes()).unwrap_or_default();
            let copy = json.get("attempt").is_some() || json.get("waits").is_some();
            if queue == WORK && json.get("from").is_some() && !copy {
                self.continuations.insert(text.clone());
            }
            self.put(queue, text.into_bytes(), seen_ms);
        }
        let mut reply = Reply::new(201).with("content-type", "application/xml");
        reply.body = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><QueueMessagesList><QueueMessage><MessageId>{}</MessageId><InsertionTime>{}</InsertionTime><ExpirationTime>{}</ExpirationTime><PopReceipt>p</PopReceipt><TimeNextVisible>{}</TimeNextVisible></QueueMessage></QueueMessagesList>",
            self.sent,
            http_date(now_ms),
            http_date(now_ms + KEPT_S * 1_000),
            http_date(seen_ms)
        )
        .into_bytes();
        reply
    }

    /// Takes a visible message for `lease_ms`.
    pub(crate) fn take(&mut self, now_ms: i64, lease_ms: i64) -> Option<Message> {
        let message = self
            .messages
            .iter_mut()
            .find(|message| message.visible_ms <= now_ms)?;
        message.visible_ms = now_ms + lease_ms;
        message.dequeue_count += 1;
        Some(message.clone())
    }

    /// When the next message becomes visible.
    pub(crate) fn next_visible_ms(&self) -> Option<i64> {
        let visible = self.messages.iter().map(|message| message.visible_ms);
        visible.min()
    }

    pub(crate) fn delete(&mut self, id: u64) {
        self.messages.retain(|message| message.id != id);
    }

    /// What the host does with a message that was not handled.
    pub(crate) fn put_back(&mut self, id: u64, visible_ms: i64) {
        let Some(index) = self.messages.iter().position(|message| message.id == id) else {
            return;
        };
        if self.messages[index].dequeue_count >= 5 {
            let message = self.messages.remove(index);
            self.poison.push((message.queue, message.text));
        } else {
            self.messages[index].visible_ms = visible_ms;
        }
    }
}

/// The JSON of a message, plain or in base64.
pub(crate) fn read(text: &[u8]) -> Option<serde_json::Value> {
    serde_json::from_slice(text)
        .ok()
        .or_else(|| serde_json::from_slice(&base64::decode(text).ok()?).ok())
}
