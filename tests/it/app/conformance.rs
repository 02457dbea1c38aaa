//! Replays tests/vectors byte for byte: what the Functions host posts, and what it must get.
//!
//! A file is a comment, a request line, headers of its own, an empty line and a body; then what is expected: `status`, `answer`,
//! and what is on the work queue (`queue`), on the poison queue (`poison`), on the queue of the reconciles (`reconciles`) and on its
//! poison queue (`reconciles-poison`), in the log (`log`, members that one line must have) and
//! in the archive (`archived`). `"*"` is any value, `"TRACE"` the trace of the request. What is not named must be empty.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::functions_host::{RawAnswer, Verdict};
use crate::support::raw_http::{Connection, chunked};
use crate::support::world::{World, history, lastfm_with, log_lines, read_message};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

struct Vector {
    name: String,
    head: String,
    body: String,
    expected: BTreeMap<String, Vec<String>>,
}

impl Vector {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let mut parts = text.split("\n=== ");
        let request = parts.next().unwrap();
        let (head, body) = request.split_once("\n\n").unwrap();
        let head = head.lines().filter(|line| !line.starts_with("# "));
        let expected = parts.map(|part| {
            let mut lines = part.lines().map(str::to_owned);
            (lines.next().unwrap(), lines.collect())
        });
        Self {
            name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
            head: head.collect::<Vec<_>>().join("\r\n"),
            body: body.to_owned(),
            expected: expected.collect(),
        }
    }

    /// The request with the headers that the host sends, its body in chunks of so many bytes.
    fn request(&self, chunk_bytes_max: usize) -> Vec<u8> {
        let (line, own) = self.head.split_once("\r\n").unwrap_or((&self.head, ""));
        let of_the_host = match line {
            "GET /" => String::new(),
            _ => format!(
                "Content-Type: application/json; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\
                 X-Azure-Functions-InvocationId: 8f3f1d0b-4f43-4a4e-9d0e-5c7f0a4e2b77\r\n\
                 X-Azure-Functions-HostVersion: 4.1052.200.26308\r\nUser-Agent: Azure-Functions-Host/4.1052.200.26308\r\n\
                 traceparent: 00-{TRACE}-00f067aa0ba902b7-00\r\n"
            ),
        };
        let own: String = own.lines().flat_map(|header| [header, "\r\n"]).collect();
        let head = format!("{line} HTTP/1.1\r\nHost: 127.0.0.1:7071\r\n{of_the_host}{own}\r\n");
        let mut request = head.into_bytes();
        if !self.body.is_empty() {
            request.extend(chunked(self.body.as_bytes(), chunk_bytes_max));
        }
        request
    }

    fn lines(&self, section: &str) -> &[String] {
        self.expected.get(section).map_or(&[], Vec::as_slice)
    }

    fn json(&self, section: &str) -> Vec<Value> {
        let lines = self.lines(section).iter();
        lines
            .map(|line| serde_json::from_str(&line.replace("TRACE", TRACE)).unwrap())
            .collect()
    }

    /// Whether the host makes of the answer what the vector says.
    fn check_answer(&self, answer: &RawAnswer) {
        let name = &self.name;
        let text = answer.text();
        let status: u16 = self.lines("status")[0].parse().unwrap();
        assert_eq!(answer.status, status, "{name}: {text}");
        assert_eq!(
            answer.content_type.as_deref(),
            Some("application/json"),
            "{name}"
        );
        let found: Value = serde_json::from_str(&text).unwrap();
        let wanted = &self.json("answer")[0];
        assert!(is_like(&found, wanted), "{name}: {found}, not {wanted}");
        let verdict = answer.judge();
        assert_eq!(
            matches!(verdict, Verdict::Success(_)),
            status == 200,
            "{name}: {verdict:?}"
        );
        assert!(!matches!(verdict, Verdict::Hang(_)), "{name}: {verdict:?}");
    }

    async fn check_world(&self, world: &World, deliveries: usize) {
        let name = &self.name;
        for (section, queue) in [
            ("queue", world.queue()),
            ("poison", world.poison()),
            ("reconciles", world.reconciles()),
            ("reconciles-poison", world.reconciles_poison()),
        ] {
            let mut wanted: Vec<_> = (0..deliveries).flat_map(|_| self.json(section)).collect();
            for text in queue.peek_all().await {
                let found = read_message(&text);
                let place = wanted.iter().position(|wanted| is_like(&found, wanted));
                assert!(place.is_some(), "{name}: {section} has {found}");
                wanted.swap_remove(place.unwrap());
            }
            assert!(wanted.is_empty(), "{name}: {section} lacks {wanted:?}");
        }
        let logged = log_lines(&world.host);
        for wanted in self.json("log") {
            let has = |line: &Value| {
                let mut members = wanted.as_object().unwrap().iter();
                members.all(|(member, wanted)| is_like(&line[member], wanted))
            };
            assert!(logged.iter().any(has), "{name}: no {wanted} in {logged:#?}");
        }
        // One line for each, and it is the last word.
        let of_trace = logged.iter().filter(|line| line["trace_id"] == TRACE);
        let ends = if self.head == "GET /" { 0 } else { deliveries };
        assert_eq!(of_trace.count(), ends, "{name}: {logged:#?}");
        assert_eq!(world.host.stderr(), [""; 0], "{name}");
        if self.lines("archived").is_empty() {
            assert_eq!(world.archive().list("").await, [], "{name}");
        }
        for user in self.lines("archived") {
            world.expect_archived(user).await;
        }
    }
}

