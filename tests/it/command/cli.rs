//! The command line as scripts see it: exit status, what goes to stdout, what to stderr, and what is never said.

use fake_lastfm::{Fault, Play};

use crate::support::checker::files_below;
use crate::support::local_world::{World, made_up, plain, play};
use crate::support::program::{KEY, Program};

#[test]
fn help_and_version_go_to_stdout() {
    for arguments in [
        &["--help"][..],
        &["sync", "--help"],
        &["status", "--help"],
        &["forget", "--help"],
        &["enqueue", "--help"],
        &["serve", "--help"],
    ] {
        let ran = Program::new(arguments).run().expect(0);
        assert!(
            ran.stdout.contains("Usage: lastfm-archive"),
            "{}",
            ran.stdout
        );
        assert_eq!(ran.stderr, "");
    }
    let ran = Program::new(&["--help"]).run();
    for word in [
        "serve",
        "sync",
        "enqueue",
        "status",
        "forget",
        "LASTFM_API_KEY",
        "--archive",
    ] {
        assert!(ran.stdout.contains(word), "no {word}: {}", ran.stdout);
    }
    let ran = Program::new(&["--version"]).run().expect(0);
    let version = concat!("lastfm-archive ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), (version, ""));
}

#[test]
fn help_does_not_tell_values_of_the_environment() {
    let program = Program::new(&["sync", "--help"]).set("LASTFM_API_KEY", KEY);
    let ran = program.set("ARCHIVE_DIR", "/zq9/archive").run().expect(0);
    assert!(!ran.stdout.contains("zq9"), "{}", ran.stdout);
}

#[test]
fn wrong_arguments_are_the_callers_input() {
    let world = World::of(plain(1));
    for arguments in [
        &[][..],
        &["frobnicate"],
        &["--frobnicate"],
        &["sync", "--frobnicate"],
        &["status", "--frobnicate"],
        &["forget"],
        &["forget", "alice", "bob"],
        &["forget", "alice", "--force"],
        &["forget", "al ice", "--yes"],
        &["forget", "..", "--yes"],
        &["forget", "", "--yes"],
        &["sync", "al ice"],
        &["sync", ""],
        &["sync", "alice/../bob"],
        &["enqueue"],
        &["enqueue", "a", "b"],
    ] {
        let ran = world.program(arguments).run().expect(1);
        assert_ne!(ran.stderr, "", "{arguments:?}");
        assert_eq!(ran.stdout, "", "{arguments:?}");
    }
    assert_eq!(world.take_requests(), 0);
    assert!(!world.archive().exists());
}

#[test]
fn the_key_is_in_no_output_however_much_is_logged() {
    let world = World::of(made_up(30, 300));
    let trace = |program: Program| program.set("RUST_LOG", "trace").run();
    trace(world.sync()).expect(0);
    trace(world.program(&["status"])).expect(0);
    trace(world.program(&["sync", "--dry-run", "--json"])).expect(0);
    world.change(|history| history.add(Play::new(1_700_000_000, "A", "new")));
    for fault in [
        Fault::error(10),
        Fault::Reset,
        Fault::CutInBody,
        Fault::Html(503),
    ] {
        world.heal();
        world.fault_when(usize::MAX, |_| true, fault);
        let program = world.sync().set("LASTFM_PAGE_SIZE", "1");
        assert_ne!(trace(program).code(), 0);
    }
}

#[test]
fn the_key_is_not_told_even_when_last_fm_repeats_it() {
    let world = World::of(plain(3));
    let said = |code: u16| format!("{{\"error\":{code},\"message\":\"Invalid API key - {KEY}\"}}");
    for body in [said(6), said(8), said(10), format!("\"{KEY}\"")] {
        world.heal();
        let status = 200;
        world.fault_when(usize::MAX, |_| true, Fault::Body { status, body });
        for verb in [&["sync"][..], &["sync", "--json"], &["sync", "--dry-run"]] {
            let program = world.program(verb).set("LASTFM_PAGE_SIZE", "1");
            assert_ne!(program.run().code(), 0);
        }
    }
}

#[test]
fn a_sync_says_what_it_did_on_stderr_only() {
    let world = World::of(plain(50));
    let ran = world.sync_well(&[("LASTFM_PAGE_SIZE", "10"), ("PAGES_PER_ITEM", "2")]);
    assert_eq!(ran.stdout, "");
    let ran = ran.says("alice: 50 new plays archived").says("to go");
    assert!(ran.stderr.lines().all(|line| line.starts_with("alice: ")));
    world.sync_well(&[]).says("alice: up to date");
    world.change(|history| history.add(play(9_000, "new")));
    world.sync_well(&[]).says("alice: 1 new play archived");
}

#[test]
fn quiet_is_silent_on_success_and_not_on_failure() {
    let world = World::of(plain(50));
    for flag in ["--quiet", "-q"] {
        let ran = world.sync().argument(flag).run().expect(0);
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    }
    let program = world.sync().argument("--quiet");
    let ran = program.set("LASTFM_USERS", "ghost").run().expect(1);
    assert_eq!(ran.errors(), 1);
}

#[test]
fn json_gives_one_object_for_each_user() {
    let world = World::of_users(&[("Alice", made_up(31, 120)), ("bob", Vec::new())]);
    let program = world.sync().argument("--json").argument("--quiet");
    let ran = program
        .set("LASTFM_USERS", "alice,ghost,bob")
        .run()
        .expect(1);
    let told: Vec<_> = ran
        .json_lines()
        .iter()
        .map(|line| {
            (
                line["user"].clone(),
                line["ok"].clone(),
                line["plays"].clone(),
            )
        })
        .collect();
    let expected = [("alice", true, 120), ("ghost", false, 0), ("bob", true, 0)];
    let expected = expected.map(|(user, ok, plays)| (user.into(), ok.into(), plays.into()));
    assert_eq!(told, expected);
    assert_eq!(ran.errors(), 1);
}

#[test]
fn status_tells_what_the_archive_holds() {
    let world = World::of_users(&[("Alice", made_up(32, 500)), ("bob", Vec::new())]);
    world.sync_well(&[]);
    let before = world.snapshot();
    world.take_requests();
    let ran = world.program(&["status", "--json"]).run().expect(0);
    assert_eq!(ran.stderr, "");
    let lines = ran.json_lines();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (&lines[0]["user"], &lines[0]["rows"]),
        (&"alice".into(), &500.into())
    );
    let newest = world.truth("alice").last().unwrap().uts;
    assert_eq!(lines[0]["newest_uts"], newest);
    let bytes: usize = before.iter().map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(lines[0]["bytes"], bytes);
    assert_eq!(
        (&lines[1]["user"], &lines[1]["rows"]),
        (&"bob".into(), &0.into())
    );
    assert!(lines[1]["newest_uts"].is_null());

    let ran = world
        .program(&["status"])
        .unset("LASTFM_API_KEY")
        .run()
        .expect(0);
    assert_eq!(ran.stderr, "");
    let row = ran.stdout.lines().find(|line| line.starts_with("alice "));
    assert!(row.is_some_and(|row| row.contains("500")), "{}", ran.stdout);
    assert!(ran.stdout.lines().any(|line| line.starts_with("bob ")));
    assert_eq!((world.take_requests(), world.snapshot()), (0, before));
}

#[test]
fn status_of_an_archive_that_is_not_there_makes_none() {
    let world = World::of(plain(1));
    let ran = world.program(&["status", "--json"]).run();
    assert!(ran.code() != 0 || ran.json_lines()[0]["rows"] == 0);
    assert!(files_below(world.outside()).is_empty() && !world.archive().exists());
}
