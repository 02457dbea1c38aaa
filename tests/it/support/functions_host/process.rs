//! The program as a child process: started with the host's environment, watched, and its output kept line by line.

use std::net::TcpListener;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::app::{App, Settings};
use super::payload::guid;
use super::syntax::expand_with;

/// How often the host looks whether the program listens, and for how long at most.
const READINESS_POLL: Duration = Duration::from_millis(25);
const READINESS_LIMIT: Duration = Duration::from_secs(30);
/// How long output may trickle in after the end of the program; longer only if a child of its own holds the pipe.
const LAST_OUTPUT_LIMIT: Duration = Duration::from_secs(1);
/// The program inherits these and nothing else, so that no secret or setting of the developer reaches a test by accident.
const INHERITED: [&str; 6] = [
    "HOME",
    "LANG",
    "LLVM_PROFILE_FILE",
    "PATH",
    "RUST_BACKTRACE",
    "TMPDIR",
];

/// Where a line of output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Information to the host.
    Stdout,
    /// An error to the host, or a warning if the line says `warn`.
    Stderr,
}

/// All lines of output so far, of every process since the host started.
#[derive(Default)]
pub(crate) struct Output {
    lines: Mutex<Vec<(Stream, String)>>,
    arrived: Notify,
}

impl Output {
    /// The lines of one stream.
    pub(crate) fn lines(&self, wanted: Stream) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        lines
            .iter()
            .filter(|(stream, _)| *stream == wanted)
            .map(|(_, line)| line.clone())
            .collect()
    }

    /// Waits until a line of either stream contains `part`; fails the test after `limit`.
    pub(crate) async fn wait_for(&self, part: &str, limit: Duration) -> String {
        let found = async {
            loop {
                // Registered before the look, so that no line slips in between.
                let arrived = self.arrived.notified();
                let found = self
                    .lines
                    .lock()
                    .unwrap()
                    .iter()
                    .find(|(_, line)| line.contains(part))
                    .cloned();
                if let Some((_, line)) = found {
                    return line;
                }
                arrived.await;
            }
        };
        let waited = tokio::time::timeout(limit, found).await;
        waited.unwrap_or_else(|_| {
            panic!(
                "no line with `{part}` within {limit:?}; the output is\n{}",
                self.text()
            )
        })
    }

    /// Everything, for messages.
    pub(crate) fn text(&self) -> String {
        let lines = self.lines.lock().unwrap();
        let lines = lines
            .iter()
            .map(|(stream, line)| format!("{stream:?}: {line}"));
        lines.collect::<Vec<_>>().join(
            "
",
        )
    }

    async fn keep(self: Arc<Self>, stream: Stream, source: impl AsyncRead + Unpin) {
        let mut source = BufReader::new(source);
        let mut line = Vec::new();
        while source
            .read_until(b'\n', &mut line)
            .await
            .is_ok_and(|length| length > 0)
        {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            self.lines.lock().unwrap().push((stream, text));
            self.arrived.notify_waiters();
            line.clear();
        }
    }
}

/// One process of the program.
pub(crate) struct Process {
    pid: Pid,
    exit: watch::Receiver<Option<ExitStatus>>,
    watcher: JoinHandle<()>,
    /// Its connections end with the process.
    pub(crate) http: reqwest::Client,
}

