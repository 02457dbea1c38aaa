//! Settings that are missing or odd: one line that names the setting and never its value, before anything is done.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::support::local_world::{World, plain};
use crate::support::program::{KEY, Program};

/// Part of every malformed value, to see whether values are repeated.
const MARK: &str = "zq9";

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
fn a_command_that_needs_no_key_does_not_mind_one_that_was_not_resolved() {
    let world = World::of(plain(1));
    world.sync_well(&[]);
    let reference = "@Microsoft.KeyVault(VaultName=v;SecretName=s)";
    let status = world.program(&["status"]);
    status.set("LASTFM_API_KEY", reference).run().expect(0);
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
fn a_directory_of_secrets_that_is_a_file_is_refused() {
    let world = World::of(plain(1));
    let file = world.outside().join("zq9");
    std::fs::write(&file, "no directory").unwrap();
    let program = world.sync().set("SECRETS_DIR", &file);
    refused(&world, program, "SECRETS_DIR", "zq9");
}
