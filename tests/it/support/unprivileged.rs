//! The program as somebody without rights, in a folder of its own: what a container gives it, without a container.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::Uid;
use tempfile::TempDir;

/// The user of the image.
pub(crate) const USER: u32 = 65_532;

/// `bin`, `data`, which is writable, and `nowhere`, which is not and stays empty.
pub(crate) struct Cell {
    root: TempDir,
}

impl Cell {
    pub(crate) fn new() -> Self {
        // Not everybody may look below a test's usual folder.
        let root = TempDir::new_in("/tmp").unwrap();
        let cell = Self { root };
        let mode =
            |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        for folder in ["bin", "data", "nowhere"] {
            fs::create_dir(cell.path(folder)).unwrap();
        }
        fs::copy(super::package::binary(), cell.path("bin/lastfm-archive")).unwrap();
        if is_root() {
            chown(cell.path("data"), Some(USER), Some(USER)).unwrap();
        }
        mode(&cell.path("data"), 0o700);
        for path in ["bin/lastfm-archive", "bin", "nowhere", "."] {
            mode(&cell.path(path), 0o555);
        }
        cell
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The program, with no variable but those of places, all of which name `nowhere`. When root runs the tests it becomes
    /// the image's user; otherwise it stays the user who does, whom the modes of the folders bind as well.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(self.path("bin/lastfm-archive"));
        let nowhere = self.path("nowhere");
        command.env_clear().current_dir(&nowhere);
        for place in [
            "HOME",
            "TMPDIR",
            "XDG_CACHE_HOME",
            "XDG_CONFIG_HOME",
            "XDG_STATE_HOME",
        ] {
            command.env(place, &nowhere);
        }
        if is_root() {
            command.uid(USER).gid(USER);
        }
        command
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        // So that the folder can be deleted by whoever is not root.
        for name in [".", "bin", "nowhere"] {
            fs::set_permissions(self.path(name), Permissions::from_mode(0o755)).ok();
        }
    }
}

pub(crate) fn is_root() -> bool {
    Uid::effective().is_root()
}
