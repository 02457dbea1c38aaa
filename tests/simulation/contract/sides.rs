//! The two services, and an answer as one line of text.

use super::calls::{Ask, Shows, make_container};
use crate::port::Port;
use crate::support::azurite::{ACCOUNT, Azurite, account_sas, unique_name};
use crate::support::storage::{element, elements};
use crate::world::World;
use azure_core::http::{AsyncRawResponse, HttpClient, Request, Url};
use azure_core::time::{OffsetDateTime, parse_rfc7231};
use fastrand::Rng;
use std::sync::{Arc, Mutex, OnceLock};

/// Blocks that an append blob takes here, on both sides: the real 50,000 take Azurite minutes, and end alike.
pub(super) const BLOCKS_MAX: usize = 5;

/// What the SDK of this lock file asks for.
const VERSION: &str = "2026-04-06";

/// One container and one queue on both sides, neither made yet.
pub(super) struct Case {
    sides: [Side; 2],
}

impl Case {
    pub(super) fn new() -> Self {
        let name = unique_name("contract");
        Self {
            sides: [Side::simulated(&name), Side::azurite(&name)],
        }
    }

    pub(super) async fn with_container() -> Self {
        let mut case = Self::new();
        case.ask(make_container(), "201").await;
        case
    }

    /// Both must answer `expected`; the letters behind `etag=` count the different ones of this case.
    pub(super) async fn ask(&mut self, ask: Ask, expected: &str) {
        let mut answers = Vec::new();
        for side in &mut self.sides {
            let answer = side.send(&ask).await;
            answers.push(side.in_words(&ask, answer).await);
        }
        self.compare(&ask, &answers, expected);
    }

    /// Two calls at the same moment, in the order of their statuses.
    pub(super) async fn race(&mut self, one: Ask, other: Ask, expected: [&str; 2]) {
        let mut answers = Vec::new();
        for side in &mut self.sides {
            let (first, second) = futures::join!(side.send(&one), side.send(&other));
            let mut both = [first, second];
            both.sort_by_key(|answer| u16::from(answer.status()));
            let mut words = Vec::new();
            for answer in both {
                words.push(side.in_words(&one, answer).await);
            }
            answers.push(words.join(", "));
        }
        self.compare(&one, &answers, &expected.join(", "));
    }

    fn compare(&self, ask: &Ask, answers: &[String], expected: &str) {
        let (method, path, headers) = (ask.method, ask.path, &ask.headers);
        for (side, answer) in self.sides.iter().zip(answers) {
            assert_eq!(
                answer, expected,
                "{} to {method:?} `{path}` {:?} {headers:?} (all: {answers:?})",
                side.name, ask.query
            );
        }
    }
}

/// One service, and what it has answered in this case.
struct Side {
    name: &'static str,
    http: Arc<dyn HttpClient>,
    container: String,
    queue: String,
    /// What proves the right to ask; the simulation asks nobody.
    signature: String,
    etags: Vec<String>,
    marker: String,
}

impl Side {
    fn simulated(name: &str) -> Self {
        let mut world = World::new(Rng::with_seed(1), false);
        world.faults_percent = 0;
        world.crashes_permille = 0;
        world.latency_ms_max = 0;
        world.blobs.blocks_max = BLOCKS_MAX;
        world.blobs.names_max = 5_000;
        let http = crate::port::client(Port {
            world: Arc::new(Mutex::new(world)),
            name: "contract".to_owned(),
            dead: Arc::default(),
        });
        Self {
            name: "the simulation's answer",
            http,
            container: format!("http://127.0.0.1:10000/{ACCOUNT}/{name}"),
            queue: format!("http://127.0.0.1:10001/{ACCOUNT}/{name}"),
            signature: String::new(),
            etags: Vec::new(),
            marker: String::new(),
        }
    }

    fn azurite(name: &str) -> Self {
        static AZURITE: OnceLock<Azurite> = OnceLock::new();
        let azurite = AZURITE
            .get_or_init(|| Azurite::start_with(&["--appendBlocksMax", &BLOCKS_MAX.to_string()]));
        // An idle connection would belong to the runtime of one test and be offered to another.
        let http = crate::support::http::client().pool_max_idle_per_host(0);
        Self {
            name: "Azurite's answer",
            http: Arc::new(http.build().expect("a client")),
            container: format!("{}/{name}", azurite.blob_endpoint()),
            queue: format!("{}/{name}", azurite.queue_endpoint()),
            signature: account_sas(),
            etags: Vec::new(),
            marker: String::new(),
        }
    }

