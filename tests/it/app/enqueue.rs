//! The commands that work beside the app on its storage: `enqueue`, `sync`, `status`.

use std::collections::BTreeMap;
use std::process::Output;

use azure_core::base64;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::azurite::Azurite;
use crate::support::blob_checker;
use crate::support::world::{DELIVERIES_MAX, LASTFM_KEY, plays_from, read_message, rj};

const BINARY: &str = env!("CARGO_BIN_EXE_lastfm-archive");

async fn run(arguments: &[&str], environment: &BTreeMap<String, String>) -> Output {
    let output = Command::new(BINARY)
        .args(arguments)
        .env_clear()
        .envs(environment)
        .kill_on_drop(true)
        .output();
    let output = output.await.unwrap();
    for text in [&output.stdout, &output.stderr] {
        assert!(!String::from_utf8_lossy(text).contains(LASTFM_KEY));
    }
    output
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
fn ended(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", stderr(output));
}

#[tokio::test]
async fn a_user_is_put_on_the_queue_as_the_timer_would_and_then_archived() {
    let world = rj(300).set("LASTFM_USERS", "somebody-else").start().await;
    let mut environment = world.environment();
    // Neither a key nor users are needed to put a message on a queue.
    environment.remove("LASTFM_API_KEY");
    environment.remove("LASTFM_USERS");
    let output = run(&["enqueue", "RJ"], &environment).await;
    ended(&output, 0);
    assert_eq!(output.stdout, b"");
    assert!(stderr(&output).contains("rj"));

    let messages = world.queue().peek_all().await;
    assert_eq!(messages.len(), 1);
    assert!(base64::decode(&messages[0]).is_ok());
    assert_eq!(read_message(&messages[0]), json!({ "user": "rj" }));
    let summary = world.host.pump_until_idle(DELIVERIES_MAX).await;
    summary.expect_drained();
    world.expect_archived("rj").await;
}

#[tokio::test]
async fn a_bad_name_is_the_callers_mistake_and_reaches_no_queue() {
    let world = rj(0).start().await;
    let long = "a".repeat(65);
    for arguments in [
        &["enqueue", "r j"][..],
        &["enqueue", ""],
        &["enqueue", &long],
        &["enqueue", "../rj"],
        &["enqueue"],
        &["enqueue", "rj", "zed"],
        &["enqueue", "--loudly", "rj"],
    ] {
        let output = run(arguments, &world.environment()).await;
        ended(&output, 1);
        assert!(!output.stderr.is_empty());
        assert_eq!(output.stdout, b"");
    }
    assert_eq!(world.queue().approximate_count().await, 0);
}

#[tokio::test]
async fn a_missing_storage_is_named() {
    for command in ["enqueue", "sync"] {
        let key = ("LASTFM_API_KEY".to_owned(), LASTFM_KEY.to_owned());
        let output = run(&[command, "rj"], &BTreeMap::from([key])).await;
        ended(&output, 1);
        let words = stderr(&output);
        assert!(words.contains("AzureWebJobsStorage"), "{words}");
    }
}

#[tokio::test]
async fn a_storage_that_is_away_is_trouble_within_bounded_time() {
    let away = "AccountName=a;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:1/a;QueueEndpoint=http://127.0.0.1:1/a";
    let world = rj(50).start().await;
    let mut environment = world.environment();
    environment.insert("AzureWebJobsStorage".to_owned(), away.to_owned());
    for arguments in [&["enqueue", "rj"][..], &["sync", "rj"], &["status"]] {
        let output = run(arguments, &environment).await;
        ended(&output, 2);
        let words = stderr(&output);
        assert!(words.contains("error"), "{words}");
        assert!(!words.contains("a2V5"), "{words}");
    }
    assert_eq!(world.requests(), 0);
}

#[tokio::test]
async fn sync_and_status_work_on_the_archive_of_the_app() {
    let world = rj(700).start().await;
    let azurite = Azurite::start();
    // Once by the host's setting, once by the archive's own.
    let by_host = world.environment();
    let mut by_archive = by_host.clone();
    by_archive.remove("AzureWebJobsStorage");
    by_archive.insert(
        "ARCHIVE_STORAGE".to_owned(),
        azurite.connection_string_with_sas(),
    );

    let plan = run(&["sync", "--dry-run", "--json"], &by_host).await;
    ended(&plan, 0);
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert_eq!((&plan["user"], &plan["plays"]), (&json!("rj"), &json!(700)));
    assert_eq!(world.blobs("rj").await, []);

    ended(&run(&["sync"], &by_host).await, 0);
    world.expect_archived("rj").await;
    world.lastfm.with(|lastfm| {
        let history = &mut lastfm.user_mut("rj").history;
        history.add_all(plays_from(1_718_500_000, 7));
    });
    ended(&run(&["sync", "rj"], &by_archive).await, 0);
    world.expect_archived("rj").await;

    let blobs = world.blobs("rj").await;
    let bytes: usize = blobs.iter().map(|(_, bytes)| bytes.len()).sum();
    let newest = blob_checker::rows(&blobs).last().unwrap()["uts"].clone();
    for environment in [&by_host, &by_archive] {
        let output = run(&["status", "--json"], environment).await;
        ended(&output, 0);
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(status["user"], "rj");
        assert_eq!(status["rows"], 707);
        assert_eq!(status["bytes"], bytes);
        assert_eq!(status["newest_uts"], newest);
        assert_eq!(stderr(&output), "");
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    ended(&run(&["sync", "--archive", path], &by_host).await, 0);
    for (name, bytes) in blobs {
        // The moment of ingestion differs, and nothing else.
        let file = std::fs::read(directory.path().join(&name)).unwrap();
        assert_eq!(
            without_ingestion(&file),
            without_ingestion(&bytes),
            "{name}"
        );
    }
}

fn without_ingestion(bytes: &[u8]) -> Vec<Value> {
    let mut rows = blob_checker::rows(&[(String::new(), bytes.to_vec())]);
    for row in &mut rows {
        row["ingested_at"] = Value::Null;
    }
    rows
}

#[tokio::test]
async fn the_app_goes_on_where_the_command_line_stopped_and_the_other_way_round() {
    let world = rj(900).start().await;
    let plays = world.truth("rj");
    world
        .work_off(&format!(r#"{{"user":"rj","to":{}}}"#, plays[350].uts))
        .await;
    ended(&run(&["sync"], &world.environment()).await, 0);
    world.expect_archived("rj").await;
    world.lastfm.with(|lastfm| {
        let history = &mut lastfm.user_mut("rj").history;
        history.add_all(plays_from(1_718_500_000, 7));
    });
    world.tick().await;
    world.expect_archived("rj").await;
}

#[tokio::test]
async fn the_command_line_beside_a_busy_app_writes_each_play_once() {
    let world = rj(4_000).set("PAGES_PER_ITEM", "1").start().await;
    world.put(r#"{"user":"rj"}"#).await;
    let environment = world.environment();
    let (summary, output) = tokio::join!(
        world.host.pump_until_idle(DELIVERIES_MAX),
        run(&["sync"], &environment)
    );
    assert_eq!(summary.failures(), [""; 0]);
    let code = output.status.code();
    assert!(matches!(code, Some(0 | 2)), "{code:?}: {}", stderr(&output));
    world.tick().await;
    world.expect_archived("rj").await;
}