impl Process {
    /// Starts the program as the host does. An error is one of the operating system's.
    pub(crate) fn start(
        root: &Path,
        app: &App,
        settings: &Settings,
        port: u16,
        output: &Arc<Output>,
    ) -> Result<Self, String> {
        let worker_id = guid();
        let own = [
            ("FUNCTIONS_CUSTOMHANDLER_PORT", port.to_string()),
            ("FUNCTIONS_HTTPWORKER_PORT", port.to_string()),
            ("FUNCTIONS_CUSTOMHANDLER_WORKER_ID", worker_id.clone()),
            ("FUNCTIONS_HTTPWORKER_ID", worker_id),
            ("FUNCTIONS_APP_ROOT_PATH", root.display().to_string()),
        ];
        let mut environment = settings.clone();
        environment.extend(own.map(|(name, value)| (name.to_owned(), value)));
        let mut child = Command::new(&app.executable)
            .args(arguments(app, &environment))
            .current_dir(&app.working_directory)
            .env_clear()
            .envs(
                INHERITED
                    .iter()
                    .filter_map(|name| Some((name, std::env::var_os(name)?))),
            )
            .envs(&environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot start `{}`: {error}", app.executable.display()))?;
        let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap());
        let stdout =
            tokio::spawn(Arc::clone(output).keep(Stream::Stdout, child.stdout.take().unwrap()));
        let stderr =
            tokio::spawn(Arc::clone(output).keep(Stream::Stderr, child.stderr.take().unwrap()));
        let (ended, exit) = watch::channel(None);
        let watcher = tokio::spawn(async move {
            let status = child.wait().await.unwrap();
            // Whoever waits for the end wants to read the last words too.
            let last_words = async { (stdout.await.ok(), stderr.await.ok()) };
            tokio::time::timeout(LAST_OUTPUT_LIMIT, last_words)
                .await
                .ok();
            ended.send(Some(status)).ok();
        });
        Ok(Self {
            pid,
            exit,
            watcher,
            http: client(),
        })
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// How the process ended, if it has.
    pub(crate) fn exit_status(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// Waits for the end of the process.
    pub(crate) async fn wait(&self, limit: Duration) -> Option<ExitStatus> {
        let mut exit = self.exit.clone();
        let ended = tokio::time::timeout(limit, exit.wait_for(Option::is_some)).await;
        ended.ok().and_then(|status| *status.unwrap())
    }

    /// Sends a signal, unless the process has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.exit_status().is_none() {
            // The process may end at this very moment.
            signal::kill(self.pid, signal).ok();
        }
    }

    /// Asks `GET /` until there is any answer. An error when the process ends first or the time is up.
    pub(crate) async fn wait_until_ready(&self, port: u16) -> Result<(), String> {
        let deadline = Instant::now() + READINESS_LIMIT;
        let address = format!("http://127.0.0.1:{port}/");
        let mut poll = tokio::time::interval(READINESS_POLL);
        while Instant::now() < deadline {
            poll.tick().await;
            if let Some(status) = self.exit_status() {
                return Err(format!("the program ended before it listened: {status}"));
            }
            // An accepted request without an answer blocks the real host's start as well.
            let asked =
                tokio::time::timeout_at(deadline.into(), self.http.get(&address).send()).await;
            if matches!(asked, Ok(Ok(_))) {
                return Ok(());
            }
        }
        Err("Initializing HttpWorker timed out.".to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        self.watcher.abort();
    }
}

/// A port of the loopback interface that nobody listens on. From below the range in which the system picks ports for connections
/// and for port 0, so that nobody else gets it before the program binds it; another test process starts elsewhere in the range.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes that start together have neighbouring ids; the factor keeps their ports apart.
    let start = u16::try_from(std::process::id() * 61 % u32::from(COUNT)).unwrap();
    (0..COUNT)
        .map(|_| FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("no free port")
}

/// The host joins the arguments with spaces and quotes nothing, so a value with a space becomes two. What it cannot expand
/// it drops.
fn arguments(app: &App, environment: &Settings) -> Vec<String> {
    let joined = app.arguments.join(" ");
    let value_of = |name: &str| Ok::<_, ()>(environment.get(name).cloned().unwrap_or_default());
    let expanded = expand_with(&joined, value_of).unwrap();
    expanded.split_whitespace().map(str::to_owned).collect()
}

/// A client for plain HTTP on loopback.
fn client() -> reqwest::Client {
    crate::support::http::client()
        .redirect(reqwest::redirect::Policy::none())
        // It never speaks TLS, and reading the system's certificates takes time.
        .tls_certs_only([])
        .build()
        .unwrap()
}
