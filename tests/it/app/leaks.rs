//! No secret is in any byte that the app leaves behind, whatever goes wrong, however much it logs. And a planted one is
//! seen in each of these places, so the others would be.

use std::collections::BTreeMap;
use std::time::Duration;

use fake_lastfm::Fault;
use serde_json::json;

use crate::support::azurite::{ACCOUNT, ACCOUNT_KEY, Azurite, account_sas};
use crate::support::functions_host::FunctionsHost;
use crate::support::identity::{IDENTITY_HEADER, IdentityEndpoint, Manner};
use crate::support::leaks::{Evidence, Secrets};
use crate::support::program::Program;
use crate::support::world::{World, WorldBuilder, history, lastfm_with, plays_from, rj};

/// A Last.fm key that looks otherwise in an address, in JSON and in base64.
const KEY: &str = "k3y/M4rked+l34k=5ec4e7ca11ab1e&42";
/// A user who is named like a secret.
const PLANTED: &str = "Plant3d_S3cret-5ec4e7ca";

const PLACES: [&str; 5] = ["stdout", "answer", "message", "blob", "arguments"];

fn loud(world: WorldBuilder) -> WorldBuilder {
    world
        .set("LASTFM_API_KEY", KEY)
        .set("RUST_LOG", "trace")
        .set("RUST_BACKTRACE", "1")
        .set("INCLUDE_RAW", "true")
}

/// What stands in the world's storage.
async fn left_in_storage(world: &World) -> Evidence {
    let mut evidence = Evidence::default();
    for container in [world.archive(), world.control()] {
        for (name, _) in container.list("").await {
            evidence.add("blob", container.download(&name).await);
            evidence.add("blob's name", name);
        }
    }
    for queue in [world.queue(), world.poison()] {
        for text in queue.peek_all().await {
            evidence.add("message", text);
        }
    }
    evidence
}

/// What a program under the host has said and answered, and with which arguments it runs.
fn left_by(host: &FunctionsHost) -> Evidence {
    let mut evidence = Evidence::default();
    evidence.add("stdout", host.stdout().join("\n"));
    evidence.add("stderr", host.stderr().join("\n"));
    for (place, text) in host.exchanged() {
        evidence.add(place, text);
    }
    evidence
}

/// Last.fm's words when it repeats the address of the request that it refuses.
fn echo(code: u16, status: u16) -> Fault {
    let mut url = reqwest::Url::parse("http://localhost/2.0/?method=user.getrecenttracks").unwrap();
    url.query_pairs_mut().append_pair("api_key", KEY);
    let message = format!("Invalid request: {url}, key {KEY}");
    let body = json!({ "error": code, "message": message }).to_string();
    Fault::Body { status, body }
}

/// Goes through success and every kind of trouble, and gives all that was left behind. `broken` are settings with which
/// the archive's storage is out of reach.
async fn go_through(world: WorldBuilder, broken: &[(&str, &str)]) -> Evidence {
    let world = loud(world).start().await;
    world.tick().await;
    let html = Fault::Html(500);
    for fault in [Fault::Reset, Fault::CutInBody, html, echo(8, 500)] {
        world.lastfm.with(|lastfm| {
            lastfm.faults.push(fault);
            let newest = plays_from(1_719_000_000, 5);
            lastfm.user_mut("rj").history.add_all(newest);
        });
    }
    world.tick().await;
    let item = r#"{"user":"rj"}"#;
    world
        .lastfm
        .with(|lastfm| lastfm.faults.push(echo(10, 403)));
    world.host.admin_run("fetch_pages", item).await;
    world.put("not a work item").await;
    world.put(item).await;
    world.host.pump_queue().await;
    world.host.post("/fetch_pages", "{").await.unwrap();
    let mut evidence = Evidence::default();
    let nowhere = [("LASTFM_API_URL", "http://127.0.0.1:1/2.0/")];
    for changes in [&nowhere[..], broken] {
        let host = world.another_host(changes).await;
        host.admin_run("fetch_pages", item).await;
        evidence.append(left_by(&host));
    }
    evidence.add_arguments_of(world.host.pid());
    world.host.terminate();
    world.host.wait_for_exit().await;
    evidence.append(left_by(&world.host));
    evidence.append(left_in_storage(&world).await);
    evidence
}

#[tokio::test]
async fn neither_the_key_nor_the_accounts_key_is_anywhere() {
    let broken = format!(
        "AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};BlobEndpoint=http://127.0.0.1:1/{ACCOUNT}"
    );
    let broken = [("ARCHIVE_STORAGE", broken.as_str())];
    let evidence = go_through(rj(300), &broken).await;
    let secrets = Secrets::of([("the Last.fm key", KEY), ("the account's key", ACCOUNT_KEY)]);
    secrets.expect_nowhere_in(&evidence, &PLACES);
}

