//! What a single value may be.

use super::{Invalid, invalid};
use azure_core::http::Url;

pub(super) fn lastfm_url(value: Option<String>) -> Result<Url, Invalid> {
    let value = value.unwrap_or_else(|| "https://ws.audioscrobbler.com/2.0/".to_owned());
    match Url::parse(value.trim()) {
        Ok(url) if url.scheme() == "https" && url.has_host() => Ok(url),
        Ok(url) if url.scheme() == "http" && is_loopback(&url) => Ok(url),
        _ => invalid(
            "`LASTFM_API_URL` must be an https address; plain http is for loopback only, since the key travels in the address",
        ),
    }
}

pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url
        .host_str()
        .unwrap_or_default()
        .trim_start_matches('[')
        .trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

pub(super) fn rate(value: Option<String>, loopback: bool) -> Result<f64, Invalid> {
    /// Last.fm suspends accounts that go on with several requests a second.
    const RATE_MAX: f64 = 5.0;
    /// One request in a thousand seconds.
    const RATE_MIN: f64 = 0.001;
    let Some(value) = value else { return Ok(4.0) };
    match value.trim().parse::<f64>() {
        Ok(rate) if (RATE_MIN..=RATE_MAX).contains(&rate) => Ok(rate),
        Ok(rate) if loopback && (rate == 0.0 || rate >= RATE_MIN) && rate.is_finite() => Ok(rate),
        _ => invalid("`LASTFM_REQUESTS_PER_SECOND` must be a number above 0 and at most 5"),
    }
}

pub(super) fn whole(
    name: &str,
    value: Option<String>,
    default: u32,
    max: u32,
) -> Result<u32, Invalid> {
    let Some(value) = value else {
        return Ok(default);
    };
    match value.trim().parse() {
        Ok(number) if (1..=max).contains(&number) => Ok(number),
        _ => invalid(&format!("`{name}` must be a whole number from 1 to {max}")),
    }
}

pub(super) fn truth(name: &str, value: Option<&str>) -> Result<bool, Invalid> {
    match value.map(str::trim) {
        None => Ok(false),
        Some(value) if value.eq_ignore_ascii_case("true") => Ok(true),
        Some(value) if value.eq_ignore_ascii_case("false") => Ok(false),
        Some(_) => invalid(&format!("`{name}` must be `true` or `false`")),
    }
}

/// A container or queue name by the service's rules.
pub(super) fn storage_name(
    name: &str,
    value: Option<String>,
    default: &str,
) -> Result<String, Invalid> {
    let value = value.unwrap_or_else(|| default.to_owned());
    let possible = (3..=63).contains(&value.len())
        && value
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !value.starts_with('-')
        && !value.ends_with('-')
        && !value.contains("--");
    if possible {
        Ok(value)
    } else {
        invalid(&format!(
            "`{name}` must have 3 to 63 of the characters a-z 0-9 -, single dashes inside only"
        ))
    }
}
