//! A Last.fm that pages exactly like the real one.
