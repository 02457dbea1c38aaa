//! The documents that `sync` leaves in a directory, and what `status` makes of them and of the archive.

use std::fs;
use std::time::Duration;

use fake_lastfm::Fault;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::local_world::{World, made_up, plain, play};

/// Forty pages in ten items.
const SMALL: [(&str, &str); 2] = [("LASTFM_PAGE_SIZE", "10"), ("PAGES_PER_ITEM", "4")];

#[track_caller]
fn document(world: &World, user: &str) -> Value {
    let text = fs::read(world.document(user)).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// Changes some fields of a document.
fn change(world: &World, user: &str, fields: &[(&str, Value)]) {
    let mut changed = document(world, user);
    for (field, value) in fields {
        changed[*field] = value.clone();
    }
    fs::write(world.document(user), changed.to_string()).unwrap();
}

/// Length of all data files of `alice`.
fn archive_bytes(world: &World) -> usize {
    world.snapshot().iter().map(|(_, bytes)| bytes.len()).sum()
}

#[test]
fn each_sync_leaves_a_document() {
    let world = World::of(made_up(60, 300));
    world.sync_well(&[]);
    let first = document(&world, "alice");
    assert_eq!(first["user"], "alice");
    assert_eq!(first["plays_archived"], 300);
    assert_eq!(first["archive_bytes"], archive_bytes(&world));
    assert_eq!(
        first["newest_uts"],
        world.truth("alice").last().unwrap().uts
    );
    assert!(first["last_success"].is_string() && first["since"].is_string());
    for field in [
        "plays_left",
        "estimated_done",
        "last_error",
        "last_reconcile",
    ] {
        assert!(first[field].is_null(), "{first}");
    }
    world.change(|history| history.add(play(600 * 86_400, "new")));
    world.sync_well(&[]);
    let second = document(&world, "alice");
    assert_eq!(second["plays_archived"], 301);
    assert_eq!(second["since"], first["since"]);
    let names = fs::read_dir(world.archive().join("status")).unwrap();
    assert_eq!(names.count(), 1, "nothing else is left");
}

#[test]
fn a_document_that_is_lost_or_broken_changes_nothing_and_is_written_anew() {
    let world = World::of(plain(200));
    for (number, broken) in [None, Some("{\"user\":"), Some(""), Some("[]")]
        .into_iter()
        .enumerate()
    {
        world.sync_well(&[]);
        match broken {
            None => fs::remove_file(world.document("alice")).unwrap(),
            Some(text) => fs::write(world.document("alice"), text).unwrap(),
        }
        world.program(&["status"]).run().expect(0);
        let second = 100_000 + i64::try_from(number).unwrap();
        world.change(|history| history.add(play(second, "new")));
        world.take_requests();
        assert_eq!(world.sync_well(&[]).stderr.lines().count(), 1);
        assert_eq!(world.take_requests(), 1);
        world.assert_complete();
        assert_eq!(document(&world, "alice")["plays_archived"], 201 + number);
    }
}

#[test]
fn a_document_that_cannot_be_written_stops_nothing() {
    let world = World::of(plain(20));
    fs::create_dir_all(world.archive()).unwrap();
    fs::write(world.archive().join("status"), "in the way").unwrap();
    let ran = world
        .sync_well(&[])
        .says("a status document was not written");
    assert_eq!(ran.errors(), 0);
    world.assert_complete();
    let ran = world.program(&["status", "--json"]).run().expect(0);
    assert_eq!(ran.json_lines()[0]["rows"], 20);
}

#[test]
fn plays_that_came_without_a_document_are_counted() {
    let world = World::of(plain(20));
    world.sync_well(&[]);
    // As after a restored backup, or a sync by an older program.
    change(
        &world,
        "alice",
        &[("archive_bytes", json!(5)), ("plays_archived", json!(7))],
    );
    world.sync_well(&[]);
    let counted = document(&world, "alice");
    assert_eq!(counted["plays_archived"], 20);
    assert_eq!(counted["archive_bytes"], archive_bytes(&world));
}

#[test]
fn trouble_is_in_the_document_until_the_next_success() {
    let world = World::of(plain(20));
    world.sync_well(&[]);
    let success = document(&world, "alice")["last_success"].clone();
    world.fault_when(usize::MAX, |_| true, Fault::error(10));
    world.sync().run().expect(1);
    let refused = document(&world, "alice");
    let error = &refused["last_error"];
    assert!(error["reason"].as_str().unwrap().contains("key"), "{error}");
    assert!(
        error["hint"].is_string() && error["at"].is_string(),
        "{error}"
    );
    assert_eq!(refused["last_success"], success);
    assert_eq!(refused["plays_archived"], 20);
    let ran = world.program(&["status"]).run().expect(0);
    let hint = format!("  hint: {}", error["hint"].as_str().unwrap());
    for part in ["  last error, ", &hint] {
        assert!(
            ran.stdout.lines().any(|line| line.starts_with(part)),
            "{}",
            ran.stdout
        );
    }
    world.heal();
    world.sync_well(&[]);
    assert!(document(&world, "alice")["last_error"].is_null());
}

#[test]
fn an_archive_that_cannot_be_trusted_is_in_the_document() {
    let world = World::of(plain(20));
    world.sync_well(&[]);
    let file = world.file("year=2020/month=01/part-0.ndjson");
    fs::write(&file, "garbage\n").unwrap();
    world.sync().run().expect(2);
    let reason = document(&world, "alice")["last_error"]["reason"].clone();
    let name = "user=alice/year=2020/month=01/part-0.ndjson";
    assert!(reason.as_str().unwrap().contains(name), "{reason}");
}

#[test]
fn a_backfill_shows_what_is_left() {
    let world = World::of(made_up(61, 400));
    world.fault_when(usize::MAX, |info| info.number >= 23, Fault::Hang);
    let set = |program: crate::support::program::Program, (name, value)| program.set(name, value);
    let running = SMALL.into_iter().fold(world.sync(), set).start();
    assert!(world.server.wait_until_requests(23, Duration::from_mins(1)));
    running.signal(Signal::SIGINT);
    running.finish().expect(2);
    let archived = world.assert_prefix();
    let begun = document(&world, "alice");
    assert_eq!(begun["plays_archived"], archived);
    assert!(begun["estimated_done"].is_string(), "{begun}");
    let left = begun["plays_left"].as_u64().unwrap();
    // Rows at the archive's newest second are counted again.
    let real = 400 - archived as u64;
    assert!((real..real + 10).contains(&left), "{begun}");
    let ran = world.program(&["status"]).run().expect(0);
    assert!(
        ran.stdout.contains(&format!(
            "] {} %, {left} plays to go",
            archived as u64 * 100 / (archived as u64 + left)
        )),
        "{}",
        ran.stdout
    );
    world.heal();
    world.sync_well(&SMALL);
    let done = document(&world, "alice");
    assert_eq!(
        (&done["plays_left"], &done["plays_archived"]),
        (&Value::Null, &json!(400))
    );
}

#[test]
fn who_has_had_no_success_for_too_long_is_stale() {
    let world = World::of_users(&[("Alice", plain(20)), ("bob", Vec::new())]);
    world.sync_well(&[]);
    let long_ago = json!("2020-01-01T00:00:00Z");
    change(
        &world,
        "bob",
        &[
            ("last_success", long_ago.clone()),
            ("since", long_ago.clone()),
        ],
    );
    let ran = world.program(&["status"]).run().expect(3);
    let row = |user: &str| ran.stdout.lines().find(|line| line.starts_with(user));
    assert!(row("bob").unwrap().ends_with(", STALE"), "{}", ran.stdout);
    assert!(!row("alice").unwrap().contains("STALE"), "{}", ran.stdout);
    let lines = world
        .program(&["status", "--json"])
        .run()
        .expect(3)
        .json_lines();
    assert_eq!(
        (&lines[0]["stale"], &lines[1]["stale"]),
        (&json!(false), &json!(true))
    );
    // Alice's plays were archived a moment ago, whatever the document says.
    change(&world, "alice", &[("last_success", long_ago)]);
    let only = |users| world.program(&["status"]).set("LASTFM_USERS", users).run();
    only("alice").expect(0);
    // Trouble is worse.
    fs::write(world.file("year=2020/month=01/part-0.ndjson"), "garbage\n").unwrap();
    only("bob").expect(3);
    only("alice,bob").expect(2);
    world.sync().run().expect(2);
    only("bob").expect(0);
}

#[test]
fn who_was_never_synced_is_not_stale() {
    let world = World::of(plain(1));
    let ran = world.program(&["status"]).run().expect(0);
    assert!(ran.stdout.contains("nothing yet"), "{}", ran.stdout);
    let lines = world
        .program(&["status", "--json"])
        .run()
        .expect(0)
        .json_lines();
    assert_eq!(lines[0]["stale"], false);
    assert!(lines[0]["last_success"].is_null());
}

#[test]
fn json_tells_of_archive_and_document() {
    let world = World::of(plain(20));
    world.sync_well(&[]);
    let folder = world.file("year=2020/month=01");
    fs::write(folder.join("late-0.ndjson"), "{}\n{}\n").unwrap();
    let reconcile = json!({"at": "2026-01-01T00:00:00Z", "run": "a", "result": "done", "late": 2, "removed": 0, "returned": 0, "missing": 1});
    change(&world, "alice", &[("last_reconcile", reconcile.clone())]);
    let lines = world
        .program(&["status", "--json"])
        .run()
        .expect(0)
        .json_lines();
    let line = &lines[0];
    assert_eq!((&line["rows"], &line["late"]), (&json!(20), &json!(2)));
    assert_eq!(
        line["last_success"],
        document(&world, "alice")["last_success"]
    );
    assert_eq!(line["last_reconcile"], reconcile);
    for field in [
        "newest_uts",
        "newest",
        "bytes",
        "files",
        "since",
        "plays_left",
        "estimated_done",
        "last_error",
    ] {
        assert!(line.get(field).is_some(), "no {field}: {line}");
    }
}

#[test]
fn watching_goes_on_until_it_is_ended_and_tells_the_last_picture() {
    for (stale, signal, code) in [(false, Signal::SIGINT, 0), (true, Signal::SIGTERM, 3)] {
        let world = World::of_users(&[("bob", Vec::new())]);
        world.sync_well(&[]);
        if stale {
            change(
                &world,
                "bob",
                &[("last_success", json!("2020-01-01T00:00:00Z"))],
            );
        }
        let running = world.program(&["status", "--watch"]).start();
        running.wait_for_stdout("USER ", 2);
        running.signal(signal);
        let ran = running.finish().expect(code);
        assert_eq!(ran.stderr, "");
        assert_eq!(
            ran.stdout.matches("bob ").count(),
            ran.stdout.matches("USER ").count()
        );
    }
}
