//! `status`: what the archive holds, read from the archive itself.

use super::{ArchiveOption, Exit};
use crate::archive::{Access, Archive, DataFile, Tail};
use crate::clock::Clock;
use crate::environment::{Environment, Stop};
use crate::http;
use crate::logging;
use crate::scrobble::in_utc;
use crate::settings::{Needs, Settings};
use crate::user::UserName;
use indicatif::{HumanBytes, HumanCount};

/// How much is read at a time while counting lines.
const CHUNK_BYTES: u64 = 4 * 1024 * 1024;

/// What `status` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Print one JSON object for each user
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    archive: ArchiveOption,
}

/// What the archive holds of one user.
struct Holding {
    user: UserName,
    newest: Option<i64>,
    rows: u64,
    bytes: u64,
    files: usize,
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
    let mut exit = Exit::Done;
    if !options.json {
        logging::print(&row("USER", "NEWEST PLAY (UTC)", "PLAYS", "SIZE", "FILES"));
    }
    for user in &environment.settings.users {
        match holding(&environment, &user.name).await {
            Ok(holding) if options.json => logging::print(&holding.to_json().to_string()),
            Ok(holding) => logging::print(&holding.to_row()),
            // One user's trouble does not hide the others.
            Err(error) => {
                exit = Exit::Trouble;
                logging::say(&format!("error: {error:#}"));
            }
        }
    }
    Ok(exit)
}

async fn holding(environment: &Environment, user: &UserName) -> anyhow::Result<Holding> {
    let files = environment.archive.list(user).await?;
    let tail = Tail::of_files(&environment.archive, &files, environment.clock.now()).await?;
    let mut rows = 0;
    for file in &files {
        rows += count_lines(&environment.archive, file).await?;
    }
    Ok(Holding {
        user: user.clone(),
        newest: tail.standing.newest,
        rows,
        bytes: files.iter().map(|file| file.length).sum(),
        files: files.len(),
    })
}

async fn count_lines(archive: &Archive, file: &DataFile) -> anyhow::Result<u64> {
    let mut lines = 0;
    let mut start = 0;
    while start < file.length {
        let end = (start + CHUNK_BYTES).min(file.length);
        let chunk = archive.read(&file.name, start..end).await?;
        lines += memchr::memchr_iter(b'\n', &chunk).count() as u64;
        start = end;
    }
    Ok(lines)
}

impl Holding {
    fn to_row(&self) -> String {
        let newest = self.newest.map_or("nothing yet".to_owned(), in_utc);
        let rows = HumanCount(self.rows).to_string();
        row(
            self.user.as_str(),
            &newest,
            &rows,
            &HumanBytes(self.bytes).to_string(),
            &self.files.to_string(),
        )
    }

    fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "user": self.user.as_str(),
            "newest_uts": self.newest,
            "newest": self.newest.map(in_utc),
            "rows": self.rows,
            "bytes": self.bytes,
            "files": self.files,
        })
    }
}

fn row(user: &str, newest: &str, plays: &str, size: &str, files: &str) -> String {
    format!("{user:<16}  {newest:<20}  {plays:>10}  {size:>10}  {files:>5}")
}
