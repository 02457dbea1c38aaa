//! A proxy in front of Azurite that sees what the program really does with its storage, and can get in the way.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use jiff::SignedDuration;
use jiff::fmt::rfc2822;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::azurite::{ACCOUNT, Azurite, connection_string};
use super::listing;
use super::tls::TlsListener;
use super::world::read_message;

/// One request that came by.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Path without the account.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: Bytes,
    /// The header of that name.
    pub(crate) authorization: String,
    /// What Azurite answered; none while it has not, or never will.
    pub(crate) status: Option<u16>,
}

/// How to get in the way.
#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    /// The request does not reach Azurite and gets no answer.
    Hold,
    /// Azurite carries the request out, and there is no answer.
    HoldAnswer,
    /// The request goes on when the gate is opened.
    Wait(Gate),
    /// Azurite carries the request out, and the answer says that it failed.
    LoseAnswer,
    /// The request does not reach Azurite; the answer has this status.
    Refuse(u16),
    /// The request does not reach Azurite; the answer is 403 with this code, in the service's form.
    Deny(&'static str),
}

/// Holds requests up until it is opened.
#[derive(Clone, Debug)]
pub(crate) struct Gate(watch::Sender<bool>);

/// Tells when a trouble has struck.
pub(crate) struct Strikes(watch::Receiver<usize>);

type Predicate = Box<dyn Fn(&Call) -> bool + Send>;

/// One kind of trouble, for the requests that match.
struct Rule {
    /// How often it still applies.
    times: usize,
    predicate: Predicate,
    trouble: Trouble,
    strikes: watch::Sender<usize>,
}

struct Shared {
    target: String,
    http: reqwest::Client,
    calls: watch::Sender<Vec<Call>>,
    rules: Mutex<Vec<Rule>>,
    /// How far the program's time runs ahead of everybody else's, in seconds.
    ahead_s: AtomicI64,
    /// The same, with a budget blob that is seen from there.
    budget_ahead_s: AtomicI64,
    /// How much older blobs look than they are, in seconds.
    older_s: AtomicI64,
}

/// A running proxy for one of Azurite's services; it lives as long as the test's runtime.
pub(crate) struct Proxy {
    endpoint: String,
    shared: Arc<Shared>,
}

impl Call {
    /// Whether it appends a block.
    pub(crate) fn is_append(&self) -> bool {
        self.method == Method::PUT && self.query.contains("comp=appendblock")
    }

    /// Whether it puts a message on this queue.
    pub(crate) fn is_message_to(&self, queue: &str) -> bool {
        self.method == Method::POST && self.path == format!("/{queue}/messages")
    }

    /// The message that it puts, and its delay in seconds.
    #[track_caller]
    pub(crate) fn message(&self) -> (Value, i64) {
        let xml = std::str::from_utf8(&self.body).unwrap();
        let (_, rest) = xml.split_once("<MessageText>").unwrap();
        let (text, _) = rest.split_once("</MessageText>").unwrap();
        let delay = self
            .query
            .split('&')
            .find_map(|pair| pair.strip_prefix("visibilitytimeout="));
        let delay = delay.map_or(0, |seconds| seconds.parse().unwrap());
        (read_message(text), delay)
    }
}

impl Proxy {
    /// In front of the queue service.
    pub(crate) async fn of_queues() -> Self {
        Self::of(&Azurite::start().queue_endpoint()).await
    }

    /// In front of the blob service.
    pub(crate) async fn of_blobs() -> Self {
        Self::of(&Azurite::start().blob_endpoint()).await
    }

