//! One play, as Last.fm tells it and as the archive keeps it: one JSON line.
//!
//! The line's schema is `schema/scrobble.schema.json`. Text is kept as received: nothing is trimmed,
//! unescaped or normalised but `normalized_title`.

use crate::user::User;
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// What Last.fm says in words about a play; what is missing there is empty here.
#[derive(Clone, Copy, Debug, Default)]
pub struct Words<'a> {
    /// Name of the artist.
    pub artist: &'a str,
    /// `MusicBrainz` id of the artist.
    pub artist_mbid: &'a str,
    /// Title of the track.
    pub track: &'a str,
    /// `MusicBrainz` id of the track.
    pub mbid: &'a str,
    /// Title of the album.
    pub album: &'a str,
    /// `MusicBrainz` id of the album.
    pub album_mbid: &'a str,
    /// Last.fm's page of the track.
    pub url: &'a str,
}

/// A play as one row of Last.fm's answer tells it.
///
/// A work item holds thousands, so the words of each lie in one piece of memory.
#[derive(Clone, Debug)]
pub struct Play {
    /// Second of the play since 1970, UTC. Undated imports are numbered from 0.
    pub uts: i64,
    /// Last.fm's own row, when it is wanted.
    pub raw: Option<Box<RawValue>>,
    words: Box<str>,
    /// Where each of the words but the last ends.
    ends: [u32; 6],
}

impl Play {
    /// A play at second `uts`. Nothing for words of 4 GiB and more, which no answer can hold.
    pub fn new(uts: i64, words: &Words<'_>) -> Option<Self> {
        let Words {
            artist,
            artist_mbid,
            track,
            mbid,
            album,
            album_mbid,
            url,
        } = *words;
        let words = [artist, artist_mbid, track, mbid, album, album_mbid, url];
        let mut ends = [0; 6];
        let mut end = 0;
        for (slot, word) in ends.iter_mut().zip(words) {
            end += word.len();
            *slot = u32::try_from(end).ok()?;
        }
        Some(Self {
            uts,
            raw: None,
            words: words.concat().into(),
            ends,
        })
    }

    /// Everything that Last.fm says about it.
    pub fn words(&self) -> Words<'_> {
        let mut start = 0;
        let mut next = |end: u32| {
            let word = &self.words[start..end as usize];
            start = end as usize;
            word
        };
        let [artist, artist_mbid, track, mbid, album, album_mbid] = self.ends;
        Words {
            artist: next(artist),
            artist_mbid: next(artist_mbid),
            track: next(track),
            mbid: next(mbid),
            album: next(album),
            album_mbid: next(album_mbid),
            url: &self.words[start..],
        }
    }

    /// What identifies a play up to true repeats. No public export repeats it (lastfm-api notes, 53,869 rows).
    pub fn identity(&self) -> (i64, &str, &str) {
        let Words { artist, track, .. } = self.words();
        (self.uts, artist, track)
    }
}

/// The stable name of a play: the first 16 bytes of SHA-256 over lower-case user, second, artist, track and
/// the ordinal among equal plays of that second, separated by U+001F.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PlayId([u8; 16]);

impl PlayId {
    /// The id of the `ordinal`-th play (from 0, in Last.fm's order) with this identity.
    pub fn new(user: &str, play: &Play, ordinal: u32) -> Self {
        let (uts, artist, track) = play.identity();
        let mut hash = Sha256::new();
        hash.update(user);
        hash.update(b"\x1f");
        hash.update(uts.to_string());
        hash.update(b"\x1f");
        hash.update(artist);
        hash.update(b"\x1f");
        hash.update(track);
        hash.update(b"\x1f");
        hash.update(ordinal.to_string());
        let digest = hash.finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(id)
    }

    /// Reads the 32 hex digits of a line; nothing when they are something else.
    pub fn from_hex(text: &str) -> Option<Self> {
        // Checked by itself, for a number may also start with a sign.
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut id = [0; 16];
        for (byte, digits) in id.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(id))
    }

    /// 32 lower-case hex digits.
    pub fn to_hex(self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(32);
        for byte in self.0 {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        text
    }
}

/// The line's fields in their order. Names are compatible with `LastFM` Reader v3; the last five are ours.
#[derive(Serialize)]
struct Line<'a> {
    username: &'a str,
    artist: &'a str,
    track: &'a str,
    normalized_title: &'a str,
    album: &'a str,
    uts: i64,
    local_time: &'a str,
    mbid: &'a str,
    source: &'a str,
    ingested_at: &'a str,
    id: &'a str,
    artist_mbid: &'a str,
    album_mbid: &'a str,
    url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<&'a RawValue>,
}

/// Writes one user's plays as lines, all with the same moment of ingestion.
pub struct LineWriter<'a> {
    user: &'a User,
    ingested_at: String,
    local_time: String,
}

impl<'a> LineWriter<'a> {
    /// `ingested_ms` is the moment of ingestion in milliseconds since 1970; see [`moment_of_block`].
    pub fn new(user: &'a User, ingested_ms: i64) -> Self {
        Self {
            user,
            ingested_at: moment_of_block(ingested_ms),
            local_time: String::new(),
        }
    }

