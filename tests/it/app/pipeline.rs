//! The main job: timer, queue, page ranges, append blobs, on real components.

use azure_core::base64;

use crate::support::azurite::{ACCOUNT_KEY, Azurite};
use crate::support::blob_checker;
use crate::support::functions_host::Tick;
use crate::support::proxy::{Call, Proxy, Trouble};
use crate::support::world::{
    DELIVERIES_MAX, World, history, lastfm_with, now_ms, plays_from, read_message, rj,
};

#[tokio::test]
async fn one_tick_archives_three_long_histories_and_the_next_one_appends_only_what_is_new() {
    let users = ["rj", "Some-User_2", "zed"];
    let world = World::of(lastfm_with(&[
        (users[0], history(1, 5_200)),
        (users[1], history(2, 9_100)),
        (users[2], history(3, 5_003)),
    ]))
    .start()
    .await;

    world.tick().await;
    for user in users {
        world.expect_archived(&user.to_lowercase()).await;
    }

    let before = world.blobs("rj").await;
    let requests = world.requests();
    world.lastfm.with(|lastfm| {
        let history = &mut lastfm.user_mut("rj").history;
        history.add_all(plays_from(1_718_000_500, 45));
    });
    world.tick().await;
    for user in users {
        world.expect_archived(&user.to_lowercase()).await;
    }
    let after = world.blobs("rj").await;
    for (path, bytes) in &before {
        let now = after.iter().find(|(name, _)| name == path);
        assert!(now.unwrap().1.starts_with(bytes), "`{path}` was rewritten");
    }
    let appended: u64 = world
        .milestones()
        .iter()
        .filter(|line| line["user"] == "rj")
        .map(|line| line["append_bytes"].as_u64().unwrap())
        .sum();
    assert_eq!(appended, bytes_of(&after), "nothing is appended twice");
    assert_eq!(blob_checker::rows(&after).len(), 5_245);
    let further = world.requests() - requests;
    assert!(
        further <= 6,
        "{further} requests for 45 plays of one of three users"
    );
}

fn bytes_of(blobs: &[(String, Vec<u8>)]) -> u64 {
    blobs.iter().map(|(_, bytes)| bytes.len() as u64).sum()
}

#[tokio::test]
async fn a_tick_puts_one_message_for_each_user_with_the_user_and_the_frozen_end_only() {
    let world = World::of(lastfm_with(&[("rj", vec![]), ("Zed", vec![])]))
        .start()
        .await;
    let before = now_ms() / 1_000;
    let tick = world
        .host
        .fire_timer("enqueue_users", Tick::Scheduled)
        .await;
    tick.expect_success();
    let mut messages: Vec<_> = world.queue().peek_all().await;
    messages.sort_by_key(|text| read_message(text)["user"].to_string());
    assert_eq!(messages.len(), 2);
    for (text, user) in messages.iter().zip(["rj", "zed"]) {
        assert!(base64::decode(text).is_ok(), "the program writes base64");
        let message = read_message(text);
        let to = message["to"].as_i64().unwrap();
        assert_eq!(message, serde_json::json!({ "user": user, "to": to }));
        assert!((before..=now_ms() / 1_000).contains(&to), "{to}");
    }
}

#[tokio::test]
async fn a_message_by_hand_archives_its_user_plain_and_in_base64() {
    let plain = r#"{"user":"rj"}"#;
    for message in [
        plain.to_owned(),
        " {\"user\" : \"RJ\"}\r\n".to_owned(),
        base64::encode(plain),
        format!("{}\n", base64::encode(plain)),
    ] {
        let world = rj(700).start().await;
        world.work_off(&message).await;
        world.expect_archived("rj").await;
    }
}

