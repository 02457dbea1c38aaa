//! `sync [USER]...`: the same work items as on Azure, one after the other, without a queue.

use super::progress::{Progress, Talk};
use super::{ArchiveOption, Exit, Users, until_told_to_end};
use crate::archive::Access;
use crate::clock::Clock;
use crate::environment::{Environment, Stop};
use crate::fetch_pages::{self, Counts, FetchPages, Outcome, Preview, Report};
use crate::http;
use crate::logging;
use crate::settings::{Needs, Settings};
use crate::status;
use crate::user::UserName;
use std::time::Duration;

/// How often a user is started again from the tail because another writer was first. More means that the app on
/// Azure is busy with this user, and needs no help.
const RESTARTS_MAX: u32 = 10;

/// What `sync` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Last.fm user names; without one, those in `LASTFM_USERS`
    #[arg(value_name = "USER")]
    users: Vec<String>,
    /// Say what would be fetched; write nothing to the archive
    #[arg(long)]
    dry_run: bool,
    /// No progress, errors only
    #[arg(long, short)]
    quiet: bool,
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
    let users = Users::named(&options.users)?;
    let needs = Needs {
        key: true,
        users: users.are_from_settings(),
        archive: true,
        ..Needs::default()
    };
    let settings = Settings::read(needs, options.archive.directory(lookup), lookup)?;
    let users = users.or_of(&settings);
    let access = if options.dry_run {
        Access::Read
    } else {
        Access::Write
    };
    let environment = Environment::new(
        settings,
        access,
        http::client()?,
        Clock::system(),
        Stop::default(),
    )?;
    let talk = Talk::choose(options.quiet);

    let stop = environment.stop.clone();
    let work = async {
        let mut exit = Exit::Done;
        for user in &users {
            let ended = if options.dry_run {
                preview(&environment, user, options.json).await
            } else {
                archive(&environment, user, talk, options.json).await
            };
            exit = exit.worse(ended.exit);
            if ended.for_everybody || environment.stop.is_requested() {
                break;
            }
        }
        exit
    };
    let words = "stopping after the current append; what is archived stays, and the next run goes on from there";
    Ok(until_told_to_end(Box::pin(work), &stop, talk, words).await)
}

/// How one user's sync ended.
pub(super) struct Ended {
    pub(super) exit: Exit,
    /// The others would fare the same.
    pub(super) for_everybody: bool,
    words: String,
}

impl Ended {
    /// What an outcome that does not go on means for a person.
    fn by(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::new(Exit::Done, "up to date"),
            Outcome::Refused {
                reason,
                hint,
                for_everybody,
            } => {
                let hint = hint
                    .map(|hint| format!("\nhint: {hint}"))
                    .unwrap_or_default();
                Self {
                    for_everybody,
                    ..Self::new(Exit::Input, format!("{reason}{hint}"))
                }
            }
            Outcome::PutBack(_, _, reason) | Outcome::GaveUp(reason) => {
                let hint = "run it again; it goes on where it stopped";
                Self::new(Exit::Trouble, format!("{reason}\nhint: {hint}"))
            }
            Outcome::Stale => Self::new(
                Exit::Trouble,
                "another process is archiving this user at the moment",
            ),
            Outcome::Continue(..) | Outcome::Interrupted => Self::new(Exit::Trouble, "interrupted"),
        }
    }

    fn new(exit: Exit, words: impl Into<String>) -> Self {
        Self {
            exit,
            for_everybody: false,
            words: words.into(),
        }
    }
}

/// Does work items until nothing is left.
pub(super) async fn archive(
    environment: &Environment,
    user: &UserName,
    talk: Talk,
    json: bool,
) -> Ended {
    let mut progress = Progress::new(talk, user);
    let mut sum = Counts::default();
    let ended = items(environment, user, talk, &mut progress, &mut sum).await;
    if json {
        logging::print(&summary(user, &sum, &ended).to_string());
    }
    if ended.exit == Exit::Done {
        progress.finish(&ended.words);
    } else {
        progress.finish(&format!("{} plays archived, then it stopped", sum.plays));
        logging::say(&format!("error: {user}: {}", ended.words));
    }
    ended
}

