//! `status`: what the archive holds and how the last items went, read from the archive and the documents beside it.

mod reader;
mod table;

use super::{ArchiveOption, Exit, told_to_end};
use crate::archive::Access;
use crate::clock::Clock;
use crate::environment::{Environment, Stop};
use crate::http;
use crate::logging;
use crate::settings::{Needs, Settings};
use reader::{Reader, Standing};
use std::io::IsTerminal;
use std::time::Duration;

/// How long one picture stands before the next is drawn.
const PICTURE_TIME: Duration = Duration::from_secs(3);

/// To the upper left corner, and everything from there on is blank.
const CLEAR: &str = "\u{1b}[H\u{1b}[J";

/// What `status` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Show it again every few seconds, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// Print one JSON object for each user
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    archive: ArchiveOption,
}

pub(super) async fn run(
    options: Options,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> anyhow::Result<Exit> {
    logging::to_stderr(lookup)?;
    let needs = Needs {
        users: true,
        archive: true,
        ..Needs::default()
    };
    let settings = Settings::read(needs, options.archive.directory(lookup), lookup)?;
    let environment = Environment::new(
        settings,
        Access::Read,
        http::client()?,
        Clock::system(),
        Stop::default(),
    )?;
    let mut reader = Reader::default();
    if options.watch {
        return Ok(watch(&environment, &mut reader, options.json).await);
    }
    let picture = draw(&environment, &mut reader, options.json).await;
    picture.show("");
    Ok(picture.exit)
}

/// What is shown at one time.
struct Picture {
    text: String,
    errors: Vec<String>,
    exit: Exit,
}

impl Picture {
    fn show(&self, before: &str) {
        logging::print(&format!("{before}{}", self.text));
        for error in &self.errors {
            logging::say(&format!("error: {error}"));
        }
    }
}

/// Draws until somebody ends it.
async fn watch(environment: &Environment, reader: &mut Reader, json: bool) -> Exit {
    let before = if std::io::stdout().is_terminal() {
        CLEAR
    } else {
        ""
    };
    let mut exit = Exit::Done;
    let mut ended = std::pin::pin!(told_to_end());
    loop {
        tokio::select! {
            () = &mut ended => return exit,
            picture = draw(environment, reader, json) => {
                picture.show(before);
                exit = picture.exit;
            }
        }
        tokio::select! {
            () = &mut ended => return exit,
            () = tokio::time::sleep(PICTURE_TIME) => {}
        }
    }
}

async fn draw(environment: &Environment, reader: &mut Reader, json: bool) -> Picture {
    let settings = &environment.settings;
    let mut lines = Vec::new();
    let mut errors = Vec::new();
    let mut is_stale = false;
    if !json {
        lines.push(table::head());
    }
    for user in &settings.users {
        // One user's trouble does not hide the others.
        let standing = match reader.read(environment, &user.name).await {
            Ok(standing) => standing,
            Err(error) => {
                errors.push(format!("{error:#}"));
                continue;
            }
        };
        errors.extend(standing.trouble.clone());
        let now = environment.clock.now();
        let stale = standing.is_stale(now, settings.stale_after_hours);
        is_stale |= stale;
        if json {
            lines.push(to_json(&standing, stale).to_string());
        } else {
            lines.extend(table::rows(&standing, stale, now));
        }
    }
    let exit = match (errors.is_empty(), is_stale) {
        (false, _) => Exit::Trouble,
        (true, true) => Exit::Disagreement,
        (true, false) => Exit::Done,
    };
    Picture {
        text: lines.join("\n"),
        errors,
        exit,
    }
}

fn to_json(standing: &Standing, stale: bool) -> serde_json::Value {
    let document = standing.document.clone().unwrap_or_default();
    serde_json::json!({
        "user": standing.user.as_str(),
        "newest_uts": standing.newest,
        "newest": standing.newest.map(crate::scrobble::in_utc),
        "rows": standing.rows,
        "late": standing.late,
        "bytes": standing.bytes,
        "files": standing.files,
        "since": document.since,
        "last_success": standing.last_success(),
        "stale": stale,
        "plays_left": document.plays_left,
        "estimated_done": document.estimated_done,
        "last_error": document.last_error,
        "last_reconcile": document.last_reconcile,
    })
}
