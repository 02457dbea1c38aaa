//! The seeds of the fuzz targets: each must get as far as its name says, or fuzzing starts from nowhere.

use crate::archive::newest_second;
use crate::fetch_pages::FetchPages;
use crate::lastfm;
use crate::user::UserName;
use std::fs;
use std::path::Path;

/// Holds the seeds of a target, `good-…` and `bad-…`, against what is accepted.
#[track_caller]
pub(crate) fn check_seeds(target: &str, is_accepted: impl Fn(&[u8]) -> bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = folder.join("fuzz/seeds").join(target);
    let mut good = 0;
    for seed in fs::read_dir(folder).unwrap() {
        let path = seed.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        let expected = name.starts_with("good-");
        assert!(expected || name.starts_with("bad-"), "{target}: {name}");
        let accepted = is_accepted(&fs::read(&path).unwrap());
        assert_eq!(accepted, expected, "{target}: {name}");
        good += usize::from(expected);
    }
    assert!(good > 2, "{target}: hardly a good seed");
}

#[test]
fn the_seeds_of_the_fuzz_targets_are_what_their_names_say() {
    let alice = UserName::new("alice").unwrap();
    check_seeds("page", |seed| {
        let line_feed = seed.iter().position(|byte| *byte == b'\n').unwrap();
        let line = std::str::from_utf8(&seed[..line_feed]).unwrap();
        let (status, page) = line.split_once(' ').unwrap();
        let (status, page) = (status.parse().unwrap(), page.parse().unwrap());
        lastfm::read(&seed[line_feed + 1..], status, None, (&alice, page), true).is_ok()
    });
    check_seeds("message", |seed| FetchPages::parse(seed).is_ok());
    check_seeds("tail", |seed| {
        let parts: Vec<&[u8]> = seed.split(|byte| *byte == 0).collect();
        newest_second(&parts, 64).is_ok()
    });
}
