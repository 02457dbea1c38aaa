//! The program as a child process: settings by the environment only, output read as it comes, every wait bounded.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The key of all tests. Whatever the program prints is searched for it.
pub(crate) const KEY: &str = "5ec4e7ca11ab1e5ec4e7ca11ab1e0042";
/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// A program about to start, in an environment of its own.
pub(crate) struct Program(Command, Option<String>);

impl Program {
    /// The binary under test with these arguments and no variable at all but `PATH`.
    pub(crate) fn new(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lastfm-archive"));
        command.args(arguments).env_clear();
        command.env("PATH", "/usr/bin:/bin").current_dir("/");
        Self(command, None)
    }

    /// What somebody types; without it there is nobody.
    pub(crate) fn typing(mut self, text: &str) -> Self {
        self.1 = Some(text.to_owned());
        self
    }

    pub(crate) fn set(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    pub(crate) fn unset(mut self, name: &str) -> Self {
        self.0.env_remove(name);
        self
    }

    pub(crate) fn argument(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.0.arg(argument);
        self
    }

    /// The command itself, for what is rarely wanted.
    pub(crate) fn command(&mut self) -> &mut Command {
        &mut self.0
    }

    #[track_caller]
    pub(crate) fn run(self) -> Ran {
        self.start().finish()
    }

    pub(crate) fn start(mut self) -> Running {
        let mut child = self
            .0
            .stdin(self.1.as_ref().map_or_else(Stdio::null, |_| Stdio::piped()))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        if let Some(text) = self.1 {
            // Who has ended already does not read it, which the caller sees.
            let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
        }
        let stdout = Output::of(child.stdout.take().unwrap());
        let stderr = Output::of(child.stderr.take().unwrap());
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let (ended, status) = channel();
        std::thread::spawn(move || ended.send(child.wait()));
        Running {
            pid,
            status,
            stdout,
            stderr,
            finished: false,
        }
    }
}

/// A running program; killed when it is dropped.
pub(crate) struct Running {
    pid: Pid,
    status: Receiver<std::io::Result<ExitStatus>>,
    stdout: Output,
    stderr: Output,
    finished: bool,
}

impl Running {
    /// The id of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // It may have ended by itself in this moment, which the caller sees in the exit status.
        let _ = kill(self.pid, signal);
    }

    /// Blocks until stderr holds this text.
    #[track_caller]
    pub(crate) fn wait_for_stderr(&self, text: &str, patience: Duration) {
        let seen = self.stderr.wait_for(text, patience);
        assert!(
            seen.contains(text),
            "stderr did not say `{text}` within {patience:?}, only:\n{seen}"
        );
    }

    /// Blocks until stdout holds this text so often.
    #[track_caller]
    pub(crate) fn wait_for_stdout(&self, text: &str, times: usize) {
        let seen = self
            .stdout
            .wait_until(PATIENCE, |said| said.matches(text).count() >= times);
        assert!(seen.matches(text).count() >= times, "{seen}");
    }

    /// Blocks until stderr holds this text or the program has ended; one of them must come in time.
    #[track_caller]
    pub(crate) fn ends_or_says(&self, text: &str, patience: Duration) {
        let seen = self.stderr.wait_for(text, patience);
        let ended = self.stderr.text.0.lock().unwrap().closed;
        assert!(
            ended || seen.contains(text),
            "no end and no `{text}` within {patience:?}, only:\n{seen}"
        );
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Ran {
        let Ok(status) = self.status.recv_timeout(PATIENCE) else {
            let said = self.stderr.wait_for("", Duration::ZERO);
            panic!("the program did not end within {PATIENCE:?}; stderr so far:\n{said}");
        };
        self.finished = true;
        let ran = Ran {
            status: status.unwrap(),
            stdout: self.stdout.whole(),
            stderr: self.stderr.whole(),
        };
        let (stdout, stderr) = (&ran.stdout, &ran.stderr);
        assert!(!stdout.contains(KEY), "the key is on stdout:\n{stdout}");
        assert!(!stderr.contains(KEY), "the key is on stderr:\n{stderr}");
        let colour = format!("{stdout}{stderr}").contains('\u{1b}');
        assert!(!colour, "an escape code in a pipe:\n{stdout}{stderr}");
        ran
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.finished {
            self.signal(Signal::SIGKILL);
        }
    }
}

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The exit status; 128 and more when a signal ended it.
    pub(crate) fn code(&self) -> i32 {
        let by_signal = || self.status.signal().map_or(-1, |signal| 128 + signal);
        self.status.code().unwrap_or_else(by_signal)
    }

    /// Ended with this exit status.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        let (stdout, stderr) = (&self.stdout, &self.stderr);
        assert_eq!(
            self.code(),
            code,
            "exit status; stdout:\n{stdout}\nstderr:\n{stderr}"
        );
        self
    }

    /// Said this on stderr.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        let stderr = &self.stderr;
        assert!(stderr.contains(text), "no `{text}` on stderr:\n{stderr}");
        self
    }

    /// How often stderr holds this text.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.stderr.matches(text).count()
    }

    /// The lines of stderr that begin an error.
    pub(crate) fn errors(&self) -> usize {
        let lines = self.stderr.lines();
        lines.filter(|line| line.starts_with("error")).count()
    }

    /// The lines of stdout as JSON.
    #[track_caller]
    pub(crate) fn json_lines(&self) -> Vec<serde_json::Value> {
        let lines = self.stdout.lines();
        lines
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .collect()
    }
}

/// What a pipe has given so far.
#[derive(Default)]
struct Said {
    bytes: Vec<u8>,
    /// Nothing more will come.
    closed: bool,
}

impl Said {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// What comes out of one pipe.
struct Output {
    text: Arc<(Mutex<Said>, Condvar)>,
    reader: Option<JoinHandle<()>>,
}

impl Output {
    fn of(mut pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new((Mutex::new(Said::default()), Condvar::new()));
        let shared = Arc::clone(&text);
        let reader = std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = pipe.read(&mut chunk) {
                let mut said = shared.0.lock().unwrap();
                said.bytes.extend_from_slice(&chunk[..length]);
                shared.1.notify_all();
            }
            shared.0.lock().unwrap().closed = true;
            shared.1.notify_all();
        });
        Self {
            text,
            reader: Some(reader),
        }
    }

    /// Everything so far, once it holds `text`, nothing more will come, or the patience is at its end.
    fn wait_for(&self, text: &str, patience: Duration) -> String {
        self.wait_until(patience, |said| said.contains(text))
    }

    /// The same for any condition.
    fn wait_until(&self, patience: Duration, is_enough: impl Fn(&str) -> bool) -> String {
        let lacks = |said: &mut Said| !said.closed && !is_enough(&said.text());
        let said = self.text.0.lock().unwrap();
        let (said, _) = self
            .text
            .1
            .wait_timeout_while(said, patience, lacks)
            .unwrap();
        said.text()
    }

    fn whole(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        let said = self.text.0.lock().unwrap();
        String::from_utf8(said.bytes.clone()).expect("output is UTF-8")
    }
}
