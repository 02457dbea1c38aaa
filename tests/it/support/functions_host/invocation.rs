//! One call of the program: the host's request, and what the host makes of the answer.

use std::time::Duration;

use futures::stream;

use super::verdict::{Answer, RawAnswer, Verdict};
use super::{Function, FunctionsHost, payload};
use crate::support::world::now_ms;

/// The version that the double claims to be.
const HOST_VERSION: &str = "4.1052.200.26308";
/// How long after a broken connection the end of the program may take to be noticed.
const CRASH_LIMIT: Duration = Duration::from_millis(500);

/// One invocation and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    /// What was called and sent, for messages.
    pub(crate) what: String,
    /// When it was sent, in milliseconds since the epoch.
    pub(crate) sent_ms: i64,
    /// The answer; none when the connection broke.
    pub(crate) answer: Option<RawAnswer>,
    /// What the host makes of it; never a hang, which fails the test instead.
    pub(crate) verdict: Verdict,
}

impl FunctionsHost {
    /// Posts the body, judges the answer, and fails the test for an answer that would hang the host.
    pub(super) async fn invoke(&self, function: &Function, body: String) -> Invocation {
        let id = payload::guid();
        let what = format!("POST /{} (invocation {id}) with {body}", function.name);
        let sent_ms = now_ms();
        let (answer, verdict) = match self.send(&function.name, body, &id).await {
            Ok(answer) => (Some(answer.clone()), answer.judge()),
            Err(problem) => {
                let reason = self.broken_connection(&problem).await;
                (None, Verdict::Failure(reason))
            }
        };
        if let Verdict::Hang(problem) = &verdict {
            panic!(
                "{what}\nwould hang the Functions host until `functionTimeout`, which then kills the program: {problem}. Answer a JSON object, `{{}}` at least."
            );
        }
        Invocation {
            what,
            sent_ms,
            answer,
            verdict,
        }
    }

    /// Says whether the program ended with the connection, and its last words, which the host logs too.
    async fn broken_connection(&self, problem: &str) -> String {
        match self.process.wait(CRASH_LIMIT).await {
            Some(status) => {
                let stderr = self.stderr();
                let last_words = &stderr[stderr.len().saturating_sub(3)..];
                format!(
                    "{problem}; the program ended ({status}): {}",
                    last_words.join(" | ")
                )
            }
            None => format!("{problem}; the program still runs"),
        }
    }

    /// Posts the body with the host's headers. An error is a broken connection; no answer in time fails the test.
    pub(super) async fn send(
        &self,
        path: &str,
        body: String,
        invocation_id: &str,
    ) -> Result<RawAnswer, String> {
        let url = format!("{}/{}", self.address(), path.trim_start_matches('/'));
        // A stream has no known length, so the body goes out in chunks, as the host's does.
        let chunks = stream::once(async move { Ok::<_, std::io::Error>(body) });
        let request = self
            .process
            .http
            .post(url)
            .header("content-type", "application/json; charset=utf-8")
            .header("user-agent", format!("Azure-Functions-Host/{HOST_VERSION}"))
            .header("x-azure-functions-hostversion", HOST_VERSION)
            .header("x-azure-functions-invocationid", invocation_id)
            .header(
                "traceparent",
                format!(
                    "00-{:032x}-{:016x}-00",
                    fastrand::u128(1..),
                    fastrand::u64(1..)
                ),
            )
            .timeout(self.app.function_timeout)
            .body(reqwest::Body::wrap_stream(chunks));
        let failed = |error: reqwest::Error| {
            assert!(
                !error.is_timeout(),
                "POST /{path}: no answer within `functionTimeout` ({:?}), so the host would kill the program\n{}",
                self.app.function_timeout,
                self.output.text(),
            );
            format!("the connection broke: {error:?}")
        };
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let content_type = response.headers().get("content-type");
        let content_type =
            content_type.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let headers = format!("{:?}", response.headers());
        let body = response.bytes().await.map_err(failed)?.to_vec();
        let text = format!("{status} {headers} {}", String::from_utf8_lossy(&body));
        self.exchanged.lock().unwrap().push(("answer", text));
        Ok(RawAnswer {
            status,
            content_type,
            body,
        })
    }
}

impl Invocation {
    /// Whether the host counts it as a success.
    pub(crate) fn is_success(&self) -> bool {
        matches!(self.verdict, Verdict::Success(_))
    }

    /// The good answer; fails the test if there is none.
    #[track_caller]
    pub(crate) fn expect_success(&self) -> &Answer {
        match &self.verdict {
            Verdict::Success(answer) => answer,
            other => panic!("{}\nended in {other:?}", self.what),
        }
    }

    /// The reason of the failure; fails the test if it was a success.
    #[track_caller]
    pub(crate) fn expect_failure(&self) -> &str {
        match &self.verdict {
            Verdict::Failure(reason) => reason,
            other => panic!("{}\nended in {other:?}", self.what),
        }
    }
}
