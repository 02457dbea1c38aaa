//! Pages that Last.fm fails to answer are asked for in smaller ones, and a play that it cannot answer at all is not passed.

use fake_lastfm::{Fault, RequestInfo};
use serde_json::json;

use crate::support::blob_checker;
use crate::support::functions_host::Tick;
use crate::support::world::{
    DELIVERIES_MAX, World, lastfm_with, log_lines_at, milestones, plays_from, rj,
};

const FIRST: i64 = 1_710_000_000;

#[tokio::test]
async fn pages_that_fail_at_their_size_are_fetched_in_smaller_ones() {
    let world = rj(500).start().await;
    let is_large = |request: &RequestInfo| request.limit > 50;
    world.lastfm.with(|lastfm| {
        lastfm
            .faults
            .push_when(usize::MAX, is_large, Fault::plain_500());
    });
    world.work_off(r#"{"user":"rj"}"#).await;
    world.expect_archived("rj").await;
}

/// Whether the page holds the play of this second, where plays are a minute apart from [`FIRST`] on.
fn holds(request: &RequestInfo, plays: i64, second: i64) -> bool {
    let newest = request
        .to
        .map_or(plays, |to| ((to - FIRST + 59) / 60).min(plays))
        - 1;
    let place = newest - (second - FIRST) / 60;
    let is_asked = request.from.is_none_or(|from| from <= second);
    is_asked && place >= 0 && place / request.limit == request.page - 1
}

#[tokio::test]
async fn a_play_that_cannot_be_fetched_stops_its_user_and_is_archived_once_it_can_be() {
    let plays = plays_from(FIRST, 60);
    let bad = plays[33].uts;
    let users = [("rj", plays.clone()), ("zed", plays.clone())];
    let world = World::of(lastfm_with(&users))
        .set("LASTFM_PAGE_SIZE", "10")
        .start()
        .await;
    world.lastfm.with(|lastfm| {
        let is_bad = move |request: &RequestInfo| request.is_for("rj") && holds(request, 60, bad);
        lastfm
            .faults
            .push_when(usize::MAX, is_bad, Fault::plain_500());
    });
    world
        .host
        .fire_timer("enqueue_users", Tick::Scheduled)
        .await
        .expect_success();
    let summary = world.host.pump_until_idle(DELIVERIES_MAX).await;
    assert_eq!((summary.failures(), summary.remaining), (vec![], 1));
    world.expect_archived("zed").await;

    // Everything before it, but for the play whose second may go on in what cannot be fetched; nothing after it.
    let archived = blob_checker::rows(&world.blobs("rj").await).len();
    assert_eq!(archived, 32);
    world.expect_archive("rj", &plays[..archived]).await;
    let put_back = milestones(&world.host).pop().unwrap();
    assert_eq!(put_back["outcome"], "put back", "{put_back}");
    let window = "the plays of `rj` after 2024-03-09 16:31:00 UTC up to ";
    let reason = put_back["reason"].as_str().unwrap();
    assert!(reason.starts_with(window), "{reason}");
    assert!(reason.contains("in pages of 1 or larger"), "{reason}");

    // The copy comes back three times, and then says it aloud.
    let last = json!({ "user": "rj", "attempt": 3, "page_size": 1 }).to_string();
    let run = world
        .host
        .invoke_queue_bytes("fetch_pages", last.as_bytes(), 1);
    run.await.expect_success();
    let warnings = log_lines_at(&world.host, "WARN");
    let reason = warnings.last().unwrap()["reason"].as_str().unwrap();
    assert!(reason.starts_with(window), "{reason}");
    world.expect_archive("rj", &plays[..archived]).await;

    world.lastfm.with(|lastfm| lastfm.faults.clear());
    world
        .host
        .fire_timer("enqueue_users", Tick::Scheduled)
        .await
        .expect_success();
    let summary = world.host.pump_until_idle(DELIVERIES_MAX).await;
    assert_eq!((summary.failures(), summary.remaining), (vec![], 1));
    world.expect_archived("rj").await;
}
