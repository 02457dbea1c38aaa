//! What the tests take from npm: Azurite and `DuckDB`, installed from the committed lock file into the target folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest Node that runs the pinned packages.
const NODE_MAJOR_MIN: u32 = 20;
/// What is wrong when there is none.
pub(crate) const NODE_MISSING: &str = "these tests run the Azurite storage emulator and DuckDB: install Node.js 20 or newer with npm (https://nodejs.org) and put both on the PATH";

/// A script of `tests/npm`, in the folder with the installed packages.
pub(crate) fn script(name: &str) -> Command {
    let mut command = Command::new("node");
    command
        .arg(source_folder().join(name))
        .current_dir(installed());
    command
}

/// The folder with the committed package files.
fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/npm")
}

/// Installs the packages below the target folder unless the same lock file was installed there before; gives the folder.
fn installed() -> PathBuf {
    check_node();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .unwrap()
        .join("npm");
    fs::create_dir_all(&folder).unwrap();
    // Other test processes may want to install at the same moment. The lock goes with the file handle.
    let lock = File::create(folder.join("install.lock")).unwrap();
    lock.lock().unwrap();
    let wanted = fs::read(source_folder().join("package-lock.json")).unwrap();
    let stamp = folder.join("installed-package-lock.json");
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return folder;
    }
    for name in ["package.json", "package-lock.json", ".npmrc"] {
        fs::copy(source_folder().join(name), folder.join(name)).unwrap();
    }
    let output = Command::new("npm")
        .arg("ci")
        .current_dir(&folder)
        .output()
        .expect(NODE_MISSING);
    assert!(
        output.status.success(),
        "`npm ci` in `{}` failed: {}",
        folder.display(),
        String::from_utf8_lossy(&output.stderr),
    );
    fs::write(stamp, wanted).unwrap();
    folder
}

/// Fails with one sentence when Node is missing or too old.
fn check_node() {
    let output = Command::new("node").arg("--version").output();
    let major = output.ok().and_then(|output| {
        let version = String::from_utf8(output.stdout).ok()?;
        version.strip_prefix('v')?.split('.').next()?.parse().ok()
    });
    let major: u32 = major.expect(NODE_MISSING);
    assert!(major >= NODE_MAJOR_MIN, "{NODE_MISSING}");
}
