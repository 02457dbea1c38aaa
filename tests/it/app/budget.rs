//! The request budget that all instances share, as a blob.

use std::time::Duration;

use fake_lastfm::Fault;
use serde_json::{Value, json};

use crate::support::functions_host::Tick;
use crate::support::proxy::Proxy;
use crate::support::world::{
    World, WorldBuilder, are_up_to_date, history, lastfm_with, log_lines_at, milestones, now_ms,
    rj, work_until,
};

const BLOB: &str = "budget.json";

/// A world with a rate, whose messages are seen by a proxy.
async fn with_rate(world: WorldBuilder, rate: &str) -> (World, Proxy) {
    let queues = Proxy::of_queues().await;
    let storage = Proxy::connection_string(None, Some(&queues));
    let world = world
        .set("LASTFM_REQUESTS_PER_SECOND", rate)
        .set("AzureWebJobsStorage", storage);
    (world.start().await, queues)
}

async fn free_at_ms(world: &World) -> i64 {
    let text = world.control().download(BLOB).await;
    let budget: Value = serde_json::from_slice(&text).unwrap();
    let free_at_ms = budget["free_at_ms"].as_i64().unwrap();
    assert_eq!(budget, json!({ "free_at_ms": free_at_ms }));
    free_at_ms
}

async fn put_budget(world: &World, text: impl Into<Vec<u8>>) {
    world.control().create().await;
    world.control().put(BLOB, text).await;
}

