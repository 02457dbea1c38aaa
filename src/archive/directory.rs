//! The archive in a local directory.
//!
//! A write to a file is not atomic, so a crash can leave a torn last line: it is cut when the directory is next
//! opened for writing. What was cut is fetched again, and the count rule of the plan completes a second that
//! was torn between two lines.

use super::{Appended, DataFile, DataName, Place, Series};
use crate::user::UserName;
use anyhow::Context;
use bytes::Bytes;
use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Held by the one process that writes.
const LOCK_FILE: &str = ".lock";

/// How much is read at a time while looking for the last line feed.
const CHUNK_BYTES: u64 = 64 * 1024;

/// What a directory is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Any number of processes may look; nothing is changed, not even a torn line.
    Read,
    /// One process at a time.
    Write,
}

/// An archive below one directory.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    /// Kept open for its lock, which ends with the process, however that ends.
    lock: Option<File>,
    /// Directories whose entries this process has synced.
    synced: Mutex<HashSet<PathBuf>>,
}

impl Directory {
    /// Opens the directory; for writing it is made and locked.
    pub fn open(root: &Path, access: Access) -> anyhow::Result<Self> {
        let lock = match access {
            Access::Read => None,
            Access::Write => Some(lock(root)?),
        };
        Ok(Self {
            root: root.to_owned(),
            lock,
            synced: Mutex::default(),
        })
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn is_writable(&self) -> bool {
        self.lock.is_some()
    }

    pub(super) fn list(&self, user: &UserName) -> anyhow::Result<Vec<DataFile>> {
        let mut files = Vec::new();
        let prefix = DataName::prefix(user);
        for year in names_in(&self.root.join(&prefix))? {
            for month in names_in(&self.root.join(&prefix).join(&year))? {
                self.list_folder(user, &format!("{prefix}{year}/{month}/"), &mut files)?;
            }
        }
        // Of the parts only the newest can be torn: the one before was on disk before this one was made.
        let newest = files
            .iter()
            .filter(|file| is_part(file) && file.length > 0)
            .max()
            .cloned();
        for file in &mut files {
            let is_newest = Some(&*file) == newest.as_ref();
            if is_newest || !is_part(file) {
                let whole = self.whole_lines(file)?;
                // Anything else keeps its torn end until somebody appends to it: the sync leaves it alone.
                if is_newest && whole < file.length && self.lock.is_some() {
                    self.cut(&file.name, file.length, whole)?;
                }
                file.length = whole;
            }
        }
        Ok(files)
    }

    pub(super) fn list_removed(&self, user: &UserName) -> anyhow::Result<Vec<DataFile>> {
        let mut files = Vec::new();
        self.list_folder(user, &DataName::removed_prefix(user), &mut files)?;
        for file in &mut files {
            file.length = self.whole_lines(file)?;
        }
        Ok(files)
    }

    /// The user's files in `folder`, a path from the root with a slash at its end.
    fn list_folder(
        &self,
        user: &UserName,
        folder: &str,
        files: &mut Vec<DataFile>,
    ) -> anyhow::Result<()> {
        for file in names_in(&self.root.join(folder))? {
            let Some(name) = DataName::parse(user, &format!("{folder}{file}")) else {
                continue;
            };
            let length = fs::metadata(self.path(&name))?.len();
            files.push(DataFile {
                name,
                length,
                modified_ms: None,
            });
        }
        Ok(())
    }

    pub(super) fn read(&self, name: &DataName, range: Range<u64>) -> anyhow::Result<Bytes> {
        let mut file = File::open(self.path(name))?;
        file.seek(SeekFrom::Start(range.start))?;
        let mut bytes = Vec::new();
        file.take(range.end - range.start).read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }

    pub(super) fn append(&self, place: &Place, block: &[u8]) -> anyhow::Result<Appended> {
        anyhow::ensure!(self.is_writable(), "the directory was opened for reading");
        let path = self.path(&place.name);
        if place.position == 0 {
            self.create(&path)?;
        }
        let mut file = OpenOptions::new().append(true).open(&path)?;
        let length = file.metadata()?.len();
        if length > place.position
            && !self
                .read(&place.name, place.position..length)?
                .contains(&b'\n')
        {
            self.cut(&place.name, length, place.position)?;
        } else if length != place.position {
            return Ok(Appended::Stale);
        }
        if let Err(error) = file.write_all(block).and_then(|()| file.sync_data()) {
            // Whatever arrived of the block must not stay as if it were whole: a full disk is the usual cause.
            file.set_len(place.position)
                .context("cannot undo a failed write")?;
            return Err(error.into());
        }
        Ok(Appended::Landed)
    }

    fn path(&self, name: &DataName) -> PathBuf {
        self.root.join(name.to_string())
    }

    /// Makes an empty file if there is none, and sees to it that its name survives a power cut.
    fn create(&self, path: &Path) -> anyhow::Result<()> {
        let month = path.parent().context("a data file lies in a month")?;
        let new_directories: Vec<&Path> = month
            .ancestors()
            .take_while(|directory| !directory.exists())
            .collect();
        fs::create_dir_all(month)?;
        OpenOptions::new().append(true).create(true).open(path)?;
        // A name is an entry of its directory. Entries that an earlier process made may not be on disk yet either,
        // so each directory on the way is synced once by every process.
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        for directory in month.ancestors() {
            let has_new_entry = directory == month
                || new_directories
                    .iter()
                    .any(|new| new.parent() == Some(directory));
            if synced.insert(directory.to_owned()) || has_new_entry {
                File::open(directory)?.sync_all()?;
            }
            if directory == self.root {
                break;
            }
        }
        Ok(())
    }

    /// The length up to the last line feed.
    fn whole_lines(&self, file: &DataFile) -> anyhow::Result<u64> {
        let mut end = file.length;
        let whole = loop {
            let start = end.saturating_sub(CHUNK_BYTES);
            let chunk = self.read(&file.name, start..end)?;
            if let Some(line_feed) = memchr::memrchr(b'\n', &chunk) {
                break start + line_feed as u64 + 1;
            }
            if start == 0 {
                break 0;
            }
            end = start;
        };
        Ok(whole)
    }

    /// Cuts a torn last line off: `length` becomes `whole`.
    fn cut(&self, name: &DataName, length: u64, whole: u64) -> anyhow::Result<()> {
        tracing::warn!(file = %name, bytes = length - whole, "a torn last line was cut off");
        let torn = OpenOptions::new().write(true).open(self.path(name))?;
        torn.set_len(whole)?;
        torn.sync_data()?;
        Ok(())
    }
}

fn is_part(file: &DataFile) -> bool {
    matches!(file.name.series, Series::Part(_))
}

fn lock(root: &Path) -> anyhow::Result<File> {
    fs::create_dir_all(root)
        .with_context(|| format!("cannot make the archive directory `{}`", root.display()))?;
    let path = root.join(LOCK_FILE);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("cannot open `{}`", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            anyhow::bail!(
                "another process is writing to the archive `{}`: wait for it to end",
                root.display()
            )
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock `{}`", path.display()))
        }
    }
}

/// The names in a directory, those that are text; none when there is no such directory.
fn names_in(directory: &Path) -> std::io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    entries
        .filter_map(|entry| {
            entry
                .map(|entry| entry.file_name().into_string().ok())
                .transpose()
        })
        .collect()
}
