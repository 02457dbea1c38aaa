//! `forget` on storage: both containers, all of one user, nothing of anybody else.

use std::collections::BTreeMap;
use std::process::{Output, Stdio};

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::support::proxy::{Call, Proxy, Trouble};
use crate::support::world::{LASTFM_KEY, World, history, lastfm_with};

/// Runs the command; `typed` is what somebody answers.
async fn run(arguments: &[&str], environment: &BTreeMap<String, String>, typed: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lastfm-archive"))
        .args(arguments)
        .env_clear()
        .envs(environment)
        .kill_on_drop(true)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who has ended already does not read it.
    let _ = child
        .stdin
        .take()
        .unwrap()
        .write_all(typed.as_bytes())
        .await;
    let output = child.wait_with_output().await.unwrap();
    for text in [&output.stdout, &output.stderr] {
        assert!(!String::from_utf8_lossy(text).contains(LASTFM_KEY));
    }
    output
}

/// What it said, if it ended so.
#[track_caller]
fn said(output: &Output, code: i32) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{stdout}{stderr}");
    (stdout, stderr)
}

/// Names of all blobs of both containers.
async fn names(world: &World) -> Vec<String> {
    let mut names = Vec::new();
    for container in [world.archive(), world.control()] {
        let blobs = container.list("").await;
        names.extend(blobs.into_iter().map(|(name, _)| name));
    }
    names
}

/// Three users whose names begin with each other's, and blobs of every kind.
async fn archived(settings: &[(&str, String)]) -> World {
    let users = ["rj", "rjx", "r"].map(|user| (user, history(7, 60)));
    let world = World::of(lastfm_with(&users));
    // A budget makes its blob.
    let world = world.set("LASTFM_REQUESTS_PER_SECOND", "1000");
    let set = |world: crate::support::world::WorldBuilder, (name, value): &(&str, String)| {
        world.set(name, value.clone())
    };
    let world = settings.iter().fold(world, set).start().await;
    world.tick().await;
    for user in ["rj", "rjx"] {
        for name in [
            format!("user={user}/year=2022/month=01/late-0.ndjson"),
            format!("removed/user={user}/part-0.ndjson"),
            format!("removed/user={user}/missing-0.ndjson"),
        ] {
            world.archive().put_append_blob(&name, "{}\n").await;
        }
    }
    world.archive().put("user=rj/a & b.txt", "notes").await;
    world
}

fn is_of_rj(name: &str) -> bool {
    let prefixes = ["user=rj/", "removed/user=rj/"];
    prefixes.iter().any(|prefix| name.starts_with(prefix)) || name == "status/rj.json"
}

#[tokio::test]
async fn both_containers_lose_one_user_and_keep_the_others() {
    let world = archived(&[]).await;
    let (own, others): (Vec<_>, Vec<_>) = names(&world)
        .await
        .into_iter()
        .partition(|name| is_of_rj(name));
    assert!(
        others.iter().any(|name| name == "budget.json"),
        "{others:?}"
    );
    let environment = world.environment();
    let output = run(&["forget", "rj", "--yes"], &environment, "").await;
    let (stdout, stderr) = said(&output, 0);
    assert!(
        stdout.contains(&format!("rj: {} files, ", own.len())),
        "{stdout}"
    );
    for words in ["`LASTFM_USERS`", "on a queue", "soft delete"] {
        assert!(stderr.contains(words), "no {words}: {stderr}");
    }
    assert_eq!(names(&world).await, others);
    for user in ["rjx", "r"] {
        let plays = world.truth(user);
        let documents = world.control().list(&format!("status/{user}.json")).await;
        assert_eq!((documents.len(), plays.len()), (1, 60));
    }
    let (stdout, _) = said(&run(&["forget", "RJ"], &environment, "").await, 0);
    assert!(stdout.contains("nothing is stored"), "{stdout}");
    assert_eq!(names(&world).await, others);
    world.work_off(r#"{"user":"rj"}"#).await;
    world.expect_archived("rj").await;
}

#[tokio::test]
async fn nothing_is_deleted_before_somebody_types_the_name() {
    let world = archived(&[]).await;
    let before = names(&world).await;
    let environment = world.environment();
    for answer in ["", "yes\n", "rjx\n"] {
        let output = run(&["forget", "rj"], &environment, answer).await;
        let (stdout, stderr) = said(&output, 1);
        assert!(
            stdout.is_empty() && stderr.contains("nothing was deleted"),
            "{stderr}"
        );
        assert_eq!(names(&world).await, before);
    }
    said(&run(&["forget", "rj"], &environment, "rj\n").await, 0);
    assert!(!names(&world).await.iter().any(|name| is_of_rj(name)));
}

#[tokio::test]
async fn newest_plays_go_first_and_what_is_left_is_named() {
    let blobs = Proxy::of_blobs().await;
    let storage = Proxy::connection_string(Some(&blobs), None);
    let world = archived(&[("AzureWebJobsStorage", storage)]).await;
    let mut parts = world.blobs("rj").await;
    parts.retain(|(name, _)| name.contains("/part-"));
    let (kept, _) = &parts[parts.len() / 2];
    let path = kept.replace('/', "%2F");
    let is_kept = move |call: &Call| call.method == "DELETE" && call.path.ends_with(&path);
    let refusal = Trouble::Deny("AuthorizationPermissionMismatch");
    blobs.trouble(usize::MAX, is_kept, refusal);
    let environment = world.environment();
    let output = run(&["forget", "rj", "--yes"], &environment, "").await;
    let (_, stderr) = said(&output, 2);
    assert!(
        stderr.contains(&format!("error: `{kept}` is left: ")),
        "{stderr}"
    );
    assert!(stderr.contains("Storage Blob Data Contributor"), "{stderr}");
    let deleted = blobs.calls_where(|call| call.method == "DELETE");
    let months: Vec<&str> = deleted
        .iter()
        .filter(|call| call.path.contains("part-"))
        .filter_map(|call| Some(call.path.split_once("year")?.1))
        .collect();
    assert_eq!(months.len(), parts.len());
    let mut newest_first = months.clone();
    newest_first.sort_unstable_by(|one, other| other.cmp(one));
    assert_eq!(months, newest_first);
    blobs.calm();
    said(&run(&["forget", "rj", "--yes"], &environment, "").await, 0);
    assert!(!names(&world).await.iter().any(|name| is_of_rj(name)));
}

#[tokio::test]
async fn an_answer_that_is_lost_does_no_harm() {
    let blobs = Proxy::of_blobs().await;
    let storage = Proxy::connection_string(Some(&blobs), None);
    let world = archived(&[("AzureWebJobsStorage", storage)]).await;
    let environment = world.environment();
    blobs.trouble(3, |call| call.method == "DELETE", Trouble::LoseAnswer);
    said(&run(&["forget", "rj", "--yes"], &environment, "").await, 0);
    assert!(!names(&world).await.iter().any(|name| is_of_rj(name)));
}