    /// Appends the play's line, with its line feed, to `block`.
    pub fn write(
        &mut self,
        play: &Play,
        id: PlayId,
        block: &mut Vec<u8>,
    ) -> Result<(), serde_json::Error> {
        self.local_time.clear();
        write_local_time(&mut self.local_time, play.uts, &self.user.time_zone);
        let Words {
            artist,
            artist_mbid,
            track,
            mbid,
            album,
            album_mbid,
            url,
        } = play.words();
        let line = Line {
            username: self.user.name.as_str(),
            artist,
            track,
            normalized_title: track.trim(),
            album,
            uts: play.uts,
            local_time: &self.local_time,
            mbid,
            source: "lastfm",
            ingested_at: &self.ingested_at,
            id: &id.to_hex(),
            artist_mbid,
            album_mbid,
            url,
            raw: play.raw.as_deref(),
        };
        serde_json::to_writer(&mut *block, &line)?;
        block.push(b'\n');
        Ok(())
    }
}

/// A moment in milliseconds since 1970, as the lines of one block tell it: RFC 3339.
///
/// It is written with three more digits, which are random: they make a block's bytes its own, so that a
/// writer whose acknowledgement was lost cannot take another's block for its own.
pub(crate) fn moment_of_block(ms: i64) -> String {
    let moment = Timestamp::from_microsecond(ms * 1_000 + fastrand::i64(0..1_000));
    format!("{:.6}", moment.unwrap_or(Timestamp::UNIX_EPOCH))
}

/// A second since 1970 in words, for people: `2024-05-01 10:00:00`.
pub fn in_utc(uts: i64) -> String {
    let moment = Timestamp::from_second(uts).unwrap_or(Timestamp::MAX);
    Offset::UTC
        .to_datetime(moment)
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}

/// RFC 3339 with the zone's offset at that second.
///
/// RFC 3339 offsets have whole minutes; a zone that once had seconds (Monrovia until 1972) is rounded, and
/// the clock time with it, so that the text still names the same instant to the second.
fn write_local_time(text: &mut String, uts: i64, zone: &TimeZone) {
    let Ok(moment) = Timestamp::from_second(uts) else {
        return;
    };
    let exact = zone.to_offset(moment).seconds();
    let minutes = (exact + 30 * exact.signum()) / 60;
    let offset = Offset::from_seconds(minutes * 60).unwrap_or(Offset::UTC);
    let local = offset.to_datetime(moment);
    let sign = if minutes < 0 { '-' } else { '+' };
    let (hours, rest) = (minutes.abs() / 60, minutes.abs() % 60);
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{sign}{hours:02}:{rest:02}",
        local.year(),
        local.month(),
        local.day(),
        local.hour(),
        local.minute(),
        local.second(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local_time(uts: i64, zone: &str) -> String {
        let mut text = String::new();
        write_local_time(&mut text, uts, &TimeZone::get(zone).unwrap());
        text
    }

    #[test]
    fn local_time_carries_the_zone_s_offset_at_that_second() {
        assert_eq!(
            local_time(1_700_000_000, "UTC"),
            "2023-11-14T22:13:20+00:00"
        );
        assert_eq!(
            local_time(1_700_000_000, "Europe/Berlin"),
            "2023-11-14T23:13:20+01:00"
        );
        assert_eq!(
            local_time(1_690_000_000, "Europe/Berlin"),
            "2023-07-22T06:26:40+02:00"
        );
        assert_eq!(
            local_time(1_700_000_000, "America/St_Johns"),
            "2023-11-14T18:43:20-03:30"
        );
    }

    #[test]
    fn an_offset_with_seconds_is_rounded_and_still_names_the_same_instant() {
        let text = local_time(3_600, "Africa/Monrovia");
        assert_eq!(
            text.parse::<Timestamp>().unwrap().as_second(),
            3_600,
            "{text}"
        );
    }

    #[test]
    fn a_play_gives_its_words_back() {
        let words = Words {
            artist: "Ä",
            artist_mbid: "",
            track: "tr",
            mbid: "m",
            album: "",
            album_mbid: "am",
            url: "https://last.fm/",
        };
        let play = Play::new(7, &words).unwrap();
        assert_eq!(format!("{:?}", play.words()), format!("{words:?}"));
        assert_eq!(play.identity(), (7, "Ä", "tr"));
    }

    #[test]
    fn the_id_is_the_published_hash() {
        let words = Words {
            artist: "Ä",
            track: "B",
            ..Words::default()
        };
        let play = Play::new(1_700_000_000, &words).unwrap();
        // printf 'rj\x1f1700000000\x1fÄ\x1fB\x1f0' | sha256sum | cut -c1-32
        assert_eq!(
            PlayId::new("rj", &play, 0).to_hex(),
            "7dc12bf6acdf95e57a26b87a6d2eff15"
        );
        assert_eq!(
            PlayId::from_hex(&PlayId::new("rj", &play, 1).to_hex()),
            Some(PlayId::new("rj", &play, 1))
        );
        assert_eq!(PlayId::from_hex("xyz"), None);
        assert_eq!(PlayId::from_hex("+f2bf6acdf95e57a26b87a6d2eff1500"), None);
    }
}
