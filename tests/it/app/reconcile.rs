//! The reconcile: its timer, its queue and what it writes, on real components; and `verify` on the same archive.
//!
//! Nothing may be written while a part of the user has changed within three minutes, by the service's own clock. A proxy before
//! the blob service tells older dates in every listing, so that no scene has to wait: the program's own clock and the rule
//! stay as they are.

use std::collections::BTreeSet;
use std::time::Duration;

use azure_core::base64;
use fake_lastfm::Play;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::azurite::unique_name;
use crate::support::everything::Everything;
use crate::support::functions_host::Tick;
use crate::support::program::Program;
use crate::support::proxy::Proxy;
use crate::support::world::{
    DELIVERIES_MAX, World, WorldBuilder, lastfm_with, log_lines, now_ms, read_message,
};

const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

/// A world whose archive has been at rest for an hour, as the program sees it.
pub(super) struct AtRest {
    pub(super) world: World,
    pub(super) blobs: Proxy,
    /// Now, at the beginning.
    pub(super) now: i64,
}

/// One play an hour for 60 days, up to two hours ago, all of them different.
pub(super) fn hourly(now: i64) -> Vec<Play> {
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
    pub(super) async fn start() -> Self {
        Self::behind(None, &[]).await
    }

    /// The same with these settings, and the queues perhaps behind a proxy.
    pub(super) async fn behind(queues: Option<&Proxy>, settings: &[(&str, &str)]) -> Self {
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

    pub(super) fn change(&self, change: impl FnOnce(&mut fake_lastfm::History)) {
        let lastfm = &self.world.lastfm;
        lastfm.with(|lastfm| change(&mut lastfm.user_mut("rj").history));
    }

    pub(super) async fn everything(&self) -> Everything {
        self.world.everything("rj").await
    }

    /// One run that begins at `to`; its line in the log.
    pub(super) async fn run(&self, to: i64, mark: &str) -> Value {
        let message = json!({ "user": "rj", "to": to, "run": mark });
        self.deliver(&message.to_string()).await
    }

    /// One delivery of this message; its line in the log.
    pub(super) async fn deliver(&self, message: &str) -> Value {
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
pub(super) fn last_line(world: &World) -> Value {
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

#[tokio::test]
async fn the_timer_puts_one_message_for_each_user_on_the_queue_of_the_reconciles() {
    let world = World::of(lastfm_with(&[("rj", vec![]), ("Zed", vec![])]))
        .start()
        .await;
    let mut marks = BTreeSet::new();
    for round in 1..=2 {
        let before = now_ms() / 1_000;
        let tick = world.host.fire_timer("reconcile_users", Tick::Scheduled);
        tick.await.expect_success();
        let mut messages = world.reconciles().peek_all().await;
        messages.drain(..2 * (round - 1));
        messages.sort_by_key(|text| read_message(text)["user"].to_string());
        assert_eq!(messages.len(), 2);
        for (text, user) in messages.iter().zip(["rj", "zed"]) {
            assert!(base64::decode(text).is_ok(), "the program writes base64");
            let message = read_message(text);
            let (to, run) = (message["to"].as_i64().unwrap(), &message["run"]);
            assert_eq!(message, json!({ "user": user, "to": to, "run": run }));
            assert!((before..=now_ms() / 1_000).contains(&to), "{to}");
            marks.insert(run.as_str().unwrap().to_owned());
        }
        assert_eq!(marks.len(), round, "one mark for a run, and each its own");
    }
    assert_eq!(world.queue().approximate_count().await, 0);
    let lines = log_lines(&world.host);
    let told = lines.iter().filter(|line| {
        let is_it = line["message"] == "reconciles enqueued" && line["users"] == 2;
        is_it && line["function"] == "reconcile_users" && line["level"] == "INFO"
    });
    assert_eq!(told.count(), 2);
    // Nobody has an archive yet: nothing to compare, and nothing asked.
    let summary = world.host.pump_until_idle(DELIVERIES_MAX).await;
    summary.expect_drained();
    assert_eq!((summary.successes(), world.requests()), (4, 0));
}

#[tokio::test]
async fn a_message_by_hand_does_a_whole_reconcile_plain_and_in_base64() {
    let plain = r#"{"user":"rj"}"#;
    for message in [
        plain.to_owned(),
        " {\"user\" : \"RJ\"}\r\n".to_owned(),
        base64::encode(plain),
        format!("{}\n", base64::encode(plain)),
    ] {
        let scene = AtRest::start().await;
        let late = Play::new(scene.now - 3 * DAY + 7, "Artist", "late");
        scene.change(|history| history.add(late.clone()));
        scene.work_off(&message).await;
        let everything = scene.everything().await;
        assert_eq!(everything.late_tracks(), ["late"]);
        everything.assert_today(&scene.world.truth("rj"));
    }
}

#[tokio::test]
async fn by_hand_two_messages_are_two_runs() {
    let scene = AtRest::start().await;
    scene.change(|history| {
        history.delete(59 * 24);
    });
    scene.work_off(r#"{"user":"rj"}"#).await;
    assert_eq!(written(&last_line(&scene.world)), [0, 0, 0, 1]);
    assert_eq!(scene.everything().await.removed.len(), 0);
    scene.work_off(r#"{"user":"rj"}"#).await;
    assert_eq!(written(&last_line(&scene.world)), [0, 1, 0, 0]);
    let everything = scene.everything().await;
    everything.assert_today(&scene.world.truth("rj"));
}

#[tokio::test]
async fn late_removed_edited_and_returned_plays_of_the_last_days_are_written_down() {
    let scene = AtRest::start().await;
    let before = scene.world.all_blobs().await;
    let plays = scene.world.truth("rj");
    let gone = plays[index_of(&plays, scene.now - 2 * HOUR - 2 * DAY)].clone();
    let edited = plays[index_of(&plays, scene.now - 2 * HOUR - 5 * DAY)].clone();
    let newest = plays.last().unwrap().clone();
    scene.change(|history| {
        history.add(Play::new(scene.now - 3 * DAY + 7, "Artist", "late"));
        history.add(Play::new(scene.now - 14 * DAY + 7, "Artist", "very late"));
        // At the newest archived second: its place is behind that one in the part.
        history.add(Play::new(newest.uts, "Artist", "same second"));
        history.delete_where(|play| *play == gone);
        history.edit_where(
            |play| *play == edited,
            |play| play.track = "Other title".to_owned(),
        );
    });

    let first = scene.run(scene.now, "one").await;
    assert_eq!(written(&first), [4, 0, 0, 2], "{first}");
    let everything = scene.everything().await;
    let mut late = everything.late_tracks();
    late.sort_unstable();
    assert_eq!(late, ["Other title", "late", "very late"]);
    assert_eq!(everything.parts.last().unwrap()["track"], "same second");
    assert_eq!((everything.looks.len(), everything.removed.len()), (2, 0));

    // The same run again is the same look.
    let again = scene.run(scene.now, "one").await;
    assert_eq!(written(&again), [0; 4], "{again}");
    let second = scene.run(scene.now, "two").await;
    assert_eq!(written(&second), [0, 2, 0, 0], "{second}");
    let everything = scene.everything().await;
    everything.assert_today(&scene.world.truth("rj"));
    assert_eq!(everything.events_of(&gone.track), ["removed"]);
    assert_eq!(everything.events_of(&edited.track), ["removed"]);

    scene.change(|history| history.add(gone.clone()));
    let third = scene.run(scene.now, "three").await;
    assert_eq!(written(&third), [0, 0, 1, 0], "{third}");
    scene
        .everything()
        .await
        .assert_today(&scene.world.truth("rj"));
    scene.change(|history| {
        history.delete_where(|play| *play == gone);
    });
    for mark in ["four", "five"] {
        scene.run(scene.now, mark).await;
    }
    let everything = scene.everything().await;
    everything.assert_today(&scene.world.truth("rj"));
    let events = ["removed", "returned", "removed"];
    assert_eq!(everything.events_of(&gone.track), events);

    // Nothing was rewritten, and another run has nothing left to do.
    let after = scene.world.all_blobs().await;
    for (path, bytes) in &before {
        let now = after.iter().find(|(name, _)| name == path);
        assert!(now.unwrap().1.starts_with(bytes), "`{path}` was rewritten");
    }
    let last = scene.run(scene.now, "six").await;
    assert_eq!(written(&last), [0; 4], "{last}");
    assert!(scene.world.all_blobs().await == after);
}

#[tokio::test]
async fn a_play_that_is_seen_again_before_the_second_look_was_never_removed() {
    let scene = AtRest::start().await;
    let plays = scene.world.truth("rj");
    let flickering = plays[index_of(&plays, scene.now - 2 * HOUR - 2 * DAY)].clone();
    for round in 0..2 {
        scene.change(|history| {
            history.delete_where(|play| *play == flickering);
        });
        let line = scene.run(scene.now, &format!("gone {round}")).await;
        assert_eq!(written(&line), [0, 0, 0, 1], "{line}");
        scene.change(|history| history.add(flickering.clone()));
        let line = scene.run(scene.now, &format!("there {round}")).await;
        assert_eq!(written(&line), [0; 4], "{line}");
    }
    let everything = scene.everything().await;
    assert_eq!(everything.removed.len(), 0);
    let events: Vec<_> = everything.looks.iter().map(|look| &look["event"]).collect();
    assert_eq!(events, ["missing", "found", "missing", "found"]);
}

#[tokio::test]
async fn what_is_older_is_counted_within_a_month_of_runs() {
    let scene = AtRest::start().await;
    scene.change(|history| {
        // Two late ones, so that they do not cancel with the removed one, if they are in one month with it.
        for second in [7, 8] {
            let uts = scene.now - 45 * DAY + second;
            history.add(Play::new(uts, "Artist", &format!("late {second}")));
        }
        history.delete(3);
    });
    scene.all_stretches("first").await;
    let everything = scene.everything().await;
    assert_eq!(everything.late_tracks(), ["late 7", "late 8"]);
    scene.all_stretches("second").await;
    let everything = scene.everything().await;
    everything.assert_today(&scene.world.truth("rj"));
    assert_eq!(everything.removed.len(), 1);
}

#[tokio::test]
async fn the_sync_goes_on_behind_a_reconcile() {
    let scene = AtRest::start().await;
    scene.change(|history| {
        history.add(Play::new(scene.now - 3 * DAY + 7, "Artist", "late"));
        // The newest one itself is gone.
        history.delete(60 * 24 - 1);
    });
    scene.run(scene.now, "one").await;
    scene.run(scene.now, "two").await;
    scene
        .everything()
        .await
        .assert_today(&scene.world.truth("rj"));
    let rests = scene.world.all_blobs().await;
    scene.world.tick().await;
    assert!(scene.world.all_blobs().await == rests, "nothing new");
    scene.change(|history| {
        history.add(Play::new(scene.now - HOUR, "Artist", "new"));
        history.add(Play::new(scene.now - 4 * DAY + 7, "Artist", "late again"));
    });
    scene.world.tick().await;
    let everything = scene.everything().await;
    assert_eq!(everything.parts.last().unwrap()["track"], "new");
    assert_eq!(everything.late.len(), 1, "late plays are not the sync's");
    scene.run(scene.now, "three").await;
    scene
        .everything()
        .await
        .assert_today(&scene.world.truth("rj"));
}

#[tokio::test]
async fn every_invocation_leaves_one_line_with_its_figures() {
    let scene = AtRest::start().await;
    scene.change(|history| history.add(Play::new(scene.now - 3 * DAY + 7, "Artist", "late")));
    let lines = log_lines(&scene.world.host).len();
    let line = scene.run(scene.now, "one").await;
    assert_eq!(log_lines(&scene.world.host).len(), lines + 1);
    let expected = json!({
        "level": "INFO", "message": "reconcile done", "function": "reconcile_user", "user": "rj", "late": 1,
        "removed": 0, "returned": 0, "missing": 0, "dequeue_count": 1,
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(line[field], *value, "{field} of {line}");
    }
    assert!(
        line["outcome"].is_string() && line["trace_id"].is_string(),
        "{line}"
    );
    for figure in ["requests", "pages", "append_bytes", "duration_ms"] {
        assert!(line[figure].is_u64(), "no `{figure}` in {line}");
    }
}

#[tokio::test]
async fn verify_looks_at_the_same_archive_and_repairs_it() {
    let scene = AtRest::start().await;
    let verify = |more: &[&str]| {
        let program = scene.command(&[&["verify", "rj", "--json"], more].concat());
        tokio::task::spawn_blocking(|| program.run())
    };
    verify(&[]).await.unwrap().expect(0);
    scene.change(|history| {
        history.add(Play::new(scene.now - 45 * DAY + 7, "Artist", "late"));
        history.delete(60 * 24 - 30);
        history.edit(200, |play| play.track = "Other title".to_owned());
    });
    let before = scene.world.all_blobs().await;
    let calls = scene.blobs.calls().len();
    // The edit is found by counting, too, if it is in the month of the late play.
    let ran = verify(&[]).await.unwrap().expect(3);
    let verdict = &ran.json_lines()[0];
    let [missing, vanished] = ["missing", "vanished"].map(|field| verdict[field].as_u64());
    assert!(missing == vanished && missing >= Some(1), "{verdict}");
    let ran = verify(&["--deep"]).await.unwrap().expect(3);
    let verdict = &ran.json_lines()[0];
    let told = (&verdict["missing"], &verdict["vanished"]);
    assert_eq!(told, (&2.into(), &2.into()), "{verdict}");
    let later = scene.blobs.calls().split_off(calls);
    let is_write = |call: &&crate::support::proxy::Call| {
        call.method != "GET" && call.method != "HEAD" && !call.path.ends_with("/budget.json")
    };
    assert_eq!(later.iter().filter(is_write).count(), 0, "{later:?}");
    assert!(scene.world.all_blobs().await == before);

    verify(&["--repair", "--deep"]).await.unwrap().expect(0);
    let everything = scene.everything().await;
    everything.assert_today(&scene.world.truth("rj"));
    assert_eq!((everything.late.len(), everything.removed.len()), (2, 2));
    let repaired = scene.world.all_blobs().await;
    verify(&["--repair", "--deep"]).await.unwrap().expect(0);
    assert!(scene.world.all_blobs().await == repaired, "idempotent");
    // What the command has noted is no news to the function.
    let line = scene.run(scene.now, "one").await;
    assert_eq!(written(&line), [0; 4], "{line}");
}

#[tokio::test]
async fn verify_waits_with_its_repair_until_the_archive_is_at_rest() {
    let scene = AtRest::start().await;
    scene.change(|history| history.add(Play::new(scene.now - 3 * DAY + 7, "Artist", "late")));
    scene.blobs.blobs_look_older(0);
    let before = scene.world.all_blobs().await;
    let running = scene.command(&["verify", "rj", "--repair"]).start();
    let waited = tokio::task::spawn_blocking(move || {
        running.wait_for_stderr("waiting for", Duration::from_secs(30));
        running.signal(Signal::SIGINT);
        running.finish()
    });
    waited
        .await
        .unwrap()
        .expect(2)
        .says("the app may be writing");
    assert!(scene.world.all_blobs().await == before);
    // Looking alone waits for nothing.
    let program = scene.command(&["verify", "rj"]);
    let ran = tokio::task::spawn_blocking(|| program.run()).await.unwrap();
    ran.expect(3);
}

#[tokio::test]
async fn a_queue_of_another_name_is_served() {
    let name = unique_name("looks");
    let scene = AtRest::behind(None, &[("RECONCILE_QUEUE", &name)]).await;
    scene.change(|history| history.add(Play::new(scene.now - 3 * DAY + 7, "Artist", "late")));
    let tick = scene
        .world
        .host
        .fire_timer("reconcile_users", Tick::Scheduled);
    tick.await.expect_success();
    let summary = scene.world.host.pump_until_idle(DELIVERIES_MAX).await;
    summary.expect_drained();
    assert_eq!(scene.everything().await.late_tracks(), ["late"]);
}