#[tokio::test]
async fn a_message_by_hand_archives_a_user_whom_the_settings_do_not_name() {
    let world = rj(700).set("LASTFM_USERS", "somebody-else").start().await;
    world.work_off(r#"{"user":"rj"}"#).await;
    world.expect_archived("rj").await;
}

#[tokio::test]
async fn a_manual_run_from_the_portal_archives_its_user() {
    let world = rj(300).start().await;
    let run = world.host.admin_run("fetch_pages", r#"{"user":"rj"}"#);
    run.await.expect_success();
    world.expect_archived("rj").await;
}

#[tokio::test]
async fn a_user_without_plays_leaves_an_empty_archive_and_no_error() {
    let world = rj(0).start().await;
    world.work_off(r#"{"user":"rj"}"#).await;
    assert_eq!(world.blobs("rj").await, []);
    world.expect_archived("rj").await;
}

#[tokio::test]
async fn every_line_is_as_the_published_schema_says() {
    let schema = include_str!("../../../schema/scrobble.schema.json");
    let schema = serde_json::from_str(schema).unwrap();
    let validator = jsonschema::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap();
    for include_raw in ["true", "false"] {
        let world = rj(400).set("INCLUDE_RAW", include_raw).start().await;
        world.work_off(r#"{"user":"rj"}"#).await;
        let rows = blob_checker::rows(&world.blobs("rj").await);
        assert_eq!(rows.len(), 400);
        for row in rows {
            if let Err(error) = validator.validate(&row) {
                panic!("{error}: {row}");
            }
            assert_eq!(row.get("raw").is_some(), include_raw == "true");
        }
    }
}

#[tokio::test]
async fn two_pages_an_item_make_a_chain_of_continuations_of_which_each_follows_an_append() {
    let (blobs, queues) = (Proxy::of_blobs().await, Proxy::of_queues().await);
    let storage = Proxy::connection_string(Some(&blobs), Some(&queues));
    let world = rj(5_150)
        .set("PAGES_PER_ITEM", "2")
        .set("AzureWebJobsStorage", storage)
        .start()
        .await;
    let summary = world.work_off(r#"{"user":"rj"}"#).await;
    world.expect_archived("rj").await;

    let appends = blobs.calls_where(|call| call.is_append() && call.status == Some(201));
    let sent = queues.messages_to(world.setting("WORK_QUEUE"));
    for (message, delay) in &sent {
        assert!(message["from"].is_i64() && message["to"].is_i64());
        assert_eq!(*delay, 0);
    }
    let continuations = sent.len();
    assert!(continuations >= 12, "{continuations}");
    assert!(continuations <= appends.len());
    assert_eq!(summary.invocations(), continuations + 1);
    let pages = world.milestones();
    assert!(
        pages
            .iter()
            .all(|line| line["pages"].as_u64().unwrap() <= 3),
        "two pages and perhaps the one that was asked first: {pages:?}"
    );
}

#[tokio::test]
async fn a_continuation_is_sent_only_after_the_append_has_landed() {
    let (blobs, queues) = (Proxy::of_blobs().await, Proxy::of_queues().await);
    let storage = Proxy::connection_string(Some(&blobs), Some(&queues));
    let world = rj(1_500)
        .set("PAGES_PER_ITEM", "2")
        .set("AzureWebJobsStorage", storage)
        .start()
        .await;
    blobs.trouble(1, Call::is_append, Trouble::Hold);
    let first = world
        .host
        .invoke_queue_bytes("fetch_pages", br#"{"user":"rj"}"#, 1);
    let held = async {
        blobs.seen(Call::is_append).await;
        world.host.kill().await
    };
    let (first, _) = tokio::join!(first, held);
    first.expect_failure();
    assert_eq!(queues.messages_to(world.setting("WORK_QUEUE")), []);
    assert_eq!(blob_checker::rows(&world.blobs("rj").await).len(), 0);
}

#[tokio::test]
async fn a_window_that_ends_in_the_past_is_archived_up_to_its_last_second() {
    let world = rj(1_000).start().await;
    let plays = world.truth("rj");
    let to = plays[600].uts;
    world
        .work_off(&format!(r#"{{"user":"rj","to":{to}}}"#))
        .await;
    let mut expected = plays.clone();
    expected.retain(|play| play.uts <= to);
    world.expect_archive("rj", &expected).await;

    // At or before the newest archived second there is nothing to do.
    let requests = world.requests();
    for to in [to, to - 1, 0] {
        world
            .work_off(&format!(r#"{{"user":"rj","to":{to}}}"#))
            .await;
    }
    assert_eq!(world.requests(), requests);
    world.work_off(r#"{"user":"rj"}"#).await;
    world.expect_archived("rj").await;
}

#[tokio::test]
async fn a_window_that_ends_in_the_future_ends_now() {
    let soon = now_ms() / 1_000 + 3_600;
    let mut plays = history(1, 500);
    plays.extend(plays_from(soon, 3));
    let world = World::of(lastfm_with(&[("rj", plays)])).start().await;
    world
        .work_off(&format!(r#"{{"user":"rj","to":{}}}"#, soon + 86_400))
        .await;
    let plays = world.truth("rj");
    world.expect_archive("rj", &plays[..500]).await;
}

#[tokio::test]
async fn wildly_wrong_hints_do_no_harm() {
    for hints in [
        r#""total":1"#,
        r#""total":0"#,
        r#""total":18446744073709551615"#,
        r#""total":99999999"#,
        r#""pages":1"#,
        r#""pages":100"#,
        r#""page_size":1"#,
        r#""page_size":1000"#,
        r#""total":3,"page_size":999,"pages":2"#,
        r#""total":1000000,"page_size":7,"pages":100"#,
        r#""attempt":2,"waits":3,"redelivered":true"#,
    ] {
        let world = rj(430).set("PAGES_PER_ITEM", "20").start().await;
        world.work_off(&format!(r#"{{"user":"rj",{hints}}}"#)).await;
        world.expect_archived("rj").await;
    }
}

#[tokio::test]
async fn a_container_with_foreign_blobs_is_used_and_they_stay_as_they_are() {
    let world = rj(300).start().await;
    let archive = world.archive();
    archive.create().await;
    let foreign = [
        "readme.txt",
        "user=rj/year=2024/month=05/late-0.ndjson",
        "user=rj/year=2024/month=05/part-x.ndjson",
        "user=rj/year=2024/month=05/part-0.ndjson.bak",
        "user=rj/notes.md",
        "user=rjx/year=2999/month=01/part-0.ndjson",
        "removed/user=rj/part-0.ndjson",
    ];
    for name in foreign {
        archive.put(name, "not a scrobble").await;
    }
    world.work_off(r#"{"user":"rj"}"#).await;
    let mut blobs = world.blobs("rj").await;
    blobs.retain(|(name, _)| !foreign.contains(&name.as_str()));
    let plays = world.truth("rj");
    let truth = blob_checker::Truth {
        user: "rj",
        plays: &plays,
    };
    blob_checker::compare(&truth, &blobs).unwrap();
    for name in foreign {
        assert_eq!(archive.download(name).await, b"not a scrobble", "{name}");
    }
}

#[tokio::test]
async fn an_archive_that_knows_no_months_after_a_gap_of_years_goes_on() {
    let mut plays = plays_from(1_000_000_000, 30);
    plays.extend(plays_from(1_600_000_000, 30));
    // The last second of a month and the first of the next one.
    plays.extend(plays_from(1_709_251_199, 1));
    plays.extend(plays_from(1_709_251_200, 2));
    let world = World::of(lastfm_with(&[("rj", plays)])).start().await;
    world.work_off(r#"{"user":"rj"}"#).await;
    world.expect_archived("rj").await;
    let names: Vec<_> = world.blobs("rj").await.into_iter().map(|it| it.0).collect();
    assert_eq!(
        names,
        [
            "user=rj/year=2001/month=09/part-0.ndjson",
            "user=rj/year=2020/month=09/part-0.ndjson",
            "user=rj/year=2024/month=02/part-0.ndjson",
            "user=rj/year=2024/month=03/part-0.ndjson",
        ]
    );
}

#[tokio::test]
async fn the_archive_may_be_in_another_storage_than_the_queue() {
    let azurite = Azurite::start();
    let with_key = format!(
        "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={};BlobEndpoint={}",
        ACCOUNT_KEY,
        azurite.blob_endpoint(),
    );
    let with_sas = azurite.connection_string_with_sas();
    for archive_storage in [with_key, with_sas] {
        // If the archive's calls went to the host's storage, they would be seen here.
        let host_blobs = Proxy::of_blobs().await;
        let world = rj(250)
            .set("ARCHIVE_STORAGE", archive_storage)
            .set(
                "AzureWebJobsStorage",
                Proxy::connection_string(Some(&host_blobs), None),
            )
            .start()
            .await;
        world.tick().await;
        world.expect_archived("rj").await;
        assert_eq!(host_blobs.calls().len(), 0);
    }
}

#[tokio::test]
async fn the_queue_may_be_reached_with_a_shared_access_signature() {
    let world = rj(250)
        .set(
            "AzureWebJobsStorage",
            Azurite::start().connection_string_with_sas(),
        )
        .start()
        .await;
    world.tick().await;
    world.expect_archived("rj").await;
}

#[tokio::test]
async fn a_queue_that_does_not_exist_is_made_by_the_program() {
    let world = rj(10).start().await;
    assert_eq!(world.queue().approximate_count().await, 0);
    let tick = world
        .host
        .fire_timer("enqueue_users", Tick::Scheduled)
        .await;
    tick.expect_success();
    assert_eq!(world.queue().approximate_count().await, 1);
    let summary = world.host.pump_until_idle(DELIVERIES_MAX).await;
    summary.expect_drained();
    world.expect_archived("rj").await;
}
