//! The functions, as the Functions host sees them: one route each, named like its folder in `function-triggers/`.

mod enqueue_users;
mod fetch_pages;
mod invocation;

use crate::environment::Environment;
use crate::queue::WorkQueue;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::StreamExt;
use invocation::{Answer, Caller, Invocation};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::SetOnce;

/// Largest body that is kept. A message has 64 KiB; with the host's escaping and metadata it stays well below 1 MB.
const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// How much of a larger body is still read, so that its sender hears the answer. No host sends more than 100 MB.
const DRAINED_BYTES_MAX: usize = 100 * 1024 * 1024;

/// After this long an invocation is given up, which is as safe as a crash. At `functionTimeout` (two minutes) the
/// host kills the whole process, and every other invocation in flight with it.
const INVOCATION_TIME_MAX: Duration = Duration::from_secs(105);

/// What both functions work with.
pub struct App {
    /// Archive, budget, Last.fm.
    pub environment: Environment,
    /// The queue that one function fills and the other empties.
    pub queue: WorkQueue,
}

/// The routes. Every answer is a JSON object: an empty one would make the host wait until it kills the process.
///
/// The app may come later than the first request: the readiness probe does not need it, invocations wait for it.
pub fn router(app: Arc<SetOnce<App>>) -> Router {
    Router::new()
        .route("/", get(async || invocation::ready()))
        .route("/enqueue_users", post(enqueue_users))
        .route("/fetch_pages", post(fetch_pages))
        .fallback(async || invocation::error(StatusCode::NOT_FOUND, "no such function", None))
        .method_not_allowed_fallback(async || {
            invocation::error(
                StatusCode::METHOD_NOT_ALLOWED,
                "a function is invoked by POST",
                None,
            )
        })
        .with_state(app)
}

/// What the routes share.
type Shared = State<Arc<SetOnce<App>>>;

async fn enqueue_users(State(app): Shared, headers: HeaderMap, body: Body) -> Response {
    respond(&headers, body, |_, caller| async move {
        enqueue_users::run(app.wait().await, caller).await
    })
    .await
}

async fn fetch_pages(State(app): Shared, headers: HeaderMap, body: Body) -> Response {
    let run = |invocation, caller| async move {
        fetch_pages::run(app.wait().await, invocation, caller).await
    };
    respond(&headers, body, run).await
}

/// Runs an invocation as a task of its own: a caller that hangs up, or a panic, does not tear the work in the middle
/// of an append. The caller learns a correlation id and nothing about the inside; the log has the rest under that id.
async fn respond<F>(
    headers: &HeaderMap,
    body: Body,
    run: impl FnOnce(Invocation, Caller) -> F,
) -> Response
where
    F: Future<Output = anyhow::Result<Answer>> + Send + 'static,
{
    let caller = Caller::of(headers);
    let trace_id = caller.trace_id.clone();
    let invocation = read(body).await.and_then(|body| Invocation::parse(&body));
    let invocation = match invocation {
        Ok(invocation) => invocation,
        Err(reason) => {
            tracing::error!(
                reason,
                invocation_id = caller.invocation_id,
                trace_id,
                "this is no invocation"
            );
            return invocation::error(
                StatusCode::BAD_REQUEST,
                "the body is no invocation",
                trace_id.as_deref(),
            );
        }
    };
    let invocation_id = caller.invocation_id.clone();
    let work = tokio::spawn(tokio::time::timeout(
        INVOCATION_TIME_MAX,
        run(invocation, caller),
    ));
    let failure = match work.await {
        Ok(Ok(Ok(answer))) => return answer.into_response(),
        Ok(Ok(Err(error))) => format!("{error:#}"),
        Ok(Err(_)) => format!("it took longer than {} s", INVOCATION_TIME_MAX.as_secs()),
        Err(panic) => format!("it panicked: {panic}"),
    };
    tracing::error!(
        error = failure,
        invocation_id,
        trace_id,
        "an invocation failed; the host will try again"
    );
    invocation::error(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the invocation failed",
        trace_id.as_deref(),
    )
}

async fn read(body: Body) -> Result<Vec<u8>, String> {
    let (mut kept, mut drained) = (Vec::new(), 0);
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| format!("the body breaks off: {error}"))?;
        drained += chunk.len();
        if drained <= BODY_BYTES_MAX {
            kept.extend_from_slice(&chunk);
        } else if drained > DRAINED_BYTES_MAX {
            break;
        }
    }
    if drained > BODY_BYTES_MAX {
        Err(format!("a body of more than {BODY_BYTES_MAX} bytes"))
    } else {
        Ok(kept)
    }
}
