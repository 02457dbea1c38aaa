//! JSON as Last.fm writes it. Written by hand because rows are cached as bytes and slashes may be escaped.

use crate::calendar::play_date;
use crate::config::{Config, Numbers};
use crate::play::Play;

/// The picture of everything that has none.
const GREY_STAR: &str = "2a96cbd8b46e442fc41c2b86b821562f";
const IMAGE_SIZES: [(&str, &str); 4] = [
    ("small", "34s"),
    ("medium", "64s"),
    ("large", "174s"),
    ("extralarge", "300x300"),
];

/// Everything beside the play itself that decides the bytes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    numbers: Numbers,
    escape_slashes: bool,
    extended: bool,
}

impl Style {
    /// The style of an answer to one request.
    pub(crate) fn new(config: &Config, extended: bool) -> Self {
        Self {
            numbers: config.numbers,
            escape_slashes: config.escape_slashes,
            extended,
        }
    }

    /// Appends a JSON string.
    pub(crate) fn string(self, text: &str, out: &mut Vec<u8>) {
        out.push(b'"');
        for &byte in text.as_bytes() {
            match byte {
                b'"' => out.extend_from_slice(b"\\\""),
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'/' if self.escape_slashes => out.extend_from_slice(b"\\/"),
                b'\n' => out.extend_from_slice(b"\\n"),
                0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
                _ => out.push(byte),
            }
        }
        out.push(b'"');
    }

    /// Appends `"name":"text"`.
    pub(crate) fn member(self, name: &str, text: &str, out: &mut Vec<u8>) {
        self.string(name, out);
        out.push(b':');
        self.string(text, out);
    }

    /// Appends `"name":"12"` or `"name":12`.
    pub(crate) fn number(self, name: &str, number: i64, out: &mut Vec<u8>) {
        self.string(name, out);
        out.push(b':');
        let text = number.to_string();
        match self.numbers {
            Numbers::Strings => self.string(&text, out),
            Numbers::Plain => out.extend_from_slice(text.as_bytes()),
        }
    }

    /// Appends `"image":[…]` with the four sizes.
    pub(crate) fn images(self, hash: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\"image\":[");
        for (position, (size, folder)) in IMAGE_SIZES.iter().enumerate() {
            out.extend_from_slice(if position == 0 { b"{" } else { b",{" });
            self.member("size", size, out);
            out.push(b',');
            let url = match hash {
                "" => String::new(),
                hash => format!("https://lastfm.freetls.fastly.net/i/u/{folder}/{hash}.jpg"),
            };
            self.member("#text", &url, out);
            out.push(b'}');
        }
        out.push(b']');
    }
}

/// One element of `track`. The row that plays now has a flag and no date.
pub(crate) fn row(play: &Play, style: Style, now_playing: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(900);
    out.extend_from_slice(b"{\"artist\":{");
    if style.extended {
        style.member("url", &artist_url(&play.url), &mut out);
        // The real service leaves the artist's id empty in this shape.
        out.extend_from_slice(b",\"mbid\":\"\",");
        style.images(GREY_STAR, &mut out);
        out.push(b',');
        style.member("name", &play.artist, &mut out);
    } else {
        style.member("mbid", &play.artist_mbid, &mut out);
        out.push(b',');
        style.member("#text", &play.artist, &mut out);
    }
    out.extend_from_slice(b"},");
    style.number("streamable", 0, &mut out);
    out.push(b',');
    if style.extended {
        style.number("loved", 0, &mut out);
        out.push(b',');
    }
    style.images(&image_hash(play), &mut out);
    out.push(b',');
    style.member("mbid", &play.mbid, &mut out);
    out.extend_from_slice(b",\"album\":{");
    style.member("mbid", &play.album_mbid, &mut out);
    out.push(b',');
    style.member("#text", &play.album, &mut out);
    out.extend_from_slice(b"},");
    style.member("name", &play.track, &mut out);
    out.push(b',');
    style.member("url", &play.url, &mut out);
    if now_playing {
        out.extend_from_slice(b",\"@attr\":{\"nowplaying\":\"true\"}}");
    } else {
        out.extend_from_slice(b",\"date\":{");
        style.number("uts", play.uts, &mut out);
        out.push(b',');
        style.member("#text", &play_date(play.uts), &mut out);
        out.extend_from_slice(b"}}");
    }
    out
}

/// The artist's page is the part of the track's page before `/_/`.
fn artist_url(track_url: &str) -> String {
    track_url.split("/_/").next().unwrap_or_default().to_owned()
}

/// A made-up picture per album: the album's id without its dashes looks like the real hashes.
fn image_hash(play: &Play) -> String {
    if play.album_mbid.is_empty() {
        return if play.album.is_empty() {
            String::new()
        } else {
            GREY_STAR.to_owned()
        };
    }
    play.album_mbid.replace('-', "")
}