    /// In front of any service, and over TLS if that one is.
    pub(crate) async fn of(target: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (scheme, _) = target.split_once(':').unwrap();
        let endpoint = format!("{scheme}://{}/{ACCOUNT}", listener.local_addr().unwrap());
        let http = crate::support::http::client()
            .pool_max_idle_per_host(0)
            .tls_danger_accept_invalid_certs(scheme == "https")
            .build()
            .unwrap();
        let shared = Arc::new(Shared {
            target: target.to_owned(),
            http,
            calls: watch::Sender::new(Vec::new()),
            rules: Mutex::default(),
            ahead_s: AtomicI64::new(0),
            budget_ahead_s: AtomicI64::new(0),
            older_s: AtomicI64::new(0),
        });
        let router = Router::new()
            .fallback(forward)
            .with_state(Arc::clone(&shared));
        if scheme == "https" {
            let listener = TlsListener::new(listener);
            tokio::spawn(async move { axum::serve(listener, router).await });
        } else {
            tokio::spawn(async move { axum::serve(listener, router).await });
        }
        Self { endpoint, shared }
    }

    /// Its address, with the account and no final slash.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A connection string with the account's key; each service directly or through a proxy.
    pub(crate) fn connection_string(blobs: Option<&Self>, queues: Option<&Self>) -> String {
        let azurite = Azurite::start();
        let blob = blobs.map_or_else(|| azurite.blob_endpoint(), |proxy| proxy.endpoint.clone());
        let queue = queues.map_or_else(|| azurite.queue_endpoint(), |proxy| proxy.endpoint.clone());
        connection_string(&blob, &queue)
    }

    /// Gets in the way of the next `times` requests that match.
    pub(crate) fn trouble(
        &self,
        times: usize,
        predicate: impl Fn(&Call) -> bool + Send + 'static,
        trouble: Trouble,
    ) -> Strikes {
        let (strikes, struck) = watch::channel(0);
        self.shared.rules.lock().unwrap().push(Rule {
            times,
            predicate: Box::new(predicate),
            trouble,
            strikes,
        });
        Strikes(struck)
    }

    /// Gets in the way no more.
    pub(crate) fn calm(&self) {
        self.shared.rules.lock().unwrap().clear();
    }

    /// From now on the service's clock runs so many seconds ahead (or, when negative, behind), for the program alone.
    pub(crate) fn date_runs_ahead(&self, seconds: i64) {
        self.shared.ahead_s.store(seconds, Ordering::SeqCst);
    }

    /// Puts the program into another time: what it reads and writes is moved by so many seconds. To it, its own clock is wrong by
    /// as much; to everybody else it has the same clock and the right storage.
    pub(crate) fn time_runs_ahead(&self, seconds: i64) {
        self.date_runs_ahead(seconds);
        self.shared.budget_ahead_s.store(seconds, Ordering::SeqCst);
    }

    /// From now on every listing says that blobs were last changed so many seconds before they were.
    pub(crate) fn blobs_look_older(&self, seconds: i64) {
        self.shared.older_s.store(seconds, Ordering::SeqCst);
    }

    /// Everything that came by so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.shared.calls.borrow().clone()
    }

    /// The requests so far that match.
    pub(crate) fn calls_where(&self, predicate: impl Fn(&Call) -> bool) -> Vec<Call> {
        let mut calls = self.calls();
        calls.retain(predicate);
        calls
    }

    /// The messages that the service took for this queue so far, each with its delay in seconds.
    #[track_caller]
    pub(crate) fn messages_to(&self, queue: &str) -> Vec<(Value, i64)> {
        let calls = self.calls_where(|call| call.is_message_to(queue) && call.status == Some(201));
        calls.iter().map(Call::message).collect()
    }

    /// Waits until a request that matches has come.
    pub(crate) async fn seen(&self, predicate: impl Fn(&Call) -> bool) {
        let mut calls = self.shared.calls.subscribe();
        calls
            .wait_for(|calls| calls.iter().any(&predicate))
            .await
            .unwrap();
    }
}

impl Shared {
    fn trouble_for(&self, call: &Call) -> Option<(Trouble, watch::Sender<usize>)> {
        let mut rules = self.rules.lock().unwrap();
        let rule = rules
            .iter_mut()
            .find(|rule| rule.times > 0 && (rule.predicate)(call))?;
        rule.times -= 1;
        Some((rule.trouble.clone(), rule.strikes.clone()))
    }

