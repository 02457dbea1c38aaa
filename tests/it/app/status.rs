//! The documents that the app leaves in the control container.

use std::time::Duration;

use fake_lastfm::Fault;
use serde_json::{Value, json};

use crate::support::proxy::{Call, Gate, Proxy, Trouble};
use crate::support::world::{World, log_lines_at, now_ms, plays_from, rj};

async fn document(world: &World, user: &str) -> Value {
    let name = format!("status/{user}.json");
    let text = world.control().download(&name).await;
    serde_json::from_slice(&text).unwrap()
}

async fn documents(world: &World) -> Vec<String> {
    let blobs = world.control().list("status/").await;
    blobs.into_iter().map(|(name, _)| name).collect()
}

/// Does one item, and leaves what comes after it on the queue.
async fn one(world: &World, item: &str) {
    let run = world
        .host
        .invoke_queue_bytes("fetch_pages", item.as_bytes(), 1);
    run.await.expect_success();
}

fn is_document(call: &Call) -> bool {
    call.path.contains("status%2F")
}

#[tokio::test]
async fn each_item_leaves_a_document() {
    let world = rj(900).start().await;
    one(&world, r#"{"user":"rj","pages":1}"#).await;
    let begun = document(&world, "rj").await;
    let archived = world.truth("rj").len() as u64 - begun["plays_left"].as_u64().unwrap();
    let plays = begun["plays_archived"].as_u64().unwrap();
    // Plays of the second that waits for the next item are left.
    assert!(plays > 0 && plays.abs_diff(archived) <= 1, "{begun}");
    assert!(begun["estimated_done"].is_string(), "{begun}");
    assert!(begun["last_success"].is_string(), "{begun}");
    world.tick().await;
    world.expect_archived("rj").await;
    let done = document(&world, "rj").await;
    let bytes: usize = world
        .blobs("rj")
        .await
        .iter()
        .map(|(_, bytes)| bytes.len())
        .sum();
    assert_eq!(done["plays_archived"], 900);
    assert_eq!(done["archive_bytes"], bytes);
    assert_eq!(done["newest_uts"], world.newest("rj").await.unwrap());
    assert_eq!(
        (&done["plays_left"], &done["last_error"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(done["since"], begun["since"]);
    assert_eq!(documents(&world).await, ["status/rj.json"]);
    assert_eq!(log_lines_at(&world.host, "WARN"), [Value::Null; 0]);
}

#[tokio::test]
async fn trouble_is_told_and_a_success_clears_it() {
    let world = rj(300).start().await;
    world.work_off(r#"{"user":"ghost"}"#).await;
    let ghost = document(&world, "ghost").await;
    assert!(ghost["last_error"]["hint"].is_string(), "{ghost}");
    assert!(ghost["last_success"].is_null() && ghost["since"].is_string());
    let fail = |lastfm: &mut fake_lastfm::LastFm| {
        lastfm
            .faults
            .push_when(usize::MAX, |_| true, Fault::error(8));
    };
    world.lastfm.with(fail);
    one(&world, r#"{"user":"rj","attempt":3}"#).await;
    let failed = document(&world, "rj").await;
    assert!(failed["last_error"]["reason"].is_string(), "{failed}");
    assert!(failed["last_success"].is_null(), "{failed}");
    world.lastfm.with(|lastfm| lastfm.faults.clear());
    world.tick().await;
    let done = document(&world, "rj").await;
    assert!(done["last_error"].is_null() && done["last_success"].is_string());
}

#[tokio::test]
async fn a_wait_for_the_budget_is_no_error() {
    let world = rj(300)
        .set("LASTFM_REQUESTS_PER_SECOND", "1000")
        .start()
        .await;
    world.work_off(r#"{"user":"rj"}"#).await;
    let used_up = json!({ "free_at_ms": now_ms() + 3_600_000 });
    world
        .control()
        .put("budget.json", used_up.to_string())
        .await;
    let before = document(&world, "rj").await;
    one(&world, r#"{"user":"rj"}"#).await;
    let after = document(&world, "rj").await;
    assert_eq!(after["last_success"], before["last_success"]);
    assert!(after["last_error"].is_null(), "{after}");
}

#[tokio::test]
async fn without_documents_everything_goes_as_with_them() {
    let world = rj(900).set("PAGES_PER_ITEM", "1").start().await;
    let item = |to: i64| format!(r#"{{"user":"rj","to":{to}}}"#);
    let plays = world.truth("rj");
    world.work_off(&item(plays[400].uts)).await;
    let requests = world.requests();
    world.control().delete("status/rj.json").await;
    world.work_off(&item(plays[600].uts)).await;
    assert_eq!(
        document(&world, "rj").await["plays_archived"],
        world
            .truth("rj")
            .iter()
            .filter(|play| play.uts <= plays[600].uts)
            .count()
    );
    for garbage in ["", "{", "[1]", "\u{0}"] {
        world.control().put("status/rj.json", garbage).await;
        world.work_off(&item(plays[600].uts)).await;
        assert!(document(&world, "rj").await["last_success"].is_string());
    }
    world.tick().await;
    world.expect_archived("rj").await;
    assert!(world.requests() > requests);
    assert_eq!(document(&world, "rj").await["plays_archived"], 900);
}

#[tokio::test]
async fn a_document_that_cannot_be_written_stops_no_item() {
    for trouble in [
        Trouble::Refuse(403),
        Trouble::Hold,
        Trouble::HoldAnswer,
        Trouble::LoseAnswer,
    ] {
        let blobs = Proxy::of_blobs().await;
        let world = rj(300)
            .set(
                "AzureWebJobsStorage",
                Proxy::connection_string(Some(&blobs), None),
            )
            .start()
            .await;
        blobs.trouble(usize::MAX, is_document, trouble.clone());
        world.tick().await;
        world.expect_archived("rj").await;
        let warnings = log_lines_at(&world.host, "WARN");
        for warning in &warnings {
            assert_eq!(warning["message"], "a status document was not written");
        }
        assert!(
            !warnings.is_empty() || matches!(trouble, Trouble::LoseAnswer),
            "{trouble:?}"
        );
        blobs.calm();
        world.tick().await;
        assert_eq!(document(&world, "rj").await["plays_archived"], 300);
    }
}

#[tokio::test]
async fn two_writers_of_a_document_leave_one_that_is_whole() {
    let blobs = Proxy::of_blobs().await;
    let world = rj(300)
        .set(
            "AzureWebJobsStorage",
            Proxy::connection_string(Some(&blobs), None),
        )
        .start()
        .await;
    world.tick().await;
    // The first write waits until the document has been replaced.
    let gate = Gate::closed();
    let is_write = |call: &Call| is_document(call) && call.method == "PUT";
    let struck = blobs.trouble(1, is_write, Trouble::Wait(gate.clone()));
    world.lastfm.with(|lastfm| {
        let history = &mut lastfm.user_mut("rj").history;
        history.add_all(plays_from(1_718_500_000, 7));
    });
    let item = async { one(&world, r#"{"user":"rj"}"#).await };
    let other = async {
        struck.first().await;
        world
            .control()
            .put("status/rj.json", "{\"since\":\"2020-01-01T00:00:00Z\"}")
            .await;
        gate.open();
    };
    tokio::time::timeout(Duration::from_mins(1), async { tokio::join!(item, other) })
        .await
        .unwrap();
    let both = document(&world, "rj").await;
    // Whether or not the app found the time to write again.
    assert_eq!(both["since"], "2020-01-01T00:00:00Z", "{both}");
    world.work_off(r#"{"user":"rj"}"#).await;
    assert_eq!(document(&world, "rj").await["plays_archived"], 307);
}