#[tokio::test]
async fn no_signature_is_anywhere() {
    let sas = account_sas();
    let (_, signature) = sas.split_once("sig=").unwrap();
    let broken = format!("BlobEndpoint=http://127.0.0.1:1/{ACCOUNT};SharedAccessSignature={sas}");
    let broken = [("ARCHIVE_STORAGE", broken.as_str())];
    let storage = Azurite::start().connection_string_with_sas();
    let world = rj(300).set("AzureWebJobsStorage", storage);
    let evidence = go_through(world, &broken).await;
    let secrets = Secrets::of([("the Last.fm key", KEY), ("the signature", signature)]);
    secrets.expect_nowhere_in(&evidence, &PLACES);
}

#[tokio::test]
async fn neither_identity_header_nor_token_is_anywhere() {
    let endpoint = IdentityEndpoint::start().await;
    let slow = Manner {
        delay: Duration::from_millis(100),
        ..Manner::default()
    };
    // Three programs, each with a token for blobs and maybe one for queues; the last one hears odd answers first.
    endpoint.answer_next(3, slow);
    let broken = [
        ("ARCHIVE_STORAGE__blobServiceUri", "https://127.0.0.1:1/zq9"),
        ("ARCHIVE_STORAGE__credential", "managedidentity"),
    ];
    let world = rj(300).with_identity(&endpoint);
    let mut evidence = go_through(world, &broken).await;
    evidence.append(with_odd_answers(&endpoint).await);
    let tokens = endpoint.tokens();
    let mut secrets = vec![
        ("the Last.fm key", KEY),
        ("the identity's header", IDENTITY_HEADER),
    ];
    for token in &tokens {
        secrets.push(("a token", token));
        secrets.push(("a token's signature", token.rsplit('.').next().unwrap()));
    }
    assert!(tokens.len() >= 3);
    Secrets::of(secrets).expect_nowhere_in(&evidence, &PLACES);
}

