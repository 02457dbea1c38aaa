//! Everything that is stored under a user's name, and its deletion.
//!
//! Whatever lies below the user's two folders goes, also what this program did not write. Nothing outside of them does:
//! both end with a slash, so `user=rj/` is never `user=rjx/`, and a link in a directory is deleted and not followed.

use super::{AppendBlobs, Archive, DataName, Directory, refused};
use crate::storage::{Retention, blobs_below, delete_blob};
use crate::user::UserName;
use anyhow::{Context, ensure};
use std::cmp::Reverse;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A file or a blob under a user's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserFile {
    /// Its name in the container, or its path in the directory.
    pub name: PathBuf,
    /// Its length.
    pub bytes: u64,
}

impl UserFile {
    /// The name of a blob.
    pub(crate) fn blob(&self) -> anyhow::Result<&str> {
        self.name.to_str().context("a blob's name is text")
    }
}

impl Archive {
    /// Everything below the user's folders, in the order in which it should be deleted: newest plays first. So whatever
    /// stops the deletion, the plays that are left are the beginning of the history, and a sync would go on from there.
    pub async fn files_of(&self, user: &UserName) -> anyhow::Result<Vec<UserFile>> {
        let mut files = Vec::new();
        for folder in folders(user) {
            let below = match self {
                Self::Azure(blobs) => blobs.below(folder).await.map_err(refused),
                Self::Directory(directory) => directory.below(Path::new(&folder)),
            };
            files.extend(below.with_context(|| {
                format!("cannot list everything of `{user}` in {}", self.place())
            })?);
        }
        let name = |file: &UserFile| DataName::parse(user, file.name.to_str()?);
        files.sort_by_cached_key(|file| Reverse(name(file)));
        Ok(files)
    }

    /// Deletes one of [`Archive::files_of`]; one that is gone is deleted.
    pub async fn delete(&self, file: &UserFile) -> anyhow::Result<()> {
        match self {
            Self::Azure(blobs) => delete_blob(&blobs.container, file.blob()?)
                .await
                .map_err(|error| refused(error.into())),
            Self::Directory(directory) => directory.delete(file),
        }
    }

    /// Deletes the user's folders where they are empty. Containers have none.
    pub fn delete_folders(&self, user: &UserName) {
        if let Self::Directory(directory) = self {
            for folder in folders(user) {
                delete_empty(&directory.root().join(folder));
            }
            // Others may have files there.
            let _ = fs::remove_dir(directory.root().join(DataName::removed_folder()));
        }
    }

    /// What the account keeps of a blob like this one when it is deleted. Nothing for a directory, which keeps nothing.
    pub async fn retention(&self, file: &UserFile) -> Option<Retention> {
        match self {
            Self::Azure(blobs) => {
                let blob = blobs.container.blob_client(file.blob().ok()?);
                Some(Retention::of(&blobs.service, &blob).await)
            }
            Self::Directory(_) => None,
        }
    }
}

/// The user's folders, each with a slash at its end.
fn folders(user: &UserName) -> [String; 2] {
    [DataName::removed_prefix(user), DataName::prefix(user)]
}

impl AppendBlobs {
    async fn below(&self, folder: String) -> anyhow::Result<Vec<UserFile>> {
        let blobs = blobs_below(&self.container, folder).await?;
        let file = |blob: crate::storage::Listed| UserFile {
            name: blob.name.into(),
            bytes: blob.length,
        };
        Ok(blobs.into_iter().map(file).collect())
    }
}

impl Directory {
    /// All files below `folder`, a path from the root.
    fn below(&self, folder: &Path) -> anyhow::Result<Vec<UserFile>> {
        let mut files = Vec::new();
        if self.leads_outside(folder)? {
            anyhow::bail!(
                "`{}` lies behind a link to another place",
                self.root().join(folder).display()
            );
        }
        collect(self.root(), folder, &mut files)?;
        Ok(files)
    }

    /// Whether one of the folders above this one is a link. The last one may be one: it is deleted as such.
    fn leads_outside(&self, path: &Path) -> anyhow::Result<bool> {
        let parents = path.ancestors().skip(1);
        for parent in parents.filter(|parent| !parent.as_os_str().is_empty()) {
            let parent = self.root().join(parent);
            match fs::symlink_metadata(&parent) {
                Ok(found) if found.is_symlink() => return Ok(true),
                Err(error) if !is_nothing(&error) => {
                    return Err(error)
                        .with_context(|| format!("cannot look at `{}`", parent.display()));
                }
                _ => {}
            }
        }
        Ok(false)
    }

    fn delete(&self, file: &UserFile) -> anyhow::Result<()> {
        ensure!(self.is_writable(), "the directory was opened for reading");
        // Somebody may have put a link there since the files were listed.
        ensure!(
            !self.leads_outside(&file.name)?,
            "it lies behind a link to another place"
        );
        match fs::remove_file(self.root().join(&file.name)) {
            Err(error) if !is_nothing(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// Adds `path` if it is a file or a link, and what is below it if it is a folder.
fn collect(root: &Path, path: &Path, files: &mut Vec<UserFile>) -> anyhow::Result<()> {
    let place = root.join(path);
    // With a slash at its end a link would be followed.
    let found = match fs::symlink_metadata(without_slash(&place)) {
        Ok(found) => found,
        Err(error) if is_nothing(&error) => return Ok(()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot look at `{}`", place.display()));
        }
    };
    if !found.is_dir() {
        files.push(UserFile {
            name: without_slash(path),
            bytes: found.len(),
        });
        return Ok(());
    }
    let entries = fs::read_dir(&place);
    for entry in entries.with_context(|| format!("cannot read `{}`", place.display()))? {
        collect(root, &path.join(entry?.file_name()), files)?;
    }
    Ok(())
}

fn without_slash(path: &Path) -> PathBuf {
    path.components().collect()
}

/// Deletes the empty folders below this one, and then this one if nothing is left in it.
fn delete_empty(folder: &Path) {
    let folder = without_slash(folder);
    if !fs::symlink_metadata(&folder).is_ok_and(|found| found.is_dir()) {
        return;
    }
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        delete_empty(&entry.path());
    }
    // Refused when something is left in it, which has been told by then.
    let _ = fs::remove_dir(folder);
}

fn is_nothing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}
