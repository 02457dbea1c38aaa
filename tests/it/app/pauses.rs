//! Last.fm limits the rate, and every process pauses.

use fake_lastfm::{Fault, RequestInfo};

use crate::support::proxy::Proxy;
use crate::support::world::{World, history, lastfm_with};

/// Two processes work on a user each until Last.fm refuses a request. The storage's clock, which they go by, then moves on by
/// steps.
async fn two_processes_pause(fault: Fault, pause_s: i64) {
    let (blobs, queues) = (Proxy::of_blobs().await, Proxy::of_queues().await);
    let storage = Proxy::connection_string(Some(&blobs), Some(&queues));
    let users = [("rj", history(1, 500)), ("zed", history(2, 500))];
    let world = World::of(lastfm_with(&users))
        .set("LASTFM_PAGE_SIZE", "50")
        .set("LASTFM_REQUESTS_PER_SECOND", "4")
        .set("AzureWebJobsStorage", storage)
        .start()
        .await;
    let other = world.another_host(&[]).await;
    // Refused is a request that comes when both processes are at work.
    let mut asked = [0, 0];
    let is_refused = move |request: &RequestInfo| {
        asked[usize::from(request.is_for("zed"))] += 1;
        asked[0] > 2 && asked[1] > 2
    };
    world
        .lastfm
        .with(|lastfm| lastfm.faults.push_when(1, is_refused, fault));
    let both_work = async |users: [&str; 2]| {
        let [one, two] = users.map(|user| format!(r#"{{"user":"{user}"}}"#));
        let (one, two) = tokio::join!(
            world
                .host
                .invoke_queue_bytes("fetch_pages", one.as_bytes(), 1),
            other.invoke_queue_bytes("fetch_pages", two.as_bytes(), 1)
        );
        one.expect_success();
        two.expect_success();
    };

    both_work(["rj", "zed"]).await;
    let requests = world.requests();
    let before = world.lastfm.with(|lastfm| {
        let mut entries = lastfm.log.entries().iter();
        entries.position(|entry| entry.status == 429).unwrap() + 1
    });
    // The other process has six intervals in hand at most, and looks at the budget before it uses the last two.
    let after = requests - before;
    assert!(after <= 4, "{after} requests in the pause");

    // Everybody asks again, for either user, now and when half a minute is left.
    for passed_s in [0, pause_s - 30] {
        blobs.date_runs_ahead(passed_s);
        both_work(["rj", "zed"]).await;
        both_work(["zed", "rj"]).await;
        assert_eq!(world.requests(), requests, "after {passed_s} s");
    }
    let (copy, delay) = queues
        .messages_to(world.setting("WORK_QUEUE"))
        .pop()
        .unwrap();
    assert!((20..=40).contains(&delay), "{copy} comes back in {delay} s");

    blobs.date_runs_ahead(pause_s + 3);
    both_work(["rj", "zed"]).await;
    for user in ["rj", "zed"] {
        world.expect_archived(user).await;
    }
}

#[tokio::test]
async fn after_one_refusal_no_process_asks_until_the_pause_is_over() {
    let asked = |seconds| Fault::RateLimited {
        retry_after_seconds: Some(seconds),
    };
    tokio::join!(
        two_processes_pause(Fault::error(29), 60),
        two_processes_pause(asked(600), 600),
        // More than anybody should ask for.
        two_processes_pause(asked(7_200), 900)
    );
}
