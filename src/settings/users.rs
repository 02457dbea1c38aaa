//! `LASTFM_USERS`: whose history is archived, and in which zone they live.

use super::Invalid;
use crate::user::{User, UserName};
use jiff::tz::TimeZone;

/// Comma-separated users, each `name` or `name=Area/City`.
pub(super) fn parse(text: &str) -> Result<Vec<User>, Invalid> {
    let mut users: Vec<User> = Vec::new();
    let entries = text
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty());
    for (index, entry) in entries.enumerate() {
        // Errors tell the place and not the text: settings are never repeated in messages.
        let place = index + 1;
        let (name, zone) = match entry.split_once('=') {
            Some((name, zone)) => (name.trim(), Some(zone.trim())),
            None => (entry, None),
        };
        let name = UserName::new(name).map_err(|reason| {
            Invalid(format!("entry {place} of `LASTFM_USERS` has an {reason}"))
        })?;
        if users.iter().any(|user| user.name == name) {
            return Err(Invalid(format!(
                "entry {place} of `LASTFM_USERS` names a user twice: upper and lower case are the same to Last.fm"
            )));
        }
        let time_zone = match zone {
            None => TimeZone::UTC,
            Some(zone) => TimeZone::get(zone).map_err(|_| {
                Invalid(format!(
                    "entry {place} of `LASTFM_USERS` has an unknown time zone: an IANA name like `Europe/Berlin` is wanted"
                ))
            })?,
        };
        users.push(User { name, time_zone });
    }
    Ok(users)
}
