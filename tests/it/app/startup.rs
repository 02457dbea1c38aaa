//! How `serve` starts, and how it refuses to.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::{Command, Output};

use crate::support::world::rj;

const BINARY: &str = env!("CARGO_BIN_EXE_lastfm-archive");

/// Settings with which `serve` would start.
fn good() -> BTreeMap<&'static str, String> {
    BTreeMap::from(
        [
            ("AzureWebJobsStorage", "UseDevelopmentStorage=true"),
            ("FUNCTIONS_CUSTOMHANDLER_PORT", "1"),
            ("LASTFM_API_KEY", "f00d"),
            ("LASTFM_USERS", "rj"),
        ]
        .map(|(name, value)| (name, value.to_owned())),
    )
}

fn serve(settings: &BTreeMap<&str, String>) -> Output {
    Command::new(BINARY)
        .arg("serve")
        .env_clear()
        .envs(settings)
        .output()
        .unwrap()
}

/// `serve` must refuse at once, with status 1 and one line that names the setting and not its value.
#[track_caller]
fn refused(name: &str, settings: &BTreeMap<&str, String>) {
    let output = serve(settings);
    let value = settings.get(name).map_or("", String::as_str);
    let stderr = String::from_utf8(output.stderr).unwrap();
    let what = format!("{name}={value}: {} {stderr}", output.status);
    assert_eq!(output.status.code(), Some(1), "{what}");
    assert_eq!(stderr.lines().count(), 1, "{what}");
    assert!(stderr.contains(name), "{what}");
    assert!(value.len() < 5 || !stderr.contains(value), "{what}");
    assert_eq!(output.stdout, b"", "{what}");
}

#[test]
fn a_missing_setting_is_named() {
    for name in [
        "AzureWebJobsStorage",
        "FUNCTIONS_CUSTOMHANDLER_PORT",
        "LASTFM_API_KEY",
        "LASTFM_USERS",
    ] {
        let mut settings = good();
        settings.remove(name);
        refused(name, &settings);
        settings.insert(name, String::new());
        refused(name, &settings);
        settings.insert(name, "  ".to_owned());
        refused(name, &settings);
    }
}

#[test]
fn an_odd_setting_is_named_without_its_value() {
    for (name, value) in [
        ("ARCHIVE_CONTAINER", "Has_Capitals"),
        ("ARCHIVE_STORAGE", "certainly no connection string"),
        ("ARCHIVE_STORAGE", "AccountName=abc;AccountKey=%%%%%%%"),
        ("AzureWebJobsStorage", "certainly no connection string"),
        ("AzureWebJobsStorage", "AccountName=abcdefg"),
        (
            "AzureWebJobsStorage",
            "BlobEndpoint=https://x.example/;SharedAccessSignature=sig",
        ),
        ("CONTROL_CONTAINER", "-leading"),
        ("FUNCTIONS_CUSTOMHANDLER_PORT", "seven thousand"),
        ("FUNCTIONS_CUSTOMHANDLER_PORT", "70000"),
        ("INCLUDE_RAW", "perhaps"),
        (
            "LASTFM_API_KEY",
            "@Microsoft.KeyVault(SecretUri=https://v.example/secrets/lastfm)",
        ),
        ("LASTFM_API_URL", "http://example.org/2.0/"),
        ("LASTFM_API_URL", "ftp://127.0.0.1/2.0/"),
        ("LASTFM_API_URL", "nonsense"),
        ("LASTFM_PAGE_SIZE", "0"),
        ("LASTFM_PAGE_SIZE", "1001"),
        ("LASTFM_PAGE_SIZE", "many many"),
        ("LASTFM_REQUESTS_PER_SECOND", "0"),
        ("LASTFM_REQUESTS_PER_SECOND", "5.1"),
        ("LASTFM_REQUESTS_PER_SECOND", "-1"),
        ("LASTFM_REQUESTS_PER_SECOND", "inf"),
        ("LASTFM_USERS", "rj,zed,RJ"),
        ("LASTFM_USERS", "rj=Nowhere/Atlantis"),
        ("LASTFM_USERS", "rj,not a name"),
        ("LASTFM_USERS", ",,,"),
        ("PAGES_PER_ITEM", "0"),
        ("PAGES_PER_ITEM", "101"),
        ("RUST_LOG", "lastfm_archive=loudly"),
        ("WORK_QUEUE", "Page_Ranges"),
    ] {
        let mut settings = good();
        settings.insert(name, value.to_owned());
        refused(name, &settings);
    }
}

#[test]
fn a_reference_that_was_not_resolved_stops_the_start_and_its_usual_causes_are_named() {
    for name in ["LASTFM_API_KEY", "AzureWebJobsStorage", "ARCHIVE_STORAGE"] {
        for reference in [
            "@Microsoft.KeyVault(SecretUri=https://v.example/secrets/lastfm/)",
            "@Microsoft.KeyVault(VaultName=v;SecretName=lastfm;SecretVersion=1)",
        ] {
            let mut settings = good();
            settings.insert(name, reference.to_owned());
            refused(name, &settings);
            let stderr = String::from_utf8(serve(&settings).stderr).unwrap();
            for cause in [
                "identity is not assigned",
                "lacks the role `Key Vault Secrets User`",
                "the vault's network refuses the app",
            ] {
                assert!(stderr.contains(cause), "no `{cause}` in {stderr}");
            }
        }
    }
}

#[test]
fn a_port_that_is_taken_ends_the_program_with_a_failure() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut settings = good();
    let port = taken.local_addr().unwrap().port().to_string();
    settings.insert("FUNCTIONS_CUSTOMHANDLER_PORT", port.clone());
    let output = serve(&settings);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code().is_some_and(|code| code != 0));
    assert!(stderr.contains(&port), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[tokio::test]
async fn the_host_sees_the_reason_of_a_program_that_does_not_start() {
    let problem = rj(0).unset("LASTFM_API_KEY").start_problem().await;
    assert!(problem.contains("exit status: 1"), "{problem}");
    assert!(problem.contains("`LASTFM_API_KEY`"), "{problem}");
}

#[tokio::test]
async fn a_storage_that_is_away_does_not_keep_the_program_from_starting() {
    let away = "AccountName=a;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:1/a;QueueEndpoint=http://127.0.0.1:1/a";
    let world = rj(0).set("AzureWebJobsStorage", away).start().await;
    assert_eq!(world.host.exit_status(), None);
}

#[tokio::test]
async fn the_key_may_come_from_a_directory_and_change_without_a_restart() {
    let secrets = tempfile::tempdir().unwrap();
    let file = secrets.path().join("LASTFM_API_KEY");
    std::fs::write(&file, "first-key\n").unwrap();
    let world = rj(50)
        .unset("LASTFM_API_KEY")
        .set("SECRETS_DIR", secrets.path().to_str().unwrap())
        .start()
        .await;
    let to = 1_650_000_000;
    world
        .work_off(&format!(r#"{{"user":"rj","to":{to}}}"#))
        .await;
    std::fs::write(&file, "second-key").unwrap();
    world.work_off(r#"{"user":"rj"}"#).await;
    world.expect_archived("rj").await;
    let keys: Vec<_> = world.lastfm.with(|lastfm| {
        let keys = lastfm.log.entries().iter().map(|it| &it.request.api_key);
        keys.cloned().collect()
    });
    assert_eq!(keys.first().unwrap(), "first-key");
    assert_eq!(keys.last().unwrap(), "second-key");
}
