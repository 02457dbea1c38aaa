//! One play, with the fields that Last.fm tells about it.

/// One scrobble. Every text may be empty, as on Last.fm.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Play {
    /// When it was played, in Unix seconds. May be zero, negative or in the future.
    pub uts: i64,
    /// The artist's name.
    pub artist: String,
    /// The artist's `MusicBrainz` id.
    pub artist_mbid: String,
    /// The title of the track.
    pub track: String,
    /// The track's `MusicBrainz` id.
    pub mbid: String,
    /// The title of the album.
    pub album: String,
    /// The album's `MusicBrainz` id.
    pub album_mbid: String,
    /// The page of the track on the Last.fm site.
    pub url: String,
}

impl Play {
    /// A play without album, ids and url.
    pub fn new(uts: i64, artist: &str, track: &str) -> Self {
        Self {
            uts,
            artist: artist.to_owned(),
            track: track.to_owned(),
            ..Self::default()
        }
    }
}
