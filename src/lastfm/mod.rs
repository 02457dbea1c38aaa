//! The Last.fm client: `user.getRecentTracks`, one page at a time.
//!
//! It asks once and says what came back. When to ask, how often and for what is decided elsewhere.

mod error;
mod page;
#[cfg(test)]
mod properties;
mod wire;

pub use error::Error;
use page::read_playcount;
pub use page::{Numbers, Page, read};

use crate::user::UserName;
use azure_core::http::headers::{HeaderName, Headers};
use azure_core::http::{HttpClient, Method, Request, Url};
use futures::StreamExt;
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::time::Duration;

/// Longest time for one answer, from the request to the last byte. Real answers take well below a second;
/// 10 s have been seen.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// Largest body that is read. 1,000 rows take about 0.8 MB, extended ones 1.3 MB.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Last.fm asks for an identifiable `User-Agent` on every request.
pub const USER_AGENT: &str = concat!(
    "lastfm-archive/",
    env!("CARGO_PKG_VERSION"),
    " (+",
    env!("CARGO_PKG_REPOSITORY"),
    ")"
);

/// Bounds of a request, as they are sent. Last.fm's bounds are not reliably documented, so both are asked
/// one second too wide and the answer is filtered by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// `from`, if there is a lower bound.
    pub from: Option<i64>,
    /// `to`.
    pub to: i64,
}

/// A client for one key.
#[derive(Clone)]
pub struct LastFm {
    http: Arc<dyn HttpClient>,
    address: Url,
    key: SecretString,
    keep_raw: bool,
}

impl LastFm {
    /// `http` carries the requests; `keep_raw` keeps Last.fm's own rows in the plays.
    pub fn new(http: Arc<dyn HttpClient>, address: Url, key: SecretString, keep_raw: bool) -> Self {
        Self {
            http,
            address,
            key,
            keep_raw,
        }
    }

    /// Asks for page `page` (from 1, the newest) of `user`'s plays within `bounds`, `limit` (1 to 1000) on a page.
    pub async fn recent_tracks(
        &self,
        user: &UserName,
        bounds: Bounds,
        limit: u32,
        page: u32,
    ) -> Result<Page, Error> {
        let mut parameters = vec![
            ("limit", limit.to_string()),
            ("page", page.to_string()),
            ("to", bounds.to.to_string()),
        ];
        parameters.extend(bounds.from.map(|from| ("from", from.to_string())));
        let answer = self
            .ask("user.getRecentTracks", user, &parameters, |answer| {
                let Answer {
                    body,
                    status,
                    retry_after,
                    ..
                } = answer;
                read(body, *status, *retry_after, (user, page), self.keep_raw)
            })
            .await;
        answer.map(|(page, date)| Page { date, ..page })
    }

    /// Asks for the number of plays that `user`'s profile counts: a soft figure, for it has undated imports in it and
    /// is updated at other moments than the history.
    pub async fn playcount(&self, user: &UserName) -> Result<u64, Error> {
        let answer = self
            .ask("user.getInfo", user, &[], |answer| {
                read_playcount(answer.body, answer.status, answer.retry_after)
            })
            .await;
        answer.map(|(playcount, _)| playcount)
    }

    /// Asks once, reads the answer, and gives the service's clock (the `Date` header) with it.
    async fn ask<T>(
        &self,
        method: &str,
        user: &UserName,
        parameters: &[(&str, String)],
        read: impl FnOnce(&Answer<'_>) -> Result<T, Error>,
    ) -> Result<(T, Option<i64>), Error> {
        let mut url = self.address.clone();
        url.query_pairs_mut()
            .append_pair("method", method)
            .append_pair("user", user.as_str())
            .append_pair("api_key", self.key.expose_secret())
            .append_pair("format", "json")
            .extend_pairs(parameters);
        let mut request = Request::new(url, Method::Get);
        request.insert_header("user-agent", USER_AGENT);
        request.insert_header("accept", "application/json");
        let sent = tokio::time::timeout(ANSWER_TIME_MAX, self.send(&request, read));
        let answer = sent.await.unwrap_or_else(|_| {
            let seconds = ANSWER_TIME_MAX.as_secs();
            Err(Error::Unreachable(format!(
                "no whole answer within {seconds} s"
            )))
        });
        // Should any server repeat the address in its error, the key in it is not passed on; nor as it stands there,
        // where anything but letters and digits looks otherwise.
        answer.map_err(|error| {
            let mut pairs = request.url().query().unwrap_or_default().split('&');
            let in_address = pairs.find_map(|pair| pair.strip_prefix("api_key="));
            let error = error.without(self.key.expose_secret());
            match in_address {
                Some(encoded) => error.without(encoded),
                None => error,
            }
        })
    }

    async fn send<T>(
        &self,
        request: &Request,
        read: impl FnOnce(&Answer<'_>) -> Result<T, Error>,
    ) -> Result<(T, Option<i64>), Error> {
        let answer = self
            .http
            .execute_request(request)
            .await
            .map_err(|error| unreachable(&error))?;
        let (status, headers, mut stream) = answer.deconstruct();
        let announced = header(&headers, "content-length").and_then(|length| length.parse().ok());
        let mut body = Vec::with_capacity(announced.unwrap_or(0).min(BODY_BYTES_MAX));
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| unreachable(&error))?;
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(Error::Broken(format!(
                    "a body of more than {BODY_BYTES_MAX} bytes"
                )));
            }
            body.extend_from_slice(&chunk);
        }
        let retry_after = header(&headers, "retry-after")
            .and_then(|value| value.parse().ok())
            .map(Duration::from_secs);
        let read = read(&Answer {
            body: &body,
            status: u16::from(status),
            retry_after,
        })?;
        Ok((read, header(&headers, "date").and_then(http_date)))
    }
}

/// What came back.
struct Answer<'a> {
    body: &'a [u8],
    status: u16,
    retry_after: Option<Duration>,
}

/// The error in words, with its causes. None of them holds the URL: the HTTP client takes it out.
fn unreachable(error: &azure_core::Error) -> Error {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    Error::Unreachable(text)
}

fn header<'a>(headers: &'a Headers, name: &'static str) -> Option<&'a str> {
    headers.get_optional_str(&HeaderName::from_static(name))
}

/// Seconds since 1970 of an HTTP date.
pub(crate) fn http_date(text: &str) -> Option<i64> {
    jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(text)
        .ok()
        .map(jiff::Timestamp::as_second)
}
