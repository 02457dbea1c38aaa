//! The bodies that the host posts. Text, not `serde_json::Value`: the order of the members is the host's own.

use jiff::{SignedDuration, Timestamp, fmt::rfc2822};

use super::app::Function;
use crate::support::storage::ReceivedMessage;

/// What a timer tick tells the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tick {
    /// An ordinary tick of a monitored timer, with a full `ScheduleStatus`.
    Scheduled,
    /// A timer without a monitor: `ScheduleStatus` is null.
    WithoutStatus,
    /// The first tick ever: the last one is in year 1.
    First,
    /// The first tick ever in New York's time zone, with its historic offset.
    FirstInZone,
    /// A tick that was missed while the app was down.
    PastDue,
    /// Somebody ran the function by hand; the stored status comes along.
    ManualRun,
}

/// The facts about a queue message that travel with it.
pub(crate) struct QueueFacts<'a> {
    /// How many times the message was received; 0 in a manual run.
    pub(crate) dequeue_count: u64,
    /// The message on the queue; none in a manual run.
    pub(crate) message: Option<&'a ReceivedMessage>,
}

/// The body for a timer; `retry_count` counts the retry policy's attempts from 0.
pub(crate) fn timer(function: &Function, tick: Tick, retry_count: u32) -> String {
    let now = Timestamp::now();
    let yesterday = now - SignedDuration::from_hours(24);
    let never = "0001-01-01T00:00:00+00:00".to_owned();
    let status = match tick {
        Tick::Scheduled | Tick::ManualRun => {
            Some((fractional(yesterday), whole(now), fractional(yesterday)))
        }
        // The tick that was missed is the one that stood in `Next`.
        Tick::PastDue => {
            let missed = whole(now - SignedDuration::from_hours(1));
            Some((fractional(yesterday), missed, fractional(yesterday)))
        }
        Tick::First => Some((never.clone(), whole(now), never)),
        Tick::FirstInZone => {
            let never = "0001-01-01T00:00:00-04:57".to_owned();
            let local = now - SignedDuration::from_hours(5);
            let next = local.strftime("%Y-%m-%dT%H:%M:%S-05:00").to_string();
            Some((never.clone(), next, never))
        }
        Tick::WithoutStatus => None,
    };
    let status = status.map_or("null".to_owned(), |(last, next, last_updated)| {
        format!(r#"{{"Last":"{last}","Next":"{next}","LastUpdated":"{last_updated}"}}"#)
    });
    let past_due = tick == Tick::PastDue;
    let retry = function.retries_max.map_or(String::new(), |retries_max| {
        format!(
            r#","RetryContext":{{"RetryCount":{retry_count},"MaxRetryCount":{retries_max},"Exception":null,"Instance":null,"State":{{}}}}"#
        )
    });
    format!(
        r#"{{"Data":{{"{}":{{"Schedule":{{"AdjustForDST":true}},"ScheduleStatus":{status},"IsPastDue":{past_due}}}}},"Metadata":{{{}{retry}}}}}"#,
        function.binding,
        sys(function),
    )
}

/// The body for a queue message under `dataType` `binary`: base64 in `Data`, JSON inside strings in `Metadata`.
pub(crate) fn queue(function: &Function, content: &[u8], facts: &QueueFacts<'_>) -> String {
    let no_end = "9999-12-31T23:59:59+00:00".to_owned();
    let now = Timestamp::now();
    let (expiration, insertion, next_visible, id, pop_receipt) = match facts.message {
        Some(message) => (
            http_date(&message.expiration_time),
            http_date(&message.insertion_time),
            whole(now + SignedDuration::from_mins(10)),
            format!(r#""Id":{},"#, json_in_string(&message.id)),
            format!(r#""PopReceipt":{},"#, json_in_string(&message.pop_receipt)),
        ),
        None => (
            no_end.clone(),
            whole(now),
            no_end,
            String::new(),
            String::new(),
        ),
    };
    format!(
        r#"{{"Data":{{"{}":"{}"}},"Metadata":{{"DequeueCount":"{}","ExpirationTime":"{expiration}",{id}"InsertionTime":"{insertion}","NextVisibleTime":"{next_visible}",{pop_receipt}{}}}}}"#,
        function.binding,
        azure_core::base64::encode(content),
        facts.dequeue_count,
        sys(function),
    )
}

/// A GUID as .NET writes it: lower case, with dashes.
pub(crate) fn guid() -> String {
    let digits = format!("{:032x}", fastrand::u128(..));
    let (a, b, c, d) = (
        &digits[..8],
        &digits[8..12],
        &digits[13..16],
        &digits[17..20],
    );
    format!("{a}-{b}-4{c}-a{d}-{}", &digits[20..])
}

/// The member `sys`, which is always there.
fn sys(function: &Function) -> String {
    format!(
        r#""sys":{{"MethodName":"{}","UtcNow":"{}","RandGuid":"{}"}}"#,
        function.name,
        Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%7fZ"),
        guid(),
    )
}

/// A string whose content is the JSON text of a string.
fn json_in_string(text: &str) -> String {
    let json = serde_json::to_string(text).unwrap();
    serde_json::to_string(&json).unwrap()
}

fn whole(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

fn fractional(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%7f+00:00").to_string()
}

fn http_date(text: &str) -> String {
    let time = rfc2822::DateTimeParser::new().parse_timestamp(text);
    whole(time.unwrap_or_else(|error| panic!("`{text}` is not an HTTP date: {error}")))
}