/// A program that gets answers of the identity endpoint that it cannot use, and then a token that storage refuses.
async fn with_odd_answers(endpoint: &IdentityEndpoint) -> Evidence {
    let token = endpoint.tokens().pop().unwrap();
    let odd = [
        (
            200,
            json!({ "access_token": token, "expires_on": 12, "token_type": "Bearer" }),
        ),
        (200, json!({ "access_token": [token] })),
        (400, json!({ "message": "no identity" })),
    ];
    for (status, body) in odd {
        let refusal = Some((status, body));
        endpoint.answer_next(
            1,
            Manner {
                refusal,
                ..Manner::default()
            },
        );
    }
    endpoint.answer_next(
        1,
        Manner {
            issuer: "https://login.example/".to_owned(),
            ..Manner::default()
        },
    );
    let world = loud(rj(10).with_identity(endpoint)).start().await;
    for _ in 0..4 {
        let run = world.host.admin_run("fetch_pages", r#"{"user":"rj"}"#);
        run.await.expect_failure();
    }
    left_by(&world.host)
}

/// A command with this environment, to its end.
fn command(environment: &BTreeMap<String, String>, arguments: &[&str]) -> Evidence {
    let set = |program: Program, (name, value): (&String, &String)| program.set(name, value);
    let program = environment.iter().fold(Program::new(arguments), set);
    let ran = program.set("RUST_LOG", "trace").run();
    let mut evidence = Evidence::default();
    evidence.add("stdout", ran.stdout);
    evidence.add("stderr", ran.stderr);
    evidence
}

/// The arguments of a sync of this user, while it waits for Last.fm.
async fn arguments_of_sync(world: &World, user: &str) -> Evidence {
    world.lastfm.with(|lastfm| lastfm.faults.push(Fault::Hang));
    let requests = world.requests();
    let set = |program: Program, (name, value): (&String, &String)| program.set(name, value);
    let environment = world.environment();
    let running = environment.iter().fold(Program::new(&["sync", user]), set);
    let running = running.start();
    world.lastfm.requests_reached(requests + 1).await;
    let mut evidence = Evidence::default();
    evidence.add_arguments_of(running.pid());
    evidence
}

#[tokio::test]
async fn no_command_tells_a_secret() {
    let world = loud(rj(300)).start().await;
    let environment = world.environment();
    let mut evidence = arguments_of_sync(&world, "rj").await;
    for arguments in [
        &["sync", "rj"][..],
        &["status"],
        &["enqueue", "rj"],
        &["sync", "--help"],
    ] {
        world.lastfm.with(|lastfm| lastfm.faults.push(echo(8, 500)));
        evidence.append(command(&environment, arguments));
    }
    world.lastfm.with(|lastfm| lastfm.faults.clear());
    world
        .lastfm
        .with(|lastfm| lastfm.faults.push(echo(10, 403)));
    evidence.append(command(&environment, &["sync", "rj"]));
    evidence.append(left_in_storage(&world).await);
    let secrets = Secrets::of([("the Last.fm key", KEY), ("the account's key", ACCOUNT_KEY)]);
    secrets.expect_nowhere_in(
        &evidence,
        &["stdout", "stderr", "blob", "message", "arguments"],
    );
}

#[tokio::test]
async fn no_setting_that_is_refused_is_told() {
    const MARK: &str = "zq9-m4rked-zq9/5ec4e7ca+11ab1e";
    let world = rj(0).start().await;
    let mut good = world.environment();
    good.insert("FUNCTIONS_CUSTOMHANDLER_PORT".to_owned(), "1".to_owned());
    let secrets = Secrets::of([("a setting", MARK), ("the account's key", ACCOUNT_KEY)]);
    for (name, value) in [
        (
            "LASTFM_API_KEY",
            format!("@Microsoft.KeyVault(VaultName={MARK};SecretName=s)"),
        ),
        (
            "LASTFM_API_URL",
            format!("http://user:{MARK}@lastfm.example/"),
        ),
        ("LASTFM_API_URL", MARK.to_owned()),
        ("LASTFM_USERS", MARK.to_owned()),
        ("LASTFM_USERS", format!("rj={MARK}")),
        ("LASTFM_PAGE_SIZE", MARK.to_owned()),
        ("LASTFM_REQUESTS_PER_SECOND", MARK.to_owned()),
        ("WORK_QUEUE", MARK.to_owned()),
        ("ARCHIVE_CONTAINER", MARK.to_owned()),
        ("INCLUDE_RAW", MARK.to_owned()),
        ("RUST_LOG", format!("{MARK}={MARK}")),
        // A file, and no directory.
        ("SECRETS_DIR", "/dev/null".to_owned()),
        ("FUNCTIONS_CUSTOMHANDLER_PORT", MARK.to_owned()),
        ("AzureWebJobsStorage", MARK.to_owned()),
        (
            "AzureWebJobsStorage",
            format!("AccountName=a;AccountKey=!{MARK}"),
        ),
        ("AzureWebJobsStorage", format!("AccountName={MARK}")),
        (
            "AzureWebJobsStorage",
            format!("AccountKey={ACCOUNT_KEY};BlobEndpoint={MARK}"),
        ),
        (
            "AzureWebJobsStorage",
            format!("BlobEndpoint=https://a.example/;SharedAccessSignature=sig={MARK}"),
        ),
        (
            "ARCHIVE_STORAGE",
            format!("QueueEndpoint=https://a.example/;SharedAccessSignature=sig={MARK}"),
        ),
        ("ARCHIVE_STORAGE__accountName", MARK.to_owned()),
        (
            "ARCHIVE_STORAGE__blobServiceUri",
            format!("http://a.example/?sig={MARK}"),
        ),
        ("ARCHIVE_STORAGE__blobServiceUri", MARK.to_owned()),
    ] {
        let mut environment = good.clone();
        environment.insert(name.to_owned(), value);
        let set = |program: Program, (name, value): (&String, &String)| program.set(name, value);
        let serve = environment.iter().fold(Program::new(&["serve"]), set);
        let ran = serve.run().expect(1);
        let mut evidence = Evidence::default();
        evidence.add("stdout", ran.stdout);
        evidence.add("stderr", ran.stderr);
        secrets.expect_nowhere_in(&evidence, &["stderr"]);
    }
}

#[tokio::test]
async fn a_planted_secret_is_seen_in_every_place() {
    let users = lastfm_with(&[(PLANTED, history(1, 300))]);
    let world = loud(World::of(users)).start().await;
    world.tick().await;
    world
        .put(&format!(r#"{{"user":"{PLANTED}","to":"soon"}}"#))
        .await;
    world.host.pump_queue().await;
    let mut evidence = left_by(&world.host);
    evidence.append(left_in_storage(&world).await);
    evidence.append(arguments_of_sync(&world, PLANTED).await);
    evidence.append(command(&world.environment(), &["sync", PLANTED]));
    let places = [&PLACES[..], &["stderr", "blob's name"]].concat();
    Secrets::of([("the planted one", PLANTED)]).expect_everywhere_in(&evidence, &places);
    // What the tests above look for is not there either.
    let others = Secrets::of([("the Last.fm key", KEY), ("the account's key", ACCOUNT_KEY)]);
    others.expect_nowhere_in(&evidence, &places);
}
