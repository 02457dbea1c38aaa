//! The archive directory when it is not as it was left: torn, damaged, in use, not writable, or killed in the middle.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use fake_lastfm::{Fault, Play};
use nix::sys::signal::Signal;

use crate::support::local_world::{DAY, World, made_up, now, plain, play};

/// Forty pages in ten items.
const SMALL: [(&str, &str); 2] = [("LASTFM_PAGE_SIZE", "10"), ("PAGES_PER_ITEM", "4")];

/// The user that owns nothing.
const NOBODY: u32 = 65_534;

fn append(file: &Path, bytes: &[u8]) {
    let mut file = File::options().append(true).open(file).unwrap();
    file.write_all(bytes).unwrap();
}

/// A world whose archive is complete, and the file with its end.
fn archived(plays: Vec<Play>) -> (World, std::path::PathBuf) {
    let world = World::of(plays);
    world.sync_well(&[]);
    let (newest, _) = world.snapshot().pop().unwrap();
    (world, newest)
}

#[test]
fn a_torn_end_is_cut_and_fetched_again_wherever_it_was_torn() {
    let mut history = plain(4);
    history.extend((0..3).map(|number| play(40 * DAY, &format!("é {number}"))));
    history.extend([
        play(40 * DAY, "é 1"),
        play(40 * DAY, "é 2"),
        play(40 * DAY, "é 1"),
    ]);
    let (world, newest) = archived(history);
    let whole = fs::read(&newest).unwrap();
    // The newest file holds one tied second only, so most cuts leave a part of it.
    for length in (1..whole.len()).step_by(61).chain([whole.len() - 1]) {
        fs::write(&newest, &whole[..length]).unwrap();
        world.sync_well(&[]);
        world.assert_complete();
    }
}

#[test]
fn a_torn_end_is_cut_when_there_are_new_plays_too() {
    let (world, newest) = archived(made_up(50, 300));
    append(
        &newest,
        "{\"username\":\"alice\",\"artist\":\"Zo\u{eb}".as_bytes(),
    );
    world.change(|history| history.add(play(600 * DAY, "new")));
    world.sync_well(&[]);
    world.assert_complete();
    let (newest, _) = world.snapshot().pop().unwrap();
    // What a power cut leaves of a file that was longer than its data.
    append(&newest, &[0; 700]);
    world.sync_well(&[]);
    world.assert_complete();
}

#[test]
fn looking_at_a_torn_archive_changes_nothing() {
    let (world, newest) = archived(plain(20));
    append(&newest, b"{\"username\":");
    let torn = world.snapshot();
    let ran = world.program(&["status", "--json"]).run().expect(0);
    assert_eq!(ran.json_lines()[0]["rows"], 20);
    world.program(&["sync", "--dry-run"]).run().expect(0);
    assert_eq!(world.snapshot(), torn);
}

#[test]
fn a_tail_that_is_no_scrobble_stops_that_user_and_stays_as_it_is() {
    let id = "0".repeat(32);
    let tails = [
        "garbage\n".to_owned(),
        "\n".to_owned(),
        "{}\n".to_owned(),
        "{\"uts\":1577836800}\n".to_owned(),
        format!("{{\"id\":\"{id}\"}}\n"),
        format!("{{\"uts\":\"soon\",\"id\":\"{id}\"}}\n"),
        "{\"uts\":1577836800,\"id\":\"xyz\"}\n".to_owned(),
        "\0\0\0\n".to_owned(),
        "\u{fffd}{\"uts\":\n".to_owned(),
    ];
    for tail in tails {
        stops_at(tail.as_bytes());
    }
    stops_at(b"{\"uts\":1577836800,\"id\":\"\xff\"}\n");
}

#[test]
fn a_tail_from_the_future_stops_that_user_and_stays_as_it_is() {
    let id = "0".repeat(32);
    for uts in [now() + DAY, now() + 3_600, now() * 1_000, i64::MAX] {
        stops_at(format!("{{\"uts\":{uts},\"id\":\"{id}\"}}\n").as_bytes());
    }
}

