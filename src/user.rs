//! A Last.fm user: the name, checked where it enters, and the time zone of their local times.

use jiff::tz::TimeZone;
use std::fmt;

/// The longest name that is accepted, in characters.
pub const NAME_LENGTH_MAX: usize = 64;

/// A possible Last.fm name in lower case: `[a-z0-9_-]{1,64}`.
///
/// Last.fm does not distinguish case, so one person has one name here, one folder and one set of ids.
/// The characters are safe in paths, blob names and JSON.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserName(String);

impl UserName {
    /// Checks a name; the error says what is allowed.
    pub fn new(name: &str) -> Result<Self, String> {
        let possible = (1..=NAME_LENGTH_MAX).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if possible {
            Ok(Self(name.to_ascii_lowercase()))
        } else {
            Err(format!(
                "impossible user name: a name has 1 to {NAME_LENGTH_MAX} of the characters A-Z a-z 0-9 _ -"
            ))
        }
    }

    /// The name in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Somebody whose history is archived.
#[derive(Clone, Debug)]
pub struct User {
    /// Whose history it is.
    pub name: UserName,
    /// Decides `local_time` of every play; UTC unless `LASTFM_USERS` says otherwise.
    pub time_zone: TimeZone,
}
