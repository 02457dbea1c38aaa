//! The command line as scripts see it: exit status, what goes to stdout, what to stderr, and what is never said.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use fake_lastfm::{Fault, Play};

use crate::support::checker::files_below;
use crate::support::program::{KEY, Program};
use crate::support::world::{World, made_up, plain, play};

/// Part of every malformed value, to see whether values are repeated.
const MARK: &str = "zq9";

#[test]
fn help_and_version_go_to_stdout() {
    for arguments in [
        &["--help"][..],
        &["sync", "--help"],
        &["status", "--help"],
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
    assert!(!ran.stdout.contains(MARK), "{}", ran.stdout);
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

/// One line that names the setting, and never its value; nothing is asked and nothing is written.
#[track_caller]
fn refused(world: &World, program: Program, name: &str, context: &str) {
    let ran = program.run();
    let context = format!("{name}={context}: {}", ran.stderr);
    assert_eq!(ran.code(), 1, "{context}");
    assert_eq!(ran.stdout, "", "{context}");
    assert_eq!(ran.stderr.lines().count(), 1, "not one line: {context}");
    assert!(ran.stderr.starts_with("error: "), "{context}");
    assert!(ran.stderr.contains(name), "no name: {context}");
    let said = ran.stderr.to_lowercase();
    assert!(!said.contains(MARK), "the value is told: {context}");
    assert_eq!(world.take_requests(), 0, "{context}");
    assert!(!world.archive().exists(), "{context}");
}

#[test]
fn a_malformed_setting_is_refused_by_its_name() {
    let world = World::of(plain(1));
    let cases: [(&str, &[&str]); 14] = [
        (
            "LASTFM_API_KEY",
            &[
                "",
                " ",
                "@Microsoft.KeyVault(SecretUri=https://zq9.vault.azure.net/secrets/zq9/)",
                "@Microsoft.KeyVault(VaultName=zq9;SecretName=zq9)",
                " @Microsoft.KeyVault(VaultName=zq9;SecretName=zq9;SecretVersion=zq9)",
            ],
        ),
        (
            "LASTFM_USERS",
            &[
                "",
                " , ",
                "zq9 zq9",
                "zq9,ZQ9",
                "alice,zq9=UTC,ZQ9=Europe/Berlin",
                "alice=Zq9/Nowhere",
                "alice=",
                "=UTC",
                "alice=UTC=zq9",
                "zq9/../bob",
                "zq9é",
                "zq9-a-name-of-more-than-sixty-four-characters-which-last-fm-does-not-have",
            ],
        ),
        (
            "LASTFM_API_URL",
            &[
                "zq9",
                "ftp://127.0.0.1/zq9",
                "http://zq9.example/2.0/",
                "http://localhost.zq9.example/2.0/",
                "http://127.0.0.1.zq9.example/2.0/",
                "http://127.0.0.1@zq9.example/2.0/",
                "http://10.0.0.1/zq9/",
                "https://",
            ],
        ),
        ("LASTFM_REQUESTS_PER_SECOND", &["zq9", "-1", "NaN", "inf"]),
        (
            "LASTFM_PAGE_SIZE",
            &["zq9", "0", "1001", "-5", "2.5", "99999999999999"],
        ),
        ("PAGES_PER_ITEM", &["zq9", "0", "101"]),
        ("WORK_QUEUE", &["Zq9", "z", "-zq9", "zq9--zq9"]),
        ("ARCHIVE_CONTAINER", &["Zq9", "z", "zq9/zq9"]),
        ("CONTROL_CONTAINER", &["Zq9", "z", "zq9_zq9"]),
        (
            "AzureWebJobsStorage",
            &["zq9", "AccountName=zq9", "UseDevelopmentStorage=zq9"],
        ),
        (
            "ARCHIVE_STORAGE",
            &[
                "zq9",
                "AccountName=zq9",
                "DefaultEndpointsProtocol=https;AccountName=zq9;AccountKey=!zq9!;EndpointSuffix=core.windows.net",
            ],
        ),
        ("INCLUDE_RAW", &["zq9", "1", "yes"]),
        ("RUST_LOG", &["zq9=zq9=zq9", "info,lastfm_archive=zq9zq9"]),
        ("LASTFM_REQUESTS_PER_SECOND", &["1e999"]),
    ];
    for (name, values) in cases {
        for value in values {
            refused(&world, world.sync().set(name, value), name, value);
        }
    }
}

#[test]
fn a_setting_that_is_no_text_is_refused_and_not_taken_for_absent() {
    let world = World::of(plain(1));
    for name in [
        "LASTFM_API_KEY",
        "LASTFM_USERS",
        "LASTFM_API_URL",
        "LASTFM_REQUESTS_PER_SECOND",
        "LASTFM_PAGE_SIZE",
        "PAGES_PER_ITEM",
        "INCLUDE_RAW",
        "RUST_LOG",
    ] {
        let value = OsString::from_vec(b"zq9\xff".to_vec());
        refused(&world, world.sync().set(name, value), name, "(no UTF-8)");
    }
}

#[test]
fn a_malformed_setting_of_status_is_refused_by_its_name() {
    let world = World::of(plain(1));
    for value in ["zq9", "-1"] {
        let program = world.program(&["status"]).set("STALE_AFTER_HOURS", value);
        refused(&world, program, "STALE_AFTER_HOURS", value);
    }
}

#[test]
fn a_missing_setting_is_refused_by_its_name() {
    let world = World::of(plain(1));
    for name in ["LASTFM_API_KEY", "LASTFM_USERS"] {
        refused(&world, world.sync().unset(name), name, "(missing)");
    }
    let status = world.program(&["status"]).unset("LASTFM_USERS");
    refused(&world, status, "LASTFM_USERS", "(missing)");
    let enqueue = Program::new(&["enqueue", "alice"]);
    refused(&world, enqueue, "AzureWebJobsStorage", "(missing)");
    // With a user on the command line nothing else names users.
    let named = world.program(&["sync", "alice"]).unset("LASTFM_USERS");
    named.run().expect(0);
    world.assert_complete();
}

#[test]
fn serve_wants_its_port_storage_and_key() {
    let world = World::of(plain(1));
    let serve = || {
        Program::new(&["serve"])
            .set("AzureWebJobsStorage", "UseDevelopmentStorage=true")
            .set("LASTFM_API_KEY", KEY)
            .set("LASTFM_USERS", "alice")
            .set("FUNCTIONS_CUSTOMHANDLER_PORT", "1")
    };
    for name in [
        "FUNCTIONS_CUSTOMHANDLER_PORT",
        "LASTFM_API_KEY",
        "AzureWebJobsStorage",
    ] {
        refused(&world, serve().unset(name), name, "(missing)");
    }
    for value in ["zq9", "70000", "-1"] {
        let name = "FUNCTIONS_CUSTOMHANDLER_PORT";
        refused(&world, serve().set(name, value), name, value);
    }
}

#[test]
fn the_rate_is_bounded_unless_the_service_is_on_loopback() {
    let world = World::of(plain(3));
    let name = "LASTFM_REQUESTS_PER_SECOND";
    for rate in ["0", "5.01", "100"] {
        let real = world.sync().set("LASTFM_API_URL", "https://zq9.invalid/");
        refused(&world, real.set(name, rate), name, rate);
    }
    for rate in ["0", "250", "1000000"] {
        world.sync_well(&[(name, rate)]);
    }
    world.assert_complete();
}

#[test]
fn without_an_archive_there_is_nothing_to_do() {
    let world = World::of(plain(1));
    for verb in ["sync", "status"] {
        let program = Program::new(&[verb])
            .set("LASTFM_API_KEY", KEY)
            .set("LASTFM_USERS", "alice")
            .set("LASTFM_API_URL", world.server.url());
        refused(&world, program, "--archive", "(missing)");
    }
}

#[test]
fn the_directory_can_be_named_by_its_variable() {
    let world = World::of(plain(3));
    let program = Program::new(&["sync", "alice"])
        .set("ARCHIVE_DIR", world.archive())
        .set("LASTFM_API_KEY", KEY)
        .set("LASTFM_API_URL", world.server.url());
    program.run().expect(0);
    world.assert_complete();
}

#[test]
fn a_key_file_wins_over_the_variable_and_is_not_told_either() {
    let world = World::of(plain(3));
    let secrets = world.outside().join("secrets");
    std::fs::create_dir(&secrets).unwrap();
    std::fs::write(secrets.join("LASTFM_API_KEY"), format!("{KEY}\n")).unwrap();
    world.configure(|config| config.accepted_keys = Some(vec![KEY.to_owned()]));
    let program = world.sync().set("LASTFM_API_KEY", "an-old-key");
    program.set("SECRETS_DIR", &secrets).run().expect(0);
    world.assert_complete();
}

#[test]
fn a_directory_of_secrets_that_is_not_there_is_refused() {
    let world = World::of(plain(1));
    let program = world.sync().set("SECRETS_DIR", "/nowhere/zq9");
    refused(&world, program, "SECRETS_DIR", "/nowhere/zq9");
}

#[test]
fn the_key_is_in_no_output_however_much_is_logged() {
    let world = World::of(made_up(30, 300));
    let trace = |program: Program| program.set("RUST_LOG", "trace").run();
    trace(world.sync()).expect(0);
    trace(world.program(&["status"])).expect(0);
    trace(world.program(&["sync", "--dry-run", "--json"])).expect(0);
    world.change(|history| history.add(Play::new(1_700_000_000, "A", "new")));
    for body in [KEY.to_owned(), format!("\"{KEY}\"")] {
        for status in [200, 400] {
            world.heal();
            let body = body.clone();
            world.fault_when(usize::MAX, |_| true, Fault::Body { status, body });
            trace(world.sync().set("LASTFM_PAGE_SIZE", "1")).expect(2);
        }
    }
}

#[test]
fn the_key_is_not_told_even_when_last_fm_repeats_it() {
    let world = World::of(plain(3));
    for code in [6, 8, 10] {
        world.heal();
        let body = format!("{{\"error\":{code},\"message\":\"Invalid API key - {KEY}\"}}");
        world.fault_when(usize::MAX, |_| true, Fault::Body { status: 403, body });
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
