//! The way it is on Azure, end to end: storage over TLS that takes nothing but tokens, an endpoint that gives them, and
//! no key in the environment. The program is the packaged one, unchanged.

use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::support::azurite::{ACCOUNT_KEY, Azurite};
use crate::support::functions_host::Tick;
use crate::support::identity::{IDENTITY_HEADER, IdentityEndpoint, Manner};
use crate::support::proxy::{Proxy, Trouble};
use crate::support::world::{
    DELIVERIES_MAX, LASTFM_KEY, World, WorldBuilder, history, lastfm_with, log_lines_at, rj,
};

/// A client id as Entra gives them.
const CLIENT_ID: &str = "5ec4e7ca-0000-4000-8000-000000000042";

/// A world that gets in by identity, and the directory that holds its Last.fm key.
fn cloud(world: WorldBuilder, endpoint: &IdentityEndpoint) -> (WorldBuilder, TempDir) {
    let secrets = tempfile::tempdir().unwrap();
    std::fs::write(secrets.path().join("LASTFM_API_KEY"), LASTFM_KEY).unwrap();
    let world = world
        .with_identity(endpoint)
        .unset("LASTFM_API_KEY")
        .set("SECRETS_DIR", secrets.path().to_str().unwrap());
    (world, secrets)
}

/// The error that the last failed invocation left in the log.
#[track_caller]
fn last_error(world: &World) -> String {
    let lines = log_lines_at(&world.host, "ERROR");
    let error = lines.last().map(|line| line["error"].clone());
    error.unwrap().as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_packaged_app_archives_with_an_identity_and_no_key_in_its_environment() {
    let endpoint = IdentityEndpoint::start().await;
    let users = lastfm_with(&[("rj", history(1, 2_000)), ("zed", history(2, 300))]);
    let (world, _secrets) = cloud(World::of(users), &endpoint);
    let world = world.set("PAGES_PER_ITEM", "4").start().await;
    world.tick().await;
    for user in ["rj", "zed"] {
        world.expect_archived(user).await;
    }
    assert_eq!(world.poison().approximate_count().await, 0);
    // One for the blobs, one for the queues, each kept for as long as it is good.
    let asked = endpoint.asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked.iter().all(|asked| asked.client_id.is_none()));
    expect_no_key_in_environment(&world);
}

/// Everything that the process was given, from the operating system where it tells.
fn expect_no_key_in_environment(world: &World) {
    let environment = std::fs::read(format!("/proc/{}/environ", world.host.pid()));
    if cfg!(target_os = "linux") {
        let environment = String::from_utf8(environment.unwrap()).unwrap();
        assert!(environment.contains(IDENTITY_HEADER), "{environment}");
        for key in [
            ACCOUNT_KEY,
            "AccountKey",
            "SharedAccessSignature",
            "sig=",
            LASTFM_KEY,
        ] {
            assert!(!environment.contains(key), "{key} in {environment}");
        }
    }
}

#[tokio::test]
async fn a_user_assigned_identity_is_asked_for_by_its_client_id() {
    let endpoint = IdentityEndpoint::start().await;
    let (world, _secrets) = cloud(rj(100), &endpoint);
    let world = world
        .set("AzureWebJobsStorage__clientId", CLIENT_ID)
        .start()
        .await;
    world.tick().await;
    world.expect_archived("rj").await;
    let asked = endpoint.asked();
    assert!(!asked.is_empty());
    for asked in asked {
        assert_eq!(asked.client_id.as_deref(), Some(CLIENT_ID));
    }
}

