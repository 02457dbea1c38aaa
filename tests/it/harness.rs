//! The harness tests itself: Azurite stores, and the double of the Functions host judges as the real one does.

use std::fs;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::azurite::{Azurite, unique_name};
use crate::support::functions_host::{FunctionsHost, HostBuilder, Outcome, PumpSummary, Tick};
use crate::support::storage::Queue;

/// A program that does what the message says, or for a timer answers well; it prints each call.
const SERVER: &str = r#"
const answers = {
  good: [200, "application/json; charset=utf-8", '{"Outputs":{},"LOGS":["done",1,null],"ReturnValue":null}'],
  empty: [200, "application/json", ""],
  null: [200, "application/json", "null"],
  text: [200, "text/plain", "{}"],
  logs: [200, "application/json", '{"Logs":"done"}'],
  list: [200, "application/json", "[]"],
  broken: [200, "application/json", "{"],
  error: [500, "application/json", '{"Logs":["storage is away"]}'],
};
const server = require("node:http").createServer((request, response) => {
  let body = "";
  request.on("data", (chunk) => (body += chunk));
  request.on("end", () => {
    if (request.method === "GET") return response.writeHead(404).end();
    console.log(JSON.stringify({ url: request.url, headers: request.headers, body }));
    const { item } = JSON.parse(body).Data;
    const message = item ? Buffer.from(item, "base64").toString() : "good";
    if (message === "crash") { console.error("out of luck"); process.kill(process.pid, "SIGKILL"); return; }
    if (message === "never") return;
    if (message === "break") return request.socket.destroy();
    const [status, type, text] = answers[message] ?? answers.good;
    response.writeHead(status, { "content-type": type }).end(text);
  });
});
server.listen(process.env.FUNCTIONS_CUSTOMHANDLER_PORT, "127.0.0.1");
process.on("SIGTERM", () => process.exit(7));
"#;

/// A packaged folder around that program.
fn app() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(root.path().join(name), text).unwrap();
    write("server.js", SERVER);
    write(
        "host.json",
        r#"{
            "version": "2.0",
            "functionTimeout": "00:00:20",
            "customHandler": { "description": { "defaultExecutablePath": "node", "arguments": ["server.js", "--port=%FUNCTIONS_CUSTOMHANDLER_PORT%"] } },
            "extensions": { "queues": { "batchSize": 4, "newBatchThreshold": 2, "maxDequeueCount": 3, "messageEncoding": "none" } },
            "extensionBundle": { "id": "Microsoft.Azure.Functions.ExtensionBundle", "version": "[4.*, 5.0.0)" }
        }"#,
    );
    fs::create_dir(root.path().join("tick")).unwrap();
    write(
        "tick/function.json",
        r#"{ "bindings": [{ "type": "timerTrigger", "direction": "in", "name": "timer", "schedule": "%SCHEDULE%" }], "retry": { "strategy": "fixedDelay", "maxRetryCount": 2, "delayInterval": "00:01:00" } }"#,
    );
    fs::create_dir(root.path().join("work")).unwrap();
    write(
        "work/function.json",
        r#"{ "bindings": [{ "type": "queueTrigger", "direction": "in", "name": "item", "dataType": "binary", "queueName": "%QUEUE%", "connection": "AzureWebJobsStorage" }] }"#,
    );
    root
}

fn builder(root: &TempDir, queue: &str) -> HostBuilder {
    FunctionsHost::builder(root.path())
        .setting("SCHEDULE", "0 0 2 * * *")
        .setting("QUEUE", queue)
        .storage(Azurite::start())
}

/// A host whose queue holds these messages.
async fn host_with(messages: &[&str]) -> (FunctionsHost, Queue, TempDir) {
    let name = unique_name("harness");
    let queue = Azurite::start().queue(&name);
    queue.create().await;
    for message in messages {
        queue.put(message).await;
    }
    let root = app();
    (builder(&root, &name).start().await, queue, root)
}

async fn pump(messages: &[&str]) -> (PumpSummary, Vec<String>) {
    let (host, queue, _root) = host_with(messages).await;
    let summary = host.pump_until_idle(100).await;
    let poison = Azurite::start()
        .queue(&format!("{}-poison", queue.name()))
        .peek_all()
        .await;
    (summary, poison)
}

#[tokio::test]
async fn azurite_keeps_blobs() {
    let container = Azurite::start().container(&unique_name("harness"));
    assert_eq!(container.list("").await, []);
    container.create().await;
    container.put("user=rj/b", "four").await;
    container.put_append_blob("user=rj/a & b", "x").await;
    container.append("user=rj/a & b", "yz").await;
    container.put("other", "").await;
    let expected = [("user=rj/a & b".to_owned(), 3), ("user=rj/b".to_owned(), 4)];
    assert_eq!(container.list("user=rj/").await, expected);
    assert_eq!(container.download("user=rj/a & b").await, b"xyz");
    container.delete("user=rj/b").await;
    assert_eq!(container.list("user=rj/").await, expected[..1]);
}

