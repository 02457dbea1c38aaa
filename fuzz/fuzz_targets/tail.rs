//! The end of an archive. Input: the parts of one month, NUL between them.
#![no_main]

use lastfm_archive::archive::{Standing, newest_second};
use lastfm_archive::scrobble::PlayId;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use serde_json::value::RawValue;

fuzz_target!(|input: &[u8]| {
    let parts: Vec<&[u8]> = input.split(|byte| *byte == 0).collect();
    let found = newest_second(&parts, 64 * 1024);
    for chunk_bytes in [1, 7, 100] {
        match (&found, newest_second(&parts, chunk_bytes)) {
            (Ok(one), Ok(other)) => {
                assert_eq!((one.newest, &one.held), (other.newest, &other.held));
            }
            (Err(one), Err(other)) => assert_eq!(format!("{one:#}"), format!("{other:#}")),
            (one, other) => panic!("{one:?}, in chunks of {chunk_bytes}: {other:?}"),
        }
    }
    if let Ok(found) = found
        && let Some(plain) = plainly(&parts)
    {
        assert_eq!((found.newest, found.held), (plain.newest, plain.held));
    }
});

/// The same by a plain reading of all lines, which must be there. Nothing for a line that is JSON and yet no value:
/// a number out of range, half a surrogate.
fn plainly(parts: &[&[u8]]) -> Option<Standing> {
    let mut standing = Standing::default();
    for part in parts.iter().rev() {
        for line in part.split_inclusive(|byte| *byte == b'\n').rev() {
            let text = line.strip_suffix(b"\n").expect("a whole line");
            let json: &RawValue = serde_json::from_slice(text).expect("JSON");
            let line: Value = serde_json::from_str(json.get()).ok()?;
            let uts = line["uts"].as_i64().expect("a second");
            let id = line["id"].as_str().expect("an id");
            let id = PlayId::from_hex(id).expect("32 hex digits");
            if *standing.newest.get_or_insert(uts) != uts {
                return Some(standing);
            }
            standing.held.insert(id);
        }
    }
    Some(standing)
}
