//! What runs write down, and when.

use std::collections::BTreeSet;

use azure_core::base64;
use fake_lastfm::Play;
use serde_json::json;

use super::{AtRest, DAY, HOUR, index_of, last_line, written};
use crate::support::azurite::unique_name;
use crate::support::functions_host::Tick;
use crate::support::world::{DELIVERIES_MAX, World, lastfm_with, log_lines, now_ms, read_message};

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
