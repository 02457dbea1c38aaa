//! Messages come twice, late, out of order, to several workers at once, and the program may die at any moment.

use std::time::Duration;

use crate::support::blob_checker;
use crate::support::functions_host::{FunctionsHost, PumpSummary};
use crate::support::proxy::{Call, Proxy, Trouble};
use crate::support::world::{DELIVERIES_MAX, World, history, lastfm_with, rj};

const FETCH: &str = "fetch_pages";
const LEASE: Duration = Duration::from_mins(10);

/// A world of which the first item of a chain is done; gives the continuation, taken off the queue.
async fn with_continuation() -> (World, String) {
    let world = rj(2_000).set("PAGES_PER_ITEM", "2").start().await;
    world.put(r#"{"user":"rj"}"#).await;
    assert_eq!(world.host.pump_queue().await.successes(), 1);
    let message = world.queue().receive(1, LEASE).await.remove(0);
    assert!(world.queue().delete(&message).await);
    (world, message.text)
}

async fn deliver(world: &World, message: &str, dequeue_count: u64) {
    let invocation = world
        .host
        .invoke_queue_bytes(FETCH, message.as_bytes(), dequeue_count);
    invocation.await.expect_success();
}

async fn finish(world: &World) -> PumpSummary {
    let summary = world.host.pump_until_idle(DELIVERIES_MAX).await;
    summary.expect_drained();
    summary
}

#[tokio::test]
async fn a_duplicated_message_changes_nothing() {
    let (world, continuation) = with_continuation().await;
    for _ in 0..2 {
        world.queue().put(&continuation).await;
    }
    finish(&world).await;
    world.expect_archived("rj").await;
}

#[tokio::test]
async fn a_fresh_message_with_a_stale_mark_ends_without_a_request_and_without_a_message() {
    let (world, continuation) = with_continuation().await;
    deliver(&world, &continuation, 1).await;
    let next = world.queue().approximate_count().await;
    assert_eq!(next, 1, "the continuation of the continuation");
    let requests = world.requests();
    let bytes = world.blobs("rj").await;
    deliver(&world, &continuation, 1).await;
    assert_eq!(world.requests(), requests);
    assert_eq!(world.queue().approximate_count().await, next);
    assert_eq!(world.blobs("rj").await, bytes);
    let milestone = world.milestones().pop().unwrap();
    assert_eq!(
        (&milestone["requests"], &milestone["plays"]),
        (&0.into(), &0.into())
    );
}

#[tokio::test]
async fn a_redelivered_message_with_a_stale_mark_does_the_next_step_itself() {
    let (world, continuation) = with_continuation().await;
    deliver(&world, &continuation, 1).await;
    // The crash came here: the append is there, its continuation is lost.
    let lost = world.queue().receive(1, LEASE).await.remove(0);
    assert!(world.queue().delete(&lost).await);
    let newest = world.newest("rj").await;
    deliver(&world, &continuation, 2).await;
    assert!(world.newest("rj").await > newest, "a step was made");
    assert_eq!(world.queue().approximate_count().await, 1);
    finish(&world).await;
    world.expect_archived("rj").await;
}

#[tokio::test]
async fn a_mark_ahead_of_the_archive_plans_from_the_archive() {
    let (world, continuation) = with_continuation().await;
    deliver(&world, &continuation, 1).await;
    let ahead = world.queue().receive(1, LEASE).await.remove(0);
    // A restored archive: the newest month is gone again, so `from` lies ahead of it.
    let (last, _) = world.blobs("rj").await.pop().unwrap();
    world.archive().delete(&last).await;
    deliver(&world, &ahead.text, 1).await;
    world.queue().delete(&ahead).await;
    finish(&world).await;
    world.expect_archived("rj").await;
}

#[tokio::test]
async fn a_mark_ahead_of_an_empty_archive_starts_at_the_beginning() {
    let world = rj(300).start().await;
    world.work_off(r#"{"user":"rj","from":1700000000}"#).await;
    world.expect_archived("rj").await;
}

/// So many processes, each with messages of its own for the same user.
async fn several_workers(processes: usize, messages: usize) {
    let (blobs, queues) = (Proxy::of_blobs().await, Proxy::of_queues().await);
    let storage = Proxy::connection_string(Some(&blobs), Some(&queues));
    let world = rj(3_000)
        .set("PAGES_PER_ITEM", "2")
        .set("AzureWebJobsStorage", storage)
        .start()
        .await;
    for _ in 0..messages {
        world.put(r#"{"user":"rj"}"#).await;
    }
    let mut others = Vec::new();
    for _ in 1..processes {
        others.push(world.another_host(&[]).await);
    }
    let all = others.iter().chain([&world.host]);
    let pumps = all.map(|host: &FunctionsHost| host.pump_until_idle(DELIVERIES_MAX));
    for summary in futures::future::join_all(pumps).await {
        assert_eq!(summary.failures(), [""; 0]);
    }
    // Whoever saw an empty queue stopped while others still worked; the rest of the chain is short.
    finish(&world).await;
    world.expect_archived("rj").await;
    let appends = blobs.calls_where(|call| call.is_append() && call.status == Some(201));
    let sent = queues.messages_to(world.setting("WORK_QUEUE"));
    assert!(
        sent.len() <= appends.len(),
        "{} continuations for {} appends",
        sent.len(),
        appends.len()
    );
}

#[tokio::test]
async fn two_messages_in_one_process_write_each_play_once() {
    several_workers(1, 2).await;
}

#[tokio::test]
async fn two_processes_write_each_play_once() {
    several_workers(2, 4).await;
}

#[tokio::test]
async fn four_processes_write_each_play_once() {
    several_workers(4, 8).await;
}

#[tokio::test]
async fn a_kill_between_append_and_continuation_is_healed_by_the_redelivery() {
    let queues = Proxy::of_queues().await;
    let (world, continuation) = with_continuation().await;
    world.queue().put(&continuation).await;
    let storage = Proxy::connection_string(None, Some(&queues));
    let doomed = world
        .another_host(&[("AzureWebJobsStorage", &storage)])
        .await;
    let queue = world.setting("WORK_QUEUE").to_owned();
    let is_continuation = move |call: &Call| call.is_message_to(&queue);
    queues.trouble(usize::MAX, is_continuation.clone(), Trouble::Hold);
    let newest = world.newest("rj").await;

    let kill = async {
        queues.seen(is_continuation).await;
        doomed.kill().await
    };
    let (summary, _) = tokio::join!(doomed.pump_until_idle(DELIVERIES_MAX), kill);
    assert_eq!((summary.successes(), summary.remaining), (0, 1));
    assert!(world.newest("rj").await > newest, "the append had landed");

    let summary = finish(&world).await;
    assert_eq!(summary.handled[0].dequeue_count, 2);
    world.expect_archived("rj").await;
}

#[tokio::test]
async fn a_kill_in_the_middle_loses_nothing() {
    let mut world = World::of(lastfm_with(&[
        ("rj", history(1, 3_000)),
        ("zed", history(2, 3_000)),
    ]))
    .set("PAGES_PER_ITEM", "3")
    .start()
    .await;
    for user in ["rj", "zed"] {
        world.put(&format!(r#"{{"user":"{user}"}}"#)).await;
    }
    for requests in [3, 11, 19, 27] {
        let kill = async {
            world.lastfm.requests_reached(requests).await;
            world.host.kill().await
        };
        let (summary, _) = tokio::join!(world.host.pump_until_idle(DELIVERIES_MAX), kill);
        assert!(summary.exit_status.is_some());
        world.host.restart().await;
    }
    let summary = finish(&world).await;
    assert!(
        summary.invocations() > 0,
        "the kills came too late to matter"
    );
    for user in ["rj", "zed"] {
        world.expect_archived(user).await;
    }
}

#[tokio::test]
async fn an_append_whose_acknowledgement_is_lost_is_not_made_twice() {
    let (blobs, queues) = (Proxy::of_blobs().await, Proxy::of_queues().await);
    let storage = Proxy::connection_string(Some(&blobs), Some(&queues));
    let world = rj(1_200)
        .set("PAGES_PER_ITEM", "2")
        .set("AzureWebJobsStorage", storage)
        .start()
        .await;
    blobs.trouble(3, Call::is_append, Trouble::LoseAnswer);
    world.work_off(r#"{"user":"rj"}"#).await;
    world.expect_archived("rj").await;
    let continued = queues.messages_to(world.setting("WORK_QUEUE"));
    assert!(!continued.is_empty(), "the item went on after its append");
}

#[tokio::test]
async fn an_append_that_fails_for_a_moment_is_tried_again() {
    let blobs = Proxy::of_blobs().await;
    let storage = Proxy::connection_string(Some(&blobs), None);
    let world = rj(500).set("AzureWebJobsStorage", storage).start().await;
    blobs.trouble(2, Call::is_append, Trouble::Refuse(503));
    world.work_off(r#"{"user":"rj"}"#).await;
    world.expect_archived("rj").await;
}

#[tokio::test]
async fn a_lost_chain_is_started_again_by_the_next_tick() {
    let (world, _lost) = with_continuation().await;
    assert!(blob_checker::rows(&world.blobs("rj").await).len() < 1_000);
    world.tick().await;
    world.expect_archived("rj").await;
}