    /// The budget blob as it is so many seconds away.
    fn moved(&self, body: Bytes, path: &str, direction: i64) -> Bytes {
        let seconds = direction * self.budget_ahead_s.load(Ordering::SeqCst);
        if seconds == 0 || !path.ends_with("/budget.json") {
            return body;
        }
        let Ok(mut budget) = serde_json::from_slice::<Value>(&body) else {
            return body;
        };
        let free_at_ms = budget["free_at_ms"].as_i64().unwrap();
        budget["free_at_ms"] = (free_at_ms + seconds * 1_000).into();
        Bytes::from(budget.to_string())
    }

    fn move_date(&self, headers: &mut HeaderMap) {
        let seconds = self.ahead_s.load(Ordering::SeqCst);
        let Some(date) = headers.get_mut("date") else {
            return;
        };
        let time = rfc2822::DateTimeParser::new().parse_timestamp(date.to_str().unwrap());
        let time = time.unwrap() + SignedDuration::from_secs(seconds);
        *date = listing::http_date(time).parse().unwrap();
    }
}

impl Gate {
    pub(crate) fn closed() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    async fn pass(&self) {
        self.0.subscribe().wait_for(|open| *open).await.unwrap();
    }
}

impl Strikes {
    /// Waits until the trouble has struck for the first time: when the request is there, or, where it is carried out, after that.
    pub(crate) async fn first(mut self) {
        if self.0.wait_for(|strikes| *strikes > 0).await.is_err() {
            // The rule is gone, and with it everything that could strike.
            std::future::pending::<()>().await;
        }
    }
}

async fn forward(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path().strip_prefix(&format!("/{ACCOUNT}")).unwrap();
    let call = Call {
        method: method.clone(),
        path: path.to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        body: body.clone(),
        authorization: headers
            .get("authorization")
            .map(|value| value.to_str().unwrap().to_owned())
            .unwrap_or_default(),
        status: None,
    };
    let trouble = shared.trouble_for(&call);
    let query = call.query.clone();
    let mut index = 0;
    shared.calls.send_modify(|calls| {
        index = calls.len();
        calls.push(call);
    });
    let (trouble, strikes) = trouble.unzip();
    let struck = || {
        if let Some(strikes) = &strikes {
            strikes.send_modify(|strikes| *strikes += 1);
        }
    };
    match &trouble {
        Some(Trouble::Hold) => {
            struck();
            std::future::pending::<()>().await;
        }
        Some(Trouble::Refuse(status)) => {
            struck();
            return StatusCode::from_u16(*status).unwrap().into_response();
        }
        Some(Trouble::Deny(code)) => {
            struck();
            return denied(code);
        }
        Some(Trouble::Wait(gate)) => {
            struck();
            gate.pass().await;
        }
        Some(Trouble::HoldAnswer | Trouble::LoseAnswer) | None => {}
    }
    let url = format!("{}{path}?{query}", shared.target);
    let mut headers = headers;
    headers.remove("host");
    let body = shared.moved(body, path, -1);
    let request = shared.http.request(method, url).headers(headers).body(body);
    let answer = request.send().await.unwrap();
    let status = answer.status();
    shared
        .calls
        .send_modify(|calls| calls[index].status = Some(status.as_u16()));
    match trouble {
        Some(Trouble::HoldAnswer) => {
            struck();
            std::future::pending::<()>().await;
        }
        Some(Trouble::LoseAnswer) => {
            struck();
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        _ => {}
    }
    let mut headers = answer.headers().clone();
    headers.remove("transfer-encoding");
    headers.remove("connection");
    shared.move_date(&mut headers);
    let body = shared.moved(answer.bytes().await.unwrap(), path, 1);
    let body = listing::aged(body, &query, shared.older_s.load(Ordering::SeqCst));
    (status, headers, Body::from(body)).into_response()
}

/// A refusal as the service writes it.
fn denied(code: &'static str) -> Response {
    let message = "This request is not authorized to perform this operation.";
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    let headers = [
        ("content-type", "application/xml"),
        ("x-ms-error-code", code),
    ];
    (StatusCode::FORBIDDEN, headers, body).into_response()
}
