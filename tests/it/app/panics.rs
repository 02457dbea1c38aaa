//! A panic in a request: its caller learns an id, the log learns the reason, and nobody a secret.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::Request;
use azure_core::http::{AsyncRawResponse, HttpClient};
use lastfm_archive::archive::Access;
use lastfm_archive::clock::Clock;
use lastfm_archive::environment::{Environment, Stop};
use lastfm_archive::logging;
use lastfm_archive::settings::{Needs, Settings};
use lastfm_archive::triggers::{App, router};
use serde_json::{Value, json};
use tokio::sync::SetOnce;
use tower::ServiceExt;

use crate::support::azurite::{ACCOUNT_KEY, account_sas};
use crate::support::leaks::{Evidence, Secrets};

const KEY: &str = "k3y/M4rked+l34k=5ec4e7ca11ab1e&42";
/// A user who is named like a secret; the settings show users.
const PLANTED: &str = "plant3d_s3cret-5ec4e7ca";
/// The test that another one runs as a program of its own.
const THE_PANIC: &str = "app::panics::a_panic_in_a_request_is_survived_and_its_caller_learns_an_id";

/// A network that panics, with everything in its message that somebody could print by a careless line.
#[derive(Debug)]
struct Careless(Settings);

#[async_trait]
impl HttpClient for Careless {
    async fn execute_request(
        &self,
        _: &azure_core::http::Request,
    ) -> azure_core::Result<AsyncRawResponse> {
        panic!("out of luck with {:?} and {:#?}", self.0, self.0)
    }
}

fn app() -> App {
    let storage =
        format!("AccountName=a;AccountKey={ACCOUNT_KEY};BlobEndpoint=http://127.0.0.1:1/a");
    let queue = format!(
        "QueueEndpoint=http://127.0.0.1:1/a;SharedAccessSignature={}",
        account_sas()
    );
    let variables = BTreeMap::from([
        ("LASTFM_API_KEY", KEY),
        ("LASTFM_USERS", PLANTED),
        ("ARCHIVE_STORAGE", &storage),
        ("AzureWebJobsStorage", &queue),
    ]);
    let needs = Needs {
        key: true,
        users: true,
        host_storage: true,
        archive: true,
    };
    let lookup = |name: &str| variables.get(name).map(|value| (*value).to_owned());
    let settings = Settings::read(needs, None, &lookup).unwrap();
    let network = Arc::new(Careless(settings.clone()));
    let (clock, stop) = (Clock::system(), Stop::default());
    let environment = Environment::new(settings, Access::Write, network, clock, stop).unwrap();
    let host_storage = environment.settings.host_storage.clone().unwrap();
    let queue = environment.work_queue(&host_storage).unwrap();
    let reconciles = environment.reconcile_queue(&host_storage).unwrap();
    App {
        environment,
        queue,
        reconciles,
    }
}

#[tokio::test]
async fn a_panic_in_a_request_is_survived_and_its_caller_learns_an_id() {
    let variable = |name: &str| std::env::var(name).ok();
    if variable("RUST_LOG").is_some() {
        logging::to_stdout_as_json(&variable).unwrap();
    }
    let shared = Arc::new(SetOnce::new());
    shared.set(app()).ok().unwrap();
    let router = router(shared);
    for path in ["/fetch_pages", "/enqueue_users"] {
        let item = azure_core::base64::encode(json!({ "user": PLANTED }).to_string());
        let body = json!({ "Data": { "item": item }, "Metadata": {} });
        let trace_id = "0af7651916cd43dd8448eb211c80319c";
        let request = Request::post(path)
            .header("traceparent", format!("00-{trace_id}-b7ad6b7169203331-00"))
            .body(Body::from(body.to_string()));
        let answer = router.clone().oneshot(request.unwrap()).await.unwrap();
        assert_eq!(answer.status(), 500);
        let body = axum::body::to_bytes(answer.into_body(), 1_000).await;
        let body: Value = serde_json::from_slice(&body.unwrap()).unwrap();
        assert_eq!(body["correlation_id"], trace_id);
        assert!(!body.to_string().contains("out of luck"), "{body}");
        let probe = Request::get("/").body(Body::empty()).unwrap();
        let answer = router.clone().oneshot(probe).await.unwrap();
        assert_eq!(answer.status(), 200);
    }
}

#[test]
fn a_panic_tells_no_secret_to_log_or_stderr_even_with_a_backtrace() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([THE_PANIC, "--exact", "--nocapture"])
        .env("RUST_BACKTRACE", "full")
        .env("RUST_LIB_BACKTRACE", "1")
        .env("RUST_LOG", "trace")
        .output()
        .unwrap();
    let mut evidence = Evidence::default();
    evidence.add("stdout", output.stdout);
    evidence.add("stderr", output.stderr);
    assert!(output.status.success(), "{evidence:?}");
    let secrets = Secrets::of([
        ("the Last.fm key", KEY),
        ("the account's key", ACCOUNT_KEY),
        ("the signature", account_sas().split_once("sig=").unwrap().1),
    ]);
    let places = ["stdout", "stderr"];
    secrets.expect_nowhere_in(&evidence, &places);
    // The message of the panic came to both places, and the scanner reads there.
    Secrets::of([("the planted one", PLANTED)]).expect_everywhere_in(&evidence, &places);
    Secrets::of([("a backtrace", "stack backtrace:")]).expect_everywhere_in(&evidence, &["stderr"]);
}
