//! The program as a process among others: ready without its services, many calls at once, two instances that overlap.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures::future::join_all;
use reqwest::Method;

use crate::support::azurite::ACCOUNT_KEY;
use crate::support::functions_host::{FunctionsHost, Outcome};
use crate::support::gate::Gate;
use crate::support::package::packaged_app;
use crate::support::raw_http::{Connection, chunked};
use crate::support::world::{DELIVERIES_MAX, World, history, lastfm_with, rj};

/// Longer than anything here may take; nothing is decided by it.
const PATIENCE: Duration = Duration::from_mins(1);

async fn probe(host: &FunctionsHost) {
    let client = crate::support::http::client().build().unwrap();
    let probe = client.request(Method::GET, host.address()).send();
    let answer = tokio::time::timeout(PATIENCE, probe).await;
    let answer = answer.expect("the readiness probe hangs").unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn readiness_waits_for_no_service_and_stays_while_all_of_them_hang() {
    for identity in [false, true] {
        let (storage, lastfm, tokens) =
            tokio::join!(Gate::closed(), Gate::closed(), Gate::closed());
        let (blobs, queues) = ("BlobEndpoint", "QueueEndpoint");
        let mut world = rj(10).set("LASTFM_API_URL", lastfm.lastfm_url());
        if identity {
            let token_url = format!("http://{}/msi/token", tokens.address());
            world = world
                .set("AzureWebJobsStorage__accountName", "nobody")
                .set("AzureWebJobsStorage__credential", "managedidentity")
                .set("IDENTITY_ENDPOINT", token_url)
                .set("IDENTITY_HEADER", "header");
        } else {
            let address = format!("http://{}/devstoreaccount1", storage.address());
            let name = format!("AccountName=devstoreaccount1;AccountKey={ACCOUNT_KEY}");
            let connection = format!("{name};{blobs}={address};{queues}={address}");
            world = world.set("AzureWebJobsStorage", connection);
        }
        let world = world.start().await;
        let gates = [&storage, &lastfm, &tokens];
        let asked = gates.map(Gate::connections);
        assert_eq!(asked, [0, 0, 0], "nobody is asked before there is work");

        let hanging = if identity { &tokens } else { &storage };
        let item = br#"{"user":"rj"}"#;
        let runs = (0..4).map(|_| world.host.invoke_queue_bytes("fetch_pages", item, 1));
        let probes = async {
            hanging.reached(1).await;
            for _ in 0..5 {
                probe(&world.host).await;
            }
            // All of the invocations still wait: nobody has opened a gate.
            world.host.kill().await;
        };
        let (runs, ()) = tokio::join!(join_all(runs), probes);
        for run in runs {
            assert!(run.answer.is_none(), "{}", run.what);
        }
    }
}

#[tokio::test]
async fn as_many_invocations_as_host_json_allows_run_at_the_same_time() {
    let names: Vec<String> = (0..24).map(|number| format!("user{number}")).collect();
    let users: Vec<_> = (0..)
        .zip(&names)
        .map(|(seed, name)| (name.as_str(), history(seed, 30)))
        .collect();
    let gate = Gate::closed().await;
    let world = World::of(lastfm_with(&users))
        .set("LASTFM_API_URL", gate.lastfm_url())
        .start()
        .await;
    let queues = &world.host.app.queues;
    assert_eq!(queues.batch_size + queues.new_batch_threshold, names.len());
    let messages: Vec<_> = names
        .iter()
        .map(|name| format!(r#"{{"user":"{name}"}}"#))
        .collect();
    let runs = messages.iter().map(|message| {
        let bytes = message.as_bytes();
        world.host.invoke_queue_bytes("fetch_pages", bytes, 1)
    });
    let opening = async {
        // Each waits for its first answer, on a connection of its own; one after the other they would never get here.
        gate.reached(names.len()).await;
        gate.open_to(world.lastfm.address());
    };
    let (runs, ()) = tokio::join!(join_all(runs), opening);
    for (name, run) in names.iter().zip(runs) {
        run.expect_success();
        world.expect_archived(name).await;
    }
}

#[tokio::test]
async fn a_new_instance_starts_beside_the_old_one_and_takes_over_what_dies_with_it() {
    let gate = Gate::closed().await;
    let users = ["anna", "rj", "zed"];
    let histories: Vec<_> = (1..)
        .zip(users)
        .map(|(seed, user)| (user, history(seed, 500)))
        .collect();
    let world = World::of(lastfm_with(&histories))
        .set("LASTFM_API_URL", gate.lastfm_url())
        .start()
        .await;
    for user in users {
        world.put(&format!(r#"{{"user":"{user}"}}"#)).await;
    }
    let overlap = async {
        gate.reached(users.len()).await;
        // The host starts the new job host before it tears the old one down.
        let address = world.lastfm.url();
        let new = world.another_host(&[("LASTFM_API_URL", &address)]).await;
        probe(&world.host).await;
        let status = world.host.kill().await;
        assert_eq!(status.code(), None, "{status}");
        new
    };
    let (old, new) = tokio::join!(world.host.pump_until_idle(DELIVERIES_MAX), overlap);
    assert_eq!(old.handled.len(), users.len());
    for handled in &old.handled {
        let released = matches!(handled.outcome, Outcome::Released(_));
        assert!(released, "{:?}", handled.outcome);
    }
    let summary = new.pump_until_idle(DELIVERIES_MAX).await;
    summary.expect_drained();
    for user in users {
        world.expect_archived(user).await;
    }
}

/// `serve` with pipes that the test holds, and these settings besides those that it needs.
fn serve(more: &[(&str, &str)]) -> Child {
    let settings = BTreeMap::from([
        ("AzureWebJobsStorage", "UseDevelopmentStorage=true"),
        ("FUNCTIONS_CUSTOMHANDLER_PORT", "0"),
        ("LASTFM_API_KEY", "f00d"),
        ("LASTFM_USERS", "rj"),
    ]);
    Command::new(packaged_app().join("lastfm-archive"))
        .arg("serve")
        .env_clear()
        .envs(settings)
        .envs(more.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn what_fails_after_the_first_answer_ends_the_program_with_a_failure() {
    // Port 0 is any port: nobody asks here. The machine's root certificates are read when it listens already.
    let nothing = [
        ("SSL_CERT_FILE", "/dev/null"),
        ("SSL_CERT_DIR", "/dev/null"),
    ];
    let output = serve(&nothing).wait_with_output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.contains("listening"), "{stdout}");
    // 0 would leave the host without a handler, and 200 would make it start for ever.
    assert_eq!(output.status.code(), Some(2), "{}", output.status);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("certificates"), "{stderr}");
}

#[tokio::test]
async fn a_log_that_nobody_reads_any_more_stops_no_work() {
    let port = crate::support::functions_host::free_port().to_string();
    let mut child = serve(&[("FUNCTIONS_CUSTOMHANDLER_PORT", &port)]);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert!(line.contains("listening"), "{line}");
    drop((stdout, child.stderr.take()));
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    let mut connection = Connection::open(address).await;
    let head =
        "POST /fetch_pages HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let request = [head.as_bytes(), &chunked(b"{}", 1)].concat();
    for _ in 0..3 {
        assert_eq!(connection.ask(&request).await.status, 400);
    }
    assert_eq!(child.try_wait().unwrap(), None);
    child.kill().unwrap();
    child.wait().unwrap();
}
