//! The command line: one file for each verb.

mod enqueue;
mod forget;
mod progress;
mod serve;
mod status;
mod sync;
mod verify;

use crate::environment::Stop;
use crate::settings::{Invalid, Settings};
use crate::user::UserName;
use clap::{Parser, Subcommand};
use progress::Talk;
use std::ffi::OsString;
use std::pin::Pin;
use std::process::ExitCode;

/// How a command ended, for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// The caller's input or setting.
    Input = 1,
    /// Trouble that another try may solve.
    Trouble = 2,
    /// Done, but the archive and Last.fm disagree, or a user is stale.
    Disagreement = 3,
}

impl Exit {
    /// The worse of two. Trouble hides a disagreement, for there may be more of them.
    fn worse(self, other: Self) -> Self {
        let rank = |exit| match exit {
            Self::Done => 0,
            Self::Disagreement => 1,
            Self::Input => 2,
            Self::Trouble => 3,
        };
        if rank(other) > rank(self) {
            other
        } else {
            self
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Keeps a complete copy of Last.fm listening histories in storage that you own.
#[derive(Debug, Parser)]
#[command(name = "lastfm-archive", version, propagate_version = true, after_help = SETTINGS_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const SETTINGS_HELP: &str = "\
Settings come from the environment; the README lists them. The most important ones:
  LASTFM_API_KEY       the Last.fm key (last.fm/api/account/create); never an argument
  LASTFM_USERS         user names separated by commas, each `name` or `name=Area/City`
  ARCHIVE_STORAGE      a storage account for the archive, unless --archive names a directory
  AzureWebJobsStorage  the storage account of the Functions host and the work queue

Exit status: 0 done, 1 a wrong flag or setting, 2 trouble that another try may solve,
3 done but the archive and Last.fm disagree, or a user is stale.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the Azure Functions host (this is what host.json starts)
    Serve,
    /// Bring the archive up to date
    Sync(sync::Options),
    /// Hold the archive against Last.fm, and repair it
    Verify(verify::Options),
    /// Put a work item for a user on the queue
    Enqueue(enqueue::Options),
    /// Show what the archive holds and how the last items went
    Status(status::Options),
    /// Delete everything of a user
    Forget(forget::Options),
}

/// Which archive a command works on.
#[derive(Clone, Debug, clap::Args)]
struct ArchiveOption {
    /// Directory of the archive (or `ARCHIVE_DIR`); without it the archive is in `ARCHIVE_STORAGE`, else
    /// `AzureWebJobsStorage`
    #[arg(long, value_name = "DIR")]
    archive: Option<String>,
}

impl ArchiveOption {
    /// The flag, or its variable.
    fn directory(&self, lookup: &dyn Fn(&str) -> Option<String>) -> Option<String> {
        self.archive.clone().or_else(|| lookup("ARCHIVE_DIR"))
    }
}

/// Runs the command that `arguments` name; `lookup` gives the value of one variable.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are asked for; everything else is the caller's input.
            let exit = if error.use_stderr() {
                Exit::Input
            } else {
                Exit::Done
            };
            let _ = error.print();
            return exit;
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            return complain(&anyhow::Error::from(error).context("cannot start the runtime"));
        }
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Serve => serve::run(lookup).await,
            Command::Sync(options) => sync::run(options, lookup).await,
            Command::Verify(options) => verify::run(options, lookup).await,
            Command::Enqueue(options) => enqueue::run(options, lookup).await,
            Command::Status(options) => status::run(options, lookup).await,
            Command::Forget(options) => forget::run(options, lookup).await,
        }
    });
    result.unwrap_or_else(|error| complain(&error))
}

/// One line on stderr with the whole chain of causes.
#[expect(clippy::print_stderr, reason = "the rim of the command line")]
fn complain(error: &anyhow::Error) -> Exit {
    eprintln!("error: {error:#}");
    if error.chain().any(<dyn std::error::Error>::is::<Invalid>) {
        Exit::Input
    } else {
        Exit::Trouble
    }
}

/// A user name from the command line.
fn user_name(text: &str) -> Result<UserName, Invalid> {
    UserName::new(text).map_err(|reason| Invalid(format!("`{}`: {reason}", text.escape_debug())))
}

/// The users that a command line names; nobody means those in `LASTFM_USERS`.
struct Users(Vec<UserName>);

impl Users {
    fn named(names: &[String]) -> Result<Self, Invalid> {
        names
            .iter()
            .map(|name| user_name(name))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Nobody is named, so the settings have to.
    fn are_from_settings(&self) -> bool {
        self.0.is_empty()
    }

    fn or_of(self, settings: &Settings) -> Vec<UserName> {
        if self.are_from_settings() {
            let users = settings.users.iter();
            users.map(|user| user.name.clone()).collect()
        } else {
            self.0
        }
    }
}

/// Does the work; when the process is told to end, says so and asks the work to stop at the next safe moment. Told a
/// second time, it ends at once.
async fn until_told_to_end(
    work: Pin<Box<impl Future<Output = Exit>>>,
    stop: &Stop,
    talk: Talk,
    words: &str,
) -> Exit {
    let interrupt = async {
        told_to_end().await;
        talk.say(words);
        stop.request();
        // A second one means it.
        told_to_end().await;
    };
    tokio::select! {
        exit = work => if stop.is_requested() { exit.worse(Exit::Trouble) } else { exit },
        () = interrupt => Exit::Trouble,
    }
}

/// Resolves when the process is told to end: Ctrl-C, or SIGTERM from whoever started it.
async fn told_to_end() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let Ok(mut terminate) = signal(SignalKind::terminate()) else {
            let _ = tokio::signal::ctrl_c().await;
            return;
        };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    let _ = tokio::signal::ctrl_c().await;
}

#[cfg(test)]
mod tests {
    use super::{Cli, Exit};
    use clap::CommandFactory;

    #[test]
    fn trouble_hides_a_disagreement() {
        assert_eq!(Exit::Disagreement.worse(Exit::Trouble), Exit::Trouble);
        assert_eq!(Exit::Trouble.worse(Exit::Disagreement), Exit::Trouble);
        assert_eq!(Exit::Done.worse(Exit::Disagreement), Exit::Disagreement);
    }

    /// What stands on a command line is read by everybody on the machine.
    #[test]
    fn no_argument_takes_a_secret() {
        let mut seen = 0;
        for command in Cli::command().get_subcommands() {
            for argument in command.get_arguments() {
                let name = argument.get_id().as_str().to_lowercase();
                for word in [
                    "key",
                    "secret",
                    "token",
                    "password",
                    "connection",
                    "storage",
                    "sas",
                ] {
                    assert!(
                        !name.contains(word),
                        "{} takes `{name}`",
                        command.get_name()
                    );
                }
                seen += 1;
            }
        }
        assert!(seen > 5, "{seen}");
    }
}
