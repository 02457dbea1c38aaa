//! A long backfill and many small work items share the request budget.

use std::time::Duration;

use crate::support::functions_host::FunctionsHost;
use crate::support::world::{
    World, are_up_to_date, history, lastfm_with, milestones, plays_from, work_until,
};

/// Requests a second.
const RATE: usize = 4;

/// While somebody's backfill is under way, forty users with one new play each are put on the queue, to be worked off by so many
/// processes. Each must be archived before Last.fm has had as many requests as half a minute allows.
async fn forty_users_beside_a_backfill(processes: usize) {
    let names: Vec<String> = (1..=40).map(|number| format!("user-{number}")).collect();
    let mut users: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), plays_from(1_710_000_000, 1)))
        .collect();
    users.push(("long", history(1, 10_000)));
    let world = World::of(lastfm_with(&users))
        .set("LASTFM_REQUESTS_PER_SECOND", RATE.to_string())
        .set("LASTFM_PAGE_SIZE", "50")
        .set("PAGES_PER_ITEM", "100")
        .start()
        .await;
    let mut others = Vec::new();
    for _ in 1..processes {
        others.push(world.another_host(&[]).await);
    }
    let hosts: Vec<&FunctionsHost> = others.iter().chain([&world.host]).collect();

    world.put(r#"{"user":"long"}"#).await;
    let arrive = async {
        world.lastfm.requests_reached(8).await;
        let before = world.requests();
        for name in &names {
            world.put(&format!(r#"{{"user":"{name}"}}"#)).await;
        }
        before
    };
    let is_done = || are_up_to_date(&hosts, &names);
    let work = work_until(&hosts, Duration::from_millis(200), is_done);
    let ((), before) = tokio::join!(work, arrive);

    let (asked, last, backfill) = world.lastfm.with(|lastfm| {
        let entries = &lastfm.log.entries()[before..];
        let is_small = |index: &usize| !entries[*index].request.is_for("long");
        let small: Vec<usize> = (0..entries.len()).filter(is_small).collect();
        let last = small.last().unwrap() + 1;
        (small.len(), last, last - small.len())
    });
    eprintln!(
        "{processes} processes: {asked} requests for the forty, {backfill} for the backfill meanwhile"
    );
    assert!(
        last <= 30 * RATE,
        "the last of them had to wait for {last} requests"
    );
    assert!(asked <= 40, "{asked} requests for forty plays");
    assert!(backfill >= 4, "{backfill}: the backfill stood still");
    for name in &names {
        world.expect_archived(name).await;
    }
    for host in hosts {
        let lines = milestones(host);
        let is_put_back = |line: &&serde_json::Value| line["outcome"] == "put back";
        assert_eq!(lines.iter().find(is_put_back), None);
    }
}

#[tokio::test]
async fn forty_users_with_one_new_play_each_need_not_wait_for_a_backfill() {
    tokio::join!(
        forty_users_beside_a_backfill(1),
        forty_users_beside_a_backfill(3)
    );
}
