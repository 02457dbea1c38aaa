//! `package.sh` with a target: what it asks cargo for, and that it packs nothing that is not static. The compiler is a stand-in.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const MUSL: &str = "x86_64-unknown-linux-musl";

/// Writes down what it is asked for, and makes the program out of the file `made`.
const CARGO: &str = r#"#!/bin/sh
echo "$*" >> asked
folder=${CARGO_TARGET_DIR:-target}/x86_64-unknown-linux-musl/release
mkdir -p "$folder"
cp made "$folder/lastfm-archive"
"#;

/// An ELF program for 64 bits with one segment of this kind.
fn elf(kind: u32) -> Vec<u8> {
    let mut bytes = vec![0; 64 + 56];
    bytes[..5].copy_from_slice(b"\x7fELF\x02");
    bytes[32..40].copy_from_slice(&64_u64.to_le_bytes());
    bytes[54..56].copy_from_slice(&56_u16.to_le_bytes());
    bytes[56..58].copy_from_slice(&1_u16.to_le_bytes());
    bytes[64..68].copy_from_slice(&kind.to_le_bytes());
    bytes
}

/// A copy of the repository, as far as the script reads it, in which cargo makes this program.
fn repository(made: &[u8]) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    let root = copy.path();
    for name in ["package.sh", "host.json"] {
        fs::copy(Path::new(ROOT).join(name), root.join(name)).unwrap();
    }
    for function in ["enqueue_users", "fetch_pages"] {
        let file = format!("function-triggers/{function}/function.json");
        fs::create_dir_all(root.join(&file).parent().unwrap()).unwrap();
        fs::copy(Path::new(ROOT).join(&file), root.join(&file)).unwrap();
    }
    fs::create_dir(root.join("bin")).unwrap();
    fs::write(root.join("bin/cargo"), CARGO).unwrap();
    fs::set_permissions(root.join("bin/cargo"), Permissions::from_mode(0o755)).unwrap();
    fs::write(root.join("made"), made).unwrap();
    copy
}

fn package(root: &Path) -> Output {
    let path = std::env::var("PATH").unwrap();
    Command::new(root.join("package.sh"))
        .args(["--target", MUSL, "--zip", "app.zip"])
        .env("PATH", format!("{}:{path}", root.join("bin").display()))
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .unwrap()
}

#[test]
fn a_target_is_built_for_release_with_the_locked_dependencies_and_packed_twice_the_same() {
    const LOAD: u32 = 1;
    let copy = repository(&elf(LOAD));
    let root = copy.path();
    let mut zips = Vec::new();
    for _ in 0..2 {
        let output = package(root);
        assert!(output.status.success(), "{output:?}");
        zips.push(fs::read(root.join("app.zip")).unwrap());
    }
    assert_eq!(zips[0], zips[1]);
    let asked = fs::read_to_string(root.join("asked")).unwrap();
    let build = format!("build --release --locked --bin lastfm-archive --target {MUSL}\n");
    assert_eq!(asked, build.repeat(2));
    let packed = fs::read(root.join("target/function-app/lastfm-archive")).unwrap();
    assert_eq!(packed, elf(LOAD));
}

#[test]
fn a_program_that_needs_a_loader_is_not_packed_as_a_static_one() {
    const INTERPRETER: u32 = 3;
    for made in [elf(INTERPRETER), b"#!/bin/sh\n".repeat(20)] {
        let copy = repository(&made);
        let output = package(copy.path());
        assert!(!output.status.success(), "{output:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("is not a static program"), "{stderr}");
        assert!(!copy.path().join("app.zip").exists());
        assert!(!copy.path().join("target/function-app").exists());
    }
}
