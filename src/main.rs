//! The command line of `lastfm-archive`.
fn main() {}