    async fn send(&self, ask: &Ask) -> AsyncRawResponse {
        let base = if ask.queue {
            &self.queue
        } else {
            &self.container
        };
        let mut url = Url::parse(base).expect("an address");
        if !ask.path.is_empty() {
            // Slashes inside go out escaped, as the SDK sends them.
            url.path_segments_mut().expect("a base").push(ask.path);
        }
        url.set_query(
            Some(&self.signature)
                .filter(|text| !text.is_empty())
                .map(String::as_str),
        );
        for (name, value) in &ask.query {
            url.query_pairs_mut()
                .append_pair(name, &self.filled_in(value));
        }
        let mut request = Request::new(url, ask.method);
        request.insert_header("x-ms-version", VERSION);
        for (name, value) in &ask.headers {
            request.insert_header(*name, self.filled_in(value));
        }
        request.set_body(ask.body.clone());
        self.http
            .execute_request(&request)
            .await
            .expect("an answer")
    }

    /// Puts this side's own values in place of `{A}` and `{marker}`.
    fn filled_in(&self, value: &str) -> String {
        match value
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
        {
            Some("marker") => self.marker.clone(),
            Some(letter) => self.etags[usize::from(letter.as_bytes()[0] - b'A')].clone(),
            None => value.to_owned(),
        }
    }

    async fn in_words(&mut self, ask: &Ask, answer: AsyncRawResponse) -> String {
        let (status, headers, body) = answer.deconstruct();
        let body = body.collect().await.expect("a whole body");
        let header = |name: &'static str| headers.get_optional_str(&name.into());
        let mut words = vec![u16::from(status).to_string()];
        if header("date").is_none_or(|date| parse_rfc7231(date).is_err()) {
            words.push("without a date".to_owned());
        }
        words.extend(header("x-ms-error-code").map(str::to_owned));
        let mut show = |name: &'static str, word: &str| {
            words.extend(header(name).map(|value| format!("{word}={value}")));
        };
        if matches!(ask.shows, Shows::Version | Shows::Length) {
            show("x-ms-blob-append-offset", "offset");
            show("x-ms-blob-committed-block-count", "blocks");
        }
        if !status.is_success() {
            return words.join(" ");
        }
        if let Some(etag) = header("etag").filter(|_| ask.shows != Shows::Nothing) {
            let known = self.etags.iter().position(|known| known == etag);
            let index = known.unwrap_or(self.etags.len());
            if known.is_none() {
                self.etags.push(etag.to_owned());
            }
            let letter = char::from(b'A' + u8::try_from(index).expect("few"));
            words.push(format!("etag={letter}"));
        }
        let text = String::from_utf8_lossy(&body);
        match ask.shows {
            Shows::Nothing | Shows::Version => {}
            Shows::Length => words.push(format!(
                "length={}",
                header("content-length").unwrap_or("none")
            )),
            Shows::Bytes => {
                words.extend(header("content-range").map(|range| format!("[{range}]")));
                words.push(format!("{text:?}"));
                if header("content-length") != Some(&body.len().to_string()) {
                    words.push("of another length".to_owned());
                }
            }
            Shows::Names => {
                words.extend(elements(&text, "Blob").into_iter().map(blob_in_words));
                self.marker = element(&text, "NextMarker");
                words.extend((!self.marker.is_empty()).then(|| "and more".to_owned()));
            }
            Shows::Message => words.push(message_in_words(&text)),
        }
        words.join(" ")
    }
}

fn blob_in_words(xml: &str) -> String {
    let date = parse_rfc7231(&element(xml, "Last-Modified"));
    format!(
        "{}:{}{}",
        element(xml, "Name"),
        element(xml, "Content-Length"),
        if date.is_ok() { "" } else { " of no date" }
    )
}

/// A message that was just sent: how long until it is seen, and for how long it is kept.
fn message_in_words(xml: &str) -> String {
    let at = |name: &str| parse_rfc7231(&element(xml, name)).map(OffsetDateTime::unix_timestamp);
    let named = ["MessageId", "PopReceipt"]
        .iter()
        .all(|name| !element(xml, name).is_empty());
    match (
        at("InsertionTime"),
        at("TimeNextVisible"),
        at("ExpirationTime"),
    ) {
        (Ok(sent), Ok(seen), Ok(dropped)) if named => {
            format!("seen after {} s, kept {} s", seen - sent, dropped - sent)
        }
        _ => format!("no message: {xml}"),
    }
}