#[track_caller]
fn stops_at(tail: &[u8]) {
    let world = World::of_users(&[("Alice", plain(20)), ("bob", plain(5))]);
    world.sync_well(&[("LASTFM_USERS", "alice")]);
    let file = world.file("year=2020/month=01/part-0.ndjson");
    append(&file, tail);
    let damaged = fs::read(&file).unwrap();
    world.change(|history| history.add(play(9_000, "new")));
    world.take_requests();
    let ran = world.sync().run();
    let context = format!("{:?}: {}", String::from_utf8_lossy(tail), ran.stderr);
    assert_eq!(ran.code(), 2, "{context}");
    let name = "user=alice/year=2020/month=01/part-0.ndjson";
    assert!(ran.errors() == 1 && ran.stderr.contains(name), "{context}");
    assert!(fs::read(&file).unwrap() == damaged, "changed: {context}");
    assert_eq!(world.take_requests(), 1, "only bob is asked for: {context}");
    world.lines("bob").assert_complete(&world.truth("bob"));
    let status = world.program(&["status"]).run().expect(2);
    assert!(status.stderr.contains(name), "{}", status.stderr);
    fs::write(&file, &damaged[..damaged.len() - tail.len()]).unwrap();
    world.sync_well(&[]);
    world.assert_complete();
}

