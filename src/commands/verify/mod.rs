//! `verify [USER]...`: holds the archive against Last.fm, and repairs it.

mod bar;
mod words;

use super::progress::Talk;
use super::{ArchiveOption, Exit, Users, sync, until_told_to_end};
use crate::archive::Access;
use crate::clock::Clock;
use crate::environment::{Environment, Stop};
use crate::fetch_pages::{Halt, Report};
use crate::http;
use crate::lastfm::Error;
use crate::logging;
use crate::settings::{Invalid, Needs, Settings};
use crate::user::UserName;
use crate::verify::{Asked, Trouble, verify};
use bar::Bar;
use words::tell;

const DAY_S: i64 = 24 * 60 * 60;

/// What `verify` takes.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct Options {
    /// Last.fm user names; without one, those in `LASTFM_USERS`
    #[arg(value_name = "USER")]
    users: Vec<String>,
    /// First day (YYYY-MM-DD, UTC) or second since 1970; without it from the beginning on
    #[arg(long, value_name = "WHEN", value_parser = first_second, allow_hyphen_values = true)]
    from: Option<i64>,
    /// Last day (YYYY-MM-DD, UTC) or second since 1970; without it up to now
    #[arg(long, value_name = "WHEN", value_parser = last_second, allow_hyphen_values = true)]
    to: Option<i64>,
    /// Compare play by play, so that edits are found which leave the counts as they were
    #[arg(long)]
    deep: bool,
    /// Bring the archive up to date, archive late plays, and note removed ones
    #[arg(long)]
    repair: bool,
    /// No progress, errors only
    #[arg(long, short)]
    quiet: bool,
    /// Print one JSON object for each user
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    archive: ArchiveOption,
}

fn first_second(text: &str) -> Result<i64, String> {
    moment(text, 0)
}

fn last_second(text: &str) -> Result<i64, String> {
    moment(text, DAY_S - 1)
}

/// A second since 1970, or a day, of which the second `of_day` is meant.
fn moment(text: &str, of_day: i64) -> Result<i64, String> {
    /// From here on (the year 5138) it was meant as milliseconds.
    const SECONDS_END: i64 = 100_000_000_000;
    let day = || {
        let date: jiff::civil::Date = text.parse().ok()?;
        let midnight = jiff::tz::Offset::UTC
            .to_timestamp(date.at(0, 0, 0, 0))
            .ok()?;
        Some(midnight.as_second() + of_day)
    };
    match text.parse::<i64>() {
        Ok(second) if second.abs() < SECONDS_END => Ok(second),
        Ok(_) => Err("in milliseconds; whole seconds since 1970 are wanted".to_owned()),
        Err(_) => day().ok_or_else(|| {
            "a day as YYYY-MM-DD, or whole seconds since 1970, is wanted".to_owned()
        }),
    }
}

pub(super) async fn run(
    options: Options,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> anyhow::Result<Exit> {
    logging::to_stderr(lookup)?;
    let users = Users::named(&options.users)?;
    if let (Some(from), Some(to)) = (options.from, options.to)
        && from > to
    {
        return Err(Invalid("`--from` lies behind `--to`".to_owned()).into());
    }
    let needs = Needs {
        key: true,
        users: users.are_from_settings(),
        archive: true,
        ..Needs::default()
    };
    let settings = Settings::read(needs, options.archive.directory(lookup), lookup)?;
    let users = users.or_of(&settings);
    let access = if options.repair {
        Access::Write
    } else {
        Access::Read
    };
    let stop = Stop::default();
    let environment = Environment::new(
        settings,
        access,
        http::client()?,
        Clock::system(),
        stop.clone(),
    )?;
    let talk = Talk::choose(options.quiet);
    let work = async {
        let mut exit = Exit::Done;
        for user in &users {
            let ended = one(&environment, user, &options, talk).await;
            exit = exit.worse(ended.exit);
            if ended.for_everybody || stop.is_requested() {
                break;
            }
        }
        exit
    };
    let words = "stopping; what is repaired stays";
    Ok(until_told_to_end(Box::pin(work), &stop, talk, words).await)
}

/// How one user's verification ended.
struct Ended {
    exit: Exit,
    /// The others would fare the same.
    for_everybody: bool,
}

impl Ended {
    fn by(exit: Exit) -> Self {
        Self {
            exit,
            for_everybody: false,
        }
    }
}

async fn one(environment: &Environment, user: &UserName, options: &Options, talk: Talk) -> Ended {
    let now = environment.clock.now();
    if options.repair && options.to.is_none_or(|to| to >= now) {
        // What is newer than the archive is the sync's business.
        let synced = sync::archive(environment, user, talk, false).await;
        if synced.exit != Exit::Done {
            return Ended {
                exit: synced.exit,
                for_everybody: synced.for_everybody,
            };
        }
    }
    let asked = Asked {
        from: options.from,
        to: options.to.unwrap_or(now).min(now),
        is_to_now: options.to.is_none(),
        deep: options.deep,
        repair: options.repair,
    };
    let report = Report::default();
    let bar = Bar::new(talk, user, options.deep);
    let verified = verify(environment, user, asked, &report, &bar).await;
    drop(bar);
    let problem = match verified {
        Ok(Ok(verdict)) => return Ended::by(tell(user, &verdict, options, talk)),
        Ok(Err(Trouble::Halted(halt))) => of_halt(&halt),
        Ok(Err(Trouble::Contended)) => (
            Ended::by(Exit::Trouble),
            "the app, or another command, is writing to this user's archive\nhint: run it again in some minutes"
                .to_owned(),
        ),
        Err(error) => (Ended::by(Exit::Trouble), format!("{error:#}")),
    };
    logging::say(&format!("error: {user}: {}", problem.1));
    problem.0
}

fn of_halt(halt: &Halt) -> (Ended, String) {
    let again = |reason: String| {
        let hint = "\nhint: run it again";
        (Ended::by(Exit::Trouble), format!("{reason}{hint}"))
    };
    match halt {
        Halt::Permanent(error) => {
            let hint = error.hint().map(|hint| format!("\nhint: {hint}"));
            let ended = Ended {
                exit: Exit::Input,
                for_everybody: matches!(error, Error::KeyRejected { .. }),
            };
            (ended, format!("{error}{}", hint.unwrap_or_default()))
        }
        Halt::Transient(error) | Halt::Shrink(error) => again(error.to_string()),
        Halt::Restless => again("the history changes faster than it can be compared".to_owned()),
        Halt::EndlessSecond(second) => again(format!(
            "second {second} holds more plays than can be fetched together"
        )),
        Halt::Interrupted => (Ended::by(Exit::Trouble), "interrupted".to_owned()),
        Halt::Deadline | Halt::Busy(_) => again("Last.fm did not answer in time".to_owned()),
        Halt::Storage(error) => again(format!("{error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_and_ends_in_utc() {
        assert_eq!(first_second("2024-05-01"), Ok(1_714_521_600));
        assert_eq!(last_second("2024-05-01"), Ok(1_714_607_999));
        assert_eq!(first_second("0"), Ok(0));
        for bad in ["", "2024-5-1", "2024-02-30", "yesterday", "1714521600000"] {
            assert!(first_second(bad).is_err(), "{bad}");
        }
    }
}
