//! Keeps complete copies of Last.fm listening histories.
