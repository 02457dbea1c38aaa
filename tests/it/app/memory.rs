//! The memory of the real process over ten thousand invocations.

use std::fs;

use axum::Router;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;

use crate::support::azurite::ACCOUNT_KEY;
use crate::support::raw_http::Connection;
use crate::support::world::{World, lastfm_with};

const WARM: usize = 1_000;
const ALL: usize = 10_000;
/// What the process may have grown by between the two, in KiB. A quarter of a KiB kept by each invocation would exceed it.
const GROWTH_KIB_MAX: u64 = 2 * 1024;
/// What it may ever have, in KiB.
const PEAK_KIB_MAX: u64 = 64 * 1024;

/// A storage that holds nothing and takes every message, much faster than Azurite: its address.
async fn empty_storage() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(storage);
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/devstoreaccount1")
}

async fn storage(method: Method, uri: Uri) -> Response {
    let (status, xml) = if method == Method::GET && uri.path().contains("scrobbles") {
        let list = "<EnumerationResults><Blobs></Blobs><NextMarker /></EnumerationResults>";
        (StatusCode::OK, list)
    } else {
        let message = "<QueueMessagesList><QueueMessage><MessageId>m</MessageId><InsertionTime>Mon, 23 Nov 2026 18:00:00 GMT</InsertionTime><ExpirationTime>Mon, 30 Nov 2026 18:00:00 GMT</ExpirationTime><PopReceipt>r</PopReceipt><TimeNextVisible>Mon, 23 Nov 2026 18:00:00 GMT</TimeNextVisible></QueueMessage></QueueMessagesList>";
        (StatusCode::CREATED, message)
    };
    (
        status,
        [(header::CONTENT_TYPE, "application/xml")],
        xml.to_owned(),
    )
        .into_response()
}

/// One of every kind: done, poison, a tick, and in between no invocation at all, which is the cheapest.
fn invocations() -> Vec<(Vec<u8>, u16)> {
    let item = |message: &str| {
        let item = azure_core::base64::encode(message);
        format!(r#"{{"Data":{{"item":"{item}"}},"Metadata":{{"DequeueCount":"1","Id":"\"m\""}}}}"#)
    };
    let done = ("fetch_pages", item(r#"{"user":"rj"}"#), 200);
    let poison = ("fetch_pages", item("no work item"), 200);
    let tick = (
        "enqueue_users",
        r#"{"Data":{"timer":{}},"Metadata":{}}"#.to_owned(),
        200,
    );
    let none = || ("enqueue_users", "{}".to_owned(), 400);
    let kinds = [done, none(), poison, none(), tick, none()];
    let requests = kinds.map(|(function, body, status)| {
        let length = body.len();
        let head = format!(
            "POST /{function} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\n"
        );
        ((head + &body).into_bytes(), status)
    });
    requests.into()
}

async fn invoke(connections: &mut [Connection], count: usize) {
    let each = count / connections.len();
    let callers = connections.iter_mut().map(async |connection| {
        let kinds = invocations();
        for (request, status) in kinds.iter().cycle().take(each) {
            let answer = connection.ask(request).await;
            assert_eq!(answer.status, *status, "{}", answer.text());
        }
    });
    futures::future::join_all(callers).await;
}

/// `VmRSS` or `VmHWM`, in KiB.
fn memory_kib(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let number = line.split_whitespace().nth(1).unwrap();
    number.parse().unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn ten_thousand_invocations_take_no_more_memory_than_one_thousand() {
    let storage = empty_storage().await;
    let storage = format!(
        "AccountName=devstoreaccount1;AccountKey={ACCOUNT_KEY};BlobEndpoint={storage};QueueEndpoint={storage}"
    );
    let world = World::of(lastfm_with(&[("rj", vec![])]))
        .set("AzureWebJobsStorage", storage)
        .set("RUST_LOG", "off")
        .start()
        .await;
    let address = world.host.address();
    let address = address.trim_start_matches("http://").parse().unwrap();
    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(Connection::open(address).await);
    }
    invoke(&mut connections, WARM).await;
    let warm = memory_kib(world.host.pid(), "VmRSS:");
    invoke(&mut connections, ALL - WARM).await;
    let all = memory_kib(world.host.pid(), "VmRSS:");
    let peak = memory_kib(world.host.pid(), "VmHWM:");
    assert!(world.requests() >= ALL / 6, "work items were done");
    eprintln!("{warm} KiB after {WARM} invocations, {all} KiB after {ALL}, {peak} KiB at most");
    assert!(all < warm + GROWTH_KIB_MAX, "{warm} KiB, then {all} KiB");
    assert!(peak < PEAK_KIB_MAX, "{peak} KiB");
}