#[tokio::test]
async fn the_budget_is_kept_in_the_control_container_when_a_rate_is_set() {
    let before = now_ms();
    let (world, _) = with_rate(rj(900), "40").await;
    world.work_off(r#"{"user":"rj"}"#).await;
    world.expect_archived("rj").await;
    let free_at_ms = free_at_ms(&world).await;
    let ahead = free_at_ms - before;
    let least = i64::try_from(world.requests()).unwrap() * 25;
    assert!(
        ahead >= least,
        "{ahead} ms for {} requests",
        world.requests()
    );
    assert!(free_at_ms < now_ms() + 2_000, "no more than about a second");
}

#[tokio::test]
async fn the_rate_is_never_exceeded_by_two_processes_and_two_users() {
    let mut lastfm = fake_lastfm::LastFm::new();
    for (user, seed) in [("rj", 1), ("zed", 2)] {
        lastfm.add_user(user, history(seed, 900));
    }
    let (world, _) = with_rate(World::of(lastfm).set("LASTFM_PAGE_SIZE", "100"), "10").await;
    let other = world.another_host(&[]).await;
    for user in ["rj", "zed"] {
        world.put(&format!(r#"{{"user":"{user}"}}"#)).await;
    }
    let (one, two) = tokio::join!(world.host.pump_queue(), async {
        let _ = other
            .invoke_queue_bytes("fetch_pages", br#"{"user":"rj"}"#, 1)
            .await;
        other.pump_queue().await
    });
    assert_eq!((one.failures(), two.failures()), (vec![], vec![]));
    let (busiest, count) = world
        .lastfm
        .with(|lastfm| (lastfm.log.busiest(1_000), lastfm.log.count()));
    assert!(count > 20, "{count}");
    // Ten intervals start within a second; a request may start late inside its own, so one more may slip in.
    assert!(busiest <= 11, "{busiest} requests within a second");
}

#[tokio::test]
async fn three_processes_and_six_users_stay_inside_the_rate_that_last_fm_enforces() {
    let names = ["a", "b", "c", "d", "e", "f"].map(str::to_owned);
    let users: Vec<_> = names
        .iter()
        .zip(1..)
        .map(|(name, seed)| (name.as_str(), history(seed, 400)))
        .collect();
    let world = World::of(lastfm_with(&users)).set("LASTFM_PAGE_SIZE", "50");
    let (mut world, _queues) = with_rate(world, "4").await;
    let mut others = [world.another_host(&[]).await, world.another_host(&[]).await];
    // Two items each at a time, so that all three have work.
    for host in others.iter_mut().chain([&mut world.host]) {
        host.app.queues.batch_size = 1;
        host.app.queues.new_batch_threshold = 1;
    }
    // An interval each, and two for a machine that is busy with other tests.
    world.enforce(4, 3);
    world
        .host
        .fire_timer("enqueue_users", Tick::Scheduled)
        .await
        .expect_success();
    let hosts = [&world.host, &others[0], &others[1]];
    let is_done = || world.refused() > 0 || are_up_to_date(&hosts, &names);
    work_until(&hosts, Duration::from_millis(200), is_done).await;
    assert_eq!(world.refused(), 0);
    for name in names {
        world.expect_archived(&name).await;
    }
    for host in hosts {
        let pages = milestones(host).iter().any(|line| line["pages"] != 0);
        assert!(pages, "a process without work");
        assert_eq!(log_lines_at(host, "WARN"), [Value::Null; 0]);
    }
}

#[tokio::test]
async fn no_limit_needs_no_budget() {
    let (world, _) = with_rate(rj(300), "0").await;
    world.work_off(r#"{"user":"rj"}"#).await;
    assert_eq!(world.control().list("budget").await, []);
}

#[tokio::test]
async fn an_item_waits_on_the_queue_while_the_budget_is_used_up_for_long() {
    let (world, queues) = with_rate(rj(300), "40").await;
    put_budget(
        &world,
        json!({ "free_at_ms": now_ms() + 300_000 }).to_string(),
    )
    .await;
    let to = 1_700_000_000;
    for (message, dequeue_count, redelivered, waits) in [
        (json!({ "user": "rj", "to": to }), 1, None, 1),
        (json!({ "user": "rj", "to": to }), 2, Some(true), 1),
        (
            json!({ "user": "rj", "to": to, "waits": 4, "redelivered": true }),
            1,
            Some(true),
            5,
        ),
    ] {
        let text = message.to_string();
        let run = world
            .host
            .invoke_queue_bytes("fetch_pages", text.as_bytes(), dequeue_count);
        run.await.expect_success();
        let (copy, delay) = queues
            .messages_to(world.setting("WORK_QUEUE"))
            .pop()
            .unwrap();
        let mut expected = json!({ "user": "rj", "to": to, "waits": waits });
        if let Some(redelivered) = redelivered {
            expected["redelivered"] = redelivered.into();
        }
        assert_eq!(copy, expected);
        assert!((280..=301).contains(&delay), "{delay}");
    }
    assert_eq!(world.requests(), 0);
    assert_eq!(world.blobs("rj").await, []);
}

#[tokio::test]
async fn an_item_that_has_waited_for_a_day_is_dropped() {
    let (world, queues) = with_rate(rj(300), "40").await;
    put_budget(
        &world,
        json!({ "free_at_ms": now_ms() + 300_000 }).to_string(),
    )
    .await;
    // Each wait is longer than 20 s, so that many are more than a day.
    let run = world
        .host
        .invoke_queue_bytes("fetch_pages", br#"{"user":"rj","waits":4400}"#, 1);
    run.await.expect_success();
    assert_eq!(queues.messages_to(world.setting("WORK_QUEUE")), []);
    assert_eq!(world.requests(), 0);
}

#[tokio::test]
async fn a_short_wait_is_waited_for_inside_the_invocation() {
    let (world, queues) = with_rate(rj(100), "40").await;
    let free_at_ms = now_ms() + 1_500;
    put_budget(&world, json!({ "free_at_ms": free_at_ms }).to_string()).await;
    world.work_off(r#"{"user":"rj"}"#).await;
    world.expect_archived("rj").await;
    let first = world
        .lastfm
        .with(|lastfm| lastfm.log.entries()[0].request.at_ms);
    assert!(first >= free_at_ms, "{} ms early", free_at_ms - first);
    assert_eq!(queues.messages_to(world.setting("WORK_QUEUE")), []);
}

#[tokio::test]
async fn a_rate_limit_by_last_fm_pauses_every_instance() {
    for (fault, least, most) in [
        (Fault::error(29), 60_000, 70_000),
        (
            Fault::RateLimited {
                retry_after_seconds: Some(120),
            },
            120_000,
            130_000,
        ),
        (
            Fault::RateLimited {
                retry_after_seconds: Some(999_999),
            },
            60_000,
            3_600_000,
        ),
    ] {
        let (world, queues) = with_rate(rj(300), "40").await;
        world.lastfm.with(|lastfm| {
            lastfm.faults.push_when(usize::MAX, |_| true, fault.clone());
        });
        let before = now_ms();
        let run = world
            .host
            .invoke_queue_bytes("fetch_pages", br#"{"user":"rj"}"#, 1);
        run.await.expect_success();
        let pause = free_at_ms(&world).await - before;
        assert!((least..most).contains(&pause), "{fault:?}: {pause} ms");
        assert_eq!(world.requests(), 1, "no request during the pause");
        let (copy, delay) = queues.messages_to(world.setting("WORK_QUEUE")).remove(0);
        assert!(delay >= 55, "{delay} s: {copy}");

        // Another instance, another user: no request either.
        let other = world.another_host(&[]).await;
        let run = other.invoke_queue_bytes("fetch_pages", br#"{"user":"zed"}"#, 1);
        run.await.expect_success();
        assert_eq!(world.requests(), 1);
    }
}

#[tokio::test]
async fn an_unreadable_budget_is_written_anew() {
    for text in ["", "not json", "[]", "{}", r#"{"free_at_ms":"soon"}"#] {
        let (world, _) = with_rate(rj(100), "40").await;
        put_budget(&world, text).await;
        world.work_off(r#"{"user":"rj"}"#).await;
        world.expect_archived("rj").await;
        let free_at_ms = free_at_ms(&world).await;
        assert!((now_ms() - free_at_ms).abs() < 60_000);
    }
}
