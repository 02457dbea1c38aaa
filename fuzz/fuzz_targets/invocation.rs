//! The host's envelope: any body posted to both functions, with a storage and a Last.fm that answer at once.
#![no_main]

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, HttpClient, StatusCode};
use azure_core::{base64, http};
use lastfm_archive::archive::Access;
use lastfm_archive::clock::Clock;
use lastfm_archive::environment::{Environment, Stop};
use lastfm_archive::fetch_pages::FetchPages;
use lastfm_archive::settings::{Needs, Settings};
use lastfm_archive::triggers::{App, router};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use std::sync::Arc;
use tokio::runtime::Runtime;
use tokio::sync::SetOnce;
use tower::ServiceExt;

thread_local! {
    static PROGRAM: (Runtime, Router) = {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        (runtime.expect("a runtime"), program())
    };
}

fuzz_target!(|body: &[u8]| {
    PROGRAM.with(|(runtime, router)| {
        for function in ["fetch_pages", "enqueue_users"] {
            runtime.block_on(invoke(router.clone(), function, body.to_vec()));
        }
    });
});

/// An answer that is empty, or no object, would make the host wait until it kills the process.
async fn invoke(router: Router, function: &str, body: Vec<u8>) {
    let request = Request::post(format!("/{function}")).body(Body::from(body));
    let answer = router
        .oneshot(request.expect("a request"))
        .await
        .expect("infallible");
    let status = answer.status().as_u16();
    let kind = answer.headers().get(header::CONTENT_TYPE).cloned();
    assert_eq!(kind.expect("a type"), "application/json");
    let body = to_bytes(answer.into_body(), 1 << 20).await.expect("a body");
    let answer: Value = serde_json::from_slice(&body).expect("JSON");
    let answer = answer.as_object().expect("an object");
    match status {
        200 => {
            assert!(answer["Outputs"].is_object() && answer["ReturnValue"].is_null());
            let logs = answer["Logs"].as_array().expect("lines");
            assert!(logs.iter().all(Value::is_string));
        }
        400 | 500 => assert!(answer["error"].is_string()),
        _ => panic!("status {status}"),
    }
}

/// The program as the host starts it.
fn program() -> Router {
    let lookup = |setting: &str| {
        let value = match setting {
            "AzureWebJobsStorage" => "UseDevelopmentStorage=true",
            "LASTFM_API_URL" => "http://127.0.0.1:8090/2.0/",
            "LASTFM_API_KEY" => "key",
            "LASTFM_USERS" => "alice",
            "LASTFM_REQUESTS_PER_SECOND" => "0",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let needs = Needs {
        key: true,
        users: true,
        host_storage: true,
        archive: true,
    };
    let settings = Settings::read(needs, None, &lookup).expect("good settings");
    let storage = settings.host_storage.clone().expect("given");
    let http: Arc<dyn HttpClient> = Arc::new(Outside);
    let environment = Environment::new(
        settings,
        Access::Write,
        http,
        Clock::system(),
        Stop::default(),
    );
    let environment = environment.expect("clients");
    let queue = environment.work_queue(&storage).expect("a client");
    let reconciles = environment.reconcile_queue(&storage).expect("a client");
    router(Arc::new(SetOnce::new_with(Some(App {
        environment,
        queue,
        reconciles,
    }))))
}

/// Takes every message, has no blob, and knows no user.
#[derive(Debug)]
struct Outside;

#[async_trait]
impl HttpClient for Outside {
    async fn execute_request(
        &self,
        request: &http::Request,
    ) -> azure_core::Result<AsyncRawResponse> {
        let (status, kind, body) = match request.url().port() {
            Some(10_000) => (200, "application/xml", NO_BLOBS),
            Some(10_001) => {
                is_a_message(request);
                (201, "application/xml", TAKEN)
            }
            _ => (
                404,
                "application/json",
                r#"{"message":"User not found","error":6}"#,
            ),
        };
        let mut headers = Headers::new();
        headers.insert("content-type", kind);
        Ok(AsyncRawResponse::from_bytes(
            StatusCode::from(status),
            headers,
            body,
        ))
    }
}

const NO_BLOBS: &str = r#"<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="x" ContainerName="scrobbles"><Blobs></Blobs><NextMarker></NextMarker></EnumerationResults>"#;
const TAKEN: &str = r#"<?xml version="1.0" encoding="utf-8"?><QueueMessagesList><QueueMessage><MessageId>m</MessageId><PopReceipt>p</PopReceipt></QueueMessage></QueueMessagesList>"#;

/// What goes on a queue is a work item or a poison message, and no longer than the service takes.
fn is_a_message(request: &http::Request) {
    let http::Body::Bytes(xml) = request.body() else {
        panic!("a message is no stream");
    };
    let xml = std::str::from_utf8(xml).expect("text");
    let (_, text) = xml.split_once("<MessageText>").expect("a text");
    let (text, _) = text.split_once("</MessageText>").expect("a text");
    assert!(text.len() <= 64 * 1024, "{} bytes", text.len());
    if request.url().path().contains("-poison/") {
        let poison: Value =
            serde_json::from_slice(&base64::decode(text).expect("base64")).expect("JSON");
        assert!(poison["reason"].is_string() && poison["body"].is_string());
    } else {
        FetchPages::parse(text.as_bytes()).expect("a work item");
    }
}