#[tokio::test]
async fn azurite_keeps_messages() {
    let queue = Azurite::start().queue(&unique_name("harness"));
    assert_eq!(queue.approximate_count().await, 0);
    queue.create().await;
    let text = " {\"user\":\"rj\"} <&>'\u{1F3B5}\r\n ";
    queue.put(text).await;
    queue.put_delayed("later", Duration::from_mins(5)).await;
    assert_eq!(queue.peek_all().await, [text]);
    let lease = Duration::from_mins(1);
    let first = queue.receive(32, lease).await.remove(0);
    assert_eq!((first.text.as_str(), first.dequeue_count), (text, 1));
    assert!(queue.receive(32, lease).await.is_empty());
    assert!(queue.release(&first, Duration::ZERO).await);
    let second = queue.receive(32, lease).await.remove(0);
    assert_eq!(second.dequeue_count, 2);
    assert!(
        !queue.delete(&first).await,
        "an old receipt does not delete"
    );
    assert!(queue.delete(&second).await);
    assert!(!queue.delete(&second).await, "gone is gone");
    assert_eq!(queue.approximate_count().await, 1);
}

#[tokio::test]
async fn a_good_answer_deletes_the_message() {
    let (summary, poison) = pump(&["good"; 9]).await;
    summary.expect_drained();
    assert_eq!((summary.invocations(), summary.successes()), (9, 9));
    assert_eq!(poison, [""; 0]);
}

#[tokio::test]
async fn an_answer_that_the_host_refuses_releases_the_message_and_poisons_it_in_the_end() {
    for (message, reason) in [
        ("error", "does not indicate success: 500"),
        ("text", "content type Some(\"text/plain\")"),
        ("logs", "`Logs` is not an array"),
        ("list", "not an object"),
        ("broken", "EOF while parsing"),
        ("break", "the connection broke"),
    ] {
        let (summary, poison) = pump(&[message]).await;
        let failures = summary.failures();
        assert_eq!(failures.len(), 3, "{message}: {summary:?}");
        assert!(
            failures.iter().all(|failure| failure.contains(reason)),
            "{message}: {failures:?}"
        );
        assert!(matches!(summary.handled[1].outcome, Outcome::Released(_)));
        assert_eq!((summary.poisoned(), summary.remaining), (1, 0));
        assert_eq!(poison, [message]);
    }
}

#[tokio::test]
#[should_panic(
    expected = "would hang the Functions host until `functionTimeout`, which then kills the program: 200 OK with an empty body"
)]
async fn an_empty_answer_is_a_hang() {
    pump(&["empty"]).await;
}

#[tokio::test]
#[should_panic(expected = "kills the program: the body is `null`")]
async fn a_null_answer_is_a_hang() {
    pump(&["null"]).await;
}

#[tokio::test]
#[should_panic(
    expected = "POST /work: no answer within `functionTimeout` (1s), so the host would kill the program"
)]
async fn no_answer_is_a_hang() {
    let root = app();
    let host_file = root.path().join("host.json");
    let text = fs::read_to_string(&host_file).unwrap();
    fs::write(host_file, text.replace("00:00:20", "00:00:01")).unwrap();
    let host = builder(&root, "unused").start().await;
    host.invoke_queue_bytes("work", b"never", 1).await;
}

#[tokio::test]
async fn a_message_received_too_often_is_poisoned_without_a_call() {
    let (host, queue, _root) = host_with(&["good"]).await;
    for _ in 0..3 {
        let message = queue.receive(1, Duration::from_mins(1)).await.remove(0);
        queue.release(&message, Duration::ZERO).await;
    }
    let summary = host.pump_until_idle(100).await;
    assert_eq!(
        (summary.invocations(), summary.poisoned(), summary.remaining),
        (0, 1, 0)
    );
    assert_eq!(summary.failures(), ["received 3 times already"]);
}

#[tokio::test]
async fn the_program_can_be_killed_while_it_works() {
    let (host, _queue, _root) = host_with(&["never"]).await;
    let kill_at_work = async {
        host.wait_for_output("/work", Duration::from_secs(10)).await;
        host.kill().await
    };
    let (summary, status) = tokio::join!(host.pump_until_idle(100), kill_at_work);
    assert_eq!((summary.exit_status, summary.remaining), (Some(status), 1));
    assert!(summary.failures()[0].contains("SIGKILL"), "{summary:?}");
}

