//! One worker's way out: the transport under the program, with everything that a network does.

use crate::blobs::{Call, Reply};
use crate::world::{Fate, Shared, lateness, lock};
use async_trait::async_trait;
use azure_core::Error;
use azure_core::error::ErrorKind;
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, Body, HttpClient, Request, StatusCode, Url};
use bytes::Bytes;
use fake_lastfm::Delivery;
use futures::AsyncReadExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::SetOnce;

/// How long the real transport waits for an answer.
const TIME_OUT: Duration = Duration::from_secs(30);

/// The transport of one incarnation of a worker.
pub(crate) struct Port {
    pub(crate) world: Shared,
    pub(crate) name: String,
    /// Set when the process is dead: none of its calls goes out or comes back any more.
    pub(crate) dead: Arc<SetOnce<()>>,
}

impl std::fmt::Debug for Port {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.name)
    }
}

#[async_trait]
impl HttpClient for Port {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        self.while_alive().await;
        let (fate, out_ms, back_ms) = {
            let mut world = lock(&self.world);
            world.calls += 1;
            let is_listing = request.url().path().ends_with("/scrobbles");
            world.witness.called(&self.name, is_listing);
            if request.url().port() == Some(8090) {
                let (now_ms, latency_ms) = (world.now_ms(), world.latency_ms_longest);
                world.witness.asked(&self.name, now_ms, latency_ms);
            }
            let fate = world.fate(request.url());
            let max = world.latency_ms_max;
            let (out_ms, back_ms) = (world.random.u64(0..=max) / 2, world.random.u64(0..=max) / 2);
            (fate, out_ms, back_ms)
        };
        let call = read(request).await;
        let what = in_words(&call, request.url());
        match fate {
            Fate::NoConnection => {
                lock(&self.world).say(&self.name, format!("{what} -> no connection"));
                return Err(Error::with_message(ErrorKind::Connection, "no connection"));
            }
            Fate::CrashBefore => {
                self.crash(&what, "before");
                return self.never().await;
            }
            Fate::RequestLost => {
                tokio::time::sleep(Duration::from_millis(back_ms)).await;
                lock(&self.world).say(&self.name, format!("{what} -> lost on the way there"));
                return Err(broken());
            }
            Fate::TimedOut(false) => {
                tokio::time::sleep(TIME_OUT).await;
                self.while_alive().await;
                lock(&self.world).say(&self.name, format!("{what} -> timed out"));
                return Err(broken());
            }
            Fate::CarriedOutLater(later_ms) | Fate::CrashAndLater(later_ms) => {
                self.later(call, request.url().clone(), what.clone(), later_ms);
                if matches!(fate, Fate::CrashAndLater(_)) {
                    self.crash(&what, "before it arrived");
                    return self.never().await;
                }
                return Err(broken());
            }
            Fate::Unavailable(retry_after) => {
                lock(&self.world).say(&self.name, format!("{what} -> 503"));
                let mut reply = Reply::refused(503, "ServerBusy");
                if let Some(seconds) = retry_after {
                    reply = reply.with("retry-after", seconds);
                }
                return Ok(response(reply));
            }
            _ => {}
        }
        tokio::time::sleep(Duration::from_millis(out_ms)).await;
        self.while_alive().await;
        let (answer, cut) = if request.url().port() == Some(8090) {
            self.lastfm(request.url(), &what).await?
        } else {
            (self.storage(request.url(), &call, &what, fate), false)
        };
        if fate == Fate::CrashAfter {
            self.crash(&what, "after");
        }
        tokio::time::sleep(Duration::from_millis(back_ms)).await;
        self.while_alive().await;
        match fate {
            Fate::TimedOut(_) => {
                tokio::time::sleep(TIME_OUT).await;
                self.while_alive().await;
                Err(broken())
            }
            Fate::AnswerLost => Err(broken()),
            Fate::BodyCut => Ok(cut_off(answer)),
            _ if cut => Ok(cut_off(answer)),
            _ => Ok(response(answer)),
        }
    }
}

impl Port {
    /// Last.fm's answer, and whether its body breaks off.
    async fn lastfm(&self, url: &Url, what: &str) -> azure_core::Result<(Reply, bool)> {
        let answer = lock(&self.world).ask_lastfm(url);
        let text = format!("{what} -> {} {:?}", answer.status, answer.delivery);
        lock(&self.world).say(&self.name, text);
        match lateness(answer.delivery) {
            Some(late) => tokio::time::sleep(late).await,
            None => std::future::pending().await,
        }
        if answer.delivery == Delivery::Reset {
            return Err(broken());
        }
        let reply = Reply {
            status: answer.status,
            headers: answer.headers,
            body: answer.body.to_vec(),
        };
        Ok((reply, matches!(answer.delivery, Delivery::CutAfter(_))))
    }

