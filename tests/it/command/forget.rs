//! `forget` on a directory: all of one user, nothing of anybody else, and only when somebody means it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fake_lastfm::Fault;
use nix::sys::signal::Signal;

use crate::support::local_world::{World, made_up, plain};

/// The user that owns nothing.
const NOBODY: u32 = 65_534;

/// Every file and every folder below a directory. Links are not followed.
fn everything(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

fn put(world: &World, name: &str) {
    let file = world.archive().join(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, "{}\n").unwrap();
}

/// Users whose names begin with each other's, all of them archived, with files of every kind.
fn archived() -> World {
    let world = World::of_users(&[
        ("Alice", made_up(70, 200)),
        ("alice2", plain(20)),
        ("ali", plain(10)),
    ]);
    world.sync_well(&[]);
    for user in ["alice", "alice2"] {
        put(
            &world,
            &format!("user={user}/year=2020/month=01/late-0.ndjson"),
        );
        put(&world, &format!("removed/user={user}/part-0.ndjson"));
        put(&world, &format!("removed/user={user}/missing-0.ndjson"));
    }
    put(&world, "user=alice/notes.txt");
    put(&world, "user=alice/year=2020/thumbs/a.png");
    put(&world, "status/alice.json.new");
    fs::create_dir_all(world.file("year=2031/month=01")).unwrap();
    world
}

/// What belongs to `alice`.
fn traces(world: &World) -> Vec<PathBuf> {
    let root = world.archive();
    let mut traces = everything(&root);
    let own = ["user=alice", "removed/user=alice"].map(|folder| root.join(folder));
    traces.retain(|path| {
        own.iter().any(|folder| path.starts_with(folder))
            || path.to_string_lossy().contains("/status/alice.")
    });
    traces
}

fn others(world: &World) -> Vec<PathBuf> {
    let traces = traces(world);
    let mut others = everything(&world.archive());
    others.retain(|path| !traces.contains(path));
    others
}

#[test]
fn everything_of_a_user_goes_and_nothing_else() {
    let world = archived();
    let before = others(&world);
    let files = traces(&world).iter().filter(|path| path.is_file()).count();
    let ran = world.program(&["forget", "ALICE", "--yes"]).run().expect(0);
    assert_eq!(traces(&world), Vec::<PathBuf>::new());
    assert_eq!(others(&world), before);
    assert!(
        ran.stdout.contains(&format!("alice: {files} files, ")),
        "{}",
        ran.stdout
    );
    ran.says("`alice` is in `LASTFM_USERS`");
    world
        .lines("alice2")
        .assert_complete(&world.truth("alice2"));
    // Once more is not wrong.
    let ran = world
        .program(&["forget", "alice", "--yes"])
        .set("LASTFM_USERS", "ali")
        .run()
        .expect(0);
    assert!(ran.stdout.contains("nothing is stored"), "{}", ran.stdout);
    assert_eq!(ran.stderr, "");
    world.sync_well(&[]);
    world.assert_complete();
}

#[test]
fn the_last_user_leaves_an_empty_archive() {
    let world = World::of(plain(20));
    world.sync_well(&[]);
    put(&world, "removed/user=alice/part-0.ndjson");
    world.program(&["forget", "alice", "--yes"]).run().expect(0);
    let left = everything(&world.archive());
    assert_eq!(left, [world.archive().join(".lock")]);
}

#[test]
fn it_asks_before_it_deletes() {
    let world = archived();
    let before = everything(&world.archive());
    for answer in [
        "",
        "\n",
        "yes\n",
        "alice2\n",
        "ali\n",
        "no way\n",
        "alice alice\n",
    ] {
        let program = world.program(&["forget", "alice"]);
        let ran = program.typing(answer).run().expect(1);
        let ran = ran.says("type the user's name").says("nothing was deleted");
        assert_eq!(ran.stdout, "", "{answer:?}");
    }
    // Nobody is there to be asked.
    world.program(&["forget", "alice"]).run().expect(1);
    assert_eq!(everything(&world.archive()), before);
    let program = world.program(&["forget", "alice"]);
    program.typing("Alice\n").run().expect(0);
    assert_eq!(traces(&world), Vec::<PathBuf>::new());
}

#[test]
fn an_archive_that_is_not_there_is_not_made() {
    let world = World::of(plain(1));
    for arguments in [&["forget", "alice"][..], &["forget", "alice", "--yes"]] {
        let ran = world.program(arguments).run().expect(0);
        assert!(ran.stdout.contains("nothing is stored"), "{}", ran.stdout);
    }
    assert!(!world.archive().exists());
}

#[test]
fn it_waits_for_no_other_process() {
    let world = World::of(plain(400));
    world.fault_when(usize::MAX, |info| info.number >= 12, Fault::Hang);
    let sync = world
        .sync()
        .set("LASTFM_PAGE_SIZE", "10")
        .set("PAGES_PER_ITEM", "4");
    let running = sync.start();
    assert!(world.server.wait_until_requests(12, Duration::from_mins(1)));
    let before = everything(&world.archive());
    let ran = world.program(&["forget", "alice", "--yes"]).run().expect(2);
    ran.says("another process is writing");
    assert_eq!(everything(&world.archive()), before);
    running.signal(Signal::SIGKILL);
    running.finish();
    world.program(&["forget", "alice", "--yes"]).run().expect(0);
    assert_eq!(traces(&world), Vec::<PathBuf>::new());
}

#[test]
fn a_link_is_deleted_and_not_followed() {
    let world = archived();
    let outside = world.outside().join("outside");
    fs::create_dir_all(outside.join("user=alice")).unwrap();
    for name in ["precious.txt", "user=alice/part-0.ndjson"] {
        fs::write(outside.join(name), "precious").unwrap();
    }
    symlink(&outside, world.file("year=2020/elsewhere")).unwrap();
    symlink(outside.join("precious.txt"), world.file("notes.link")).unwrap();
    symlink(outside.join("nothing"), world.file("dangling")).unwrap();
    let before = everything(&outside);
    world.program(&["forget", "alice", "--yes"]).run().expect(0);
    assert_eq!(traces(&world), Vec::<PathBuf>::new());
    assert_eq!(everything(&outside), before);
    // The user's own folder is a link.
    symlink(&outside, world.archive().join("user=alice")).unwrap();
    world.program(&["forget", "alice", "--yes"]).run().expect(0);
    assert!(fs::symlink_metadata(world.archive().join("user=alice")).is_err());
    assert_eq!(everything(&outside), before);
}

#[test]
fn what_lies_behind_a_link_is_told_and_stays() {
    for folder in ["removed", "status"] {
        let world = archived();
        let outside = world.outside().join("outside");
        fs::rename(world.archive().join(folder), &outside).unwrap();
        symlink(&outside, world.archive().join(folder)).unwrap();
        let before = everything(world.outside());
        let ran = world.program(&["forget", "alice", "--yes"]).run().expect(2);
        ran.says("link to another place").says(folder);
        assert_eq!(everything(world.outside()), before, "{folder}");
    }
}

#[test]
fn what_cannot_be_deleted_is_named() {
    let world = archived();
    let kept = world.file("year=2020/month=02");
    let file = kept.join("part-0.ndjson");
    assert!(file.exists());
    for path in everything(world.outside()) {
        fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
    }
    fs::set_permissions(world.outside(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&kept, Permissions::from_mode(0o555)).unwrap();
    let forget = || {
        let mut program = world.program(&["forget", "alice", "--yes"]);
        if nix::unistd::geteuid().is_root() {
            // Permissions do not bind root: nobody's are looked at.
            program.command().uid(NOBODY).gid(NOBODY);
        }
        program.run()
    };
    let ran = forget().expect(2);
    let ran = ran.says("error: `user=alice/year=2020/month=02/part-0.ndjson` is left: ");
    assert_eq!(ran.errors(), 1);
    let files: Vec<_> = traces(&world)
        .into_iter()
        .filter(|path| path.is_file())
        .collect();
    assert_eq!(files, [file]);
    fs::set_permissions(&kept, Permissions::from_mode(0o777)).unwrap();
    forget().expect(0);
    assert_eq!(traces(&world), Vec::<PathBuf>::new());
}
