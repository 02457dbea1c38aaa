//! Last.fm or the storage is away, or an archive's end cannot be trusted.

use serde_json::{Value, json};

use crate::support::blob_checker;
use crate::support::functions_host::{Outcome, Tick};
use crate::support::proxy::{Call, Proxy, Trouble};
use crate::support::world::{
    DELIVERIES_MAX, World, history, lastfm_with, log_lines, log_lines_at, now_ms, rj,
};

/// An address on which nobody listens: the port is reserved for a service that no machine has had for decades.
const NOWHERE: &str = "http://127.0.0.1:1";

fn storage_nowhere() -> String {
    format!(
        "AccountName=devstoreaccount1;AccountKey={};BlobEndpoint={NOWHERE}/devstoreaccount1;QueueEndpoint={NOWHERE}/devstoreaccount1",
        crate::support::azurite::ACCOUNT_KEY,
    )
}

#[tokio::test]
async fn an_item_is_put_back_with_a_growing_delay_while_last_fm_is_unreachable_and_then_ends() {
    let queues = Proxy::of_queues().await;
    let world = rj(100)
        .set("LASTFM_API_URL", format!("{NOWHERE}/2.0/"))
        .set(
            "AzureWebJobsStorage",
            Proxy::connection_string(None, Some(&queues)),
        )
        .start()
        .await;
    let to = 1_710_000_000;
    let mut sent = Vec::new();
    for (attempt, delay) in [(0, Some(60)), (1, Some(300)), (2, Some(900)), (3, None)] {
        let message = json!({ "user": "rj", "to": to, "attempt": attempt, "from": 1_600_000_000 });
        let message = message.to_string().into_bytes();
        let run = world.host.invoke_queue_bytes("fetch_pages", &message, 1);
        run.await.expect_success();
        if let Some(delay) = delay {
            let copy =
                json!({ "user": "rj", "to": to, "attempt": attempt + 1, "from": 1_600_000_000 });
            sent.push((copy, delay));
        }
        assert_eq!(queues.messages_to(world.setting("WORK_QUEUE")), sent);
    }
    let warnings = log_lines_at(&world.host, "WARN");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(warnings[0]["user"], "rj");
    assert_eq!(log_lines_at(&world.host, "ERROR"), [Value::Null; 0]);
    assert_eq!(world.blobs("rj").await, []);
}

