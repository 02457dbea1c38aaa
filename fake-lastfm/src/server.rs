//! The core behind real HTTP, on a thread of its own, so that programs without a runtime can use it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::header::{CONTENT_LENGTH, USER_AGENT};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures::stream;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use crate::answer::{Answer, Delivery};
use crate::connection::{Breaker, Listener};
use crate::lastfm::LastFm;

/// A running fake. Stops, and drops its open connections, when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    lastfm: Mutex<LastFm>,
    /// Rung after every request and every change.
    changed: Condvar,
    /// The same for those who wait without blocking: how many requests came so far.
    requests: watch::Sender<usize>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, LastFm> {
        // A test that panicked while it held the lock has already failed; others may go on looking.
        self.lastfm.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// Serves on a free port of 127.0.0.1.
    pub fn start(lastfm: LastFm) -> io::Result<Self> {
        Self::start_on(lastfm, 0)
    }

    /// Serves on this port of 127.0.0.1; 0 means any free port.
    pub fn start_on(lastfm: LastFm, port: u16) -> io::Result<Self> {
        // Bound here and not on the thread, so that clients may connect as soon as this returns.
        let listener = StdListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let shared = Arc::new(Shared {
            lastfm: Mutex::new(lastfm),
            changed: Condvar::new(),
            requests: watch::Sender::new(0),
        });
        let router = Router::new()
            .route("/2.0/", get(respond))
            .route("/2.0", get(respond))
            .with_state(Arc::clone(&shared))
            .into_make_service_with_connect_info::<Breaker>();
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = async move {
            // Fails only without a runtime or for a blocking socket; neither is the case.
            let Ok(listener) = TcpListener::from_std(listener) else {
                return;
            };
            tokio::select! {
                _ = axum::serve(Listener(listener), router) => {}
                _ = stopped => {}
            }
        };
        let thread = std::thread::Builder::new()
            .name("fake-lastfm".to_owned())
            .spawn(move || runtime.block_on(serve))?;
        Ok(Self {
            address,
            shared,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// `http://127.0.0.1:PORT/2.0/`.
    pub fn url(&self) -> String {
        format!("http://{}/2.0/", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Looks at the core or changes it while no request is being answered. Must not wait for a request.
    pub fn with<R>(&self, action: impl FnOnce(&mut LastFm) -> R) -> R {
        let result = action(&mut self.shared.lock());
        self.shared.changed.notify_all();
        result
    }

    /// Blocks until the condition holds; false when it does not in time. Looked at after each request and change.
    pub fn wait_until(
        &self,
        timeout: Duration,
        mut condition: impl FnMut(&LastFm) -> bool,
    ) -> bool {
        let lastfm = self.shared.lock();
        let (lastfm, _) = self
            .shared
            .changed
            .wait_timeout_while(lastfm, timeout, |lastfm| !condition(lastfm))
            .unwrap_or_else(PoisonError::into_inner);
        condition(&lastfm)
    }

    /// Blocks until so many requests came since the start; false when they do not in time.
    pub fn wait_until_requests(&self, requests: usize, timeout: Duration) -> bool {
        self.wait_until(timeout, |lastfm| lastfm.log.total() >= requests)
    }

    /// Waits, in any runtime, until so many requests came since the start. Has no time limit of its own.
    pub async fn requests_reached(&self, requests: usize) {
        // The sender lives as long as `self`, so this cannot fail.
        let mut count = self.shared.requests.subscribe();
        let _ = count.wait_for(|count| *count >= requests).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the server thread has shown itself to the client as a broken connection.
            let _ = thread.join();
        }
    }
}

/// One request over HTTP.
async fn respond(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(breaker): ConnectInfo<Breaker>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let user_agent = headers
        .get(USER_AGENT)
        .and_then(|value| value.to_str().ok());
    let (answer, requests) = {
        let mut lastfm = shared.lock();
        let answer = lastfm.answer(uri.query().unwrap_or_default(), user_agent, now_ms());
        (answer, lastfm.log.total())
    };
    shared.changed.notify_all();
    shared.requests.send_replace(requests);
    deliver(answer, breaker).await
}

/// Does with the answer what it says.
async fn deliver(answer: Answer, breaker: Breaker) -> Response {
    let whole = answer.body.clone();
    let body = match answer.delivery {
        Delivery::Whole => Body::from(whole),
        Delivery::Delayed(delay) => {
            tokio::time::sleep(delay).await;
            Body::from(whole)
        }
        Delivery::CutAfter(bytes) => cut_body(whole.slice(..bytes.min(whole.len())), breaker),
        Delivery::Reset => {
            breaker.reset();
            Body::empty()
        }
        Delivery::Never => std::future::pending().await,
    };
    let mut builder = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        builder = builder.header(name, value);
    }
    builder
        // The promise of a whole body is what makes a cut one detectable.
        .header(CONTENT_LENGTH, answer.body.len())
        .body(body)
        .unwrap_or_else(|error| {
            (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
        })
}

/// A body that sends these bytes and then breaks its connection.
fn cut_body(start: Bytes, breaker: Breaker) -> Body {
    let chunks = stream::unfold(Some(start), move |start| {
        let breaker = breaker.clone();
        async move {
            if let Some(start) = start {
                return Some((Ok(start), None));
            }
            // hyper writes what it has when the body has nothing more to offer, so pause once before the break.
            tokio::task::yield_now().await;
            breaker.reset();
            Some((Err(io::Error::from(io::ErrorKind::ConnectionReset)), None))
        }
    });
    Body::from_stream(chunks)
}

/// The only clock of the crate; the core gets its time from outside.
#[expect(
    clippy::disallowed_methods,
    reason = "the fake is a server of its own and does not share the program's clock"
)]
fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |elapsed| {
            i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
        })
}
