//! The network between the program and its storage loses requests, answers, and the middle of either.

use crate::support::blob_checker::{self, Truth};
use crate::support::functions_host::Tick;
use crate::support::lossy::Lossy;
use crate::support::seed;
use crate::support::world::{World, history, lastfm_with};

const USERS: [&str; 4] = ["anna", "rj", "tom", "zed"];
/// Of a hundred requests.
const LOSSES: u8 = 6;
/// Each tick finds less to do, and one that is lost is followed by another.
const TICKS_MAX: usize = 20;
const KILLS: usize = 10;

/// Four users with ten pages each, in items of two pages, behind a storage that loses much.
async fn world(random: &mut fastrand::Rng) -> (World, Lossy, Lossy) {
    let (blobs, queues) = Lossy::pair(random, LOSSES).await;
    let plays = [1, 2, 3, 4].map(|seed| history(seed, 1_000));
    let users: Vec<_> = USERS.into_iter().zip(plays).collect();
    let storage = Lossy::connection_string(&blobs, &queues);
    let world = World::of(lastfm_with(&users))
        .set("LASTFM_PAGE_SIZE", "100")
        .set("PAGES_PER_ITEM", "2")
        .set("LASTFM_REQUESTS_PER_SECOND", "100")
        .set("AzureWebJobsStorage", storage);
    (world.start().await, blobs, queues)
}

/// Whether every user's archive is whole. What stands there must be right at any time.
async fn is_complete(world: &World) -> bool {
    let mut is_complete = true;
    for user in USERS {
        let blobs = world.blobs(user).await;
        let count = blob_checker::rows(&blobs).len();
        let plays = world.truth(user);
        is_complete &= count == plays.len();
        let plays = &plays[..count.min(plays.len())];
        if let Err(problem) = blob_checker::compare(&Truth { user, plays }, &blobs) {
            panic!("the archive of `{user}` is wrong: {problem}");
        }
    }
    is_complete
}

/// Ticks, works and is killed so often, until every archive is whole.
async fn complete(world: &mut World, blobs: &Lossy, random: &mut fastrand::Rng, kills: usize) {
    let mut killed = 0;
    for number in 1.. {
        // It may fail: then some users wait for the next one.
        let tick = world
            .host
            .fire_timer_with_retries("enqueue_users", Tick::Scheduled);
        tick.await;
        while killed < kills {
            let calls = blobs.requests() + random.usize(1..=40);
            let moment = blobs.requests_reached(calls);
            if !world.host.pump_until_killed(moment).await {
                break;
            }
            world.host.restart().await;
            killed += 1;
        }
        world.host.pump_until_idle(usize::MAX).await;
        if is_complete(world).await {
            eprintln!("whole after {number} ticks and {killed} kills");
            break;
        }
        assert!(number < TICKS_MAX, "not whole after {number} ticks");
    }
    assert_eq!(killed, kills, "the work was done before the last kill");
}

/// A test that loses nothing tests nothing.
fn expect_losses(blobs: &Lossy, queues: &Lossy) {
    let kinds = "requests, half requests, answers, half answers";
    let (lost, all) = (blobs.losses(), blobs.requests());
    eprintln!("lost {lost:?} {kinds} of {all} for blobs");
    eprintln!(
        "lost {:?} of {} for queues",
        queues.losses(),
        queues.requests()
    );
    assert!(lost.iter().sum::<usize>() > 5, "{lost:?} {kinds} lost");
}

#[tokio::test]
async fn a_storage_that_loses_requests_and_answers_makes_no_archive_wrong() {
    let mut random = seed::random("LOSSES_SEED", "a_storage_that_loses");
    let (mut world, blobs, queues) = world(&mut random).await;
    complete(&mut world, &blobs, &mut random, 0).await;
    expect_losses(&blobs, &queues);
}

#[tokio::test]
async fn a_lossy_storage_and_kills_together_make_no_archive_wrong() {
    let mut random = seed::random("LOSSES_SEED", "a_lossy_storage_and_kills");
    let (mut world, blobs, queues) = world(&mut random).await;
    complete(&mut world, &blobs, &mut random, KILLS).await;
    expect_losses(&blobs, &queues);
}
