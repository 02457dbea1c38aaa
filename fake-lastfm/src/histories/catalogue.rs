//! The invented records that made-up listeners own.

use std::fmt::Write as _;

use crate::play::Play;
use crate::random::Random;

const SYLLABLES: [&str; 24] = [
    "ka", "lo", "ren", "mi", "vo", "tas", "el", "dru", "sha", "pin", "or", "bex", "nu", "ila",
    "gan", "fy", "zé", "kou", "ström", "qua", "ñi", "wel", "tho", "ax",
];
const WORDS: [&str; 24] = [
    "Glass", "Harbour", "Second", "Winter", "Paper", "Signal", "Orchard", "Late", "Copper",
    "Letters", "Hollow", "Window", "Salt", "Engine", "Quiet", "Morning", "Distance", "Lantern",
    "Riverbed", "Static", "Ember", "Northern", "Borrowed", "Sleep",
];
/// Names that are known to break programs: each kind once.
const ODD_ARTISTS: [&str; 10] = [
    "音無しの森",
    "Élodie Brûlé-Ångström",
    "שירת החול",
    "فرقة الرمال",
    "The \"Quoted\" Quartet",
    "Back\\slash / Slash",
    "Salt & Pepperbox",
    "Rock &amp; Reel",
    "🎧🦊 fox.wav",
    " Spacious ",
];
const ODD_TRACKS: [&str; 12] = [
    "夜の電車 (ライブ)",
    "Control\u{10}Room",
    "Say \"When\"",
    "C:\\music\\draft",
    "Either/Or Not",
    "Bread & Wire",
    "Tom &amp; Tilda &#39;Live&#39;",
    " leading and trailing ",
    "مدينة بعيدة",
    "Zo\u{eb} / Zoe\u{308}",
    "🌧️ rain 👩‍👩‍👧",
    "<b>Bold</b> %20 + ?",
];

/// Records by track, each track a play without a time.
pub(super) struct Catalogue {
    records: Vec<Vec<Play>>,
}

impl Catalogue {
    /// The records of so many artists, the odd ones among them.
    pub(super) fn new(random: &mut Random, artists: usize) -> Self {
        let mut records = Vec::new();
        for number in 0..artists.max(ODD_ARTISTS.len()) {
            let artist = match ODD_ARTISTS.get(number) {
                Some(odd) => (*odd).to_owned(),
                None => artist_name(random),
            };
            let artist_mbid = mbid(random);
            for _ in 0..=random.below(4) {
                records.push(record(&artist, &artist_mbid, random));
            }
        }
        // Which artists are favourites must not depend on how odd their names are.
        random.shuffle(&mut records);
        Self { records }
    }

    /// A run of tracks from one record. Some records are favourites: the smaller of two numbers is more often small.
    pub(super) fn record(&self, random: &mut Random) -> Vec<Play> {
        let index = random
            .below(self.records.len())
            .min(random.below(self.records.len()));
        let tracks = &self.records[index];
        let first = random.below(tracks.len());
        tracks[first..].to_vec()
    }
}

fn record(artist: &str, artist_mbid: &str, random: &mut Random) -> Vec<Play> {
    let has_album = !random.percent(12);
    let album = if has_album {
        title(random)
    } else {
        String::new()
    };
    let album_mbid = if has_album {
        mbid(random)
    } else {
        String::new()
    };
    let tracks = 5 + random.below(9);
    (0..tracks)
        .map(|_| {
            let track = track_title(random);
            Play {
                uts: 0,
                url: format!(
                    "https://www.last.fm/music/{}/_/{}",
                    url_part(artist),
                    url_part(&track)
                ),
                artist: artist.to_owned(),
                artist_mbid: artist_mbid.to_owned(),
                track,
                mbid: mbid(random),
                album: album.clone(),
                album_mbid: album_mbid.clone(),
            }
        })
        .collect()
}

fn artist_name(random: &mut Random) -> String {
    let mut name = String::new();
    for _ in 0..2 + random.below(3) {
        name.push_str(random.pick(&SYLLABLES));
    }
    let mut letters = name.chars();
    let capital: String = letters
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .collect();
    let name = capital + letters.as_str();
    match random.below(4) {
        0 => format!("The {name}s"),
        1 => format!("{name} {}", random.pick(&WORDS)),
        _ => name,
    }
}

fn title(random: &mut Random) -> String {
    let words: Vec<_> = (0..=random.below(4)).map(|_| random.pick(&WORDS)).collect();
    words.join(" ")
}

fn track_title(random: &mut Random) -> String {
    match random.below(200) {
        0 => format!("{} ", title(random)).repeat(60),
        1..=12 => random.pick(&ODD_TRACKS).to_owned(),
        13..=20 => format!("{} (feat. {})", title(random), artist_name(random)),
        21..=30 => format!("{} - Remastered {}", title(random), 1990 + random.below(35)),
        _ => title(random),
    }
}

/// A random id of version 4, or none in a quarter of the cases.
fn mbid(random: &mut Random) -> String {
    if random.percent(25) {
        return String::new();
    }
    let (high, low) = (random.next(), random.next());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        0x8000 | ((low >> 48) & 0x3fff),
        low & 0xffff_ffff_ffff
    )
}

/// A name as Last.fm puts it into a path.
fn url_part(text: &str) -> String {
    let mut part = String::new();
    for byte in text.bytes() {
        match byte {
            b' ' => part.push('+'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'(' | b')' => {
                part.push(char::from(byte));
            }
            _ => {
                // Writing to a string cannot fail.
                let _ = write!(part, "%{byte:02X}");
            }
        }
    }
    part
}
