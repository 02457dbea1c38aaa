//! A panic in an invocation. There is no route that panics, so the machine is made to refuse a thread: tokio answers that with
//! a panic, in a release build as well as here.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::functions_host::free_port;
use crate::support::gate::Gate;
use crate::support::proxy::Proxy;
use crate::support::raw_http::{Connection, chunked};
use crate::support::unprivileged::{Cell, USER, is_root};
use crate::support::world::rj;

const PATIENCE: Duration = Duration::from_mins(1);

fn request(function: &str, body: &str) -> Vec<u8> {
    let head =
        format!("POST /{function} HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n");
    let trace = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n";
    [
        head.as_bytes(),
        trace.as_bytes(),
        &chunked(body.as_bytes(), usize::MAX),
    ]
    .concat()
}

fn work_item() -> Vec<u8> {
    let item = azure_core::base64::encode(r#"{"user":"rj"}"#);
    let body = format!(r#"{{"Data":{{"item":"{item}"}},"Metadata":{{"DequeueCount":"1"}}}}"#);
    request("fetch_pages", &body)
}

/// Sets how many threads and processes the process's user may have, by a program that is not ours; gives what it was.
fn limit_threads(pid: u32, limit: &str) -> String {
    let program = format!(
        "import resource as r; old, most = r.prlimit({pid}, r.RLIMIT_NPROC); r.prlimit({pid}, r.RLIMIT_NPROC, ({limit}, most)); print(old)"
    );
    let mut python = Command::new("python3");
    python.args(["-c", &program]);
    if is_root() {
        // Even root may not do this to everybody in a container, but anybody to oneself.
        python.uid(USER).gid(USER);
    }
    let output = python.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Waits until the process has but its first thread.
async fn one_thread_left(pid: u32) {
    let tasks = format!("/proc/{pid}/task");
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let alone = async {
        while fs::read_dir(&tasks).unwrap().count() > 1 {
            looks.tick().await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, alone).await;
    waited.expect("idle threads stay");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_panic_in_an_invocation_is_that_invocation_s_failure_and_nobody_else_s() {
    let queues = Gate::closed().await;
    let world = rj(50).start().await;
    let cell = Cell::new();
    let port = free_port();
    // A name has to be looked up, which takes a thread; a number has not.
    let lastfm = format!("http://localhost:{}/2.0/", world.lastfm.address().port());
    let direct = Proxy::connection_string(None, None);
    let (blobs, queue) = direct.split_once(";QueueEndpoint=http://").unwrap();
    let (real_queue, account) = queue.split_once('/').unwrap();
    let storage = format!(
        "{blobs};QueueEndpoint=http://{}/{account}",
        queues.address()
    );
    let mut child = cell
        .command()
        .arg("serve")
        .envs(world.environment())
        .env("AzureWebJobsStorage", storage)
        .env("FUNCTIONS_CUSTOMHANDLER_PORT", port.to_string())
        .env("LASTFM_API_URL", lastfm)
        .env("RUST_BACKTRACE", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(stdout.next().unwrap().unwrap().contains("listening"));
    let address = format!("127.0.0.1:{port}").parse().unwrap();

    // Another invocation is under way all the time: its queue does not answer.
    let mut other = Connection::open(address).await;
    let tick = request("enqueue_users", r#"{"Data":{"timer":null}}"#);
    let ticking = tokio::spawn(async move { other.ask(&tick).await });
    queues.reached(1).await;

    // What started the program, and what reads its certificates, has ended: the next thread would be the only other one.
    one_thread_left(child.id()).await;
    let usual = limit_threads(child.id(), "1");
    let mut connection = Connection::open(address).await;
    let failed = connection.ask(&work_item()).await;
    assert_eq!(failed.status, 500, "{}", failed.text());
    let said =
        r#"{"correlation_id":"0af7651916cd43dd8448eb211c80319c","error":"the invocation failed"}"#;
    assert_eq!(failed.text(), said);
    let logged = stdout.find_map(|line| {
        let line = line.unwrap();
        line.contains("the host will try again").then_some(line)
    });
    let logged: Value = serde_json::from_str(&logged.unwrap()).unwrap();
    let error = logged["error"].as_str().unwrap();
    assert!(error.starts_with("it panicked: "), "{error}");
    assert!(error.contains("OS can't spawn worker thread"), "{error}");
    assert_eq!(logged["user"], "rj");
    assert_eq!(logged["trace_id"], "0af7651916cd43dd8448eb211c80319c");

    assert!(!ticking.is_finished());
    queues.open_to(real_queue.parse().unwrap());
    let ticked = tokio::time::timeout(PATIENCE, ticking).await.unwrap();
    assert_eq!(ticked.unwrap().status, 200);
    limit_threads(child.id(), &usual);
    assert_eq!(connection.ask(&work_item()).await.status, 200);
    world.expect_archived("rj").await;
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn panics_unwind_in_every_build_that_is_shipped() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    let manifest = read("Cargo.toml");
    let (_, release) = manifest.split_once("\n[profile.release]\n").unwrap();
    let release = release.split("\n[").next().unwrap();
    assert!(release.lines().any(|line| line == "panic = \"unwind\""));
    let built_by = [
        ".cargo/config.toml",
        ".github/workflows/image.yml",
        ".github/workflows/release.yml",
        "Cargo.toml",
        "Dockerfile",
        "infra/hooks/package",
        "package.sh",
    ];
    for name in built_by {
        let text = read(name).to_lowercase();
        for word in [
            "panic=abort",
            "panic = \"abort\"",
            "release_panic",
            "immediate-abort",
        ] {
            assert!(!text.contains(word), "{name}: {word}");
        }
    }
}
