//! The program is killed again and again, at any moment, and the host starts it again.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::blob_checker;
use crate::support::functions_host::Tick;
use crate::support::proxy::{Call, Proxy, Trouble};
use crate::support::seed;
use crate::support::world::{World, WorldBuilder, rj};

const PLAYS: usize = 20_000;
const KILLS: usize = 30;
const PAGES_PER_ITEM: usize = 3;

/// Items of 600 plays in one or two months each, with a rate so that the budget is asked, too.
fn backfill() -> WorldBuilder {
    rj(PLAYS)
        .set("PAGES_PER_ITEM", PAGES_PER_ITEM.to_string())
        .set("LASTFM_REQUESTS_PER_SECOND", "100")
}

/// When the program dies, counted from now.
#[derive(Debug)]
enum Moment {
    /// This many requests have come to Last.fm.
    Page(usize),
    /// This call of the blob service has come, or was even carried out.
    Blob(usize, bool),
    /// A continuation has come to the queue, or was even put there.
    Continuation(bool),
}

impl Moment {
    /// An item takes about four requests, a dozen calls of the blob service, and one of the queue.
    fn choose(random: &mut fastrand::Rng) -> Self {
        match random.u8(..5) {
            0 | 1 => Self::Page(random.usize(1..=5)),
            2 | 3 => Self::Blob(random.usize(1..=14), random.bool()),
            _ => Self::Continuation(random.bool()),
        }
    }
}

/// A world whose program is killed.
struct Doomed {
    world: World,
    blobs: Proxy,
    queues: Proxy,
}

impl Doomed {
    async fn start() -> Self {
        let (blobs, queues) = (Proxy::of_blobs().await, Proxy::of_queues().await);
        let storage = Proxy::connection_string(Some(&blobs), Some(&queues));
        let world = backfill().set("AzureWebJobsStorage", storage).start().await;
        Self {
            world,
            blobs,
            queues,
        }
    }

    async fn comes(&self, moment: &Moment) {
        let carried_out = |yes| {
            if yes {
                Trouble::HoldAnswer
            } else {
                Trouble::Hold
            }
        };
        match *moment {
            Moment::Page(count) => {
                let requests = self.world.requests() + count;
                self.world.lastfm.requests_reached(requests).await;
            }
            Moment::Blob(count, after) => {
                let calls = AtomicUsize::new(0);
                let nth = move |_: &Call| calls.fetch_add(1, Ordering::Relaxed) + 1 == count;
                self.blobs.trouble(1, nth, carried_out(after)).first().await;
            }
            Moment::Continuation(after) => {
                let any = |_: &Call| true;
                self.queues
                    .trouble(1, any, carried_out(after))
                    .first()
                    .await;
            }
        }
    }

    /// Works until the moment and kills the program there; false when nothing was left on the queue before.
    async fn work_and_die(&mut self, moment: &Moment) -> bool {
        let died = self.world.host.pump_until_killed(self.comes(moment)).await;
        self.blobs.calm();
        self.queues.calm();
        if died {
            self.world.host.restart().await;
        }
        died
    }

    async fn tick(&self) {
        let tick = self.world.host.fire_timer("enqueue_users", Tick::Scheduled);
        tick.await.expect_success();
    }

    async fn is_complete(&self) -> bool {
        let plays = self.world.truth("rj");
        let blobs = self.world.blobs("rj").await;
        blob_checker::rows(&blobs).len() == plays.len()
    }
}

#[tokio::test]
async fn thirty_kills_at_random_moments_lose_nothing_repeat_nothing_and_cost_few_requests() {
    let needed = {
        let world = backfill().start().await;
        world.work_off(r#"{"user":"rj"}"#).await;
        world.requests()
    };
    let rounds = seed::number("KILLS_ROUNDS").unwrap_or(1);
    let mut random = seed::random("KILLS_SEED", "thirty_kills");
    for _ in 0..rounds {
        thirty_kills(&mut random, needed).await;
    }
}

async fn thirty_kills(random: &mut fastrand::Rng, needed: usize) {
    let mut doomed = Doomed::start().await;
    doomed.tick().await;
    let mut kills = 0;
    while kills < KILLS {
        let moment = Moment::choose(random);
        if doomed.work_and_die(&moment).await {
            eprintln!("killed at {moment:?}");
            kills += 1;
        } else {
            // Killed five times at its work, a message is poison to the host, and the chain has ended. The next tick begins another.
            assert!(!doomed.is_complete().await, "done after {kills} kills");
            eprintln!("a tick");
            doomed.tick().await;
        }
    }
    doomed.world.host.pump_until_idle(usize::MAX).await;
    if !doomed.is_complete().await {
        eprintln!("a tick");
        doomed.tick().await;
        doomed.world.host.pump_until_idle(usize::MAX).await;
    }
    doomed.world.expect_archived("rj").await;
    let requests = doomed.world.requests();
    eprintln!("{requests} requests with {kills} kills, {needed} without");
    assert!(requests <= needed + kills * (PAGES_PER_ITEM + 1));
}
