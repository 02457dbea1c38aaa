//! The service itself: a query string and a time go in, an answer comes out. No socket, no clock, no runtime.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use crate::answer::{Answer, JSON, Refusal, Reply, XML};
use crate::config::{Bound, Config, EmptyShape, OneRowShape, PastTheEnd};
use crate::fault::{Fault, Faults};
use crate::history::History;
use crate::log::{Log, Logged};
use crate::play::Play;
use crate::render::{self, Style};
use crate::request::RequestInfo;

const LIMIT_MAX: i64 = 1000;
const PAGE_MAX: i64 = 1_000_000;

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
}

impl User {
    /// The name in its canonical case.
    pub fn name(&self) -> &str {
        &self.name
    }
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
    /// When the requests of the last second came, for the rate limit.
    recent_ms: VecDeque<i64>,
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

    /// Counts the request, and says whether its second is already full.
    fn is_too_fast(&mut self, now_ms: i64) -> bool {
        let Some(rate) = self.config.rate_limit else {
            return false;
        };
        self.recent_ms.retain(|&past_ms| now_ms - past_ms < 1000);
        self.recent_ms.push_back(now_ms);
        self.recent_ms.len() > rate.requests_per_second
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

/// What `@attr` tells about a page.
struct PageAttributes<'a> {
    user: &'a str,
    page: i64,
    per_page: i64,
    total: i64,
}

impl PageAttributes<'_> {
    fn total_pages(&self) -> i64 {
        // Both are positive, so this rounds up.
        (self.total + self.per_page - 1) / self.per_page
    }

    fn members(&self, style: Style) -> Vec<u8> {
        let mut out = Vec::with_capacity(120);
        style.member("user", self.user, &mut out);
        let total_pages = self.total_pages();
        for (name, number) in [
            ("totalPages", total_pages),
            ("page", self.page),
            ("perPage", self.per_page),
            ("total", self.total),
        ] {
            out.push(b',');
            style.number(name, number, &mut out);
        }
        out
    }
}

/// One page of a user's history.
fn recent_tracks(
    user: &mut User,
    shown_name: &str,
    config: &Config,
    request: &RequestInfo,
    fault: Option<&Fault>,
) -> Result<Reply, Refusal> {
    let per_page = request.limit.min(config.limit_clamp.unwrap_or(LIMIT_MAX));
    let window = user.history.seconds(seconds(request, config));
    let total = match fault {
        Some(Fault::WrongTotal(total)) => *total,
        _ => window.len(),
    };
    let attributes = PageAttributes {
        user: shown_name,
        page: request.page,
        per_page,
        total: i64::try_from(total).unwrap_or(i64::MAX / 2),
    };
    if config.past_the_end == PastTheEnd::NoSuchPage
        && request.page > attributes.total_pages().max(1)
    {
        return Err(Refusal::NO_SUCH_PAGE);
    }
    let mut rows = page_rows(window, request.page, per_page);
    match fault {
        Some(Fault::EmptyPage) => rows.clear(),
        Some(Fault::ShortPage(missing)) => {
            let missing = rows.len().min(*missing);
            let first = (rows.len() - missing) / 2;
            rows.drain(first..first + missing);
        }
        _ => {}
    }
    let mut reply = if request.json {
        Reply::new(
            200,
            JSON,
            page_json(user, &rows, &attributes, config, request),
        )
    } else {
        let xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<lfm status=\"ok\">\n<recenttracks page=\"{}\" perPage=\"{per_page}\" totalPages=\"{}\" total=\"{total}\">\n</recenttracks>\n</lfm>\n",
            request.page,
            attributes.total_pages(),
        );
        Reply::new(200, XML, xml.into_bytes())
    };
    reply.rows = rows.len();
    Ok(reply)
}

/// The seconds of the window, half-open, whatever reading of the bounds is in force.
fn seconds(request: &RequestInfo, config: &Config) -> Range<i64> {
    let start = request
        .from
        .map_or(i64::MIN, |from| match config.from_bound {
            Bound::Inclusive => from,
            Bound::Exclusive => from.saturating_add(1),
        });
    let end = request.to.map_or(i64::MAX, |to| match config.to_bound {
        Bound::Inclusive => to.saturating_add(1),
        Bound::Exclusive => to,
    });
    start..end
}

/// The indexes of a page, newest first. Page and limit are within their bounds.
fn page_rows(window: Range<usize>, page: i64, per_page: i64) -> Vec<usize> {
    let per_page = usize::try_from(per_page).unwrap_or(0);
    let newer = usize::try_from(page - 1)
        .unwrap_or(0)
        .saturating_mul(per_page);
    window.rev().skip(newer).take(per_page).collect()
}

/// The body of a page. The order of its members differs between answers, as on Last.fm.
fn page_json(
    user: &mut User,
    rows: &[usize],
    attributes: &PageAttributes<'_>,
    config: &Config,
    request: &RequestInfo,
) -> Vec<u8> {
    let style = Style::new(config, request.extended);
    let members = attributes.members(style);
    let shown = rows.len() + usize::from(user.now_playing.is_some());
    if shown == 0 && config.no_rows == EmptyShape::FlatAttributes {
        return [
            br##"{"recenttracks":{"#text":"\n","##,
            members.as_slice(),
            b"}}",
        ]
        .concat();
    }
    let attr = if config.page_attributes {
        [b"\"@attr\":{", members.as_slice(), b"}"].concat()
    } else {
        Vec::new()
    };
    let attr_first = request.number.is_multiple_of(2);
    // A thousand rows are most of a megabyte: room for them at once saves copying them as the list grows.
    let mut out = Vec::with_capacity(400 + shown * 1400);
    out.extend_from_slice(b"{\"recenttracks\":{");
    if attr_first && !attr.is_empty() {
        out.extend_from_slice(&attr);
        out.push(b',');
    }
    let is_list = shown != 1 || config.one_row == OneRowShape::Array;
    out.extend_from_slice(if is_list {
        b"\"track\":["
    } else {
        b"\"track\":"
    });
    if let Some(play) = &user.now_playing {
        out.extend_from_slice(&render::row(play, style, true));
        if !rows.is_empty() {
            out.push(b',');
        }
    }
    user.history.write_rows(rows, style, &mut out);
    if is_list {
        out.push(b']');
    }
    if !attr_first && !attr.is_empty() {
        out.push(b',');
        out.extend_from_slice(&attr);
    }
    out.extend_from_slice(b"}}");
    out
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
    let playcount = i64::try_from(user.history.len()).unwrap_or(i64::MAX);
    style.number("playcount", playcount, &mut out);
    out.extend_from_slice(b",\"registered\":{");
    style.number("unixtime", user.registered_uts, &mut out);
    out.extend_from_slice(format!(",\"#text\":{}}}}}}}", user.registered_uts).as_bytes());
    Reply::new(200, JSON, out)
}
