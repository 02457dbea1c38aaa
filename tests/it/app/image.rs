//! The command line's image, as far as it can be shown without a container engine: what the Dockerfile says, and the program as
//! the image's user in a place where nothing but the archive can be written.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Output, Stdio};

use fake_lastfm::{LastFm, Server};

use crate::support::program::KEY;
use crate::support::unprivileged::{Cell, USER, is_root};
use crate::support::world::history;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn lines_of(name: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(ROOT).join(name)).unwrap();
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

/// Instructions of the Dockerfile's stages.
fn stages() -> Vec<Vec<String>> {
    let mut stages: Vec<Vec<String>> = Vec::new();
    for line in lines_of("Dockerfile") {
        if line.starts_with("FROM ") {
            stages.push(Vec::new());
        }
        stages.last_mut().unwrap().push(line);
    }
    stages
}

#[test]
fn the_image_is_one_program_for_an_unprivileged_user_that_writes_to_a_volume_only() {
    let stages = stages();
    assert_eq!(stages.len(), 2, "one to build, one to run");
    let last = stages.last().unwrap();
    let (base, rest) = last.split_first().unwrap();
    assert!(
        base.starts_with("FROM gcr.io/distroless/static-debian"),
        "{base}"
    );
    assert!(base.contains(":nonroot"), "{base}");
    assert_eq!(
        rest,
        [
            "COPY --from=build /source/target/release/lastfm-archive /lastfm-archive",
            "COPY --from=build --chown=65532:65532 /data /data",
            "VOLUME /data",
            "USER 65532:65532",
            r#"ENTRYPOINT ["/lastfm-archive"]"#,
            r#"CMD ["--help"]"#,
        ],
        "no shell form, no variable, nothing else in the image"
    );
}

#[test]
fn no_base_moves_and_no_secret_gets_into_a_layer() {
    for stage in stages() {
        let image = stage[0].split_whitespace().nth(1).unwrap();
        let (_, tag) = image.rsplit_once(':').unwrap();
        let is_pinned = image.contains("@sha256:")
            || tag.starts_with(|first: char| first.is_ascii_digit())
            || image.contains("debian12:");
        assert!(is_pinned, "{image}");
        for line in &stage {
            let word = line.split_whitespace().next().unwrap();
            assert!(!["ADD", "ARG", "ENV", "LABEL"].contains(&word), "{line}");
            assert!(
                !line.contains("--mount") && !line.contains("LASTFM_API_KEY"),
                "{line}"
            );
        }
    }
    // Only what the build needs is sent to it at all.
    let ignored = lines_of(".dockerignore");
    assert_eq!(ignored[0], "*");
    for line in &ignored[1..] {
        match line.strip_prefix('!') {
            Some(name) => assert!(Path::new(ROOT).join(name).exists(), "{name}"),
            None => assert!(
                ["**/node_modules", "**/target"].contains(&line.as_str()),
                "{line}"
            ),
        }
    }
    for name in [".git", ".env", "local.settings.json", "infra"] {
        assert!(!ignored.contains(&format!("!{name}")), "{name}");
    }
}

fn lastfm() -> Server {
    let mut lastfm = LastFm::new();
    lastfm.add_user("rj", history(1, 900));
    Server::start(lastfm).unwrap()
}

fn sync(cell: &Cell, lastfm: &Server, archive: &Path) -> Output {
    cell.command()
        .args(["sync", "rj", "--archive"])
        .arg(archive)
        .env("LASTFM_API_URL", lastfm.url())
        .env("LASTFM_API_KEY", KEY)
        .env("LASTFM_REQUESTS_PER_SECOND", "0")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Everything below a folder but what is in `data`: type and mode, owner, size and time of change.
fn everything_but_data(cell: &Cell) -> BTreeMap<String, (u32, u32, u64, i64)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![cell.path(".")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let facts = fs::symlink_metadata(&path).unwrap();
            if path.ends_with("data") {
                continue;
            }
            if facts.is_dir() {
                folders.push(path.clone());
            }
            let name = path.display().to_string();
            let changed_ns = facts.mtime() * 1_000_000_000 + facts.mtime_nsec();
            found.insert(name, (facts.mode(), facts.uid(), facts.len(), changed_ns));
        }
    }
    found
}

/// Files of the image's user in the places that anybody may write to. Only root's tests run as that user.
fn strays() -> Vec<String> {
    let places = ["/tmp", "/var/tmp", "/dev/shm", "/run/lock"];
    let entries = places
        .iter()
        .filter_map(|place| fs::read_dir(place).ok())
        .flatten();
    let of_user = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let owner = fs::symlink_metadata(&path).ok()?.uid();
        (owner == USER).then(|| path.display().to_string())
    });
    of_user.collect()
}

#[test]
fn an_unprivileged_user_archives_and_nothing_is_written_but_the_archive() {
    let (cell, lastfm) = (Cell::new(), lastfm());
    let archive = cell.path("data");
    let before = everything_but_data(&cell);
    for _ in 0..2 {
        let output = sync(&cell, &lastfm, &archive);
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(everything_but_data(&cell), before);
    let status = cell
        .command()
        .args(["status", "--archive"])
        .arg(&archive)
        .env("LASTFM_USERS", "rj")
        .output()
        .unwrap();
    assert!(status.status.success(), "{status:?}");
    assert!(String::from_utf8(status.stdout).unwrap().contains("900"));
    let owner = if is_root() {
        USER
    } else {
        nix::unistd::geteuid().as_raw()
    };
    let plays = fs::metadata(archive.join("user=rj")).unwrap();
    assert_eq!(plays.uid(), owner);
    if is_root() {
        assert_eq!(strays(), [""; 0]);
    }
}

#[test]
fn a_place_that_cannot_be_written_is_told_and_nothing_is_asked_for() {
    let (cell, lastfm) = (Cell::new(), lastfm());
    let before = everything_but_data(&cell);
    let output = sync(&cell, &lastfm, &cell.path("nowhere/archive"));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{stderr}");
    assert!(stderr.contains("nowhere"), "{stderr}");
    assert!(stderr.to_lowercase().contains("denied"), "{stderr}");
    assert_eq!(everything_but_data(&cell), before);
    assert_eq!(lastfm.with(|lastfm| lastfm.log.total()), 0);
}
