//! Serves made-up histories, so that a developer can run the real program without a key.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line talks on its standard streams"
)]

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use fake_lastfm::{LastFm, RateLimit, Server, histories};

const HELP: &str = "\
A fake Last.fm: user.getRecentTracks and a little of user.getInfo, for any API key.

usage: fake-lastfm [--port N] [--user NAME=PLAYS]... [--requests-per-second N] [--seed N]

  --port N                 listen on this port of 127.0.0.1 (default: any free port)
  --user NAME=PLAYS        a user with so many made-up plays of the last ten years
                           (may be repeated; default: alice=12000 and bob=300)
  --requests-per-second N  answer error 29 (HTTP 429) beyond this rate (default: no limit)
  --seed N                 make up other histories (default: 1)
  --help                   show this text
";

/// Ten years: long enough to span many months of an archive.
const HISTORY: Duration = Duration::from_hours(24 * 3652);

/// What one request in each interval needs, anywhere inside it.
const BURST: usize = 2;

struct Arguments {
    port: u16,
    users: Vec<(String, usize)>,
    requests_per_second: Option<usize>,
    seed: u64,
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("error: {problem}\n\n{HELP}");
            return ExitCode::from(1);
        }
    };
    let server = match Server::start_on(made_up_lastfm(&arguments), arguments.port) {
        Ok(server) => server,
        Err(error) => {
            eprintln!("error: cannot listen on port {}: {error}", arguments.port);
            return ExitCode::from(2);
        }
    };
    println!("{}", server.url());
    for (name, plays) in &arguments.users {
        eprintln!("user {name}: {plays} plays");
    }
    eprintln!("serving until Ctrl-C");
    loop {
        std::thread::park();
    }
}

fn made_up_lastfm(arguments: &Arguments) -> LastFm {
    let now = now_uts();
    let first = now - i64::try_from(HISTORY.as_secs()).unwrap_or(0);
    let mut lastfm = LastFm::new();
    for (seed, (name, plays)) in (arguments.seed..).zip(&arguments.users) {
        lastfm.add_user(name, histories::made_up(seed, *plays, first, now));
    }
    lastfm.config.rate_limit = arguments.requests_per_second.map(|number| RateLimit {
        requests_per_second: number,
        burst: BURST,
        retry_after_seconds: None,
    });
    lastfm
}

/// `None` stands for a wish to see the help.
fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Arguments>, String> {
    let mut arguments = Arguments {
        port: 0,
        users: Vec::new(),
        requests_per_second: None,
        seed: 1,
    };
    while let Some(flag) = words.next() {
        if flag == "--help" || flag == "-h" {
            return Ok(None);
        }
        let Some(value) = words.next() else {
            return Err(format!("`{flag}` is unknown or lacks its value"));
        };
        match flag.as_str() {
            "--port" => arguments.port = number(&flag, &value)?,
            "--seed" => arguments.seed = number(&flag, &value)?,
            "--requests-per-second" => arguments.requests_per_second = Some(number(&flag, &value)?),
            "--user" => {
                let (name, plays) = value
                    .split_once('=')
                    .ok_or_else(|| format!("`--user {value}` is not NAME=PLAYS"))?;
                arguments
                    .users
                    .push((name.to_owned(), number(&flag, plays)?));
            }
            _ => return Err(format!("unknown flag `{flag}`")),
        }
    }
    if arguments.users.is_empty() {
        arguments.users = vec![("alice".to_owned(), 12_000), ("bob".to_owned(), 300)];
    }
    Ok(Some(arguments))
}

fn number<T: std::str::FromStr>(flag: &str, value: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|_| format!("`{flag}` needs a number, not `{value}`"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "made-up histories end now, so that a backup finds recent plays"
)]
fn now_uts() -> i64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |elapsed| {
            i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
        })
}
