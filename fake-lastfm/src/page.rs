//! One page of recent tracks: which rows it holds and what its body looks like.

use std::ops::Range;

use crate::answer::{JSON, Refusal, Reply, XML};
use crate::config::{Bound, Config, EmptyShape, OneRowShape, PastTheEnd};
use crate::fault::Fault;
use crate::lastfm::User;
use crate::render::{self, Style};
use crate::request::RequestInfo;

/// The largest `limit` that Last.fm accepts; its documentation says 200.
pub(crate) const LIMIT_MAX: i64 = 1000;
/// The largest `page` that Last.fm accepts.
pub(crate) const PAGE_MAX: i64 = 1_000_000;

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

/// Answers with one page of a user's history. Page and limit are within their bounds.
pub(crate) fn recent_tracks(
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
