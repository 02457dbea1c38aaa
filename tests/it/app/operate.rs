//! docs/operate.md and all queries, held against what the program really writes.

use std::fs;
use std::path::Path;

use fake_lastfm::Fault;
use serde_json::{Value, json};

use crate::support::azurite::ACCOUNT_KEY;
use crate::support::functions_host::Tick;
use crate::support::gate::Gate;
use crate::support::kql;
use crate::support::proxy::Proxy;
use crate::support::world::{
    DELIVERIES_MAX, World, WorldBuilder, history, lastfm_with, log_lines_at, now_ms, rj,
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn page() -> String {
    fs::read_to_string(Path::new(ROOT).join("docs/operate.md")).unwrap()
}

/// Name and text of every query that reads the program's lines: the files, and what stands in the runbook.
fn queries() -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for file in fs::read_dir(Path::new(ROOT).join("infra/queries")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        queries.push((name, fs::read_to_string(path).unwrap()));
    }
    let runbook = fs::read_to_string(Path::new(ROOT).join("infra/README.md")).unwrap();
    let blocks = runbook.split("```kusto\n").skip(1);
    queries.extend(blocks.map(|block| {
        let text = block.split("```").next().unwrap();
        ("infra/README.md".to_owned(), text.to_owned())
    }));
    queries.retain(|(_, text)| text.contains("AppTraces"));
    queries
}

/// Queries for alerts and for people; a hook's own is of no use to anybody else.
fn is_on_the_page(name: &str, query: &str) -> bool {
    name != "infra/README.md" && !query.starts_with("// For hooks")
}

/// Runs work items in a world, and gives all that the program said.
async fn said(world: WorldBuilder, items: &[&str]) -> Vec<String> {
    let world = world.start().await;
    for item in items {
        let run = world
            .host
            .invoke_queue_bytes("fetch_pages", item.as_bytes(), 1);
        run.await;
    }
    lines(&world)
}

fn lines(world: &World) -> Vec<String> {
    [world.host.stdout(), world.host.stderr()].concat()
}

