//! The functions, as the Functions host sees them: one route each, named like its folder in `function-triggers/`.

mod enqueue_users;
mod fetch_pages;
mod invocation;
mod milestone;
mod poison;
mod reconcile_user;
mod reconcile_users;
mod timer;

use crate::environment::Environment;
use crate::queue::WorkQueue;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::StreamExt;
use invocation::{Answer, Caller, Interrupted, Invocation};
use milestone::{Milestone, milestone};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::SetOnce;
use tokio::task::JoinError;
use tokio::time::error::Elapsed;
use tracing::Instrument;

/// Largest body that is kept. A message has 64 KiB; with the host's escaping and metadata it stays well below 1 MB.
const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// How much of a larger body is still read, so that its sender hears the answer. No host sends more than 100 MB.
const DRAINED_BYTES_MAX: usize = 100 * 1024 * 1024;

/// After this long an invocation is given up, which is as safe as a crash. At `functionTimeout` (two minutes) the
/// host kills the whole process, and every other invocation in flight with it.
const INVOCATION_TIME_MAX: Duration = Duration::from_secs(105);

/// What the functions work with.
pub struct App {
    /// Archive, budget, Last.fm.
    pub environment: Environment,
    /// The queue of work items, that `enqueue_users` fills and `fetch_pages` empties.
    pub queue: WorkQueue,
    /// The queue of reconciles, that `reconcile_users` fills and `reconcile_user` empties.
    pub reconciles: WorkQueue,
}

/// The routes. Every answer is a JSON object: an empty one would make the host wait until it kills the process.
///
/// The app may come later than the first request: the readiness probe does not need it, invocations wait for it.
pub fn router(app: Arc<SetOnce<App>>) -> Router {
    Router::new()
        .route("/", get(async || invocation::ready()))
        .route("/enqueue_users", post(enqueue_users))
        .route("/fetch_pages", post(fetch_pages))
        .route("/reconcile_users", post(reconcile_users))
        .route("/reconcile_user", post(reconcile_user))
        .fallback(no_function)
        .method_not_allowed_fallback(wrong_method)
        .with_state(app)
}

/// What the routes share.
type Shared = State<Arc<SetOnce<App>>>;

async fn enqueue_users(State(app): Shared, headers: HeaderMap, body: Body) -> Response {
    let run = |_, milestone: Arc<Milestone>| async move {
        enqueue_users::run(app.wait().await, &milestone).await
    };
    respond("enqueue_users", &headers, body, run).await
}

async fn fetch_pages(State(app): Shared, headers: HeaderMap, body: Body) -> Response {
    let run = |invocation, milestone: Arc<Milestone>| async move {
        fetch_pages::run(app.wait().await, invocation, &milestone).await
    };
    respond("fetch_pages", &headers, body, run).await
}

async fn reconcile_users(State(app): Shared, headers: HeaderMap, body: Body) -> Response {
    let run = |_, milestone: Arc<Milestone>| async move {
        reconcile_users::run(app.wait().await, &milestone).await
    };
    respond("reconcile_users", &headers, body, run).await
}

async fn reconcile_user(State(app): Shared, headers: HeaderMap, body: Body) -> Response {
    let run = |invocation, milestone: Arc<Milestone>| async move {
        reconcile_user::run(app.wait().await, invocation, &milestone).await
    };
    respond("reconcile_user", &headers, body, run).await
}

/// The host asks for nothing else, unless a folder has a function that this program does not know.
async fn no_function(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    refused(
        StatusCode::NOT_FOUND,
        "no such function",
        (method, uri, headers),
    )
}

async fn wrong_method(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let message = "a function is invoked by POST";
    refused(
        StatusCode::METHOD_NOT_ALLOWED,
        message,
        (method, uri, headers),
    )
}

fn refused(
    status: StatusCode,
    message: &'static str,
    (method, uri, headers): (Method, Uri, HeaderMap),
) -> Response {
    let caller = Caller::of(&headers);
    tracing::warn!(
        %method,
        path = shortened(uri.path()),
        invocation_id = caller.invocation_id,
        trace_id = caller.trace_id,
        "{message}"
    );
    invocation::error(status, message, &caller)
}

/// The beginning of what a stranger sent.
fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(200)]
}

/// Runs an invocation as a task of its own: a caller that hangs up, or a panic, does not tear the work in the middle
/// of an append. The caller learns a correlation id and nothing about the inside; the log has the rest under that id.
async fn respond<F>(
    function: &'static str,
    headers: &HeaderMap,
    body: Body,
    run: impl FnOnce(Invocation, Arc<Milestone>) -> F,
) -> Response
where
    F: Future<Output = anyhow::Result<Answer>> + Send + 'static,
{
    let milestone = Arc::new(Milestone::new(function, Caller::of(headers)));
    let invocation = read(body).await.and_then(|body| Invocation::parse(&body));
    let invocation = match invocation {
        Ok(invocation) => invocation,
        Err(reason) => {
            milestone!(error, &milestone, "this is no invocation", reason = reason);
            return invocation::error(
                StatusCode::BAD_REQUEST,
                "the body is no invocation",
                &milestone.caller,
            );
        }
    };
    // Every line from inside is found under the id, too.
    let span = tracing::error_span!("invocation", trace_id = milestone.caller.trace_id);
    let run = run(invocation, Arc::clone(&milestone)).instrument(span);
    let work = tokio::spawn(tokio::time::timeout(INVOCATION_TIME_MAX, run));
    // A task as well, so that the end is told even when nobody waits for the answer any more.
    let told = tokio::spawn({
        let milestone = Arc::clone(&milestone);
        async move { tell(work.await, &milestone) }
    });
    told.await.unwrap_or_else(|_| failed(&milestone))
}

/// The answer to an invocation; its failure is logged here, once.
fn tell(
    ended: Result<Result<anyhow::Result<Answer>, Elapsed>, JoinError>,
    milestone: &Milestone,
) -> Response {
    let failure = match ended {
        Ok(Ok(Ok(answer))) => return answer.into_response(),
        Ok(Ok(Err(error))) if error.is::<Interrupted>() => {
            milestone!(
                info,
                milestone,
                "work item interrupted; the host will try again",
            );
            return failed(milestone);
        }
        Ok(Ok(Err(error))) => format!("{error:#}"),
        Ok(Err(_)) => format!("it took longer than {} s", INVOCATION_TIME_MAX.as_secs()),
        Err(panic) => format!("it panicked: {panic}"),
    };
    milestone!(
        error,
        milestone,
        "an invocation failed; the host will try again",
        error = failure,
    );
    failed(milestone)
}

fn failed(milestone: &Milestone) -> Response {
    invocation::error(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the invocation failed",
        &milestone.caller,
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
