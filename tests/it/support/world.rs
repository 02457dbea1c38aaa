//! A whole small world for one test: a fake Last.fm, names of its own in the shared Azurite, and the packaged app under the host double.

use std::collections::BTreeMap;
use std::time::Duration;

use fake_lastfm::{LastFm, Play, RateLimit, Server, histories};
use futures::future::select_all;
use serde_json::Value;

use super::azurite::{Azurite, unique_name};
use super::blob_checker::{self, Truth};
use super::everything::Everything;
use super::functions_host::{FunctionsHost, HostBuilder, PumpSummary, Tick};
use super::package::packaged_app;
use super::storage::{Container, Queue};

/// The Last.fm key of every test: a text that must show up nowhere but in requests to Last.fm.
pub(crate) const LASTFM_KEY: &str = "f00dfeedmarkedkeyf00dfeedmarked1";

/// The span of the made-up histories: 2021-03 to 2024-06, so that they fill many months and end in the past.
const FIRST_UTS: i64 = 1_615_000_000;
const LAST_UTS: i64 = 1_718_000_000;

/// More deliveries than any test here needs; reaching it is a mistake.
pub(crate) const DELIVERIES_MAX: usize = 500;

/// A world that is not running yet.
pub(crate) struct WorldBuilder {
    lastfm: LastFm,
    azurite: &'static Azurite,
    settings: BTreeMap<String, String>,
}

/// A running world.
pub(crate) struct World {
    /// The fake Last.fm.
    pub(crate) lastfm: Server,
    /// The app under the host double.
    pub(crate) host: FunctionsHost,
    azurite: &'static Azurite,
    settings: BTreeMap<String, String>,
}

/// A made-up history in the past.
pub(crate) fn history(seed: u64, plays: usize) -> Vec<Play> {
    histories::made_up(seed, plays, FIRST_UTS, LAST_UTS)
}

/// Plays one minute apart from `first_uts` on, all of them different.
pub(crate) fn plays_from(first_uts: i64, count: i64) -> Vec<Play> {
    (0..count)
        .map(|n| Play::new(first_uts + 60 * n, "New Artist", &format!("New Track {n}")))
        .collect()
}

/// A Last.fm with these users.
pub(crate) fn lastfm_with(users: &[(&str, Vec<Play>)]) -> LastFm {
    let mut lastfm = LastFm::new();
    for (name, plays) in users {
        lastfm.add_user(name, plays.iter().cloned());
    }
    lastfm
}

/// The usual case: one user `rj` with a made-up history, whom `LASTFM_USERS` names.
pub(crate) fn rj(plays: usize) -> WorldBuilder {
    World::of(lastfm_with(&[("rj", history(1, plays))]))
}