async fn of_a_good_day() -> Vec<String> {
    let world = rj(900).set("PAGES_PER_ITEM", "2").start().await;
    world
        .lastfm
        .with(|lastfm| lastfm.faults.push(Fault::plain_500()));
    world.tick().await;
    world.work_off(r#"{"user":"rj","from":1600000000}"#).await;
    lines(&world)
}

async fn of_refusals() -> Vec<String> {
    let mut rejecting = lastfm_with(&[("rj", history(1, 10))]);
    rejecting.config.accepted_keys = Some(vec!["another".to_owned()]);
    let mut lines = said(World::of(rejecting), &[r#"{"user":"rj"}"#]).await;
    lines.extend(said(rj(10), &[r#"{"user":"ghost"}"#, "no work item"]).await);
    lines
}

async fn of_trouble() -> Vec<String> {
    let nowhere = rj(10).set("LASTFM_API_URL", "http://127.0.0.1:1/2.0/");
    let items = [r#"{"user":"rj"}"#, r#"{"user":"rj","attempt":3}"#];
    let mut lines = said(nowhere, &items).await;

    let starved = rj(10).set("LASTFM_REQUESTS_PER_SECOND", "40").start().await;
    let used_up = json!({ "free_at_ms": now_ms() + 300_000 }).to_string();
    starved.control().create().await;
    starved.control().put("budget.json", used_up).await;
    for item in [r#"{"user":"rj"}"#, r#"{"user":"rj","waits":4400}"#] {
        let run = starved
            .host
            .invoke_queue_bytes("fetch_pages", item.as_bytes(), 1);
        run.await.expect_success();
    }
    lines.extend(self::lines(&starved));

    let limited = rj(10).set("LASTFM_REQUESTS_PER_SECOND", "40").start().await;
    limited.lastfm.with(|lastfm| {
        lastfm
            .faults
            .push_when(usize::MAX, |_| true, Fault::error(29));
    });
    limited.admin_run(r#"{"user":"rj"}"#).await;
    lines.extend(self::lines(&limited));
    lines
}

impl World {
    async fn admin_run(&self, message: &str) {
        let run = self.host.admin_run("fetch_pages", message).await;
        run.expect_success();
    }

    async fn reconcile(&self, message: &str) {
        let message = message.as_bytes();
        let run = self.host.invoke_queue_bytes("reconcile_user", message, 1);
        run.await.expect_success();
    }
}

async fn of_reconciles() -> Vec<String> {
    // To the program it is ten minutes later than to its blobs, so that what it has just archived counts as left alone.
    let blobs = Proxy::of_blobs().await;
    blobs.date_runs_ahead(600);
    let storage = Proxy::connection_string(Some(&blobs), None);
    let at_rest = rj(40).set("ARCHIVE_STORAGE", storage).start().await;
    at_rest.tick().await;
    let timer = at_rest.host.fire_timer("reconcile_users", Tick::Scheduled);
    timer.await.expect_success();
    let summary = at_rest.host.pump_until_idle(DELIVERIES_MAX).await;
    summary.expect_drained();
    at_rest.reconcile("no reconcile").await;
    at_rest
        .lastfm
        .with(|lastfm| lastfm.config.accepted_keys = Some(vec!["another".to_owned()]));
    at_rest.reconcile(r#"{"user":"rj"}"#).await;
    let mut lines = lines(&at_rest);

    let just_written = rj(10).start().await;
    just_written.tick().await;
    just_written.reconcile(r#"{"user":"rj"}"#).await;
    // A run of long ago has been followed by others.
    just_written
        .reconcile(r#"{"user":"rj","to":1600000000}"#)
        .await;
    lines.extend(self::lines(&just_written));
    lines
}

async fn of_failures() -> Vec<String> {
    let storage = format!(
        "AccountName=devstoreaccount1;AccountKey={ACCOUNT_KEY};BlobEndpoint=http://127.0.0.1:1/a;QueueEndpoint=http://127.0.0.1:1/a"
    );
    let world = rj(0).set("ARCHIVE_STORAGE", storage).start().await;
    let run = world
        .host
        .invoke_queue_bytes("fetch_pages", br#"{"user":"rj"}"#, 2);
    run.await.expect_failure();
    world.host.post("fetch_pages", "{}").await.unwrap();
    world.host.post("no_function", "{}").await.unwrap();
    lines(&world)
}

async fn of_an_end() -> Vec<String> {
    let gate = Gate::closed().await;
    let world = rj(10)
        .set("LASTFM_API_URL", gate.lastfm_url())
        .start()
        .await;
    let work = world.host.admin_run("fetch_pages", r#"{"user":"rj"}"#);
    let end = async {
        gate.reached(1).await;
        world.host.terminate();
        world.host.wait_for_exit().await
    };
    let (run, status) = tokio::join!(work, end);
    run.expect_failure();
    assert_eq!(status.code(), Some(0));
    // An end on purpose wakes nobody.
    assert_eq!(log_lines_at(&world.host, "ERROR"), [Value::Null; 0]);
    lines(&world)
}

async fn of_an_unresolved_key() -> Vec<String> {
    let reference = "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/lastfm)";
    let problem = rj(0).set("LASTFM_API_KEY", reference).start_problem().await;
    problem.lines().map(str::to_owned).collect()
}

/// Every line that the page and the queries know of.
async fn every_line() -> Vec<String> {
    let (day, refusals, trouble, reconciles, failures, end, key) = tokio::join!(
        of_a_good_day(),
        of_refusals(),
        of_trouble(),
        of_reconciles(),
        of_failures(),
        of_an_end(),
        of_an_unresolved_key()
    );
    [day, refusals, trouble, reconciles, failures, end, key].concat()
}

/// The rows of the page's table with this head, each a list of its cells.
fn table(page: &str, head: &str) -> Vec<Vec<String>> {
    let (_, rest) = page
        .split_once(head)
        .unwrap_or_else(|| panic!("no table {head}"));
    let rows = rest
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells = row.trim_matches('|').split(" | ");
        cells.map(|cell| cell.trim().to_owned()).collect()
    })
    .collect()
}

fn in_back_quotes(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[tokio::test]
async fn every_query_and_every_table_of_the_operators_page_fits_the_real_output() {
    let lines = every_line().await;
    for (name, query) in queries() {
        let problems = kql::problems(&query, &lines);
        assert!(problems.is_empty(), "{name}: {problems:#?}");
        // The test itself: no field can be misspelt without being found.
        for field in kql::fields(&query) {
            let misspelt =
                query.replace(&format!("line.{field}"), &format!("line.{field}_misspelt"));
            let problems = kql::problems(&misspelt, &lines);
            assert!(!problems.is_empty(), "{name}: {field} may be misspelt");
        }
    }

    let parsed: Vec<Value> = lines
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let page = page();
    let ends = table(&page, "| line | level | what it means |");
    assert!(ends.len() >= 13);
    for row in &ends {
        let message = in_back_quotes(&row[0]).next().unwrap();
        let has = |line: &Value| line["message"] == message && line["level"] == row[1].as_str();
        assert!(parsed.iter().any(has), "no {} says `{message}`", row[1]);
    }
    let fields = table(&page, "| field | of which lines | what it is |");
    for field in fields.iter().flat_map(|row| in_back_quotes(&row[0])) {
        let has = |line: &Value| line.get(field).is_some();
        assert!(parsed.iter().any(has), "no line has `{field}`");
    }
    let told: Vec<&str> = fields
        .iter()
        .flat_map(|row| in_back_quotes(&row[0]))
        .collect();
    for line in parsed.iter().filter(|line| line.get("function").is_some()) {
        let message = line["message"].as_str().unwrap();
        let is_end = ends
            .iter()
            .any(|row| in_back_quotes(&row[0]).next() == Some(message));
        assert!(is_end, "the page does not know the line `{message}`");
        for field in line.as_object().unwrap().keys() {
            assert!(
                told.contains(&field.as_str()),
                "the page does not know `{field}` of {line}"
            );
        }
    }
}

#[test]
fn the_page_shows_every_query_as_it_is_and_tells_what_to_do_for_every_alert() {
    let page = page();
    for (name, query) in queries() {
        if is_on_the_page(&name, &query) {
            let shown = format!("`{name}`");
            assert!(page.contains(&shown), "the page does not name {name}");
            let block = format!("```kusto\n{query}```\n");
            assert!(page.contains(&block), "the page shows another {name}");
        }
    }
    let blocks = page.matches("```kusto").count();
    let shown = queries();
    let shown = shown
        .iter()
        .filter(|(name, query)| is_on_the_page(name, query));
    assert_eq!(blocks, shown.count(), "a query on the page has no file");
}

#[test]
fn a_query_that_finds_nothing_is_told() {
    let lines = [
        r#"{"message":"work item done","user":"rj","outcome":"up to date"}"#,
        r#"{"message":"listening","port":1}"#,
    ];
    let lines = lines.map(str::to_owned);
    let problems = |query: &str| kql::problems(query, &lines);
    let good = r#"AppTraces | where Message has "work item" | extend line = parse_json(Message) | where tostring(line.outcome) == "up to date" | project line.user"#;
    assert_eq!(problems(good), [""; 0]);
    for (from, to, problem) in [
        (
            "work item",
            "work items",
            "no line that it takes says `work items`",
        ),
        (
            "line.user",
            "line.users",
            "no line that it takes has a field `users`",
        ),
        // It is a field of another line.
        (
            "line.user",
            "line.port",
            "no line that it takes has a field `port`",
        ),
        (
            "up to date",
            "up-to-date",
            "no line that it takes says `up-to-date`",
        ),
    ] {
        let found = problems(&good.replace(from, to));
        assert!(found.contains(&problem.to_owned()), "{to}: {found:?}");
    }
    let both = r#"AppTraces | where Message has "work item" and Message has "listening""#;
    assert!(!problems(both).is_empty(), "no line has both");
    let any = r#"AppTraces | where Message has_any ("work item", "listening") | project line.port, line.user"#;
    assert_eq!(problems(any), [""; 0]);
    let other = r#"union (AppTraces | where Message has "listening" | project line.port), (AZKVAuditLogs | where Id has "x")"#;
    assert_eq!(problems(other), [""; 0], "other tables have other words");
    let built = r#"AppTraces | where Message has "listening" | project strcat(tostring(line.port), " is the port"), "listening""#;
    assert_eq!(problems(built), [""; 0], "a query says things of its own");
    assert!(!problems(&built.replace("line.port", "line.ports")).is_empty());
    assert!(!problems(&built.replace(r#", "listening"#, r#", "listens"#)).is_empty());
}