#[tokio::test]
async fn storage_is_not_entered_with_a_token_that_it_does_not_believe() {
    let endpoint = IdentityEndpoint::start().await;
    let of_somebody_else = Manner {
        issuer: "https://login.example/".to_owned(),
        ..Manner::default()
    };
    endpoint.answer_next(usize::MAX, of_somebody_else);
    let (world, _secrets) = cloud(rj(100), &endpoint);
    let world = world.start().await;
    let run = world
        .host
        .admin_run("fetch_pages", r#"{"user":"rj"}"#)
        .await;
    run.expect_failure();
    let error = last_error(&world);
    assert!(error.contains("does not believe who asks"), "{error}");
    assert_eq!(world.requests(), 0);
}

#[tokio::test]
async fn a_token_is_replaced_before_it_ends() {
    let endpoint = IdentityEndpoint::start().await;
    let ends_soon = Manner {
        lifetime_s: 4 * 60,
        ..Manner::default()
    };
    endpoint.answer_next(1, ends_soon);
    let blobs = Proxy::of(&Azurite::with_tokens().blob_endpoint()).await;
    let (world, _secrets) = cloud(rj(1_000), &endpoint);
    let name = "ARCHIVE_STORAGE__blobServiceUri";
    let world = world.set(name, blobs.endpoint());
    let world = world
        .set("ARCHIVE_STORAGE__credential", "managedidentity")
        .start()
        .await;
    world.work_off(r#"{"user":"rj"}"#).await;
    world.expect_archived("rj").await;
    let tokens = endpoint.tokens();
    let [first, second] = &tokens[..] else {
        panic!("not two tokens: {tokens:?}");
    };
    let shown: Vec<_> = blobs
        .calls()
        .into_iter()
        .map(|call| call.authorization)
        .collect();
    assert_eq!(shown[0], format!("Bearer {first}"));
    assert!(shown.len() > 5);
    for shown in &shown[1..] {
        assert_eq!(*shown, format!("Bearer {second}"));
    }
}

#[tokio::test]
async fn a_token_that_ends_soon_serves_while_there_is_no_other() {
    let endpoint = IdentityEndpoint::start().await;
    let ends_soon = Manner {
        lifetime_s: 4 * 60,
        ..Manner::default()
    };
    endpoint.answer_next(1, ends_soon);
    endpoint.answer_next(usize::MAX, refusal());
    let (world, _secrets) = cloud(rj(100), &endpoint);
    let world = world.start().await;
    world.work_off(r#"{"user":"rj"}"#).await;
    world.expect_archived("rj").await;
    assert_eq!(endpoint.tokens().len(), 1);
    assert!(endpoint.asked().len() > 1);
}

/// What App Service says about an identity that the app does not have.
fn refusal() -> Manner {
    let body = json!({ "statusCode": 400, "message": "No User Assigned or Delegated Managed Identity found" });
    Manner {
        refusal: Some((400, body)),
        ..Manner::default()
    }
}

#[tokio::test]
async fn an_identity_that_the_app_does_not_have_is_named_with_its_setting() {
    let endpoint = IdentityEndpoint::start().await;
    endpoint.answer_next(2, refusal());
    let (world, _secrets) = cloud(rj(100), &endpoint);
    let world = world
        .set("AzureWebJobsStorage__clientId", CLIENT_ID)
        .start()
        .await;
    let tick = world.host.fire_timer("enqueue_users", Tick::Scheduled);
    tick.await.expect_failure();
    let in_queue = last_error(&world);
    let item = world.host.admin_run("fetch_pages", r#"{"user":"rj"}"#);
    item.await.expect_failure();
    let in_archive = last_error(&world);
    for (error, what) in [
        (in_queue, "cannot put a work item for `rj` on queue"),
        (in_archive, "cannot list the archive of `rj` in container"),
    ] {
        let advice = "the managed identity gave no token for `AzureWebJobsStorage`; is it assigned to this app, and is \
                      `AzureWebJobsStorage__clientId` its client id?";
        let cause = "The requested identity has not been assigned to this resource";
        for part in [what, advice, cause] {
            assert!(error.contains(part), "no `{part}` in {error}");
        }
    }
    // Assigned now: no restart is needed.
    world.tick().await;
    world.expect_archived("rj").await;
}

#[tokio::test]
async fn a_slow_identity_endpoint_is_asked_once_for_everybody_who_waits() {
    let endpoint = IdentityEndpoint::start().await;
    let slow = Manner {
        delay: Duration::from_secs(1),
        ..Manner::default()
    };
    endpoint.answer_next(usize::MAX, slow);
    let names: Vec<String> = (0..8).map(|n| format!("user{n}")).collect();
    let users: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), history(3, 50)))
        .collect();
    let (world, _secrets) = cloud(World::of(lastfm_with(&users)), &endpoint);
    let world = world.start().await;
    world.tick().await;
    for user in &names {
        world.expect_archived(user).await;
    }
    assert_eq!(endpoint.asked().len(), 2);
}

#[tokio::test]
async fn a_role_that_is_missing_on_one_container_is_named_and_needs_no_restart_once_it_is_there() {
    let endpoint = IdentityEndpoint::start().await;
    let blobs = Proxy::of(&Azurite::with_tokens().blob_endpoint()).await;
    let (world, _secrets) = cloud(rj(500), &endpoint);
    let world = world
        .set("ARCHIVE_STORAGE__blobServiceUri", blobs.endpoint())
        .set("ARCHIVE_STORAGE__credential", "managedidentity")
        .set("LASTFM_REQUESTS_PER_SECOND", "1000000")
        .start()
        .await;
    world.put(r#"{"user":"rj"}"#).await;
    let missing = "the role `Storage Blob Data Contributor` is missing here";
    let network = "the account's network rules keep the app out";
    // Nobody may read it, or read it but not write, or the account's firewall has another mind.
    for (setting, only_writing, code, cause, what) in [
        (
            "ARCHIVE_CONTAINER",
            false,
            "AuthorizationPermissionMismatch",
            missing,
            "cannot list the archive of `rj`",
        ),
        (
            "ARCHIVE_CONTAINER",
            true,
            "AuthorizationPermissionMismatch",
            missing,
            "cannot append to `user=rj/",
        ),
        (
            "CONTROL_CONTAINER",
            false,
            "AuthorizationPermissionMismatch",
            missing,
            "cannot reserve requests",
        ),
        (
            "ARCHIVE_CONTAINER",
            false,
            "AuthorizationFailure",
            network,
            "cannot list the archive of `rj`",
        ),
    ] {
        let container = world.setting(setting).to_owned();
        let prefix = format!("/{container}");
        blobs.trouble(
            1,
            move |call| call.path.starts_with(&prefix) && (!only_writing || call.method == "PUT"),
            Trouble::Deny(code),
        );
        let summary = world.host.pump_queue().await;
        assert_eq!((summary.failures().len(), summary.remaining), (1, 1));
        let error = last_error(&world);
        for part in [what, cause, &format!("/{container}"), code] {
            assert!(error.contains(part), "no `{part}` in {error}");
        }
        assert!(world.blobs("rj").await.is_empty());
    }
    world
        .host
        .pump_until_idle(DELIVERIES_MAX)
        .await
        .expect_drained();
    world.expect_archived("rj").await;
}

#[tokio::test]
async fn a_role_that_is_missing_on_the_queue_is_named() {
    let endpoint = IdentityEndpoint::start().await;
    let queues = Proxy::of(&Azurite::with_tokens().queue_endpoint()).await;
    queues.trouble(
        1,
        |_| true,
        Trouble::Deny("AuthorizationPermissionMismatch"),
    );
    let (world, _secrets) = cloud(rj(10), &endpoint);
    let world = world
        .set("AzureWebJobsStorage__queueServiceUri", queues.endpoint())
        .start()
        .await;
    let tick = world.host.fire_timer("enqueue_users", Tick::Scheduled);
    tick.await.expect_failure();
    let error = last_error(&world);
    for part in [
        "on queue",
        world.setting("WORK_QUEUE"),
        "the role `Storage Queue Data Contributor` is missing",
    ] {
        assert!(error.contains(part), "no `{part}` in {error}");
    }
    world.tick().await;
    world.expect_archived("rj").await;
}