impl World {
    /// A world around this Last.fm; `LASTFM_USERS` names its users.
    pub(crate) fn of(lastfm: LastFm) -> WorldBuilder {
        let users: Vec<_> = lastfm.users().map(fake_lastfm::User::name).collect();
        let settings = [
            ("LASTFM_API_KEY", LASTFM_KEY.to_owned()),
            ("LASTFM_USERS", users.join(",")),
            ("LASTFM_REQUESTS_PER_SECOND", "0".to_owned()),
            ("SYNC_SCHEDULE", "0 0 * * * *".to_owned()),
            ("WORK_QUEUE", unique_name("work")),
            ("RECONCILE_SCHEDULE", "0 45 4 * * *".to_owned()),
            ("RECONCILE_QUEUE", unique_name("reconciles")),
            ("ARCHIVE_CONTAINER", unique_name("scrobbles")),
            ("CONTROL_CONTAINER", unique_name("control")),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value));
        WorldBuilder {
            lastfm,
            azurite: Azurite::start(),
            settings: BTreeMap::from(settings),
        }
    }

    /// The value of a setting of this world.
    pub(crate) fn setting(&self, name: &str) -> &str {
        &self.settings[name]
    }

    /// All settings, `AzureWebJobsStorage` included: the environment of a command.
    pub(crate) fn environment(&self) -> BTreeMap<String, String> {
        let mut environment = self.settings.clone();
        environment
            .entry("AzureWebJobsStorage".to_owned())
            .or_insert_with(|| self.azurite.connection_string());
        environment
    }

    /// Another host on the same queue, containers and Last.fm, with these settings changed.
    pub(crate) async fn another_host(&self, changes: &[(&str, &str)]) -> FunctionsHost {
        let mut settings = self.settings.clone();
        for (name, value) in changes {
            settings.insert((*name).to_owned(), (*value).to_owned());
        }
        host(&settings, self.azurite).start().await
    }

    pub(crate) fn queue(&self) -> Queue {
        self.azurite.queue(self.setting("WORK_QUEUE"))
    }

    pub(crate) fn poison(&self) -> Queue {
        self.azurite
            .queue(&format!("{}-poison", self.setting("WORK_QUEUE")))
    }

    /// The queue of `reconcile_user`.
    pub(crate) fn reconciles(&self) -> Queue {
        self.azurite.queue(self.setting("RECONCILE_QUEUE"))
    }

    pub(crate) fn reconciles_poison(&self) -> Queue {
        let queue = self.setting("RECONCILE_QUEUE");
        self.azurite.queue(&format!("{queue}-poison"))
    }

    pub(crate) fn archive(&self) -> Container {
        self.azurite.container(self.setting("ARCHIVE_CONTAINER"))
    }

    pub(crate) fn control(&self) -> Container {
        self.azurite.container(self.setting("CONTROL_CONTAINER"))
    }

    /// Puts a message on the work queue as somebody would by hand, exactly this text.
    pub(crate) async fn put(&self, text: &str) {
        self.queue().create().await;
        self.queue().put(text).await;
    }

    /// Puts a message and lets the host work until nothing is left; every delivery must succeed.
    pub(crate) async fn work_off(&self, message: &str) -> PumpSummary {
        self.put(message).await;
        let summary = self.host.pump_until_idle(DELIVERIES_MAX).await;
        summary.expect_drained();
        summary
    }

    /// As [`World::work_off`], while delayed messages lie on the queue.
    pub(crate) async fn work_off_more(&self, message: &str) -> PumpSummary {
        let delayed = self.queue().approximate_count().await;
        self.put(message).await;
        let summary = self.host.pump_until_idle(DELIVERIES_MAX).await;
        assert_eq!(summary.failures(), [""; 0]);
        assert_eq!(summary.remaining, delayed);
        summary
    }

    /// One timer tick, and everything that follows from it; every delivery must succeed.
    pub(crate) async fn tick(&self) -> PumpSummary {
        self.host
            .fire_timer("enqueue_users", Tick::Scheduled)
            .await
            .expect_success();
        let summary = self.host.pump_until_idle(DELIVERIES_MAX).await;
        summary.expect_drained();
        summary
    }

    /// What Last.fm has of a user, oldest first.
    pub(crate) fn truth(&self, user: &str) -> Vec<Play> {
        self.lastfm
            .with(|lastfm| lastfm.user(user).history.plays().cloned().collect())
    }

    /// How many requests Last.fm has had so far.
    pub(crate) fn requests(&self) -> usize {
        self.lastfm.with(|lastfm| lastfm.log.total())
    }

    /// A user's data blobs, path and bytes.
    pub(crate) async fn blobs(&self, user: &str) -> Vec<(String, Vec<u8>)> {
        blob_checker::download(&self.archive(), user).await
    }

    /// Fails the test unless the archive holds all of the user's plays, each once and in order.
    pub(crate) async fn expect_archived(&self, user: &str) {
        self.expect_archive(user, &self.truth(user)).await;
    }

    /// The same for these plays, oldest first.
    pub(crate) async fn expect_archive(&self, user: &str, plays: &[Play]) {
        let blobs = self.blobs(user).await;
        let truth = Truth { user, plays };
        if let Err(problem) = blob_checker::compare(&truth, &blobs) {
            panic!("the archive of `{user}` is wrong: {problem}");
        }
    }

    /// Every blob of the archive, path and bytes.
    pub(crate) async fn all_blobs(&self) -> Vec<(String, Vec<u8>)> {
        let archive = self.archive();
        let mut blobs = Vec::new();
        for (name, _) in archive.list("").await {
            let bytes = archive.download(&name).await;
            blobs.push((name, bytes));
        }
        blobs
    }

    /// Everything that is archived of a user, late plays and removed ones too.
    pub(crate) async fn everything(&self, user: &str) -> Everything {
        Everything::of(user, &self.all_blobs().await)
    }

    /// The second of the newest archived play.
    pub(crate) async fn newest(&self, user: &str) -> Option<i64> {
        let blobs = self.blobs(user).await;
        blob_checker::rows(&blobs)
            .iter()
            .filter_map(|row| row["uts"].as_i64())
            .max()
    }

    /// Every log line so far that came from a work item, as JSON.
    pub(crate) fn milestones(&self) -> Vec<Value> {
        milestones(&self.host)
    }

    /// From now on Last.fm enforces this rate, and lets so many come at once.
    pub(crate) fn enforce(&self, requests_per_second: usize, burst: usize) {
        self.lastfm.with(|lastfm| {
            lastfm.config.rate_limit = Some(RateLimit {
                requests_per_second,
                burst,
                retry_after_seconds: None,
            });
        });
    }

    /// How many requests Last.fm has refused for their rate.
    pub(crate) fn refused(&self) -> usize {
        self.lastfm.with(|lastfm| {
            let entries = lastfm.log.entries().iter();
            entries.filter(|entry| entry.status == 429).count()
        })
    }
}

