//! Bad messages, users, keys: told once and clearly, and nobody else is affected.

use azure_core::base64;
use fake_lastfm::{Fault, Server};
use serde_json::{Value, json};

use crate::support::functions_host::Outcome;
use crate::support::world::{
    DELIVERIES_MAX, World, history, lastfm_with, log_lines_at, read_message, rj,
};

const POISON_BODY_MAX: usize = 8 * 1024;

/// Messages that a queue can carry, and a part of the reason that each should get.
fn bad_texts() -> Vec<(String, &'static str)> {
    let noise = noise(48 * 1024);
    let texts = [
        ("", "JSON"),
        (" ", "JSON"),
        ("hello", "JSON"),
        ("rj", "JSON"),
        ("{\"user\":\"rj\"", "JSON"),
        ("<user>rj</user>", "JSON"),
        ("aGVsbG8=", "JSON"),
        ("null", "object"),
        ("[{\"user\":\"rj\"}]", "object"),
        ("\"rj\"", "object"),
        ("7", "object"),
        ("{}", "user"),
        (r#"{"User":"rj"}"#, "User"),
        (r#"{"user":null}"#, ""),
        (r#"{"user":""}"#, "user"),
        (r#"{"user":"r j"}"#, "user"),
        (r#"{"user":"../rj"}"#, "user"),
        (r#"{"user":"Bj\u00f6rk"}"#, "user"),
        (r#"{"user":7}"#, ""),
        (r#"{"user":["rj"]}"#, ""),
        (r#"{"user":"rj","colour":1}"#, "colour"),
        (r#"{"user":"rj","pages":0}"#, "pages"),
        (r#"{"user":"rj","pages":101}"#, "pages"),
        (r#"{"user":"rj","pages":"3"}"#, ""),
        (r#"{"user":"rj","pages":1.5}"#, ""),
        (r#"{"user":"rj","page_size":0}"#, "page_size"),
        (r#"{"user":"rj","page_size":1001}"#, "page_size"),
        (r#"{"user":"rj","to":1700000000000}"#, "to"),
        (r#"{"user":"rj","to":"2024-01-01"}"#, ""),
        (r#"{"user":"rj","to":1.5}"#, ""),
        (r#"{"user":"rj","to":1e400}"#, ""),
        (r#"{"user":"rj","from":1700000000000}"#, "from"),
        (r#"{"user":"rj","attempt":-1}"#, ""),
        (r#"{"user":"rj","redelivered":"yes"}"#, ""),
        (noise.as_str(), "JSON"),
    ];
    let mut texts: Vec<_> = texts
        .iter()
        .map(|(text, reason)| ((*text).to_owned(), *reason))
        .collect();
    texts.push((format!(r#"{{"user":"{}"}}"#, "a".repeat(65)), "user"));
    texts.push((base64::encode(r#"{"user":"rj","colour":1}"#), "colour"));
    texts.push((base64::encode([0xff, 0xfe, 0x00]), ""));
    // Base64 is tried once, not twice.
    texts.push((base64::encode(base64::encode(r#"{"user":"rj"}"#)), "JSON"));
    texts
}

/// Letters and characters of several bytes, the same on each run.
fn noise(bytes: usize) -> String {
    let mut text = "x".to_owned();
    while text.len() + 3 <= bytes {
        text.push(if text.len().is_multiple_of(7) {
            '音'
        } else {
            'q'
        });
    }
    text
}

/// Checks a poison message against what was received, and gives its reason.
#[track_caller]
fn check_poison(poison: &Value, body: &[u8]) -> String {
    let fields: Vec<_> = poison.as_object().unwrap().keys().collect();
    let wanted = [
        "body",
        "body_bytes",
        "dequeue_count",
        "message_id",
        "reason",
    ];
    assert_eq!(fields, wanted, "{poison}");
    assert_eq!(poison["body_bytes"], body.len());
    let kept = poison["body"].as_str().unwrap();
    let whole = String::from_utf8_lossy(body);
    assert!(
        kept.len() <= POISON_BODY_MAX,
        "{} bytes are kept",
        kept.len()
    );
    if whole.len() <= POISON_BODY_MAX {
        assert_eq!(kept, whole);
    } else {
        // A character that the cut went through may stand there as a replacement. Control characters take six
        // bytes each in JSON, so of those a message cannot carry all 8 KiB.
        let without_last = kept.strip_suffix('\u{fffd}').unwrap_or(kept);
        assert!(whole.starts_with(kept) || whole.starts_with(without_last));
        assert!(kept.len() >= POISON_BODY_MAX / 2, "{} bytes", kept.len());
    }
    let reason = poison["reason"].as_str().unwrap();
    assert!(!reason.is_empty());
    reason.to_owned()
}

#[tokio::test]
async fn each_bad_message_goes_to_the_poison_queue_with_its_reason_and_the_next_good_one_works() {
    let world = rj(300).start().await;
    for (text, reason) in bad_texts() {
        world.put(&text).await;
        let before = world.queue();
        let summary = world.host.pump_until_idle(1).await;
        summary.expect_drained();
        assert_eq!(summary.handled[0].outcome, Outcome::Deleted);
        assert_eq!(before.approximate_count().await, 0);

        let lease = std::time::Duration::from_mins(1);
        let mut poison = world.poison().receive(32, lease).await;
        assert_eq!(poison.len(), 1, "for {text:?}");
        let message = poison.remove(0);
        assert!(world.poison().delete(&message).await);
        let message = read_message(&message.text);
        let told = check_poison(&message, text.as_bytes());
        assert!(told.contains(reason), "{text:?} got the reason {told:?}");
        assert_eq!(message["dequeue_count"], 1);
        assert_eq!(message["message_id"].as_str().unwrap().len(), 36);
    }
    assert_eq!(world.requests(), 0);
    assert_eq!(world.blobs("rj").await, []);
    world.work_off(r#"{"user":"rj"}"#).await;
    world.expect_archived("rj").await;
    assert_eq!(world.host.stderr(), [""; 0]);
    let errors = log_lines_at(&world.host, "ERROR");
    assert_eq!(errors.len(), bad_texts().len(), "one line each");
}

#[tokio::test]
async fn bytes_that_no_queue_text_could_hold_are_poison_too() {
    let world = rj(100).start().await;
    let control_characters = vec![1; 48 * 1024];
    let not_utf8 = vec![0xff; 48 * 1024];
    let half_a_character = [vec![b'x'; POISON_BODY_MAX - 1], "音".into()].concat();
    for body in [
        b"\xff\xfe\x00{".to_vec(),
        b"{\"user\":\"rj\xff\"}".to_vec(),
        vec![0],
        control_characters,
        not_utf8,
        half_a_character,
        vec![],
    ] {
        let run = world.host.invoke_queue_bytes("fetch_pages", &body, 3);
        run.await.expect_success();
        let lease = std::time::Duration::from_mins(1);
        let message = world.poison().receive(1, lease).await.remove(0);
        world.poison().delete(&message).await;
        let poison = read_message(&message.text);
        check_poison(&poison, &body);
        assert_eq!(poison["dequeue_count"], 3);
        assert_eq!(poison["message_id"], "5c7f0a4e-1d0b-4f43-8f3f-6f1a9d0e2b77");
    }
    world.work_off(r#"{"user":"rj"}"#).await;
    world.expect_archived("rj").await;
}

#[tokio::test]
async fn a_bad_message_of_a_manual_run_is_poison_without_an_id() {
    let world = rj(10).start().await;
    let run = world.host.admin_run("fetch_pages", "hello").await;
    run.expect_success();
    let poison = read_message(&world.poison().peek_all().await[0]);
    check_poison(&poison, b"hello");
    assert_eq!(poison["message_id"], Value::Null);
    assert_eq!(poison["dequeue_count"], 0);
}

#[tokio::test]
async fn an_unknown_user_and_a_private_profile_are_told_once_with_a_hint_and_affect_nobody() {
    let mut lastfm = lastfm_with(&[("rj", history(1, 500)), ("hidden", history(2, 100))]);
    lastfm.user_mut("hidden").private = true;
    let world = World::of(lastfm)
        .set("LASTFM_USERS", "ghost,hidden,rj")
        .start()
        .await;
    world.tick().await;
    world.expect_archived("rj").await;
    let errors = log_lines_at(&world.host, "ERROR");
    for user in ["ghost", "hidden"] {
        let lines: Vec<_> = errors.iter().filter(|line| line["user"] == user).collect();
        assert_eq!(lines.len(), 1, "{errors:?}");
        let hint = lines[0]["hint"].as_str().unwrap();
        assert!(!hint.is_empty());
        assert_eq!(world.blobs(user).await, []);
    }
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert_eq!(log_lines_at(&world.host, "WARN"), [Value::Null; 0]);
    assert_eq!(world.host.stderr(), [""; 0]);
}

#[tokio::test]
async fn a_rejected_key_is_told_clearly_after_a_single_request() {
    for (code, suspended) in [(10, false), (26, true)] {
        let mut lastfm = lastfm_with(&[("rj", history(1, 3_000))]);
        if suspended {
            let key = crate::support::world::LASTFM_KEY.to_owned();
            lastfm.config.suspended_keys.push(key);
        } else {
            lastfm.config.accepted_keys = Some(vec!["another".to_owned()]);
        }
        let world = World::of(lastfm).start().await;
        world.work_off(r#"{"user":"rj"}"#).await;
        assert_eq!(world.requests(), 1, "code {code}");
        let errors = log_lines_at(&world.host, "ERROR");
        assert_eq!(errors.len(), 1, "{errors:?}");
        let line = errors[0].to_string();
        assert!(
            line.contains(&code.to_string()) && line.contains("key"),
            "{line}"
        );
        assert!(errors[0]["hint"].is_string(), "{line}");
        assert_eq!(world.blobs("rj").await, []);
    }
}

#[tokio::test]
async fn a_text_bound_payload_is_a_clear_error_and_not_a_success() {
    let world = rj(10).start().await;
    let payload = json!({
        "Data": { "item": "\"{\\\"user\\\":\\\"rj\\\"}\"" },
        "Metadata": { "DequeueCount": "1", "Id": "\"m\"", "user": "\"rj\"" },
    });
    let answer = world.host.post("fetch_pages", payload.to_string()).await;
    let answer = answer.unwrap();
    assert!(answer.status.is_server_error(), "{}", answer.status);
    let errors = log_lines_at(&world.host, "ERROR");
    assert_eq!(errors.len(), 1);
    let line = errors[0].to_string();
    for part in ["function.json", "dataType", "binary"] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(world.poison().approximate_count().await, 0);
}

#[tokio::test]
async fn an_answer_that_cannot_be_right_is_never_archived() {
    let plays = history(1, 450);
    let cases = [
        Fault::EmptyPage,
        Fault::ShortPage(1),
        Fault::WrongTotal(0),
        Fault::WrongTotal(451),
        Fault::OtherUser("zed".to_owned()),
        Fault::EmptyBody,
        Fault::TruncatedJson,
        Fault::CutInBody,
        Fault::Reset,
        Fault::Html(200),
        Fault::Html(404),
    ];
    let run = async |fault: Fault| {
        let world = World::of(lastfm_with(&[("rj", plays.clone())]))
            .start()
            .await;
        world.put(r#"{"user":"rj","to":1710000000}"#).await;
        let first = world.host.pump_until_idle(DELIVERIES_MAX).await;
        first.expect_drained();
        let before = world.blobs("rj").await;
        world.lastfm.with(|lastfm| {
            lastfm.faults.push_when(usize::MAX, |_| true, fault.clone());
        });
        world.put(r#"{"user":"rj"}"#).await;
        let summary = world.host.pump_until_idle(DELIVERIES_MAX).await;
        assert_eq!(summary.failures(), [""; 0], "{fault:?}");
        // A wrong total of 0 looks like a window without plays, of which only the rows tell that it lies.
        assert_eq!(world.blobs("rj").await, before, "{fault:?}");
        assert_eq!(summary.remaining, 1, "{fault:?}: put back for later");
        world.lastfm.with(|lastfm| lastfm.faults.clear());
        world.work_off_more(r#"{"user":"rj"}"#).await;
        world.expect_archived("rj").await;
    };
    futures::future::join_all(cases.map(run)).await;
}

#[tokio::test]
async fn trouble_that_passes_is_overcome_inside_the_invocation() {
    let faults = [
        Fault::error(8),
        Fault::error(11),
        Fault::error(16),
        Fault::Error {
            code: 8,
            status: 200,
        },
        Fault::plain_500(),
        Fault::Html(502),
        Fault::EmptyBody,
        Fault::TruncatedJson,
        Fault::CutInBody,
        Fault::Reset,
        Fault::ShortPage(1),
        Fault::OtherUser("zed".to_owned()),
    ];
    let run = async |fault: Fault| {
        let world = rj(450).start().await;
        world.lastfm.with(|lastfm| {
            lastfm.faults.push(fault.clone());
            lastfm
                .faults
                .push_when(1, |request| request.page == 2, fault.clone());
        });
        world.work_off(r#"{"user":"rj"}"#).await;
        world.expect_archived("rj").await;
        let retries = &world.milestones()[0]["retries"];
        assert_ne!(retries, "", "{fault:?}");
        let pending: usize = pending(&world.lastfm);
        assert_eq!(pending, 0, "{fault:?} came each time");
    };
    futures::future::join_all(faults.map(run)).await;
}

fn pending(lastfm: &Server) -> usize {
    lastfm.with(|lastfm| lastfm.faults.pending())
}
