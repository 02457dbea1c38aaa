//! `forget USER`: deletes everything that is stored under a user's name.

use super::{ArchiveOption, Exit, user_name};
use crate::archive::{Access, UserFile};
use crate::clock::Clock;
use crate::environment::{Environment, Stop};
use crate::http;
use crate::logging;
use crate::settings::{Needs, Settings, Target};
use crate::storage::Retention;
use crate::user::UserName;
use indicatif::{HumanBytes, HumanCount};
use std::path::Path;

/// How often everything is listed and deleted: an app that is at work meanwhile makes new blobs.
const ROUNDS_MAX: u32 = 3;

/// Where the way to delete versions is written down.
const RUNBOOK: &str = "\"Forget a user\" in infra/README.md";

/// What `forget` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Last.fm user name
    user: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    archive: ArchiveOption,
}

pub(super) async fn run(
    options: Options,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> anyhow::Result<Exit> {
    logging::to_stderr(lookup)?;
    let user = user_name(&options.user)?;
    let needs = Needs {
        archive: true,
        ..Needs::default()
    };
    let settings = Settings::read(needs, options.archive.directory(lookup), lookup)?;
    if let Target::Directory(directory) = &settings.target
        && !Path::new(directory).exists()
    {
        // Opening it for writing would make it.
        logging::print(&nothing(&user, &format!("directory `{directory}`")));
        return Ok(Exit::Done);
    }
    let environment = Environment::new(
        settings,
        Access::Write,
        http::client()?,
        Clock::system(),
        Stop::default(),
    )?;
    forget(&environment, &user, options.yes).await
}

async fn forget(environment: &Environment, user: &UserName, yes: bool) -> anyhow::Result<Exit> {
    let found = Found::look(environment, user).await?;
    let retention = found.retention(environment).await;
    if found.is_empty() {
        environment.archive.delete_folders(user);
        logging::print(&nothing(user, &environment.archive.place()));
        warn(environment, user);
        return Ok(Exit::Done);
    }
    logging::say(&format!(
        "{user}: {} in {}",
        found.in_words(),
        found.places(environment)
    ));
    warn(environment, user);
    if !yes && !confirmed(user) {
        logging::say("nothing was deleted");
        return Ok(Exit::Input);
    }
    let (deleted, left) = delete(environment, user, found).await;
    logging::print(&format!("{user}: {} deleted", deleted.in_words()));
    for (name, reason) in &left {
        logging::say(&format!("error: `{name}` is left: {reason}"));
    }
    if let Some(retention) = retention {
        for line in kept(retention) {
            logging::say(&line);
        }
    }
    Ok(if left.is_empty() {
        Exit::Done
    } else {
        Exit::Trouble
    })
}

/// What is stored of a user.
#[derive(Default)]
struct Found {
    /// Below the user's folders.
    archive: Vec<UserFile>,
    /// The status document.
    status: Vec<UserFile>,
}

impl Found {
    async fn look(environment: &Environment, user: &UserName) -> anyhow::Result<Self> {
        Ok(Self {
            archive: environment.archive.files_of(user).await?,
            status: environment.status.files(user).await?,
        })
    }

    fn files(&self) -> impl Iterator<Item = &UserFile> {
        self.archive.iter().chain(&self.status)
    }

    fn is_empty(&self) -> bool {
        self.files().next().is_none()
    }

    fn in_words(&self) -> String {
        let files = self.files().count() as u64;
        let bytes = self.files().map(|file| file.bytes).sum();
        let noun = if files == 1 { "file" } else { "files" };
        format!("{} {noun}, {}", HumanCount(files), HumanBytes(bytes))
    }

    /// Where they lie.
    fn places(&self, environment: &Environment) -> String {
        let places = [
            (&self.archive, environment.archive.place()),
            (&self.status, environment.status.place()),
        ];
        let mut places: Vec<String> = places
            .into_iter()
            .filter(|(files, _)| !files.is_empty())
            .map(|(_, place)| place)
            .collect();
        places.dedup();
        places.join(" and ")
    }

    async fn retention(&self, environment: &Environment) -> Option<Retention> {
        // Both containers are in one account. A document that is alone is looked at in the same way.
        if let Some(file) = self.archive.first() {
            return environment.archive.retention(file).await;
        }
        let file = self.status.first()?;
        environment.status.retention(file).await
    }
}

/// Deletes what was found, and what has come meanwhile. Gives what was deleted and what is left, each with its reason.
async fn delete(
    environment: &Environment,
    user: &UserName,
    found: Found,
) -> (Found, Vec<(String, String)>) {
    let mut deleted = Found::default();
    let mut left = Vec::new();
    let mut next = found;
    for round in 1..=ROUNDS_MAX {
        left.clear();
        for file in std::mem::take(&mut next.archive) {
            match environment.archive.delete(&file).await {
                Ok(()) => deleted.archive.push(file),
                Err(error) => left.push((file.name.display().to_string(), format!("{error:#}"))),
            }
        }
        for file in std::mem::take(&mut next.status) {
            match environment.status.delete(&file).await {
                Ok(()) => deleted.status.push(file),
                Err(error) => left.push((file.name.display().to_string(), format!("{error:#}"))),
            }
        }
        environment.archive.delete_folders(user);
        if !left.is_empty() {
            break;
        }
        match Found::look(environment, user).await {
            Ok(found) if found.is_empty() => break,
            Ok(found) if round == ROUNDS_MAX => {
                let reason = "somebody keeps writing; stop the app, or wait for its work items";
                let names = found.files().map(|file| file.name.display().to_string());
                left.extend(names.map(|name| (name, reason.to_owned())));
            }
            Ok(found) => next = found,
            Err(error) => {
                left.push((user.to_string(), format!("{error:#}")));
                break;
            }
        }
    }
    (deleted, left)
}

fn nothing(user: &UserName, place: &str) -> String {
    format!("{user}: nothing is stored in {place}")
}

/// Says why it may not stay deleted.
fn warn(environment: &Environment, user: &UserName) {
    let settings = &environment.settings;
    if settings.users.iter().any(|known| known.name == *user) {
        logging::say(&format!(
            "warning: `{user}` is in `LASTFM_USERS`: the next sync archives everything anew, unless the name is taken out"
        ));
    }
    if matches!(settings.target, Target::Azure { .. }) {
        logging::say(&format!(
            "warning: a work item of `{user}` that is on a queue, or under way in the app, may archive anew: \
             run this again when there is none (an hour later is plenty)"
        ));
    }
}

/// Whether a person types the user's name.
fn confirmed(user: &UserName) -> bool {
    logging::ask("This cannot be undone here. To delete all of it, type the user's name: ");
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    read.is_ok() && UserName::new(answer.trim()).as_ref() == Ok(user)
}

/// What the account keeps of what was deleted, and for how long.
fn kept(retention: Retention) -> Vec<String> {
    let mut lines = Vec::new();
    match retention.versions {
        Some(true) => lines.push(format!(
            "the account keeps versions: what was deleted stays as a version until somebody deletes that too, see {RUNBOOK}"
        )),
        Some(false) => {}
        None => lines.push(format!(
            "whether the account keeps versions could not be read; if it does, as the archive's account made by infra/ \
             does, what was deleted stays as a version until somebody deletes that too, see {RUNBOOK}"
        )),
    }
    match retention.soft_delete_days {
        Some(0) => lines.push("the account has no soft delete for blobs".to_owned()),
        Some(days) => lines.push(format!(
            "soft delete keeps a deleted blob or version for {days} days; until then whoever has the right can bring it back"
        )),
        None => lines.push(
            "how long soft delete keeps deleted blobs and versions could not be read (it takes a right that the roles for \
             blobs do not have); in an account made by infra/ it is 30 days"
                .to_owned(),
        ),
    }
    lines
}
