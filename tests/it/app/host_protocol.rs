//! What the Functions host needs of the program: answers, readiness, logs, and an orderly end.

use std::time::Duration;

use fake_lastfm::{Fault, RequestInfo};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::functions_host::{FunctionsHost, Tick};
use crate::support::gate::Gate;
use crate::support::world::{DELIVERIES_MAX, World, history, lastfm_with, log_lines_at, rj};

fn client() -> reqwest::Client {
    crate::support::http::client().build().unwrap()
}

/// Sends a request and checks what every answer must be; gives the status and the body.
async fn ask(
    host: &FunctionsHost,
    method: &Method,
    path: &str,
    body: impl Into<reqwest::Body>,
) -> (u16, Value) {
    let url = format!("{}{path}", host.address());
    let request = client().request(method.clone(), url).body(body);
    let request = request.header("content-type", "application/json");
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let what = format!("{method} {path}: {status}");
    let kind = answer.headers().get("content-type").cloned();
    let kind = kind.unwrap_or_else(|| panic!("{what}: no content type"));
    let text = answer.text().await.unwrap();
    assert!(
        kind.to_str().unwrap().starts_with("application/json"),
        "{what}: {kind:?}: {text}"
    );
    let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{what}: {text:?}"));
    assert!(body.is_object(), "{what}: {text:?}");
    (status, body)
}

#[tokio::test]
async fn every_answer_is_a_json_object_and_unknown_routes_and_methods_are_refused() {
    let world = rj(10).start().await;
    let cases = [
        (Method::GET, "/", 200),
        (Method::GET, "/nowhere", 404),
        (Method::POST, "/nowhere", 404),
        (Method::POST, "/api/fetch_pages", 404),
        (Method::POST, "/fetch_pages/", 404),
        (Method::POST, "/Fetch_Pages", 404),
        (Method::POST, "/admin/functions/fetch_pages", 404),
        (Method::GET, "/%00%ff", 404),
        (Method::GET, "/fetch_pages", 405),
        (Method::PUT, "/fetch_pages", 405),
        (Method::GET, "/enqueue_users", 405),
        (Method::DELETE, "/enqueue_users", 405),
        (Method::POST, "/", 405),
        (Method::OPTIONS, "/fetch_pages", 405),
    ];
    for (method, path, status) in cases {
        let (found, _) = ask(&world.host, &method, path, "").await;
        assert_eq!(found, status, "{method} {path}");
    }
    assert_eq!(world.queue().approximate_count().await, 0);
}