impl WorldBuilder {
    /// Sets or replaces a setting.
    pub(crate) fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.settings.insert(name.to_owned(), value.into());
        self
    }

    /// Takes a setting away.
    pub(crate) fn unset(mut self, name: &str) -> Self {
        self.settings.remove(name);
        self
    }

    /// Another storage than the one that most tests share.
    pub(crate) fn on(mut self, azurite: &'static Azurite) -> Self {
        self.azurite = azurite;
        self
    }

    /// Starts the fake Last.fm and the app; the app must start.
    pub(crate) async fn start(self) -> World {
        let azurite = self.azurite;
        let (lastfm, settings) = self.with_address();
        let host = host(&settings, azurite).start().await;
        World {
            lastfm,
            host,
            azurite,
            settings,
        }
    }

    /// For apps that should not start: all their output.
    pub(crate) async fn start_problem(self) -> String {
        let azurite = self.azurite;
        let (_lastfm, settings) = self.with_address();
        let started = host(&settings, azurite).try_start().await;
        started.err().expect("the app started")
    }

    fn with_address(mut self) -> (Server, BTreeMap<String, String>) {
        let lastfm = Server::start(self.lastfm).unwrap();
        self.settings
            .entry("LASTFM_API_URL".to_owned())
            .or_insert_with(|| lastfm.url());
        (lastfm, self.settings)
    }
}

fn host(settings: &BTreeMap<String, String>, azurite: &'static Azurite) -> HostBuilder {
    let builder = FunctionsHost::builder(packaged_app());
    let builder = settings.iter().fold(builder, |builder, (name, value)| {
        builder.setting(name, value)
    });
    builder.storage(azurite)
}

/// Every line of standard output as JSON; fails the test for one that is none.
#[track_caller]
pub(crate) fn log_lines(host: &FunctionsHost) -> Vec<Value> {
    let parse = |line: &String| {
        let value: Value = serde_json::from_str(line)
            .unwrap_or_else(|error| panic!("a log line is no JSON ({error}): {line}"));
        assert!(value.is_object(), "a log line is no JSON object: {line}");
        value
    };
    host.stdout().iter().map(parse).collect()
}

/// Lets the hosts work, each looking at the queue at least this often, until this is so. Whatever else they have begun by then is left
/// half-done.
pub(crate) async fn work_until(
    hosts: &[&FunctionsHost],
    pause_max: Duration,
    mut is_done: impl FnMut() -> bool,
) {
    let listeners = hosts.iter().map(|host| Box::pin(host.listen(pause_max)));
    let looks = async {
        let mut looks = tokio::time::interval(Duration::from_millis(100));
        while !is_done() {
            looks.tick().await;
        }
    };
    tokio::select! {
        (ended, ..) = select_all(listeners) => panic!("a process ended: {ended:?}"),
        () = looks => {}
    }
}

/// Whether work items of these hosts have come to the end of each user's window.
pub(crate) fn are_up_to_date(hosts: &[&FunctionsHost], users: &[String]) -> bool {
    let lines: Vec<Value> = hosts.iter().flat_map(|host| log_lines(host)).collect();
    users.iter().all(|user| {
        let mut of_user = lines.iter().filter(|line| line["user"] == **user);
        of_user.any(|line| line["outcome"] == "up to date")
    })
}

/// The log lines that came from work items.
#[track_caller]
pub(crate) fn milestones(host: &FunctionsHost) -> Vec<Value> {
    let mut lines = log_lines(host);
    lines.retain(|line| line.get("append_bytes").is_some());
    lines
}

/// The log lines of one level.
#[track_caller]
pub(crate) fn log_lines_at(host: &FunctionsHost, level: &str) -> Vec<Value> {
    let mut lines = log_lines(host);
    lines.retain(|line| line["level"] == level);
    lines
}

/// Reads a message as the program does: JSON, or base64 of it.
#[track_caller]
pub(crate) fn read_message(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| {
        let bytes = azure_core::base64::decode(text)
            .unwrap_or_else(|_| panic!("neither JSON nor base64: {text}"));
        serde_json::from_slice(&bytes).unwrap()
    })
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
