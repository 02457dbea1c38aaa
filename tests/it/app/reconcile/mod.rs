//! The reconcile: its timer, its queue and what it writes, on real components; and `verify` on the same archive.
//!
//! Nothing may be written while a part of the user has changed within three minutes, by the service's own clock. A proxy before
//! the blob service tells older dates in every listing, so that no scene has to wait: the program's own clock and the rule
//! stay as they are.

mod runs;
mod trouble;
mod verify;

use fake_lastfm::Play;
use serde_json::{Value, json};

use crate::support::everything::Everything;
use crate::support::program::Program;
use crate::support::proxy::Proxy;
use crate::support::world::{DELIVERIES_MAX, World, WorldBuilder, lastfm_with, log_lines, now_ms};

const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

/// A world whose archive has been at rest for an hour, as the program sees it.
struct AtRest {
    world: World,
    blobs: Proxy,
    /// Now, at the beginning.
    now: i64,
}

/// One play an hour for 60 days, up to two hours ago, all of them different.
fn hourly(now: i64) -> Vec<Play> {
    let plays = 60 * 24;
    let newest = now - 2 * HOUR;
    let play = |number: i64| {
        let uts = newest - (plays - 1 - number) * HOUR;
        Play::new(uts, "Artist", &format!("Track {number}"))
    };
    (0..plays).map(play).collect()
}

impl AtRest {
    /// `rj` with an hourly history that is archived.
    async fn start() -> Self {
        Self::behind(None, &[]).await
    }

    /// The same with these settings, and the queues perhaps behind a proxy.
    async fn behind(queues: Option<&Proxy>, settings: &[(&str, &str)]) -> Self {
        let blobs = Proxy::of_blobs().await;
        let now = now_ms() / 1_000;
        let builder = World::of(lastfm_with(&[("rj", hourly(now))]));
        let storage = Proxy::connection_string(Some(&blobs), queues);
        let builder = builder.set("AzureWebJobsStorage", storage);
        let set = |builder: WorldBuilder, (name, value): &(&str, &str)| builder.set(name, *value);
        let world = settings.iter().fold(builder, set).start().await;
        world.tick().await;
        world.expect_archived("rj").await;
        blobs.blobs_look_older(HOUR);
        Self { world, blobs, now }
    }

    fn change(&self, change: impl FnOnce(&mut fake_lastfm::History)) {
        let lastfm = &self.world.lastfm;
        lastfm.with(|lastfm| change(&mut lastfm.user_mut("rj").history));
    }

    async fn everything(&self) -> Everything {
        self.world.everything("rj").await
    }

    /// One run that begins at `to`; its line in the log.
    async fn run(&self, to: i64, mark: &str) -> Value {
        let message = json!({ "user": "rj", "to": to, "run": mark });
        self.deliver(&message.to_string()).await
    }

    /// One delivery of this message; its line in the log.
    async fn deliver(&self, message: &str) -> Value {
        let host = &self.world.host;
        let invocation = host.invoke_queue_bytes("reconcile_user", message.as_bytes(), 1);
        invocation.await.expect_success();
        last_line(&self.world)
    }

    /// Twenty-nine runs, a day apart: each stretch of the history is counted.
    async fn all_stretches(&self, mark: &str) {
        for day in (0..29).rev() {
            let line = self
                .run(self.now - day * DAY, &format!("{mark}-{day}"))
                .await;
            assert_eq!(line["message"], "reconcile done", "{line}");
        }
    }

    /// Delivers until the queue is empty; every delivery must succeed.
    async fn work_off(&self, message: &str) {
        let queue = self.world.reconciles();
        queue.create().await;
        queue.put(message).await;
        let summary = self.world.host.pump_until_idle(DELIVERIES_MAX).await;
        summary.expect_drained();
    }

    fn command(&self, arguments: &[&str]) -> Program {
        let program = Program::new(arguments);
        let environment = self.world.environment().into_iter();
        environment.fold(program, |program, (name, value)| program.set(&name, value))
    }
}

/// The last line in the log about a reconcile.
fn last_line(world: &World) -> Value {
    let lines = log_lines(&world.host).into_iter();
    let mut lines = lines.filter(|line| line["function"] == "reconcile_user");
    lines.next_back().unwrap()
}

/// What a line in the log says was written down.
fn written(line: &Value) -> [u64; 4] {
    ["late", "removed", "returned", "missing"].map(|field| line[field].as_u64().unwrap())
}

fn index_of(plays: &[Play], uts: i64) -> usize {
    plays.iter().position(|play| play.uts == uts).unwrap()
}