#[tokio::test]
async fn a_put_back_copy_waits_unseen_and_the_next_tick_completes_without_it() {
    let world = rj(400)
        .set("LASTFM_API_URL", format!("{NOWHERE}/2.0/"))
        .start()
        .await;
    world.put(r#"{"user":"rj"}"#).await;
    let summary = world.host.pump_until_idle(DELIVERIES_MAX).await;
    assert_eq!((summary.successes(), summary.remaining), (1, 1));
    assert_eq!(world.queue().peek_all().await, [""; 0], "it is delayed");
    let address = world.lastfm.url();
    let healthy = world.another_host(&[("LASTFM_API_URL", &address)]).await;
    healthy
        .fire_timer("enqueue_users", Tick::Scheduled)
        .await
        .expect_success();
    let summary = healthy.pump_until_idle(DELIVERIES_MAX).await;
    assert_eq!(summary.failures(), [""; 0]);
    world.expect_archived("rj").await;
}

#[tokio::test]
async fn an_unreachable_archive_fails_the_invocation_and_the_next_delivery_completes() {
    let world = rj(400)
        .set("ARCHIVE_STORAGE", storage_nowhere())
        .start()
        .await;
    world.put(r#"{"user":"rj"}"#).await;
    let summary = world.host.pump_until_idle(1).await;
    assert!(matches!(summary.handled[0].outcome, Outcome::Released(_)));
    assert_eq!(world.requests(), 0, "no request for what cannot be kept");
    assert_eq!(log_lines_at(&world.host, "ERROR").len(), 1);
    let healthy = world
        .another_host(&[("ARCHIVE_STORAGE", &Proxy::connection_string(None, None))])
        .await;
    healthy
        .pump_until_idle(DELIVERIES_MAX)
        .await
        .expect_drained();
    world.expect_archived("rj").await;
}

#[tokio::test]
async fn an_unreachable_queue_fails_the_timer_and_the_next_tick_completes() {
    let world = rj(400)
        .set("AzureWebJobsStorage", storage_nowhere())
        .set("ARCHIVE_STORAGE", Proxy::connection_string(None, None))
        .start()
        .await;
    let tick = world
        .host
        .fire_timer("enqueue_users", Tick::Scheduled)
        .await;
    tick.expect_failure();
    let healthy = world
        .another_host(&[("AzureWebJobsStorage", &Proxy::connection_string(None, None))])
        .await;
    healthy
        .fire_timer("enqueue_users", Tick::Scheduled)
        .await
        .expect_success();
    healthy
        .pump_until_idle(DELIVERIES_MAX)
        .await
        .expect_drained();
    world.expect_archived("rj").await;
}

#[tokio::test]
async fn a_continuation_that_cannot_be_sent_fails_the_invocation_and_its_redelivery_completes() {
    let queues = Proxy::of_queues().await;
    let world = rj(1_500)
        .set("PAGES_PER_ITEM", "3")
        .set(
            "AzureWebJobsStorage",
            Proxy::connection_string(None, Some(&queues)),
        )
        .start()
        .await;
    let queue = world.setting("WORK_QUEUE").to_owned();
    // Four attempts of one send, all refused.
    queues.trouble(
        4,
        move |call| call.is_message_to(&queue),
        Trouble::Refuse(503),
    );
    world.put(r#"{"user":"rj"}"#).await;
    let summary = world.host.pump_until_idle(DELIVERIES_MAX).await;
    assert_eq!(summary.failures().len(), 1, "{summary:?}");
    assert_eq!(summary.remaining, 0);
    world.expect_archived("rj").await;
}

#[tokio::test]
async fn the_timer_tries_every_user_before_it_reports_a_failure() {
    let queues = Proxy::of_queues().await;
    let users = [("anna", vec![]), ("rj", vec![]), ("zed", vec![])];
    let world = World::of(lastfm_with(&users))
        .set(
            "AzureWebJobsStorage",
            Proxy::connection_string(None, Some(&queues)),
        )
        .start()
        .await;
    let is_for_anna = |call: &Call| call.method == "POST" && call.message().0["user"] == "anna";
    queues.trouble(usize::MAX, is_for_anna, Trouble::Refuse(503));
    let tick = world
        .host
        .fire_timer("enqueue_users", Tick::Scheduled)
        .await;
    tick.expect_failure();
    let mut users: Vec<_> = world
        .queue()
        .peek_all()
        .await
        .iter()
        .map(|text| crate::support::world::read_message(text)["user"].to_string())
        .collect();
    users.sort();
    assert_eq!(users, ["\"rj\"", "\"zed\""]);
}

#[tokio::test]
async fn an_end_that_cannot_be_trusted_stops_its_user_alone_and_names_the_blob() {
    let future = now_ms() / 1_000 + 86_400;
    let cases = [
        "this is no JSON\n".to_owned(),
        "{}\n".to_owned(),
        "[]\n".to_owned(),
        "\n".to_owned(),
        "{\"uts\":\"1700000000\",\"id\":\"x\"}\n".to_owned(),
        "{\"uts\":1700000000".to_owned(),
        "\u{0}\u{0}\u{0}\u{0}".to_owned(),
        format!("{{\"uts\":{future},\"id\":\"{}\"}}\n", "a".repeat(32)),
    ];
    let run = async |tail: String| {
        let world = World::of(lastfm_with(&[
            ("rj", history(1, 300)),
            ("zed", history(2, 300)),
        ]))
        .start()
        .await;
        world.tick().await;
        let (last, _) = world.blobs("rj").await.pop().unwrap();
        world.archive().append(&last, tail.clone()).await;
        let broken = world.blobs("rj").await;
        let requests = world.requests();
        for user in ["rj", "zed"] {
            world.lastfm.with(|lastfm| {
                let history = &mut lastfm.user_mut(user).history;
                history.add(fake_lastfm::Play::new(1_720_000_000, "New", "Track"));
            });
        }
        world
            .host
            .fire_timer("enqueue_users", Tick::Scheduled)
            .await
            .expect_success();
        world.host.pump_until_idle(2).await;
        world.expect_archived("zed").await;
        assert_eq!(world.blobs("rj").await, broken, "{tail:?}");
        let asked_for_rj = world.lastfm.with(|lastfm| {
            let new = &lastfm.log.entries()[requests..];
            new.iter().filter(|it| it.request.is_for("rj")).count()
        });
        assert_eq!(asked_for_rj, 0, "{tail:?}");
        let errors = log_lines_at(&world.host, "ERROR");
        assert!(!errors.is_empty(), "{tail:?}");
        assert!(
            errors.iter().all(|line| line.to_string().contains(&last)),
            "{tail:?}: {errors:?}"
        );
    };
    futures::future::join_all(cases.map(run)).await;
}

#[tokio::test]
async fn an_end_that_cannot_be_read_for_the_moment_is_not_called_untrustworthy() {
    let blobs = Proxy::of_blobs().await;
    let storage = Proxy::connection_string(Some(&blobs), None);
    let world = rj(300).set("ARCHIVE_STORAGE", storage).start().await;
    world.work_off(r#"{"user":"rj"}"#).await;
    let (last, _) = world.blobs("rj").await.pop().unwrap();
    let is_download = |call: &Call| call.method == "GET" && call.path.ends_with(".ndjson");
    blobs.trouble(1, is_download, Trouble::Refuse(403));
    world.put(r#"{"user":"rj"}"#).await;
    let summary = world.host.pump_until_idle(2).await;
    assert_eq!((summary.failures().len(), summary.successes()), (1, 1));
    let errors = log_lines_at(&world.host, "ERROR");
    let text = errors[0].to_string();
    assert!(text.contains(&format!("cannot read `{last}`")), "{text}");
    assert!(!text.contains("trusted"), "{text}");
}

#[tokio::test]
async fn an_empty_newest_blob_is_passed_over() {
    let world = rj(300).start().await;
    world.archive().create().await;
    // The crash came between the creation of a blob and its first block.
    world
        .archive()
        .create_append_blob("user=rj/year=2024/month=06/part-0.ndjson")
        .await;
    world
        .archive()
        .create_append_blob("user=rj/year=2026/month=01/part-0.ndjson")
        .await;
    world.work_off(r#"{"user":"rj"}"#).await;
    world.expect_archived("rj").await;
}

#[tokio::test]
async fn later_parts_are_found_by_number_and_gone_on_with() {
    let world = rj(600).start().await;
    let plays = world.truth("rj");
    world
        .work_off(&format!(r#"{{"user":"rj","to":{}}}"#, plays[400].uts))
        .await;
    // As after a service that refused further blocks: the month goes on in parts 9 and 10.
    let (last, bytes) = world.blobs("rj").await.pop().unwrap();
    let lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let [.., ninth, tenth] = lines.as_slice() else {
        panic!("too few plays in `{last}`")
    };
    let first = lines[..lines.len() - 2].concat();
    for (part, content) in [
        ("part-0", first),
        ("part-9", ninth.to_vec()),
        ("part-10", tenth.to_vec()),
    ] {
        let name = last.replace("part-0", part);
        world.archive().put_append_blob(&name, content).await;
    }
    world.work_off(r#"{"user":"rj"}"#).await;
    world.expect_archived("rj").await;
    let rows = blob_checker::rows(&world.blobs("rj").await);
    assert_eq!(rows.len(), 600);
}

#[tokio::test]
async fn a_container_that_may_not_be_made_is_a_failure_and_not_an_empty_archive() {
    let blobs = Proxy::of_blobs().await;
    let world = rj(200)
        .set(
            "ARCHIVE_STORAGE",
            Proxy::connection_string(Some(&blobs), None),
        )
        .start()
        .await;
    let is_creation =
        |call: &Call| call.method == "PUT" && call.query.contains("restype=container");
    blobs.trouble(usize::MAX, is_creation, Trouble::Refuse(403));
    let run = world
        .host
        .invoke_queue_bytes("fetch_pages", br#"{"user":"rj"}"#, 1);
    run.await.expect_failure();
    assert!(log_lines(&world.host).iter().any(|line| {
        line["level"] == "ERROR"
            && line
                .to_string()
                .contains(world.setting("ARCHIVE_CONTAINER"))
    }));
}
