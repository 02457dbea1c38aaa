//! The service itself: a query string and a time go in, an answer comes out. No socket, no clock, no runtime.

use std::collections::BTreeMap;

use crate::answer::{Answer, JSON, Refusal, Reply};
use crate::config::Config;
use crate::fault::{Fault, Faults};
use crate::history::History;
use crate::log::{Log, Logged};
use crate::page::{LIMIT_MAX, PAGE_MAX, recent_tracks};
use crate::play::Play;
use crate::render::Style;
use crate::request::RequestInfo;

/// One account.
#[derive(Debug, Clone)]
pub struct User {
    name: String,
    /// What was played.
    pub history: History,
    /// What plays at this moment: an extra row on top of every page of every window.
    pub now_playing: Option<Play>,
    /// Whether the account hides its history (error 17).
    pub private: bool,
    /// When the account was made, in Unix seconds.
    pub registered_uts: i64,
    /// Plays that the profile counts and that have no date: no page shows them.
    pub undated: usize,
}

impl User {
    /// The name in its canonical case.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// What the rate limit still allows, in thousandths of a request, and when it did.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    thousandths: i64,
    at_ms: i64,
}

/// A whole Last.fm: users, switches, faults and a log.
#[derive(Debug, Default)]
pub struct LastFm {
    /// The switches.
    pub config: Config,
    /// What goes wrong, and when.
    pub faults: Faults,
    /// What was asked so far.
    pub log: Log,
    /// By lower-case name.
    users: BTreeMap<String, User>,
    /// The rate limit's bucket, once a request came.
    bucket: Option<Bucket>,
}

impl LastFm {
    /// A Last.fm without users that behaves as today's does.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a user, or replaces the one of the same name. The given case is the canonical one.
    pub fn add_user(&mut self, name: &str, plays: impl IntoIterator<Item = Play>) -> &mut User {
        let history: History = plays.into_iter().collect();
        let user = User {
            name: name.to_owned(),
            registered_uts: history.get(0).map_or(0, |play| play.uts.max(0)),
            history,
            now_playing: None,
            private: false,
            undated: 0,
        };
        let slot = self.users.entry(name.to_lowercase());
        slot.insert_entry(user).into_mut()
    }

    /// Removes a user, who is not found from then on.
    pub fn remove_user(&mut self, name: &str) -> Option<User> {
        self.users.remove(&name.to_lowercase())
    }

