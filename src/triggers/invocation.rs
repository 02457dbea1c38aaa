//! The Functions host's envelope: what it posts, and what it takes for success.
//!
//! Written from the host's source. The two rules that hang or kill a handler: an answer is never empty (not even
//! for 204), and only 2xx with a JSON object is success.

use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use azure_core::base64;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The body of `POST /<FunctionName>`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Invocation {
    /// One value for each binding; both functions have one, the trigger.
    data: Map<String, Value>,
    #[serde(default)]
    metadata: Map<String, Value>,
}

impl Invocation {
    pub(super) fn parse(body: &[u8]) -> Result<Self, String> {
        // By way of a map: a struct would be read from an array as well.
        let object: Map<String, Value> =
            serde_json::from_slice(body).map_err(|error| error.to_string())?;
        serde_json::from_value(Value::Object(object)).map_err(|error| error.to_string())
    }

    /// The bytes of the queue message. `"dataType": "binary"` makes the host send them as base64, once.
    pub(super) fn message(&self) -> anyhow::Result<Vec<u8>> {
        let mut values = self.data.values();
        let (Some(Value::String(text)), None) = (values.next(), values.next()) else {
            anyhow::bail!("the invocation has not exactly one text in `Data`");
        };
        base64::decode(text).map_err(|_| {
            anyhow::anyhow!(
                "the queue message is not base64: the queue trigger in `function.json` needs `\"dataType\": \"binary\"`"
            )
        })
    }

    /// How often the queue has delivered this message; 0 for a manual run.
    pub(super) fn dequeue_count(&self) -> u64 {
        // The host sends scalars as JSON in a string.
        match self.metadata.get("DequeueCount") {
            Some(Value::String(digits)) => digits.parse().unwrap_or(0),
            Some(number) => number.as_u64().unwrap_or(0),
            None => 0,
        }
    }

    /// The service's id of the message; nothing for a manual run.
    pub(super) fn message_id(&self) -> Option<String> {
        let text = self.metadata.get("Id")?.as_str()?;
        // A string within a string.
        Some(serde_json::from_str(text).unwrap_or_else(|_| text.to_owned()))
    }
}

/// Who calls: for the log, and for a caller that wants to find its line there.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) invocation_id: Option<String>,
    /// The trace of the host's `traceparent`, under which Application Insights has the invocation; without a good one
    /// a trace of its own. It is the correlation id of an error's answer.
    pub(super) trace_id: String,
}

impl Caller {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let trace_id = header("traceparent").and_then(trace_id).map(str::to_owned);
        Self {
            invocation_id: header("x-azure-functions-invocationid").map(str::to_owned),
            trace_id: trace_id.unwrap_or_else(|| format!("{:032x}", fastrand::u128(1..))),
        }
    }
}

/// The trace id of `00-<trace id>-<parent id>-<flags>`, and nothing that only looks like one: it goes back to the caller.
/// <https://www.w3.org/TR/trace-context/#traceparent-header>
fn trace_id(traceparent: &str) -> Option<&str> {
    let trace_id = traceparent.split('-').nth(1)?;
    let is_id = trace_id.len() == 32
        && trace_id
            .bytes()
            .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
        && trace_id.bytes().any(|digit| digit != b'0');
    is_id.then_some(trace_id)
}

/// Success, with a line for the function's own log.
pub(super) struct Answer(pub(super) String);

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        Json(json!({ "Outputs": {}, "Logs": [self.0], "ReturnValue": null })).into_response()
    }
}

/// A failure on purpose: the process is told to end, and another one shall do the work.
#[derive(Debug, thiserror::Error)]
#[error("the process is about to end")]
pub(super) struct Interrupted;

/// The readiness probe: answered at once, whatever else goes on.
pub(super) fn ready() -> Response {
    Json(json!({ "status": "ready", "version": env!("CARGO_PKG_VERSION") })).into_response()
}

/// Failure: what anybody may know, and the id under which the log has the rest.
pub(super) fn error(status: StatusCode, message: &str, caller: &Caller) -> Response {
    let body = json!({ "error": message, "correlation_id": caller.trace_id });
    (status, Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch_pages::FetchPages;
    use crate::properties::seeds::check_seeds;

    #[test]
    fn a_binary_queue_message_is_unwrapped() {
        let body = br#"{"Data":{"item":"eyJ1c2VyIjoicmoifQ=="},"Metadata":{"DequeueCount":"2","Id":"\"m-1\"","sys":{}}}"#;
        let invocation = Invocation::parse(body).unwrap();
        assert_eq!(invocation.message().unwrap(), br#"{"user":"rj"}"#);
        assert_eq!(
            (
                invocation.dequeue_count(),
                invocation.message_id().as_deref()
            ),
            (2, Some("m-1"))
        );
    }

    #[test]
    fn a_trace_id_is_taken_from_a_good_traceparent_only() {
        let of = |traceparent: &[u8]| {
            let mut headers = HeaderMap::new();
            let value = axum::http::HeaderValue::from_bytes(traceparent).unwrap();
            headers.insert("traceparent", value);
            Caller::of(&headers).trace_id
        };
        let good = "0af7651916cd43dd8448eb211c80319c";
        assert_eq!(
            of(format!("00-{good}-b7ad6b7169203331-01").as_bytes()),
            good
        );
        // A later version may have more members.
        assert_eq!(
            of(format!("cc-{good}-b7ad6b7169203331-01-x").as_bytes()),
            good
        );
        let bad = [
            "",
            "00",
            "00-<script>-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319cc-b7ad6b7169203331-01",
        ];
        let own: std::collections::BTreeSet<String> = bad
            .iter()
            .map(|traceparent| of(traceparent.as_bytes()))
            .chain([
                of(b"00-\xff-b7ad6b7169203331-01"),
                Caller::of(&HeaderMap::new()).trace_id,
            ])
            .collect();
        assert_eq!(own.len(), bad.len() + 2, "each has its own: {own:?}");
        assert!(
            own.iter()
                .all(|id| trace_id(&format!("00-{id}-")).is_some())
        );
    }

    #[test]
    fn a_manual_run_has_neither_id_nor_count() {
        let invocation =
            Invocation::parse(br#"{"Data":{"item":""},"Metadata":{"DequeueCount":"0"}}"#).unwrap();
        assert_eq!(
            (invocation.dequeue_count(), invocation.message_id()),
            (0, None)
        );
        assert_eq!(invocation.message().unwrap(), b"");
    }

    #[test]
    fn a_text_binding_is_told_what_is_wrong_with_it() {
        let body = br#"{"Data":{"item":"\"{\\\"user\\\":\\\"rj\\\"}\""},"Metadata":{}}"#;
        let error = Invocation::parse(body)
            .unwrap()
            .message()
            .unwrap_err()
            .to_string();
        assert!(error.contains("\"dataType\": \"binary\""), "{error}");
    }

    #[test]
    fn the_seeds_of_the_fuzz_target_are_what_their_names_say() {
        check_seeds("invocation", |seed| {
            let message = Invocation::parse(seed)
                .and_then(|invocation| invocation.message().map_err(|error| error.to_string()));
            message.is_ok_and(|message| FetchPages::parse(&message).is_ok())
        });
    }
}
