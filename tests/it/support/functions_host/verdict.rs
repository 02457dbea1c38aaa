//! Judges an answer of the program exactly as the host does.

use reqwest::StatusCode;
use serde_json::{Map, Value};

/// An answer as it came over the wire.
#[derive(Clone, Debug)]
pub(crate) struct RawAnswer {
    /// The status.
    pub(crate) status: StatusCode,
    /// `Content-Type`, if there was one.
    pub(crate) content_type: Option<String>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// What the host makes of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// The invocation succeeded.
    Success(Answer),
    /// The invocation failed, for this reason.
    Failure(String),
    /// The host would never complete the invocation, and kill the program at `functionTimeout`.
    Hang(String),
}

/// A good answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Answer {
    /// `Outputs`; of no effect without output bindings.
    pub(crate) outputs: Map<String, Value>,
    /// `Logs`, which the host writes after completion.
    pub(crate) logs: Vec<String>,
    /// `ReturnValue`.
    pub(crate) return_value: Value,
}

impl RawAnswer {
    /// The body as text, for messages.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Success, failure or hang: status, then content type, then body, as in the host.
    pub(crate) fn judge(&self) -> Verdict {
        if self.status.is_redirection() {
            return Verdict::Failure(format!(
                "{}: the host follows redirects, and a program must not rely on it",
                self.status
            ));
        }
        if !self.status.is_success() {
            let reason = format!(
                "Response status code does not indicate success: {}. Body: {}",
                self.status,
                self.text()
            );
            return Verdict::Failure(reason);
        }
        if self.body.is_empty() {
            return Verdict::Hang(format!("{} with an empty body", self.status));
        }
        if !self.is_json() {
            return Verdict::Failure(format!(
                "Invalid HttpResponseMessage: content type {:?}, body {}",
                self.content_type,
                self.text(),
            ));
        }
        match serde_json::from_slice(&self.body) {
            Ok(Value::Null) => Verdict::Hang("the body is `null`".to_owned()),
            Ok(Value::Object(members)) => match answer(members) {
                Ok(answer) => Verdict::Success(answer),
                Err(problem) => Verdict::Failure(format!(
                    "Invalid HttpResponseMessage: {problem} in {}",
                    self.text()
                )),
            },
            Ok(_) => Verdict::Failure(format!(
                "Invalid HttpResponseMessage: not an object: {}",
                self.text()
            )),
            Err(error) => Verdict::Failure(format!(
                "Invalid HttpResponseMessage: {error} in {}",
                self.text()
            )),
        }
    }

    fn is_json(&self) -> bool {
        let media_type = self
            .content_type
            .as_deref()
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default()
            .trim();
        media_type.eq_ignore_ascii_case("application/json")
            || media_type.eq_ignore_ascii_case("text/json")
    }
}

/// Reads the known members, whose names may have any case; others are ignored.
fn answer(members: Map<String, Value>) -> Result<Answer, String> {
    let mut answer = Answer::default();
    for (name, value) in members {
        match (name.to_ascii_lowercase().as_str(), value) {
            ("outputs", Value::Object(outputs)) => answer.outputs = outputs,
            ("outputs" | "logs", Value::Null) => {}
            ("outputs", _) => return Err("`Outputs` is not an object".to_owned()),
            ("logs", Value::Array(entries)) => answer.logs = log_lines(entries)?,
            ("logs", _) => return Err("`Logs` is not an array".to_owned()),
            ("returnvalue", value) => answer.return_value = value,
            _ => {}
        }
    }
    Ok(answer)
}

/// Numbers and booleans become text, null entries are harmless, anything with members is an error.
fn log_lines(entries: Vec<Value>) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    for entry in entries {
        match entry {
            Value::String(line) => lines.push(line),
            Value::Number(number) => lines.push(number.to_string()),
            Value::Bool(flag) => lines.push(flag.to_string()),
            Value::Null => {}
            Value::Array(_) | Value::Object(_) => {
                return Err("an entry of `Logs` is not a string".to_owned());
            }
        }
    }
    Ok(lines)
}
