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

/// Who calls: for the log.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) invocation_id: Option<String>,
    /// The trace of the host's `traceparent`, under which Application Insights has the invocation.
    pub(super) trace_id: Option<String>,
}

impl Caller {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let header = |name: &str| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        // `00-<trace id>-<parent id>-<flags>`
        let trace_id =
            header("traceparent").and_then(|parent| parent.split('-').nth(1).map(str::to_owned));
        Self {
            invocation_id: header("x-azure-functions-invocationid"),
            trace_id,
        }
    }
}

/// Success, with a line for the function's own log.
pub(super) struct Answer(pub(super) String);

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        Json(json!({ "Outputs": {}, "Logs": [self.0], "ReturnValue": null })).into_response()
    }
}

/// The readiness probe: answered at once, whatever else goes on.
pub(super) fn ready() -> Response {
    Json(json!({ "status": "ready", "version": env!("CARGO_PKG_VERSION") })).into_response()
}

pub(super) fn error(status: StatusCode, message: &str, correlation_id: Option<&str>) -> Response {
    (
        status,
        Json(json!({ "error": message, "correlation_id": correlation_id })),
    )
        .into_response()
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
