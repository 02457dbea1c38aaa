//! What a caller learns of a failure: a correlation id, and nothing about the inside. The log has the rest under that id.

use std::collections::BTreeSet;
use std::time::Duration;

use fake_lastfm::Fault;
use serde_json::{Value, json};

use crate::support::azurite::ACCOUNT_KEY;
use crate::support::functions_host::FunctionsHost;
use crate::support::gate::Gate;
use crate::support::raw_http::Connection;
use crate::support::world::{LASTFM_KEY, World, log_lines, rj};

const PATIENCE: Duration = Duration::from_mins(1);

/// All that is ever said to a caller.
const SAID: [&str; 4] = [
    "a function is invoked by POST",
    "no such function",
    "the body is no invocation",
    "the invocation failed",
];

struct Refusal {
    status: u16,
    correlation_id: String,
    /// The line of the log under that id.
    logged: Value,
}

/// Sends a request that must fail and checks what its answer may hold.
async fn refused(
    host: &FunctionsHost,
    method: &str,
    path: &str,
    headers: &[(&str, &[u8])],
    body: String,
) -> Refusal {
    let client = crate::support::http::client().build().unwrap();
    let method = method.parse().unwrap();
    let mut request = client.request(method, format!("{}{path}", host.address()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.body(body).send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    assert!((400..600).contains(&status), "{path}: {status}: {text}");
    let said: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {text:?}"));
    let members: BTreeSet<_> = said
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(members, BTreeSet::from(["correlation_id", "error"]));
    assert!(SAID.contains(&said["error"].as_str().unwrap()), "{text}");
    let correlation_id = said["correlation_id"].as_str().unwrap().to_owned();
    let is_id = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
    assert!(
        correlation_id.len() == 32 && correlation_id.bytes().all(is_id),
        "{correlation_id}"
    );
    let under_id = host.wait_for_output(&correlation_id, PATIENCE);
    under_id.await;
    let same: Vec<_> = log_lines(host)
        .into_iter()
        .filter(|line| line["trace_id"] == correlation_id.as_str())
        .filter(|line| line.get("duration_ms").is_some() || line.get("path").is_some())
        .collect();
    let [logged] = same.as_slice() else {
        panic!("one line for each failure: {same:?}");
    };
    let logged = logged.clone();
    assert!(["ERROR", "WARN"].contains(&logged["level"].as_str().unwrap()));
    Refusal {
        status,
        correlation_id,
        logged,
    }
}

fn queue_invocation(message: &str) -> String {
    let item = azure_core::base64::encode(message);
    json!({ "Data": { "item": item }, "Metadata": { "DequeueCount": "4", "Id": "\"m\"" } })
        .to_string()
}

const TIMER: &str = r#"{"Data":{"timer":{"IsPastDue":false}},"Metadata":{}}"#;

/// A world whose storage is on an address where nobody listens.
async fn without_storage() -> World {
    let away = format!(
        "AccountName=devstoreaccount1;AccountKey={ACCOUNT_KEY};BlobEndpoint=http://127.0.0.1:1/a;QueueEndpoint=http://127.0.0.1:1/a"
    );
    rj(0).set("AzureWebJobsStorage", away).start().await
}

#[tokio::test]
async fn a_failure_is_answered_with_the_trace_id_and_logged_under_it_with_its_reason() {
    let world = without_storage().await;
    let work = queue_invocation(r#"{"user":"rj"}"#);
    let poison = queue_invocation("hello");
    for (number, (path, body, status, function, reason)) in [
        (
            "/fetch_pages",
            work.clone(),
            500,
            Some("fetch_pages"),
            "connect",
        ),
        (
            "/fetch_pages",
            poison,
            500,
            Some("fetch_pages"),
            "page-ranges-poison",
        ),
        (
            "/enqueue_users",
            TIMER.to_owned(),
            500,
            Some("enqueue_users"),
            "1 of 1 users",
        ),
        (
            "/fetch_pages",
            "{".to_owned(),
            400,
            Some("fetch_pages"),
            "EOF",
        ),
        (
            "/enqueue_users",
            "[]".to_owned(),
            400,
            Some("enqueue_users"),
            "expected a map",
        ),
        (
            "/fetch_pages",
            "A".repeat(3 << 20),
            400,
            Some("fetch_pages"),
            "2097152 bytes",
        ),
        ("/somewhere", work, 404, None, "/somewhere"),
    ]
    .into_iter()
    .enumerate()
    {
        let trace_id = format!("0af7651916cd43dd8448eb211c8031{number:02x}");
        let traceparent = format!("00-{trace_id}-b7ad6b7169203331-01");
        let invocation_id = format!("invocation-{number}");
        let headers = [
            ("traceparent", traceparent.as_bytes()),
            ("x-azure-functions-invocationid", invocation_id.as_bytes()),
        ];
        let reason = reason.replace("page-ranges", world.setting("WORK_QUEUE"));
        let refusal = refused(&world.host, "POST", path, &headers, body).await;
        let logged = &refusal.logged;
        assert_eq!(refusal.status, status, "{path}: {logged}");
        assert_eq!(refusal.correlation_id, trace_id);
        assert_eq!(logged["invocation_id"], invocation_id.as_str(), "{logged}");
        assert_eq!(logged.get("function").and_then(Value::as_str), function);
        assert!(logged.to_string().contains(&reason), "{reason}: {logged}");
        assert!(!logged.to_string().contains(LASTFM_KEY));
    }
}

#[tokio::test]
async fn the_line_of_a_failed_work_item_has_every_field_of_one_that_is_done() {
    let good = rj(50).start().await;
    good.work_off(r#"{"user":"rj"}"#).await;
    let done = good.milestones().remove(0);
    let world = without_storage().await;
    let body = queue_invocation(r#"{"user":"rj"}"#);
    let refusal = refused(&world.host, "POST", "/fetch_pages", &[], body).await;
    for field in done.as_object().unwrap().keys() {
        let is_other = ["invocation_id", "outcome", "span"].contains(&field.as_str());
        let has = refusal.logged.get(field).is_some();
        assert!(has || is_other, "{field} in {}", refusal.logged);
    }
    assert_eq!(refusal.logged["user"], "rj");
    assert_eq!(refusal.logged["dequeue_count"], 4);
    assert_eq!(refusal.logged["requests"], 0);
}

#[tokio::test]
async fn every_line_from_inside_an_invocation_is_found_under_its_id() {
    let world = rj(50).set("LASTFM_REQUESTS_PER_SECOND", "40").start().await;
    world
        .lastfm
        .with(|lastfm| lastfm.faults.push(Fault::error(29)));
    let run = world.host.admin_run("fetch_pages", r#"{"user":"rj"}"#);
    run.await.expect_success();
    let lines = log_lines(&world.host);
    let end = lines.iter().find(|line| line.get("outcome").is_some());
    let trace_id = &end.unwrap()["trace_id"];
    let pause = lines
        .iter()
        .find(|line| line["message"] == "every instance pauses");
    let pause = pause.unwrap();
    assert_eq!(&pause["span"]["trace_id"], trace_id, "{pause}");
}

#[tokio::test]
async fn a_failure_is_logged_even_when_nobody_waits_for_its_answer() {
    let blobs = Gate::closed().await;
    let storage = format!(
        "AccountName=devstoreaccount1;AccountKey={ACCOUNT_KEY};BlobEndpoint=http://{}/a",
        blobs.address()
    );
    let world = rj(0).set("ARCHIVE_STORAGE", storage).start().await;
    let address = world.host.address();
    let address = address.trim_start_matches("http://").parse().unwrap();
    let mut connection = Connection::open(address).await;
    let body = queue_invocation(r#"{"user":"rj"}"#);
    let length = body.len();
    let head = format!(
        "POST /fetch_pages HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\n"
    );
    connection.send((head + &body).as_bytes()).await;
    blobs.reached(1).await;
    drop(connection);
    // Behind the door there is nobody, so the work fails.
    blobs.open_to("127.0.0.1:1".parse().unwrap());
    let line = world
        .host
        .wait_for_output("the host will try again", PATIENCE);
    let line: Value = serde_json::from_str(&line.await).unwrap();
    assert_eq!(
        (&line["level"], &line["user"]),
        (&json!("ERROR"), &json!("rj"))
    );
}

#[tokio::test]
async fn without_a_good_traceparent_each_failure_has_an_id_of_its_own() {
    let world = rj(0).start().await;
    let mut ids = BTreeSet::new();
    let odd: [&[u8]; 6] = [
        b"",
        b"hello",
        b"00-<b>-b7ad6b7169203331-01",
        b"00-00000000000000000000000000000000-b7ad6b7169203331-01",
        b"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        b"00-\xff\xfe-b7ad6b7169203331-01",
    ];
    for traceparent in odd {
        let headers = [("traceparent", traceparent)];
        let refusal = refused(&world.host, "POST", "/fetch_pages", &headers, String::new()).await;
        ids.insert(refusal.correlation_id);
    }
    for (method, path) in [
        ("GET", "/nowhere"),
        ("PUT", "/fetch_pages"),
        ("DELETE", "/"),
    ] {
        let refusal = refused(&world.host, method, path, &[], String::new()).await;
        assert_eq!(refusal.logged["method"], method);
        ids.insert(refusal.correlation_id);
    }
    assert_eq!(ids.len(), 9, "{ids:?}");
}