/// Equal, where `"*"` is any value but none.
fn is_like(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            found.len() == wanted.len()
                && wanted
                    .iter()
                    .all(|(name, wanted)| found.get(name).is_some_and(|it| is_like(it, wanted)))
        }
        (found, Value::String(any)) if any == "*" => !found.is_null(),
        _ => found == wanted,
    }
}

async fn replay(vector: &Vector) {
    let users = [("rj", history(1, 40)), ("zed", vec![])];
    let world = World::of(lastfm_with(&users)).start().await;
    let address = world.host.address();
    let address = address.trim_start_matches("http://").parse().unwrap();
    let mut connection = Connection::open(address).await;
    let answer = connection.ask(&vector.request(usize::MAX)).await;
    vector.check_answer(&answer);
    vector.check_world(&world, 1).await;
    // The same once more, as every queue delivers now and then, on the same connection and in the smallest pieces.
    let again = connection.ask(&vector.request(1)).await;
    assert_eq!(again.status, answer.status, "{}", vector.name);
    if vector.lines("archived").is_empty() {
        vector.check_answer(&again);
    }
    vector.check_world(&world, 2).await;
}

fn vectors(prefix: &str) -> Vec<Vector> {
    let files = fs::read_dir(FOLDER).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    let vectors = paths.iter().map(|path| Vector::read(path));
    vectors
        .filter(|vector| vector.name.starts_with(prefix))
        .collect()
}

async fn replay_all(prefix: &str, least: usize) {
    let vectors = vectors(prefix);
    assert!(vectors.len() >= least, "{} vectors", vectors.len());
    for vector in &vectors {
        replay(vector).await;
    }
}

#[tokio::test]
async fn every_kind_of_timer_tick_is_served() {
    replay_all("timer-", 10).await;
}

#[tokio::test]
async fn every_kind_of_queue_message_is_served_or_put_aside_with_its_reason() {
    replay_all("queue-", 20).await;
}

#[tokio::test]
async fn a_text_binding_is_a_clear_error() {
    replay_all("text-binding-", 3).await;
}

#[tokio::test]
async fn every_call_of_a_reconcile_is_served_or_put_aside_with_its_reason() {
    replay_all("reconcile-", 15).await;
}

#[tokio::test]
async fn every_other_request_is_refused_with_a_correlation_id_alone() {
    let vectors = vectors("");
    let others = vectors.iter().filter(|vector| {
        let prefixes = ["timer-", "queue-", "text-binding-", "reconcile-"];
        !prefixes
            .iter()
            .any(|prefix| vector.name.starts_with(prefix))
    });
    for vector in others {
        replay(vector).await;
    }
}

#[test]
fn a_vector_says_all_that_is_expected_in_words_that_are_known() {
    const SECTIONS: [&str; 8] = [
        "answer",
        "archived",
        "log",
        "poison",
        "queue",
        "reconciles",
        "reconciles-poison",
        "status",
    ];
    for vector in vectors("") {
        let name = &vector.name;
        for section in vector.expected.keys() {
            assert!(SECTIONS.contains(&section.as_str()), "{name}: {section}");
        }
        assert_eq!(vector.lines("status").len(), 1, "{name}");
        assert_eq!(vector.json("answer").len(), 1, "{name}");
        let is_probe = vector.head == "GET /";
        assert!(is_probe || vector.json("log").len() == 1, "{name}");
    }
}
