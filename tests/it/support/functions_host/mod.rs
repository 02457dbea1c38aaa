//! A double of the Azure Functions host, as far as a custom handler with timers and queues can see it.
//!
//! It reads the packaged folder, starts the program, calls it, and judges its answers by the rules in the host's source. What the
//! real host does only in production is left out: schedules, leases and their renewal, restarts after a crash, several instances.
//! An answer that would hang the real host fails the test at once.

mod app;
mod invocation;
mod listener;
mod payload;
mod process;
mod pump;
mod syntax;
mod verdict;

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::Signal;

use self::payload::QueueFacts;
pub(crate) use self::process::free_port;
use self::process::{Output, Process, Stream};

use super::azurite::Azurite;

pub(crate) use self::app::{App, Function, MessageEncoding, Settings, Trigger};
pub(crate) use self::invocation::Invocation;
pub(crate) use self::payload::Tick;
pub(crate) use self::pump::{Handled, Outcome, PumpSummary};
pub(crate) use self::verdict::{Answer, RawAnswer, Verdict};

/// How long a process may take to end after a signal, before the test fails.
const EXIT_LIMIT: Duration = Duration::from_secs(30);
/// What a host is made from.
pub(crate) struct HostBuilder {
    root: PathBuf,
    settings: Settings,
    azurite: Option<&'static Azurite>,
    release_delay: Duration,
}

/// The double, with the program running.
pub(crate) struct FunctionsHost {
    /// What the packaged folder says.
    pub(crate) app: App,
    root: PathBuf,
    settings: Settings,
    azurite: Option<&'static Azurite>,
    release_delay: Duration,
    port: u16,
    process: Process,
    output: Arc<Output>,
    exchanged: Mutex<Vec<(&'static str, String)>>,
}

impl HostBuilder {
    /// Adds an app setting. `AzureWebJobsStorage` comes from [`HostBuilder::storage`] if that is used.
    pub(crate) fn setting(mut self, name: &str, value: impl Into<String>) -> Self {
        self.settings.insert(name.to_owned(), value.into());
        self
    }

    /// The storage whose queues the host polls; its connection string becomes `AzureWebJobsStorage` unless that is set already.
    pub(crate) fn storage(mut self, azurite: &'static Azurite) -> Self {
        self.azurite = Some(azurite);
        if !self
            .settings
            .keys()
            .any(|name| name.starts_with("AzureWebJobsStorage"))
        {
            self.settings.insert(
                "AzureWebJobsStorage".to_owned(),
                azurite.connection_string(),
            );
        }
        self
    }

    /// The delay of a message after a failed attempt, in place of host.json's `visibilityTimeout`: zero unless set, so that
    /// tests need not wait.
    pub(crate) fn release_delay(mut self, delay: Duration) -> Self {
        self.release_delay = delay;
        self
    }

    /// Reads the folder, starts the program and waits until it listens; fails the test otherwise.
    pub(crate) async fn start(self) -> FunctionsHost {
        let started = self.try_start().await;
        started.unwrap_or_else(|failure| panic!("the Functions host cannot start: {failure}"))
    }

    /// As [`HostBuilder::start`], for programs that should not start: the error holds the reason and all output.
    pub(crate) async fn try_start(self) -> Result<FunctionsHost, String> {
        let app = App::read(&self.root, &self.settings)?;
        let port = free_port();
        let output = Arc::new(Output::default());
        let process = Process::start(&self.root, &app, &self.settings, port, &output)?;
        let ready = process.wait_until_ready(port).await;
        ready.map_err(|problem| format!("{problem}\n{}", output.text()))?;
        Ok(FunctionsHost {
            app,
            root: self.root,
            settings: self.settings,
            azurite: self.azurite,
            release_delay: self.release_delay,
            port,
            process,
            output,
            exchanged: Mutex::default(),
        })
    }
}

impl FunctionsHost {
    /// A host for the packaged folder `root`.
    pub(crate) fn builder(root: &Path) -> HostBuilder {
        HostBuilder {
            root: root
                .canonicalize()
                .unwrap_or_else(|error| panic!("`{}`: {error}", root.display())),
            settings: Settings::new(),
            azurite: None,
            release_delay: Duration::ZERO,
        }
    }

    /// One timer tick, the first attempt only.
    pub(crate) async fn fire_timer(&self, function: &str, tick: Tick) -> Invocation {
        let function = self.function(function);
        self.invoke(function, payload::timer(function, tick, 0))
            .await
    }

