//! One page of a history: read from a body, and judged.
//!
//! A page that passes here holds exactly the rows that its own numbers call for, newest first, for the user
//! that was asked for. Everything else is an [`Error`], so nothing behind this module ever takes a broken
//! answer for a short history.

use super::error::Error;
use super::wire::{Body, Number, Profile, Row, Rows, Text};
use crate::scrobble::{Play, Words};
use crate::user::UserName;
use serde_json::value::RawValue;
use std::time::Duration;

/// How much of Last.fm's own words goes into an error, in bytes.
const MESSAGE_BYTES_MAX: usize = 300;

/// How a window is cut into pages: what one answer says of it. Two answers with different numbers saw
/// different histories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// Plays in the window.
    pub total: u64,
    /// Pages of the window; 0 for an empty one.
    pub total_pages: u32,
    /// Plays on every page but the last.
    pub per_page: u32,
}

impl Numbers {
    /// How many rows page `page` (from 1) must hold.
    pub fn rows_on(&self, page: u32) -> u64 {
        let before = u64::from(page.saturating_sub(1)) * u64::from(self.per_page);
        self.total
            .saturating_sub(before)
            .min(u64::from(self.per_page))
    }
}

/// One answer: one instant of the history.
#[derive(Debug)]
pub struct Page {
    /// Which page this is, from 1 (the newest).
    pub number: u32,
    /// How the window is cut.
    pub numbers: Numbers,
    /// The rows without the one that is playing now, newest first. Empty for a page past the end.
    pub plays: Vec<Play>,
    /// Last.fm's clock (the `Date` header) in seconds since 1970.
    pub date: Option<i64>,
}

/// Reads a body as page `asked` of `user`'s history. `keep_raw` keeps Last.fm's own rows.
pub fn read(
    body: &[u8],
    status: u16,
    retry_after: Option<Duration>,
    asked: (&UserName, u32),
    keep_raw: bool,
) -> Result<Page, Error> {
    // One capture starts with a byte order mark; no harm in accepting it.
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if keep_raw {
        let body = parse::<&RawValue>(body, status, retry_after)?;
        judge(body, status, retry_after, asked, |rows| {
            raw_plays(rows.get())
        })
    } else {
        let body = parse::<Rows>(body, status, retry_after)?;
        judge(body, status, retry_after, asked, |rows| {
            rows.0.iter().filter_map(play_of).collect()
        })
    }
}

/// Reads a body of `user.getInfo`: the profile's number of plays.
pub(super) fn read_playcount(
    body: &[u8],
    status: u16,
    retry_after: Option<Duration>,
) -> Result<u64, Error> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let profile: Profile<'_> = serde_json::from_slice(body).map_err(|error| {
        if status == 200 {
            Error::Broken(format!("{} bytes that are no profile: {error}", body.len()))
        } else {
            Error::from_status(status, retry_after)
        }
    })?;
    if let Some(error) = profile.error {
        return Err(refusal(error, profile.message, status, retry_after));
    }
    if status != 200 {
        return Err(Error::from_status(status, retry_after));
    }
    let playcount = profile.user.and_then(|user| user.playcount.0);
    playcount
        .and_then(|count| u64::try_from(count).ok())
        .ok_or_else(|| Error::Broken("the profile tells no number of plays".to_owned()))
}

fn parse<'a, T: serde::Deserialize<'a>>(
    body: &'a [u8],
    status: u16,
    retry_after: Option<Duration>,
) -> Result<Body<'a, T>, Error> {
    serde_json::from_slice(body).map_err(|error| {
        if status == 200 {
            Error::Broken(format!("{} bytes that are no page: {error}", body.len()))
        } else {
            Error::from_status(status, retry_after)
        }
    })
}