#[tokio::test]
async fn a_body_that_is_no_invocation_is_refused_and_the_handler_stays_healthy() {
    let world = rj(50).start().await;
    let deep = "[".repeat(100_000);
    for function in ["/fetch_pages", "/enqueue_users"] {
        for body in [
            "",
            " ",
            "{",
            "null",
            "[]",
            "7",
            "\"text\"",
            "{\"Data\":",
            r#"{"Data":[],"Metadata":{}}"#,
            r#"{"Data":7}"#,
            deep.as_str(),
        ] {
            let shown = &body[..body.len().min(40)];
            let (status, _) = ask(&world.host, &Method::POST, function, body.to_owned()).await;
            assert!((400..600).contains(&status), "{function} {shown}: {status}");
        }
    }
    for body in [
        "{}",
        r#"{"Data":{}}"#,
        r#"{"Data":{"item":null},"Metadata":{}}"#,
        r#"{"Data":{"item":{}},"Metadata":{}}"#,
        r#"{"Data":{"item":"%%%"},"Metadata":{}}"#,
        r#"{"Data":{"item":"eyJ1c2VyIjoicmoifQ==","more":"eyJ1c2VyIjoicmoifQ=="},"Metadata":{}}"#,
    ] {
        let (status, _) = ask(&world.host, &Method::POST, "/fetch_pages", body).await;
        assert!((400..600).contains(&status), "{body}: {status}");
    }
    assert_eq!(world.requests(), 0);
    assert_eq!(world.queue().approximate_count().await, 0);
    world.work_off(r#"{"user":"rj"}"#).await;
    world.expect_archived("rj").await;
}

#[tokio::test]
async fn a_huge_body_is_refused_as_json_too() {
    let world = rj(10).start().await;
    for megabytes in [1, 3, 20] {
        let noise = "A".repeat(megabytes * 1024 * 1024);
        let body = json!({ "Data": { "item": noise }, "Metadata": {} }).to_string();
        let (status, _) = ask(&world.host, &Method::POST, "/fetch_pages", body).await;
        // One megabyte may be a message to the program; it is poison then.
        assert!(status == 200 && megabytes == 1 || status >= 400, "{status}");
    }
    let (status, _) = ask(&world.host, &Method::GET, "/", "").await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn each_kind_of_timer_tick_enqueues_every_user() {
    let world = World::of(lastfm_with(&[("rj", vec![]), ("zed", vec![])]))
        .start()
        .await;
    let ticks = [
        Tick::Scheduled,
        Tick::WithoutStatus,
        Tick::First,
        Tick::FirstInZone,
        Tick::PastDue,
        Tick::ManualRun,
    ];
    for (index, tick) in ticks.into_iter().enumerate() {
        let run = world.host.fire_timer("enqueue_users", tick).await;
        run.expect_success();
        let count = world.queue().approximate_count().await;
        assert_eq!(count, 2 * (index + 1), "{tick:?}");
    }
    world
        .host
        .admin_run("enqueue_users", "")
        .await
        .expect_success();
    for body in [
        json!({ "Data": { "timer": null }, "Metadata": {} }),
        json!({ "Data": { "timer": "null" }, "Metadata": { "sys": {} } }),
        json!({ "Data": { "timer": { "Schedule": null, "New": [1] } }, "More": 1 }),
    ] {
        let (status, _) = ask(
            &world.host,
            &Method::POST,
            "/enqueue_users",
            body.to_string(),
        )
        .await;
        assert_eq!(status, 200, "{body}");
    }
    assert_eq!(world.queue().approximate_count().await, 20);
}

#[tokio::test]
async fn odd_metadata_of_a_queue_message_does_no_harm() {
    let item = azure_core::base64::encode(r#"{"user":"rj"}"#);
    for metadata in [
        json!({}),
        json!({ "DequeueCount": "0" }),
        json!({ "DequeueCount": 1, "Id": 7 }),
        json!({ "DequeueCount": "\"1\"", "Id": "not quoted" }),
        json!({ "DequeueCount": "-1", "Id": null }),
        json!({ "DequeueCount": "99999999999999999999999" }),
    ] {
        let world = rj(40).start().await;
        let body = json!({ "Data": { "item": item }, "Metadata": metadata });
        let path = "/fetch_pages";
        let (status, _) = ask(&world.host, &Method::POST, path, body.to_string()).await;
        assert_eq!(status, 200, "{metadata}");
        world.expect_archived("rj").await;
    }
}

#[tokio::test]
async fn the_readiness_probe_is_answered_while_invocations_run() {
    let gate = Gate::closed().await;
    let world = rj(500)
        .set("LASTFM_API_URL", gate.lastfm_url())
        .start()
        .await;
    let mut runs = Vec::new();
    for _ in 0..8 {
        runs.push(
            world
                .host
                .invoke_queue_bytes("fetch_pages", br#"{"user":"rj"}"#, 1),
        );
    }
    let probes = async {
        gate.reached(8).await;
        for _ in 0..10 {
            let (status, _) = ask(&world.host, &Method::GET, "/", "").await;
            assert_eq!(status, 200);
        }
        // None of the invocations can have ended before this.
        gate.open_to(world.lastfm.address());
    };
    let (runs, ()) = tokio::join!(futures::future::join_all(runs), probes);
    for run in runs {
        run.expect_success();
    }
    world.expect_archived("rj").await;
}

#[tokio::test]
async fn a_termination_while_work_is_under_way_ends_cleanly_and_loses_nothing() {
    let mut world = World::of(lastfm_with(&[
        ("rj", history(1, 4_000)),
        ("zed", history(2, 4_000)),
    ]))
    .set("PAGES_PER_ITEM", "3")
    .start()
    .await;
    let slow = Fault::Delay(Duration::from_millis(200));
    world
        .lastfm
        .with(|lastfm| lastfm.faults.push_when(usize::MAX, |_| true, slow));
    for user in ["rj", "zed"] {
        world.put(&format!(r#"{{"user":"{user}"}}"#)).await;
    }
    let end = async {
        world.lastfm.requests_reached(9).await;
        world.host.terminate();
        world.host.wait_for_exit().await
    };
    let (summary, status) = tokio::join!(world.host.pump_until_idle(DELIVERIES_MAX), end);
    assert_eq!(status.code(), Some(0), "{status}");
    for handled in &summary.handled {
        let invocation = handled.invocation.as_ref().unwrap();
        // What comes too late is not taken any more: the port is closed, or the idle connection on which it is just being sent.
        let is_its = |request: &RequestInfo| {
            handled.message.contains(&request.user) && request.at_ms > invocation.sent_ms
        };
        let was_begun = world.lastfm.with(|lastfm| {
            lastfm
                .log
                .entries()
                .iter()
                .any(|entry| is_its(&entry.request))
        });
        let is_fine = invocation.answer.is_some() || !was_begun;
        assert!(is_fine, "begun without an answer: {:?}", invocation.verdict);
    }
    assert!(summary.remaining > 0, "it ended before the work was done");
    assert_eq!(world.host.stderr(), [""; 0]);
    world.lastfm.with(|lastfm| lastfm.faults.clear());
    world.host.restart().await;
    let summary = world.host.pump_until_idle(DELIVERIES_MAX).await;
    summary.expect_drained();
    for user in ["rj", "zed"] {
        world.expect_archived(user).await;
    }
}

#[tokio::test]
async fn each_invocation_leaves_a_milestone_with_the_fields_to_query() {
    let world = rj(500).set("LASTFM_PAGE_SIZE", "100").start().await;
    world
        .lastfm
        .with(|lastfm| lastfm.faults.push(Fault::plain_500()));
    let summary = world.work_off(r#"{"user":"rj"}"#).await;
    let milestone = world.milestones().remove(0);
    let blobs = world.blobs("rj").await;
    let bytes: usize = blobs.iter().map(|(_, bytes)| bytes.len()).sum();
    for (field, value) in [
        ("user", json!("rj")),
        ("plays", json!(500)),
        ("requests", json!(world.requests())),
        ("append_bytes", json!(bytes)),
        ("dequeue_count", json!(1)),
        ("level", json!("INFO")),
    ] {
        assert_eq!(milestone[field], value, "{field} in {milestone}");
    }
    assert!(milestone["pages"].as_u64().unwrap() >= 5, "{milestone}");
    assert!(milestone["duration_ms"].is_u64(), "{milestone}");
    assert!(
        milestone["retries"].to_string().contains('1'),
        "{milestone}"
    );
    let invocation = summary.handled[0].invocation.as_ref().unwrap();
    let id = milestone["invocation_id"].as_str().unwrap();
    assert!(invocation.what.contains(id), "{id}: {}", invocation.what);
    let trace_id = milestone["trace_id"].as_str().unwrap();
    assert!(trace_id.len() == 32 && trace_id.bytes().all(|digit| digit.is_ascii_hexdigit()));
    assert!(milestone["message"].is_string());
    assert!(milestone["timestamp"].is_string());
}

#[tokio::test]
async fn a_quiet_day_logs_no_warning_and_no_error() {
    let world = rj(300).start().await;
    world.tick().await;
    world.tick().await;
    assert_eq!(log_lines_at(&world.host, "WARN"), [Value::Null; 0]);
    assert_eq!(log_lines_at(&world.host, "ERROR"), [Value::Null; 0]);
    assert_eq!(world.host.stderr(), [""; 0]);
}
