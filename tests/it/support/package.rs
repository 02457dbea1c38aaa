//! The deployable folder, made by the same script that makes the deployment.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The program under test.
const BINARY: &str = env!("CARGO_BIN_EXE_lastfm-archive");

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
    let output = Command::new("./package.sh")
        .args(["--binary", BINARY, "--out"])
        .arg(folder)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("`package.sh` does not start");
    assert!(
        output.status.success(),
        "`package.sh --binary {BINARY} --out {}` failed: {}{}",
        folder.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}