async fn items(
    environment: &Environment,
    user: &UserName,
    talk: Talk,
    progress: &mut Progress,
    sum: &mut Counts,
) -> Ended {
    let to = environment.clock.now();
    let mut item = FetchPages::of(user.clone(), Some(to));
    let mut restarts = 0;
    loop {
        let (outcome, counts) = {
            let report = Report::watched_by(|counts| progress.watch(counts));
            let outcome = fetch_pages::run(environment, &item, false, &report).await;
            status::record_item(environment, &item, &outcome, &report).await;
            (outcome, report.counts())
        };
        progress.item_done(&counts, matches!(outcome, Ok(Outcome::Continue(..))));
        add(sum, &counts);
        let (next, delay) = match outcome {
            Ok(Outcome::Done) => return Ended::new(Exit::Done, done_in_words(sum.plays)),
            Ok(Outcome::Continue(next, delay)) => (next, delay),
            // Only a used-up budget is worth waiting for here; a person can start again after trouble.
            Ok(Outcome::PutBack(next, delay, _)) if next.attempt == item.attempt => (next, delay),
            Ok(Outcome::Stale) if restarts < RESTARTS_MAX => {
                restarts += 1;
                (FetchPages::of(user.clone(), Some(to)), Duration::ZERO)
            }
            Ok(outcome) => return Ended::by(outcome),
            Err(error) => return Ended::new(Exit::Trouble, format!("{error:#}")),
        };
        if !delay.is_zero() {
            let seconds = delay.as_secs_f64().ceil();
            talk.say(&format!(
                "{user}: Last.fm or the request budget is not ready: waiting for {seconds} s"
            ));
        }
        tokio::select! {
            () = environment.stop.requested() => return Ended::new(Exit::Trouble, "interrupted"),
            () = tokio::time::sleep(delay) => item = next,
        }
    }
}

fn done_in_words(plays: u64) -> String {
    match plays {
        0 => "up to date".to_owned(),
        1 => "1 new play archived".to_owned(),
        plays => format!("{plays} new plays archived"),
    }
}

fn add(sum: &mut Counts, counts: &Counts) {
    sum.pages += counts.pages;
    sum.requests += counts.requests;
    sum.plays += counts.plays;
    sum.append_bytes += counts.append_bytes;
    for (cause, count) in &counts.retries {
        *sum.retries.entry(cause).or_default() += count;
    }
}

fn summary(user: &UserName, sum: &Counts, ended: &Ended) -> serde_json::Value {
    serde_json::json!({
        "user": user.as_str(),
        "ok": ended.exit == Exit::Done,
        "message": ended.words,
        "plays": sum.plays,
        "pages": sum.pages,
        "requests": sum.requests,
        "retries": sum.retries,
        "append_bytes": sum.append_bytes,
    })
}

/// Says what there is to fetch.
async fn preview(environment: &Environment, user: &UserName, json: bool) -> Ended {
    let preview = match fetch_pages::preview(environment, user).await {
        Ok(Ok(preview)) => preview,
        Ok(Err(outcome)) => {
            // A used-up budget concerns the others as much.
            let for_everybody = matches!(&outcome, Outcome::PutBack(item, ..) if item.waits > 0);
            let ended = Ended::by(outcome);
            logging::say(&format!("error: {user}: {}", ended.words));
            return Ended {
                for_everybody: ended.for_everybody || for_everybody,
                ..ended
            };
        }
        Err(error) => {
            logging::say(&format!("error: {user}: {error:#}"));
            return Ended::new(Exit::Trouble, "");
        }
    };
    if json {
        let plan = serde_json::json!({
            "user": user.as_str(),
            "newest_archived_uts": preview.newest,
            "plays": preview.plays,
            "pages": preview.pages,
            "work_items": preview.work_items,
        });
        logging::print(&plan.to_string());
    } else {
        let from = preview
            .newest
            .map_or("the beginning".to_owned(), crate::scrobble::in_utc);
        let Preview {
            plays,
            pages,
            work_items,
            ..
        } = preview;
        logging::print(&format!(
            "{user}: {plays} plays to fetch since {from}; pages: {pages}, work items: {work_items}"
        ));
    }
    Ended::new(Exit::Done, "")
}