    /// All users, by name.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.values()
    }

    /// A user, by name in any case.
    ///
    /// # Panics
    ///
    /// When there is no such user: a mistake in the test that asks.
    #[expect(clippy::panic, reason = "a wrong name is a mistake in the test itself")]
    pub fn user(&self, name: &str) -> &User {
        match self.users.get(&name.to_lowercase()) {
            Some(user) => user,
            None => panic!("the fake has no user `{name}`"),
        }
    }

    /// A user to change, by name in any case.
    ///
    /// # Panics
    ///
    /// When there is no such user: a mistake in the test that asks.
    #[expect(clippy::panic, reason = "a wrong name is a mistake in the test itself")]
    pub fn user_mut(&mut self, name: &str) -> &mut User {
        match self.users.get_mut(&name.to_lowercase()) {
            Some(user) => user,
            None => panic!("the fake has no user `{name}`"),
        }
    }

    /// Answers one request. `query` is the part of the URL after the question mark.
    pub fn answer(&mut self, query: &str, user_agent: Option<&str>, now_ms: i64) -> Answer {
        let number = self.log.total() + 1;
        let request = RequestInfo::read(query, user_agent, number, now_ms);
        let too_fast = self.is_too_fast(now_ms);
        let fault = self.faults.choose(&request);
        let reply = match Reply::instead(fault.as_ref(), &self.config, &request) {
            Some(reply) => reply,
            None if too_fast => Reply {
                retry_after_seconds: self.config.rate_limit.and_then(|it| it.retry_after_seconds),
                ..Refusal::of_code(29, 429).reply(&self.config, &request)
            },
            None => self
                .serve(&request, fault.as_ref())
                .unwrap_or_else(|refusal| refusal.reply(&self.config, &request)),
        };
        let (answer, code, rows) = reply.finish(fault.as_ref(), &self.config, now_ms);
        self.log.push(Logged {
            request,
            status: answer.status,
            code,
            rows,
            faulty: fault.is_some(),
        });
        answer
    }

    /// Takes the request out of the bucket, or says that there was none left.
    fn is_too_fast(&mut self, now_ms: i64) -> bool {
        let Some(rate) = self.config.rate_limit else {
            return false;
        };
        let number = |requests: usize| i64::try_from(requests).unwrap_or(i64::MAX / 1_000);
        let full = number(rate.burst) * 1_000;
        let before = self.bucket.unwrap_or(Bucket {
            thousandths: full,
            at_ms: now_ms,
        });
        let elapsed_ms = (now_ms - before.at_ms).max(0);
        // So many a second are so many thousandths a millisecond.
        let new = elapsed_ms.saturating_mul(number(rate.requests_per_second));
        let filled = before.thousandths.saturating_add(new).min(full);
        let is_empty = filled < 1_000;
        self.bucket = Some(Bucket {
            thousandths: if is_empty { filled } else { filled - 1_000 },
            at_ms: before.at_ms.max(now_ms),
        });
        is_empty
    }

    fn serve(&mut self, request: &RequestInfo, fault: Option<&Fault>) -> Result<Reply, Refusal> {
        let is_info = match request.method.as_str() {
            "user.getrecenttracks" => false,
            "user.getinfo" => true,
            "" => return Err(Refusal::MISSING_PARAMETER),
            _ => return Err(Refusal::of_code(3, 400)),
        };
        self.check_key(&request.api_key)?;
        if request.user.is_empty() {
            return Err(Refusal::MISSING_PARAMETER);
        }
        if !is_info && !(1..=LIMIT_MAX).contains(&request.limit) {
            return Err(Refusal::LIMIT_OUT_OF_BOUNDS);
        }
        if !is_info && !(1..=PAGE_MAX).contains(&request.page) {
            return Err(Refusal::PAGE_OUT_OF_BOUNDS);
        }
        let asked = request.user.to_lowercase();
        let user = self.users.get(&asked).ok_or(Refusal::USER_NOT_FOUND)?;
        if is_info {
            return Ok(user_info(user, &self.config));
        }
        if user.private {
            return Err(Refusal::of_code(17, 403));
        }
        let mut shown_name = user.name.clone();
        let mut shown = asked;
        if let Some(Fault::OtherUser(other)) = fault {
            shown_name.clone_from(other);
            if self.users.contains_key(&other.to_lowercase()) {
                shown = other.to_lowercase();
            }
        }
        let user = self.users.get_mut(&shown).ok_or(Refusal::USER_NOT_FOUND)?;
        recent_tracks(user, &shown_name, &self.config, request, fault)
    }

    fn check_key(&self, key: &str) -> Result<(), Refusal> {
        let is_this = |known: &String| known == key;
        if self.config.suspended_keys.iter().any(is_this) {
            return Err(Refusal::of_code(26, 403));
        }
        let accepted = match &self.config.accepted_keys {
            Some(keys) => keys.iter().any(is_this),
            None => !key.is_empty(),
        };
        if accepted {
            Ok(())
        } else {
            Err(Refusal::of_code(10, 403))
        }
    }
}

/// The little of `user.getInfo` that a backup may look at.
fn user_info(user: &User, config: &Config) -> Reply {
    let style = Style::new(config, false);
    let mut out = b"{\"user\":{".to_vec();
    for (name, text) in [
        ("name", user.name.as_str()),
        ("realname", ""),
        ("country", "None"),
        ("type", "user"),
    ] {
        style.member(name, text, &mut out);
        out.push(b',');
    }
    let url = format!("https://www.last.fm/user/{}", user.name);
    style.member("url", &url, &mut out);
    out.push(b',');
    style.images("", &mut out);
    out.push(b',');
    let playcount = i64::try_from(user.history.len() + user.undated).unwrap_or(i64::MAX);
    style.number("playcount", playcount, &mut out);
    out.extend_from_slice(b",\"registered\":{");
    style.number("unixtime", user.registered_uts, &mut out);
    out.extend_from_slice(format!(",\"#text\":{}}}}}}}", user.registered_uts).as_bytes());
    Reply::new(200, JSON, out)
}
