//! A fake Last.fm and an archive directory that nobody else uses, and the program between them.

use std::fs;
use std::path::{Path, PathBuf};

use fake_lastfm::{Config, Fault, History, Play, RequestInfo, Server, histories};
use tempfile::TempDir;

use super::checker::{self, Lines};
use super::everything::Everything;
use super::program::{KEY, Program, Ran};

/// The second of 2020-01-01 in UTC.
pub(crate) const NEW_YEAR_2020: i64 = 1_577_836_800;
pub(crate) const DAY: i64 = 86_400;

/// One test's world.
pub(crate) struct World {
    pub(crate) server: Server,
    directory: TempDir,
    /// `LASTFM_USERS`.
    users: String,
}

impl World {
    /// One user, `Alice`.
    pub(crate) fn of(plays: Vec<Play>) -> Self {
        Self::of_users(&[("Alice", plays)])
    }

    pub(crate) fn of_users(users: &[(&str, Vec<Play>)]) -> Self {
        let mut lastfm = fake_lastfm::LastFm::new();
        for (name, plays) in users {
            lastfm.add_user(name, plays.iter().cloned());
        }
        let names: Vec<&str> = users.iter().map(|(name, _)| *name).collect();
        Self {
            server: Server::start(lastfm).unwrap(),
            directory: tempfile::tempdir().unwrap(),
            users: names.join(","),
        }
    }

    /// Where the archive is, or will be: nothing is there before the first write.
    pub(crate) fn archive(&self) -> PathBuf {
        self.directory.path().join("archive")
    }

    /// The directory around the archive.
    pub(crate) fn outside(&self) -> &Path {
        self.directory.path()
    }

    /// A data file of `alice`.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.archive().join("user=alice").join(name)
    }

    /// `verb` with everything that it needs.
    pub(crate) fn program(&self, verb: &[&str]) -> Program {
        Program::new(verb)
            .argument("--archive")
            .argument(self.archive())
            .set("LASTFM_API_URL", self.server.url())
            .set("LASTFM_API_KEY", KEY)
            .set("LASTFM_USERS", &self.users)
            .set("LASTFM_REQUESTS_PER_SECOND", "0")
    }

    pub(crate) fn sync(&self) -> Program {
        self.program(&["sync"])
    }

    /// A sync with these settings, which must succeed.
    #[track_caller]
    pub(crate) fn sync_well(&self, settings: &[(&str, &str)]) -> Ran {
        let set = |program: Program, (name, value): &(&str, &str)| program.set(name, value);
        settings.iter().fold(self.sync(), set).run().expect(0)
    }

    pub(crate) fn configure(&self, change: impl FnOnce(&mut Config)) {
        self.server.with(|lastfm| change(&mut lastfm.config));
    }

    pub(crate) fn fault(&self, fault: Fault) {
        self.server.with(|lastfm| lastfm.faults.push(fault));
    }

    pub(crate) fn fault_when(
        &self,
        times: usize,
        predicate: impl FnMut(&RequestInfo) -> bool + Send + 'static,
        fault: Fault,
    ) {
        self.server
            .with(|lastfm| lastfm.faults.push_when(times, predicate, fault));
    }

    /// No faults any more.
    pub(crate) fn heal(&self) {
        self.server.with(|lastfm| lastfm.faults.clear());
    }

    /// Changes the history of `alice`.
    pub(crate) fn change(&self, change: impl FnOnce(&mut History)) {
        self.server
            .with(|lastfm| change(&mut lastfm.user_mut("alice").history));
    }

    /// Requests since the last call of this function.
    pub(crate) fn take_requests(&self) -> usize {
        self.server.with(|lastfm| {
            let count = lastfm.log.count();
            lastfm.log.clear();
            count
        })
    }

    /// What Last.fm knows of a user, oldest first.
    pub(crate) fn truth(&self, user: &str) -> Vec<Play> {
        self.server
            .with(|lastfm| lastfm.user(user).history.plays().cloned().collect())
    }

    /// What the archive holds of a user; every line is judged by itself.
    #[track_caller]
    pub(crate) fn lines(&self, user: &str) -> Lines {
        checker::read(&self.archive(), user, "UTC")
    }

    /// Everything that is archived of a user, late plays and removed ones too.
    #[track_caller]
    pub(crate) fn everything(&self, user: &str) -> Everything {
        let root = self.archive();
        let files = checker::files_below(&root).into_iter();
        let files = files.map(|file| {
            let name = file.strip_prefix(&root).unwrap().to_str().unwrap();
            (name.to_owned(), fs::read(&file).unwrap())
        });
        Everything::of(user, &files.collect::<Vec<_>>())
    }

    /// The archive of `alice` is complete and in Last.fm's order.
    #[track_caller]
    pub(crate) fn assert_complete(&self) {
        self.lines("alice").assert_complete(&self.truth("alice"));
    }

    /// The archive of `alice` is right as far as it goes.
    #[track_caller]
    pub(crate) fn assert_prefix(&self) -> usize {
        self.lines("alice").assert_prefix(&self.truth("alice"))
    }

    /// The status document of a user.
    pub(crate) fn document(&self, user: &str) -> PathBuf {
        self.archive().join(format!("status/{user}.json"))
    }

    /// Every file below the archive with its bytes, to see that nothing has changed. Status documents are no part of it.
    pub(crate) fn snapshot(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let documents = self.archive().join("status");
        let mut files: Vec<_> = checker::files_below(&self.archive())
            .into_iter()
            .filter(|file| file.file_name().unwrap() != ".lock" && !file.starts_with(&documents))
            .map(|file| (file.clone(), fs::read(&file).unwrap()))
            .collect();
        files.sort();
        files
    }
}

/// A made-up history of a year and a half from 2020 on, with ties, odd texts and missing albums.
pub(crate) fn made_up(seed: u64, plays: usize) -> Vec<Play> {
    histories::made_up(seed, plays, NEW_YEAR_2020, NEW_YEAR_2020 + 550 * DAY)
}

/// A play of `Artist` at so many seconds after 2020-01-01.
pub(crate) fn play(second: i64, track: &str) -> Play {
    Play::new(NEW_YEAR_2020 + second, "Artist", track)
}

/// So many plays, a minute apart.
pub(crate) fn plain(plays: i64) -> Vec<Play> {
    let track = |minute: i64| play(minute * 60, &format!("Track {minute}"));
    (0..plays).map(track).collect()
}

/// Now, in whole seconds.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}