    /// One timer tick with the `retry` policy of function.json, without its pauses: the attempts in order, the last one counts.
    pub(crate) async fn fire_timer_with_retries(
        &self,
        function: &str,
        tick: Tick,
    ) -> Vec<Invocation> {
        let function = self.function(function);
        let mut attempts = Vec::new();
        for retry_count in 0..=function.retries_max.unwrap_or(0) {
            attempts.push(
                self.invoke(function, payload::timer(function, tick, retry_count))
                    .await,
            );
            if attempts.last().is_some_and(Invocation::is_success) {
                break;
            }
        }
        attempts
    }

    /// What `POST /admin/functions/<function>` makes of a function: an ordinary call. `input` is the message of a queue function.
    pub(crate) async fn admin_run(&self, function: &str, input: &str) -> Invocation {
        let function = self.function(function);
        let body = match function.trigger {
            Trigger::Timer { .. } => payload::timer(function, Tick::ManualRun, 0),
            Trigger::Queue { .. } => {
                let facts = QueueFacts {
                    dequeue_count: 0,
                    message: None,
                };
                payload::queue(function, input.as_bytes(), &facts)
            }
        };
        self.invoke(function, body).await
    }

    /// One delivery of these bytes, without a message on any queue.
    pub(crate) async fn invoke_queue_bytes(
        &self,
        function: &str,
        bytes: &[u8],
        dequeue_count: u64,
    ) -> Invocation {
        let function = self.function(function);
        let message = super::storage::ReceivedMessage::made_up(dequeue_count);
        let facts = QueueFacts {
            dequeue_count,
            message: Some(&message),
        };
        self.invoke(function, payload::queue(function, bytes, &facts))
            .await
    }

    /// A raw request with the host's headers; an error is a broken connection, or no answer within `functionTimeout`.
    pub(crate) async fn post(
        &self,
        path: &str,
        body: impl Into<String>,
    ) -> Result<RawAnswer, String> {
        self.send(path, body.into(), &payload::guid()).await
    }

    /// Ends the program as the host does, with SIGKILL, and waits for the end.
    pub(crate) async fn kill(&self) -> ExitStatus {
        self.process.signal(Signal::SIGKILL);
        self.wait_for_exit().await
    }

    /// Asks the program to end, with SIGTERM, as containers and core tools do; does not wait.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Sends a signal; does not wait.
    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for the end of the program; fails the test when it does not come.
    pub(crate) async fn wait_for_exit(&self) -> ExitStatus {
        let status = self.process.wait(EXIT_LIMIT).await;
        status.unwrap_or_else(|| {
            panic!(
                "the program still runs after {EXIT_LIMIT:?}\n{}",
                self.output.text()
            )
        })
    }

    /// Every answer of the program and every message that was delivered to it so far, to the last byte.
    pub(crate) fn exchanged(&self) -> Vec<(&'static str, String)> {
        self.exchanged.lock().unwrap().clone()
    }

    /// The id of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// How the program ended, if it has.
    pub(crate) fn exit_status(&self) -> Option<ExitStatus> {
        self.process.exit_status()
    }

    /// Kills the program if it still runs and starts it again, on the same port as the host does.
    pub(crate) async fn restart(&mut self) {
        self.kill().await;
        self.process = Process::start(
            &self.root,
            &self.app,
            &self.settings,
            self.port,
            &self.output,
        )
        .unwrap();
        let ready = self.process.wait_until_ready(self.port).await;
        ready.unwrap_or_else(|problem| panic!("{problem}\n{}", self.output.text()));
    }

    /// The lines of standard output of all processes so far.
    pub(crate) fn stdout(&self) -> Vec<String> {
        self.output.lines(Stream::Stdout)
    }

    /// The lines of standard error of all processes so far.
    pub(crate) fn stderr(&self) -> Vec<String> {
        self.output.lines(Stream::Stderr)
    }

    /// The lines that the host would log as errors: those of standard error without `warn` in them.
    pub(crate) fn host_errors(&self) -> Vec<String> {
        let mut lines = self.stderr();
        lines.retain(|line| !line.to_lowercase().contains("warn"));
        lines
    }

    /// Waits until a line of output contains `part`, and gives the first such line of all processes so far.
    pub(crate) async fn wait_for_output(&self, part: &str, limit: Duration) -> String {
        self.output.wait_for(part, limit).await
    }

    /// The address at which the program listens, without a final slash.
    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn function(&self, name: &str) -> &Function {
        let known = || self.app.functions.keys().collect::<Vec<_>>();
        self.app
            .functions
            .get(name)
            .unwrap_or_else(|| panic!("no function `{name}` among {:?}", known()))
    }
}

impl Drop for FunctionsHost {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("output of the program:\n{}", self.output.text());
        }
    }
}
