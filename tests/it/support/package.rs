//! The deployable folder, made by the same script that makes the deployment.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The program under test: what cargo has just built, or what `BINARY_UNDER_TEST` names, for example the program of a release.
pub(crate) fn binary() -> PathBuf {
    let named = std::env::var_os("BINARY_UNDER_TEST");
    let binary = named.map_or(env!("CARGO_BIN_EXE_lastfm-archive").into(), PathBuf::from);
    let found = binary.canonicalize();
    found.unwrap_or_else(|error| panic!("`{}`: {error}", binary.display()))
}

/// The folder with `host.json`, the functions and the program, made once for each run of the tests.
pub(crate) fn packaged_app() -> &'static Path {
    static PACKAGED: OnceLock<(PathBuf, File)> = OnceLock::new();
    let (folder, _lock) = PACKAGED.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("function-app");
        let lock = File::create(folder.with_extension("lock")).unwrap();
        lock.lock().unwrap();
        lay_out(&folder);
        // Held shared until this process ends: another run of the tests waits before it replaces what runs here.
        lock.unlock().unwrap();
        lock.lock_shared().unwrap();
        (folder, lock)
    });
    folder
}

/// Runs `package.sh`, which only lays out the folder when it is given a program.
fn lay_out(folder: &Path) {
    if folder.exists() {
        fs::remove_dir_all(folder).unwrap();
    }
    let binary = binary();
    let output = Command::new("./package.sh")
        .arg("--binary")
        .arg(&binary)
        .arg("--out")
        .arg(folder)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("`package.sh` does not start");
    assert!(
        output.status.success(),
        "`package.sh --binary {} --out {}` failed: {}{}",
        binary.display(),
        folder.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}
