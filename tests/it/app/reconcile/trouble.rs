//! The reconcile when something is in its way: bad messages, new plays, a full budget, Last.fm, kills, another writer.

use fake_lastfm::{Fault, Play};
use serde_json::{Value, json};

use super::{AtRest, DAY, last_line};
use crate::support::functions_host::Outcome;
use crate::support::proxy::{Call, Proxy, Trouble};
use crate::support::world::{DELIVERIES_MAX, log_lines_at, now_ms, read_message, rj};

#[tokio::test]
async fn a_bad_message_goes_to_the_poison_queue_with_its_reason() {
    let world = rj(0).start().await;
    let texts = [
        ("", "JSON"),
        ("hello", "a reconcile looks like {\"user\":\"rj\"}"),
        ("aGVsbG8=", "JSON"),
        ("null", "object"),
        ("[{\"user\":\"rj\"}]", "object"),
        ("{}", "user"),
        (r#"{"user":""}"#, "user"),
        (r#"{"user":"../rj"}"#, "user"),
        (r#"{"user":"rj","pages":3}"#, "pages"),
        (r#"{"user":"rj","total":3}"#, "total"),
        (r#"{"user":"rj","redelivered":true}"#, "redelivered"),
        (r#"{"user":"rj","step":"newest"}"#, "newest"),
        (r#"{"user":"rj","step":1}"#, ""),
        (r#"{"user":"rj","run":7}"#, ""),
        (r#"{"user":"rj","run":""}"#, "run"),
        (r#"{"user":"rj","to":1700000000000}"#, "to"),
        (r#"{"user":"rj","to":-1}"#, "to"),
        (r#"{"user":"rj","to":"2024-01-01"}"#, ""),
        (r#"{"user":"rj","from":1700000000000}"#, "from"),
        (r#"{"user":"rj","page_size":0}"#, "page_size"),
        (r#"{"user":"rj","page_size":1001}"#, "page_size"),
        (r#"{"user":"rj","attempt":-1}"#, ""),
        (r#"{"user":"rj","waits":1.5}"#, ""),
    ];
    let queue = world.reconciles();
    queue.create().await;
    for (text, _) in &texts {
        queue.put(text).await;
    }
    let summary = world.host.pump_until_idle(DELIVERIES_MAX).await;
    summary.expect_drained();
    assert_eq!(summary.successes(), texts.len());
    let poison = world.reconciles_poison().peek_all().await;
    let poison: Vec<Value> = poison.iter().map(|text| read_message(text)).collect();
    assert_eq!(poison.len(), texts.len());
    for (text, part) in texts {
        let of_text = poison.iter().find(|poison| poison["body"] == text);
        let of_text = of_text.unwrap_or_else(|| panic!("`{text}` is not there"));
        let reason = of_text["reason"].as_str().unwrap();
        assert!(reason.contains(part), "`{text}`: {reason}");
        let told = (&of_text["body_bytes"], &of_text["dequeue_count"]);
        assert_eq!(told, (&text.len().into(), &1.into()));
    }
    let errors = log_lines_at(&world.host, "ERROR");
    assert_eq!(errors.len(), texts.len());
    assert!(
        errors
            .iter()
            .all(|line| line["function"] == "reconcile_user")
    );
    assert_eq!(world.requests(), 0);
    assert_eq!(world.poison().peek_all().await, [""; 0]);
}

/// A scene in which a play came late, with a proxy before the queues.
async fn late_scene(settings: &[(&str, &str)]) -> (AtRest, Proxy) {
    let queues = Proxy::of_queues().await;
    let scene = AtRest::behind(Some(&queues), settings).await;
    scene.change(|history| history.add(Play::new(scene.now - 3 * DAY + 7, "Artist", "late")));
    (scene, queues)
}

/// The messages that the program has put on the queue of the reconciles, each with its delay.
fn put_back(scene: &AtRest, queues: &Proxy) -> Vec<(Value, i64)> {
    queues.messages_to(scene.world.setting("RECONCILE_QUEUE"))
}

#[tokio::test]
async fn while_the_archive_has_just_changed_the_message_goes_back_and_nothing_is_written() {
    let (scene, queues) = late_scene(&[]).await;
    scene.blobs.blobs_look_older(0);
    let (before, requests) = (scene.world.all_blobs().await, scene.world.requests());
    let line = scene.run(scene.now, "one").await;
    assert_eq!(
        (&line["level"], &line["message"]),
        (&"INFO".into(), &"reconcile put back".into())
    );
    assert!(
        line["reason"].as_str().unwrap().contains("changed"),
        "{line}"
    );
    let [(message, delay)] = &put_back(&scene, &queues)[..] else {
        panic!("one message is wanted")
    };
    assert!((1..=180).contains(delay), "{delay}");
    assert!(
        line["delay_s"].as_i64().unwrap().abs_diff(*delay) <= 1,
        "{line}"
    );
    let expected = json!({ "user": "rj", "to": scene.now, "run": "one", "waits": 1 });
    assert_eq!(*message, expected);
    assert_eq!(scene.world.requests(), requests, "nothing was asked");
    assert!(scene.world.all_blobs().await == before);

    // A little less than three minutes are not enough, a little more are.
    scene.blobs.blobs_look_older(100);
    assert_eq!(
        scene.run(scene.now, "one").await["message"],
        "reconcile put back"
    );
    scene.blobs.blobs_look_older(181);
    assert_eq!(
        scene.run(scene.now, "one").await["message"],
        "reconcile done"
    );
    assert_eq!(scene.everything().await.late_tracks(), ["late"]);
}

#[tokio::test]
async fn a_message_without_an_end_or_a_mark_gets_both_before_it_goes_back() {
    let (scene, queues) = late_scene(&[]).await;
    scene.blobs.blobs_look_older(0);
    scene.deliver(r#"{"user":"rj"}"#).await;
    let (message, _) = &put_back(&scene, &queues)[0];
    let to = message["to"].as_i64().unwrap();
    assert!((scene.now..=now_ms() / 1_000).contains(&to), "{message}");
    assert!(!message["run"].as_str().unwrap().is_empty(), "{message}");
}

#[tokio::test]
async fn it_makes_no_request_while_somebody_else_has_one_reserved() {
    let (scene, queues) = late_scene(&[("LASTFM_REQUESTS_PER_SECOND", "5")]).await;
    let requests = scene.world.requests();
    let ahead = json!({ "free_at_ms": now_ms() + 5_000 });
    let control = scene.world.control();
    control.put("budget.json", ahead.to_string()).await;
    let line = scene.run(scene.now, "one").await;
    assert_eq!(line["message"], "reconcile put back", "{line}");
    assert!(
        line["reason"].as_str().unwrap().contains("new plays"),
        "{line}"
    );
    assert_eq!(scene.world.requests(), requests);
    let (message, delay) = &put_back(&scene, &queues)[0];
    assert!(*delay > 0);
    assert_eq!(
        (&message["waits"], message.get("attempt")),
        (&1.into(), None)
    );

    let free = json!({ "free_at_ms": now_ms() - 5_000 });
    control.put("budget.json", free.to_string()).await;
    assert_eq!(
        scene.run(scene.now, "one").await["message"],
        "reconcile done"
    );
}

#[tokio::test]
async fn trouble_with_last_fm_puts_it_back_for_longer_each_time_and_then_gives_up() {
    let (scene, queues) = late_scene(&[]).await;
    let before = scene.world.all_blobs().await;
    scene.world.lastfm.with(|lastfm| {
        let faults = &mut lastfm.faults;
        faults.push_when(usize::MAX, |_| true, Fault::Html(503));
    });
    let mut message = json!({ "user": "rj", "to": scene.now, "run": "one" });
    for (attempt, minutes) in [(1, 1), (2, 5), (3, 15)] {
        let line = scene.deliver(&message.to_string()).await;
        assert_eq!(line["message"], "reconcile put back", "{line}");
        let (next, delay) = put_back(&scene, &queues).pop().unwrap();
        assert_eq!((&next["attempt"], delay), (&attempt.into(), minutes * 60));
        message = next;
    }
    let line = scene.deliver(&message.to_string()).await;
    let told = "reconcile given up; the next run starts again";
    assert_eq!(
        (&line["level"], &line["message"]),
        (&"WARN".into(), &told.into())
    );
    assert!(line["reason"].is_string(), "{line}");
    assert_eq!(put_back(&scene, &queues).len(), 3);
    assert!(scene.world.all_blobs().await == before);
    scene.world.lastfm.with(|lastfm| lastfm.faults.clear());
    assert_eq!(scene.run(scene.now, "two").await["late"], 1);
}

#[tokio::test]
async fn what_a_person_has_to_solve_is_told_once_with_a_hint() {
    let (scene, queues) = late_scene(&[]).await;
    let before = scene.world.all_blobs().await;
    for private in [true, false] {
        scene.world.lastfm.with(|lastfm| {
            lastfm.user_mut("rj").private = private;
            if !private {
                lastfm
                    .faults
                    .push_when(usize::MAX, |_| true, Fault::error(10));
            }
        });
        let line = scene.run(scene.now, "one").await;
        assert_eq!(
            (&line["level"], &line["message"]),
            (&"ERROR".into(), &"reconcile refused".into())
        );
        assert!(
            line["reason"].is_string() && line["hint"].is_string(),
            "{line}"
        );
    }
    assert_eq!(put_back(&scene, &queues), []);
    assert!(scene.world.all_blobs().await == before);
}

#[tokio::test]
async fn killed_behind_any_write_the_redelivery_ends_it_and_nothing_stands_twice() {
    for nth in 1..=4 {
        let (mut scene, _queues) = late_scene(&[]).await;
        // Late plays and first looks: several writes in one run.
        scene.change(|history| {
            history.add(Play::new(scene.now - 3 * DAY + 9, "Artist", "late too"));
            history.delete(60 * 24 - 60);
            history.edit(60 * 24 - 90, |play| play.track = "Other title".to_owned());
        });
        let queue = scene.world.reconciles();
        queue.create().await;
        let message = json!({ "user": "rj", "to": scene.now, "run": "one" });
        queue.put(&message.to_string()).await;
        let count = std::sync::atomic::AtomicUsize::new(0);
        let is_nth = move |call: &Call| {
            call.is_append() && count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1 == nth
        };
        let struck = scene.blobs.trouble(1, is_nth, Trouble::HoldAnswer);
        let killed = scene.world.host.pump_until_killed(struck.first()).await;
        scene.blobs.calm();
        // A dead process leaves its message invisible; the service shows it again, which is not waited for here.
        if killed {
            scene.world.host.restart().await;
            let again = scene.deliver(&message.to_string()).await;
            assert_eq!(again["message"], "reconcile done", "{again}");
        }
        let everything = scene.everything().await;
        assert_eq!((everything.late.len(), everything.removed.len()), (3, 0));
        assert_eq!(everything.looks.len(), 2);
        scene.run(scene.now, "two").await;
        scene
            .everything()
            .await
            .assert_today(&scene.world.truth("rj"));
    }
}

#[tokio::test]
async fn an_append_whose_acknowledgement_is_lost_is_not_made_twice() {
    let (scene, _queues) = late_scene(&[]).await;
    scene.change(|history| {
        history.delete(60 * 24 - 60);
    });
    scene.blobs.trouble(2, Call::is_append, Trouble::LoseAnswer);
    let line = scene.run(scene.now, "one").await;
    assert_eq!(
        (&line["late"], &line["missing"]),
        (&1.into(), &1.into()),
        "{line}"
    );
    scene.blobs.trouble(1, Call::is_append, Trouble::LoseAnswer);
    let line = scene.run(scene.now, "two").await;
    assert_eq!(line["removed"], 1, "{line}");
    let everything = scene.everything().await;
    everything.assert_today(&scene.world.truth("rj"));
    let told = (
        everything.late.len(),
        everything.looks.len(),
        everything.removed.len(),
    );
    assert_eq!(told, (1, 1, 1));
}

#[tokio::test]
async fn of_two_runs_at_once_each_play_is_written_once() {
    let (scene, _queues) = late_scene(&[]).await;
    let host = &scene.world.host;
    let message = |mark: &str| json!({ "user": "rj", "to": scene.now, "run": mark }).to_string();
    for round in 0..3 {
        scene.change(|history| {
            for second in 0..5 {
                let track = format!("late {round} {second}");
                history.add(Play::new(scene.now - 2 * DAY + second, "Artist", &track));
            }
            history.delete(60 * 24 - 200 - round);
        });
        let (one, two) = (
            message(&format!("{round} one")),
            message(&format!("{round} two")),
        );
        let (one, two) = tokio::join!(
            host.invoke_queue_bytes("reconcile_user", one.as_bytes(), 1),
            host.invoke_queue_bytes("reconcile_user", two.as_bytes(), 1),
        );
        one.expect_success();
        two.expect_success();
        scene.everything().await;
    }
    for mark in ["last but one", "last"] {
        scene.run(scene.now, mark).await;
    }
    let everything = scene.everything().await;
    everything.assert_today(&scene.world.truth("rj"));
    assert_eq!((everything.late.len(), everything.removed.len()), (16, 3));
}

#[tokio::test]
async fn storage_in_trouble_is_a_failure_and_the_host_delivers_again() {
    let (scene, _queues) = late_scene(&[]).await;
    scene.blobs.trouble(
        usize::MAX,
        |call| call.query.contains("comp=list"),
        Trouble::Refuse(403),
    );
    let message = json!({ "user": "rj", "to": scene.now, "run": "one" }).to_string();
    let failed = scene
        .world
        .host
        .invoke_queue_bytes("reconcile_user", message.as_bytes(), 1);
    failed.await.expect_failure();
    scene.blobs.calm();
    let queue = scene.world.reconciles();
    queue.create().await;
    queue.put(&message).await;
    let summary = scene.world.host.pump_until_idle(DELIVERIES_MAX).await;
    summary.expect_drained();
    assert!(
        summary
            .handled
            .iter()
            .all(|it| it.outcome == Outcome::Deleted)
    );
    assert_eq!(last_line(&scene.world)["message"], "reconcile done");
    assert_eq!(scene.everything().await.late_tracks(), ["late"]);
}