#[tokio::test]
async fn a_crash_is_noticed_and_the_program_can_be_started_again() {
    let (mut host, queue, _root) = host_with(&["crash"]).await;
    let summary = host.pump_until_idle(100).await;
    let [failure] = summary.failures()[..] else {
        panic!("{summary:?}")
    };
    assert!(
        failure.contains("the program ended (signal: 9 (SIGKILL)): out of luck"),
        "{failure}"
    );
    assert_eq!(
        (summary.exit_status, summary.remaining),
        (host.exit_status(), 1)
    );
    assert_eq!(host.host_errors(), ["out of luck"]);
    queue
        .delete(&queue.receive(1, Duration::from_mins(1)).await[0])
        .await;
    queue.put("good").await;
    host.restart().await;
    host.pump_queue().await.expect_drained();
}

#[tokio::test]
async fn delayed_messages_are_counted_and_not_waited_for() {
    let (host, queue, _root) = host_with(&[]).await;
    queue.put_delayed("good", Duration::from_mins(5)).await;
    let summary = host.pump_until_idle(100).await;
    assert_eq!((summary.invocations(), summary.remaining), (0, 1));
}

#[tokio::test]
async fn the_pump_stops_at_its_limit() {
    let (host, _queue, _root) = host_with(&["good"; 6]).await;
    let summary = host.pump_until_idle(5).await;
    assert_eq!(
        (
            summary.successes(),
            summary.remaining,
            summary.reached_limit
        ),
        (5, 1, true)
    );
}

#[tokio::test]
async fn calls_look_like_the_hosts() {
    let (host, _queue, _root) = host_with(&[]).await;
    let answer = host.invoke_queue_bytes("work", b"\xFFgood", 4).await;
    assert_eq!(answer.expect_success().logs, ["done", "1"]);
    let call: serde_json::Value =
        serde_json::from_str(&host.wait_for_output("/work", Duration::from_secs(5)).await).unwrap();
    assert_eq!(call["url"], "/work");
    assert_eq!(call["headers"]["transfer-encoding"], "chunked");
    assert_eq!(
        call["headers"]["content-type"],
        "application/json; charset=utf-8"
    );
    assert_eq!(
        call["headers"]["x-azure-functions-invocationid"]
            .as_str()
            .unwrap()
            .len(),
        36
    );
    let body = call["body"].as_str().unwrap();
    let start = r#"{"Data":{"item":"/2dvb2Q="},"Metadata":{"DequeueCount":"4","ExpirationTime":"2026-03-09T09:00:00+00:00","Id":"\"5c7f0a4e-1d0b-4f43-8f3f-6f1a9d0e2b77\"","InsertionTime":"2026-03-02T09:00:00+00:00","NextVisibleTime":""#;
    assert!(body.starts_with(start), "{body}");
    let metadata = serde_json::from_str::<serde_json::Value>(body).unwrap()["Metadata"].clone();
    assert_eq!(metadata["sys"]["MethodName"], "work");

    host.admin_run("work", "good").await.expect_success();
    for tick in [
        Tick::Scheduled,
        Tick::WithoutStatus,
        Tick::First,
        Tick::FirstInZone,
        Tick::PastDue,
        Tick::ManualRun,
    ] {
        assert!(
            host.fire_timer("tick", tick).await.what.contains(
                r#"{"Data":{"timer":{"Schedule":{"AdjustForDST":true},"ScheduleStatus":"#
            )
        );
    }
    assert_eq!(
        host.fire_timer_with_retries("tick", Tick::Scheduled)
            .await
            .len(),
        1
    );
    assert_eq!(
        host.post("nowhere", r#"{"Data":{}}"#).await.unwrap().status,
        200
    );
}

#[tokio::test]
async fn signals_reach_the_program() {
    let (mut host, _queue, _root) = host_with(&[]).await;
    host.terminate();
    assert_eq!(host.wait_for_exit().await.code(), Some(7));
    host.restart().await;
    assert_eq!(host.exit_status(), None);
    assert_eq!(host.kill().await.code(), None);
    let refused = host.fire_timer("tick", Tick::Scheduled).await;
    assert!(refused.expect_failure().contains("the program ended"));
}

#[tokio::test]
async fn a_wrong_folder_is_refused_with_the_place_of_the_mistake() {
    let root = app();
    let problem_of = |builder: HostBuilder| async { builder.try_start().await.err().unwrap() };
    let unset = FunctionsHost::builder(root.path()).storage(Azurite::start());
    assert_eq!(
        problem_of(unset.setting("QUEUE", "work")).await,
        "function `tick`: `%SCHEDULE%` does not resolve to a value"
    );
    assert_eq!(
        problem_of(builder(&root, "no_queue")).await,
        "function `work`: `no_queue` is not a legal queue name"
    );
    fs::write(
        root.path().join("server.js"),
        "console.error('bad key'); process.exit(1)",
    )
    .unwrap();
    let problem = problem_of(builder(&root, "work")).await;
    assert!(
        problem.contains("ended before it listened: exit status: 1\nStderr: bad key"),
        "{problem}"
    );
}