    fn storage(&self, url: &Url, call: &Call, what: &str, fate: Fate) -> Reply {
        let mut world = lock(&self.world);
        let reply = world.storage(url, call);
        let mut headers = reply.headers.iter();
        let code = headers.find(|(name, _)| *name == "x-ms-error-code");
        let code = code.map_or("", |(_, code)| code);
        let text = format!("{what} -> {} {code} {fate:?}", reply.status);
        world.say(&self.name, text);
        reply
    }

    /// Returns at once, or never.
    async fn while_alive(&self) {
        if self.dead.initialized() {
            std::future::pending().await
        }
    }

    async fn never(&self) -> azure_core::Result<AsyncRawResponse> {
        std::future::pending().await
    }

    fn crash(&self, what: &str, when: &str) {
        lock(&self.world).say(&self.name, format!("CRASH {when} {what}"));
        let _ = self.dead.set(());
    }

    fn later(&self, call: Call, url: Url, what: String, later_ms: u64) {
        let (world, name) = (self.world.clone(), self.name.clone());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(later_ms)).await;
            if url.port() != Some(8090) {
                let mut world = lock(&world);
                let reply = world.storage(&url, &call);
                world.say(&name, format!("late arrival: {what} -> {}", reply.status));
            }
        });
    }
}

fn broken() -> Error {
    Error::with_message(ErrorKind::Io, "the connection broke")
}

async fn read(request: &Request) -> Call {
    let body = match request.body() {
        Body::Bytes(bytes) => bytes.to_vec(),
        Body::SeekableStream(stream) => {
            let (mut stream, mut bytes) = (stream.clone(), Vec::new());
            stream.read_to_end(&mut bytes).await.expect("in memory");
            bytes
        }
    };
    let url = request.url();
    Call {
        method: request.method().to_string().to_uppercase(),
        path: decode(url.path()),
        query: url.query_pairs().into_owned().collect(),
        headers: request
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.as_str().to_owned()))
            .collect(),
        body,
    }
}

fn decode(path: &str) -> String {
    let mut parts = path.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = u8::from_str_radix(&part[..2], 16).expect("two digits");
        text.push(char::from(byte));
        text.push_str(&part[2..]);
    }
    text
}

fn in_words(call: &Call, url: &Url) -> String {
    if url.port() == Some(8090) {
        let get = |name| call.query(name).to_owned();
        return format!(
            "lastfm page {} of {} from {} to {}",
            get("page"),
            get("limit"),
            get("from"),
            get("to")
        );
    }
    let path = call.path.trim_start_matches("/devstoreaccount1/");
    let mut text = format!("{} {path}", call.method);
    if !call.query("comp").is_empty() {
        text += &format!(" {}", call.query("comp"));
    }
    if let Some(position) = call.header("x-ms-blob-condition-appendpos") {
        text += &format!(" at {position} +{}", call.body.len());
    }
    if let Some((_, rest)) = String::from_utf8_lossy(&call.body).split_once("<MessageText>")
        && let Some((message, _)) = rest.split_once("</MessageText>")
        && let Some(json) = crate::queue::read(message.as_bytes())
    {
        text += &format!(" {json} in {} s", call.query("visibilitytimeout"));
    }
    text
}

fn headers(reply: &Reply) -> (StatusCode, Headers) {
    let mut headers = Headers::new();
    for (name, value) in &reply.headers {
        headers.insert(*name, value.clone());
    }
    (StatusCode::from(reply.status), headers)
}

fn response(reply: Reply) -> AsyncRawResponse {
    let (status, headers) = headers(&reply);
    AsyncRawResponse::from_bytes(status, headers, reply.body)
}

fn cut_off(reply: Reply) -> AsyncRawResponse {
    let (status, headers) = headers(&reply);
    let half = Bytes::copy_from_slice(&reply.body[..reply.body.len() / 2]);
    let stream = futures::stream::iter([Ok(half), Err(broken())]);
    AsyncRawResponse::new(status, headers, Box::pin(stream))
}

/// So that the compiler checks what the program wants of it.
pub(crate) fn client(port: Port) -> Arc<dyn HttpClient> {
    Arc::new(port)
}