#[test]
fn an_empty_data_file_is_no_tail() {
    let (world, _) = archived(plain(20));
    for name in [
        "year=2020/month=01/part-1.ndjson",
        "year=2020/month=02/part-0.ndjson",
        "year=2031/month=12/part-0.ndjson",
    ] {
        let file = world.file(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        File::create(&file).unwrap();
    }
    for second in [9_000, 32 * DAY] {
        world.change(|history| history.add(play(second, "new")));
        world.sync_well(&[]);
        world.assert_complete();
    }
    let empty = fs::metadata(world.file("year=2031/month=12/part-0.ndjson")).unwrap();
    assert_eq!(empty.len(), 0);
}

#[test]
fn a_later_part_of_a_month_is_its_end() {
    let (world, first) = archived(plain(20));
    let text = fs::read_to_string(&first).unwrap();
    let half = text.match_indices('\n').nth(11).unwrap().0 + 1;
    // As after several roll-overs: numbers, not names, decide which part is the newest.
    for (part, text) in [(0, &text[..half]), (9, ""), (10, &text[half..])] {
        fs::write(first.with_file_name(format!("part-{part}.ndjson")), text).unwrap();
    }
    world.change(|history| history.add_all([play(20 * 60, "a"), play(21 * 60, "b")]));
    world.sync_well(&[]);
    world.assert_complete();
    let kept = fs::read_to_string(&first).unwrap();
    assert_eq!(kept, text[..half]);
}

#[test]
fn files_that_are_not_ours_are_left_alone() {
    let (world, _) = archived(plain(20));
    let names = [
        "notes.txt",
        "year=2020/notes.txt",
        "year=2020/month=01/late-0.ndjson",
        "year=2020/month=01/notes.txt",
        "year=2020/month=01/part-00.ndjson",
        "year=2020/month=01/part-1.ndjson.bak",
        "year=2020/month=01/part-x.ndjson",
        "year=2020/month=01/part--1.ndjson",
        "year=2020/month=1/part-0.ndjson",
        "year=2020/month=13/part-0.ndjson",
        "year=2025/month=01/late-0.ndjson",
        "year=20250/month=01/part-0.ndjson",
    ];
    for name in names {
        let file = world.file(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "not ours, and with a torn end\nwhich stays").unwrap();
    }
    world.change(|history| history.add_all([play(9_000, "new"), play(40 * DAY, "newer")]));
    world.sync_well(&[]);
    world.assert_complete();
    let status = world.program(&["status", "--json"]).run().expect(0);
    assert_eq!(status.json_lines()[0]["rows"], 22);
    for name in names {
        let text = fs::read_to_string(world.file(name)).unwrap();
        assert_eq!(text, "not ours, and with a torn end\nwhich stays", "{name}");
    }
}

#[test]
fn only_one_process_writes_while_others_may_look() {
    let world = World::of(plain(400));
    world.fault_when(usize::MAX, |info| info.number >= 12, Fault::Hang);
    let mut program = world.sync();
    for (name, value) in SMALL {
        program = program.set(name, value);
    }
    let first = program.start();
    let minute = Duration::from_mins(1);
    assert!(world.server.wait_until_requests(12, minute));
    let second = world.sync().run().expect(2);
    let second = second.says("another process is writing");
    assert_eq!((second.errors(), second.stderr.lines().count()), (1, 1));
    world.program(&["status"]).run().expect(0);
    first.signal(Signal::SIGKILL);
    first.finish().expect(128 + 9);
    world.heal();
    world.sync_well(&SMALL);
    world.assert_complete();
}

#[test]
fn killed_at_any_moment_it_goes_on_where_it_stopped() {
    thread::scope(|scope| {
        for request in [1, 2, 4, 6, 9, 13, 19, 26, 34, 41] {
            // Once stuck before an answer, once running on while the signal is on its way.
            for stuck in [true, false] {
                scope.spawn(move || killed_at(request, stuck));
            }
        }
    });
}

#[track_caller]
fn killed_at(request: usize, stuck: bool) {
    let world = World::of(made_up(51, 400));
    if stuck {
        world.fault_when(usize::MAX, move |info| info.number >= request, Fault::Hang);
    }
    let mut program = world.sync();
    for (name, value) in SMALL {
        program = program.set(name, value);
    }
    let running = program.start();
    let minute = Duration::from_mins(1);
    assert!(world.server.wait_until_requests(request, minute));
    running.signal(Signal::SIGKILL);
    let code = running.finish().code();
    assert!(
        code == 128 + 9 || !stuck,
        "exit status {code} at request {request}"
    );
    world.heal();
    world.take_requests();
    world.sync_well(&SMALL);
    world.assert_complete();
    if stuck && request > 20 {
        let requests = world.take_requests();
        assert!(
            requests < 45,
            "{requests} requests after {request}: nothing was kept"
        );
    }
}

#[test]
fn told_to_stop_it_keeps_what_it_has_and_the_next_run_completes() {
    thread::scope(|scope| {
        for (request, signal) in [
            (1, Signal::SIGINT),
            (8, Signal::SIGINT),
            (23, Signal::SIGTERM),
        ] {
            scope.spawn(move || stopped_at(request, signal));
        }
    });
}

#[track_caller]
fn stopped_at(request: usize, signal: Signal) {
    let world = World::of(made_up(52, 400));
    world.fault_when(usize::MAX, move |info| info.number >= request, Fault::Hang);
    let mut program = world.sync();
    for (name, value) in SMALL {
        program = program.set(name, value);
    }
    let running = program.start();
    let minute = Duration::from_mins(1);
    assert!(world.server.wait_until_requests(request, minute));
    running.signal(signal);
    running.finish().expect(2).says("stopping");
    let kept = world.assert_prefix();
    assert!(
        kept > 0 || request == 1,
        "nothing kept at request {request}"
    );
    world.heal();
    world.sync_well(&SMALL);
    world.assert_complete();
}

#[test]
fn a_directory_that_cannot_be_written_is_a_clear_error() {
    let world = World::of(plain(20));
    let archive = world.archive();
    fs::create_dir(&archive).unwrap();
    fs::set_permissions(&archive, Permissions::from_mode(0o555)).unwrap();
    fs::set_permissions(world.outside(), Permissions::from_mode(0o755)).unwrap();
    let mut program = world.sync();
    if fs::write(archive.join("probe"), "").is_ok() {
        // Permissions do not bind this user, who is root: nobody's are looked at.
        fs::remove_file(archive.join("probe")).unwrap();
        program.command().uid(NOBODY).gid(NOBODY);
    }
    let ran = program.run().expect(2).says("ermission denied");
    assert_eq!(ran.errors(), 1);
    ran.says(archive.to_str().unwrap());
    assert_eq!(world.take_requests(), 0);
    fs::set_permissions(&archive, Permissions::from_mode(0o755)).unwrap();
    world.sync_well(&[]);
    world.assert_complete();
}

#[test]
fn a_file_in_the_way_is_a_clear_error_and_stays() {
    let world = World::of(plain(20));
    fs::write(world.archive(), "mine").unwrap();
    let ran = world.sync().run().expect(2);
    let ran = ran.says(world.archive().to_str().unwrap());
    assert_eq!((ran.errors(), world.take_requests()), (1, 0));
    assert_eq!(fs::read_to_string(world.archive()).unwrap(), "mine");

    let world = World::of_users(&[("Alice", plain(20)), ("bob", plain(5))]);
    fs::create_dir(world.archive()).unwrap();
    fs::write(world.archive().join("user=alice"), "mine").unwrap();
    let ran = world.sync().run().expect(2).says("alice");
    assert_eq!(ran.errors(), 1);
    world.lines("bob").assert_complete(&world.truth("bob"));
    let text = fs::read_to_string(world.archive().join("user=alice")).unwrap();
    assert_eq!(text, "mine");
}
