//! Answers that take their time, and a program that is told to end.

use std::process::Stdio;
use std::time::Duration;

use fake_lastfm::Fault;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::support::blob_checker;
use crate::support::proxy::{Call, Gate, Proxy, Trouble};
use crate::support::world::{DELIVERIES_MAX, World, log_lines, rj};

const PATIENCE: Duration = Duration::from_secs(30);

/// The program's own limit for fetching is a minute, and the host's for all of it two.
#[tokio::test]
async fn with_answers_of_ten_seconds_an_item_hands_over_what_it_has() {
    let world = rj(300).set("LASTFM_PAGE_SIZE", "10").start().await;
    let slow = Fault::Delay(Duration::from_secs(10));
    world
        .lastfm
        .with(|lastfm| lastfm.faults.push_when(usize::MAX, |_| true, slow));
    world.put(r#"{"user":"rj"}"#).await;
    let summary = world.host.pump_queue().await;
    assert_eq!((summary.failures(), summary.remaining), (vec![], 1));
    let milestone = world.milestones().pop().unwrap();
    assert_eq!(milestone["outcome"], "more to come", "{milestone}");
    let plays = blob_checker::rows(&world.blobs("rj").await).len();
    assert!(plays >= 100, "{plays} plays");
    world
        .expect_archive("rj", &world.truth("rj")[..plays])
        .await;

    let requests = world.requests();
    world.lastfm.with(|lastfm| lastfm.faults.clear());
    world
        .host
        .pump_until_idle(DELIVERIES_MAX)
        .await
        .expect_drained();
    world.expect_archived("rj").await;
    // What was under way at the deadline, and the newest page of the item's range, are asked for again.
    let more = world.requests() - requests;
    assert!(more <= 30 - plays / 10 + 2, "{more} requests for the rest");
}

/// A world in the middle of an append, which waits for the gate. Further months come after this one.
async fn in_an_append() -> (World, Proxy, Gate) {
    let blobs = Proxy::of_blobs().await;
    let storage = Proxy::connection_string(Some(&blobs), None);
    let world = rj(150).set("AzureWebJobsStorage", storage).start().await;
    let gate = Gate::closed();
    blobs.trouble(1, Call::is_append, Trouble::Wait(gate.clone()));
    (world, blobs, gate)
}

fn appends(blobs: &Proxy) -> usize {
    blobs
        .calls_where(|call| call.is_append() && call.status == Some(201))
        .len()
}

#[tokio::test]
async fn serve_finishes_the_append_under_way_when_it_is_told_to_end() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (mut world, blobs, gate) = in_an_append().await;
        world.put(r#"{"user":"rj"}"#).await;
        let end = async {
            blobs.seen(Call::is_append).await;
            world.host.signal(signal);
            world.host.wait_for_output("told to end", PATIENCE).await;
            assert_eq!(world.host.exit_status(), None, "it ends without its append");
            gate.open();
            world.host.wait_for_exit().await
        };
        let (summary, status) = tokio::join!(world.host.pump_queue(), end);
        assert_eq!(status.code(), Some(0), "{signal}: {status}");
        assert_eq!(appends(&blobs), 1, "{signal}: this append and no other");
        assert_eq!((summary.failures(), summary.remaining), (vec![], 1));
        assert_eq!(world.host.stderr(), [""; 0]);
        let plays = blob_checker::rows(&world.blobs("rj").await).len();
        world
            .expect_archive("rj", &world.truth("rj")[..plays])
            .await;

        world.host.restart().await;
        world
            .host
            .pump_until_idle(DELIVERIES_MAX)
            .await
            .expect_drained();
        world.expect_archived("rj").await;
    }
}

#[tokio::test]
async fn sync_finishes_the_append_under_way_when_it_is_told_to_end() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (world, blobs, gate) = in_an_append().await;
        let sync = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_lastfm-archive"));
            command.args(["sync", "rj"]).env_clear();
            command.envs(world.environment()).kill_on_drop(true);
            command
        };
        let mut running = sync().stderr(Stdio::piped()).spawn().unwrap();
        blobs.seen(Call::is_append).await;
        let pid = Pid::from_raw(running.id().unwrap().try_into().unwrap());
        signal::kill(pid, signal).unwrap();
        let mut lines = BufReader::new(running.stderr.take().unwrap()).lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("stopping after the current append") {
                gate.open();
            }
        }
        let status = running.wait().await.unwrap();
        assert_eq!(status.code(), Some(2), "{signal}: {status}");
        assert_eq!(appends(&blobs), 1, "{signal}: this append and no other");
        let plays = blob_checker::rows(&world.blobs("rj").await).len();
        assert!((1..150).contains(&plays));
        world
            .expect_archive("rj", &world.truth("rj")[..plays])
            .await;

        let output = sync().output().await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        world.expect_archived("rj").await;
        assert_eq!(log_lines(&world.host).len(), 1, "the app had no part in it");
    }
}