fn judge<T>(
    body: Body<'_, T>,
    status: u16,
    retry_after: Option<Duration>,
    (user, asked): (&UserName, u32),
    plays_of: impl FnOnce(T) -> Result<Vec<Play>, serde_json::Error>,
) -> Result<Page, Error> {
    if let Some(error) = body.error {
        return Err(refusal(error, body.message, status, retry_after));
    }
    if status != 200 {
        return Err(Error::from_status(status, retry_after));
    }
    let broken = |what: String| Err(Error::Broken(what));
    let Some(mut tracks) = body.recenttracks else {
        return broken("neither a page nor an error".to_owned());
    };
    let Some(sent) = tracks.numbers() else {
        return broken("the page carries no numbers".to_owned());
    };
    // A documented server bug: an answer with another user's data.
    if !sent.user.0.eq_ignore_ascii_case(user.as_str()) {
        return broken(format!("it is for another user, not for `{user}`"));
    }
    let Some(numbers) = checked_numbers(sent.total, sent.total_pages, sent.per_page) else {
        return broken("its numbers contradict each other".to_owned());
    };
    let past_the_end = asked > numbers.total_pages.max(1);
    if past_the_end {
        // What Last.fm answers here is not established; the numbers are all that is wanted of it.
        return Ok(Page {
            number: asked,
            numbers,
            plays: Vec::new(),
            date: None,
        });
    }
    // In 2014 page 0 was another name of page 1.
    if sent
        .page
        .0
        .is_none_or(|page| page.max(1) != i64::from(asked))
    {
        return broken(format!("it is not page {asked}"));
    }
    let plays = match tracks.track {
        Some(rows) => plays_of(rows)
            .map_err(|error| Error::Broken(format!("a row cannot be read: {error}")))?,
        None => Vec::new(),
    };
    let called_for = numbers.rows_on(asked);
    if plays.len() as u64 != called_for {
        return broken(format!(
            "page {asked} has {} plays where its own numbers (total {}, {} a page) call for {called_for}",
            plays.len(),
            numbers.total,
            numbers.per_page
        ));
    }
    if !plays.is_sorted_by(|newer, older| newer.uts >= older.uts) {
        return broken(format!("page {asked} is not ordered newest first"));
    }
    Ok(Page {
        number: asked,
        numbers,
        plays,
        date: None,
    })
}

/// The error that a body tells.
fn refusal(
    error: &RawValue,
    message: Text<'_>,
    status: u16,
    retry_after: Option<Duration>,
) -> Error {
    let mut message = message.0.into_owned();
    message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
    match error_code(error) {
        Some(code) => Error::from_code(code, message, retry_after),
        // Not Last.fm's own: some server in between.
        None => Error::from_status(status, retry_after),
    }
}

/// Numbers that agree with each other, or nothing.
fn checked_numbers(total: Number, total_pages: Number, per_page: Number) -> Option<Numbers> {
    let total = u64::try_from(total.0?).ok()?;
    let total_pages = u32::try_from(total_pages.0?).ok()?;
    let per_page = u32::try_from(per_page.0?).ok()?;
    if total == 0 {
        // "0" today; other methods say "1" for an empty list.
        return (total_pages <= 1).then_some(Numbers {
            total,
            total_pages: 0,
            per_page,
        });
    }
    let called_for = total
        .checked_next_multiple_of(u64::from(per_page))?
        .checked_div(u64::from(per_page))?;
    (u64::from(total_pages) == called_for).then_some(Numbers {
        total,
        total_pages,
        per_page,
    })
}

/// The code, if there is one. Libre.fm wraps it into an object and makes it a string.
fn error_code(error: &RawValue) -> Option<i64> {
    #[derive(serde::Deserialize)]
    struct Wrapped {
        code: Number,
    }
    let text = error.get();
    let plain = serde_json::from_str::<Number>(text).ok();
    let wrapped = || {
        serde_json::from_str::<Wrapped>(text)
            .ok()
            .map(|wrapped| wrapped.code)
    };
    plain.or_else(wrapped).and_then(|number| number.0)
}

/// The play of a row; nothing for the row that is playing now.
fn play_of(row: &Row<'_>) -> Option<Result<Play, serde_json::Error>> {
    if row.is_now_playing() {
        return None;
    }
    let Some(uts) = row.date.as_ref().and_then(|date| date.uts.0) else {
        return Some(Err(serde::de::Error::custom("a date without a second")));
    };
    let words = Words {
        artist: &row.artist.name.0,
        artist_mbid: &row.artist.mbid.0,
        track: &row.name.0,
        mbid: &row.mbid.0,
        album: &row.album.name.0,
        album_mbid: &row.album.mbid.0,
        url: &row.url.0,
    };
    Some(Play::new(uts, &words).ok_or_else(|| serde::de::Error::custom("a row of more than 4 GiB")))
}

/// Like the rows of [`Rows`], each with its own text.
fn raw_plays(rows: &str) -> Result<Vec<Play>, serde_json::Error> {
    let rows: Vec<&RawValue> = if rows.starts_with('[') {
        serde_json::from_str(rows)?
    } else if rows.starts_with('{') {
        vec![serde_json::from_str(rows)?]
    } else {
        return serde_json::from_str::<Rows>(rows).map(|_| Vec::new());
    };
    let mut plays = Vec::with_capacity(rows.len());
    for raw in rows {
        if let Some(play) = play_of(&serde_json::from_str(raw.get())?) {
            // A line is one line: white space between tokens may hold line feeds, text cannot.
            let mut play = play?;
            play.raw = Some(compact(raw)?);
            plays.push(play);
        }
    }
    Ok(plays)
}

fn compact(raw: &RawValue) -> Result<Box<RawValue>, serde_json::Error> {
    if raw.get().contains(['\n', '\r']) {
        // Outside strings only: inside, JSON has no bare line feeds.
        RawValue::from_string(raw.get().replace(['\n', '\r'], " "))
    } else {
        Ok(raw.to_owned())
    }
}
