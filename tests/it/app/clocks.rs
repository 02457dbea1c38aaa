//! The clocks of the processes differ.

use std::time::Duration;

use serde_json::Value;

use crate::support::functions_host::Tick;
use crate::support::proxy::Proxy;
use crate::support::world::{
    World, are_up_to_date, history, lastfm_with, log_lines_at, milestones, work_until,
};

/// Three processes: one with a right clock, one that is half a minute slow and one that is half a minute fast.
#[tokio::test]
async fn clocks_half_a_minute_apart_do_no_harm() {
    let names = ["a", "b", "c", "d", "e", "f"].map(str::to_owned);
    let users: Vec<_> = names
        .iter()
        .zip(1..)
        .map(|(name, seed)| (name.as_str(), history(seed, 400)))
        .collect();
    let world = World::of(lastfm_with(&users))
        .set("LASTFM_REQUESTS_PER_SECOND", "4")
        .set("LASTFM_PAGE_SIZE", "50");
    let mut world = world.start().await;
    let mut others = Vec::new();
    for seconds in [30, -30] {
        let (blobs, queues) = (Proxy::of_blobs().await, Proxy::of_queues().await);
        blobs.time_runs_ahead(seconds);
        queues.time_runs_ahead(seconds);
        let storage = Proxy::connection_string(Some(&blobs), Some(&queues));
        let changes = [("AzureWebJobsStorage", storage.as_str())];
        others.push(world.another_host(&changes).await);
    }
    for host in others.iter_mut().chain([&mut world.host]) {
        host.app.queues.batch_size = 1;
        host.app.queues.new_batch_threshold = 1;
    }
    // At first each clock is known to half a second only, which is two requests; and two for a busy machine.
    world.enforce(4, 6);
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
        let lines = milestones(host);
        assert!(
            lines.iter().any(|line| line["pages"] != 0),
            "an idle process"
        );
        let put_back = lines.iter().find(|line| line["outcome"] == "put back");
        assert_eq!(put_back, None, "nobody waits for a budget of the future");
    }
    assert_eq!(log_lines_at(hosts[0], "WARN"), [Value::Null; 0]);
    for (host, skew_ms) in [(hosts[1], 30_000), (hosts[2], -30_000)] {
        let [warning] = &log_lines_at(host, "WARN")[..] else {
            panic!("{:?}", log_lines_at(host, "WARN"));
        };
        let reported = warning["skew_ms"].as_i64().unwrap();
        assert!((reported - skew_ms).abs() < 1_000, "{warning}");
    }
}
