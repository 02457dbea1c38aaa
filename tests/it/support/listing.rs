//! Listings of blobs in which these are older than they are.

use axum::body::Bytes;
use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};

/// The answer to a listing, with every blob's last change so many seconds earlier; any other answer as it is.
pub(crate) fn aged(body: Bytes, query: &str, seconds: i64) -> Bytes {
    const ELEMENT: &str = "<Last-Modified>";
    if seconds == 0 || !query.contains("comp=list") {
        return body;
    }
    let text = str::from_utf8(&body).unwrap();
    let mut pieces = text.split(ELEMENT);
    let mut aged = pieces.next().unwrap().to_owned();
    for piece in pieces {
        let (date, rest) = piece.split_once('<').unwrap();
        let time = rfc2822::DateTimeParser::new().parse_timestamp(date);
        let time = time.unwrap() - SignedDuration::from_secs(seconds);
        // Every date has the same length, so the body keeps its own, which a header tells.
        aged.push_str(ELEMENT);
        aged.push_str(&http_date(time));
        aged.push('<');
        aged.push_str(rest);
    }
    Bytes::from(aged)
}

pub(crate) fn http_date(time: Timestamp) -> String {
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
