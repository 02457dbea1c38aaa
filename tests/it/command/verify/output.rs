//! `verify` as people and scripts see it: the table, the JSON, what is said, and the exit status.

use std::collections::BTreeSet;

use fake_lastfm::Fault;
use serde_json::Value;

use super::{archived, daily, number, verify};
use crate::support::local_world::{DAY, World, play};
use crate::support::program::Program;

/// The numbers of each line of a table, by its first word.
#[track_caller]
fn table(stdout: &str) -> Vec<(String, Vec<i64>)> {
    let lines = stdout.lines().skip(1);
    lines
        .map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next().unwrap().to_owned();
            let numbers = words.map(|word| word.parse().unwrap_or_else(|_| panic!("{line}")));
            (name, numbers.collect())
        })
        .collect()
}

fn row(name: &str, numbers: [i64; 5]) -> (String, Vec<i64>) {
    (name.to_owned(), numbers.to_vec())
}

#[test]
fn the_table_has_a_row_for_each_month_and_one_for_all() {
    let world = archived(daily(90, |_| true));
    world.change(|history| {
        history.add_all([play(10 * DAY, "late one"), play(11 * DAY, "late two")]);
        history.delete(40 * 3 + 2);
    });
    let ran = world.program(&["verify"]).run().expect(3);
    let heading = ran.stdout.lines().next().unwrap();
    let columns: Vec<&str> = heading.split_whitespace().collect();
    let wanted = ["ARCHIVED", "LATE", "REMOVED", "LAST.FM", "DIFFERENCE"];
    assert_eq!(columns[1..], wanted, "{heading}");
    let mut rows = table(&ran.stdout);
    let all = rows.pop().unwrap();
    assert_eq!(all.1, [270, 0, 0, 271, 1]);
    let months = [
        row("2020-01", [93, 0, 0, 95, 2]),
        row("2020-02", [87, 0, 0, 86, -1]),
        row("2020-03", [90, 0, 0, 90, 0]),
    ];
    assert_eq!(rows, months);
    ran.says("disagree");

    let ran = world.program(&["verify", "--repair"]).run().expect(0);
    let mut rows = table(&ran.stdout);
    assert_eq!(rows.pop().unwrap().1, [270, 2, 1, 271, 0]);
    let months = [
        row("2020-01", [93, 2, 0, 95, 0]),
        row("2020-02", [87, 0, 1, 86, 0]),
        row("2020-03", [90, 0, 0, 90, 0]),
    ];
    assert_eq!(rows, months);
    let ran = world.program(&["verify"]).run().expect(0).says("agree");
    assert_eq!(table(&ran.stdout)[..3], months);
}

#[test]
fn the_table_names_its_user() {
    let world = World::of_users(&[("Alice", daily(5, |_| true)), ("bob", daily(9, |_| true))]);
    world.sync_well(&[]);
    let ran = world.program(&["verify"]).run().expect(0);
    for user in ["alice", "bob"] {
        assert!(ran.stdout.contains(user), "no {user}: {}", ran.stdout);
        assert!(ran.stderr.contains(&format!("{user}: ")), "{}", ran.stderr);
    }
}

#[test]
fn the_json_has_these_fields_and_no_others() {
    let world = archived(daily(40, |_| true));
    world.change(|history| {
        history.add(play(10 * DAY, "late"));
        history.delete(100);
    });
    for (arguments, code) in [(&[][..], 3), (&["--deep"], 3), (&["--repair"], 0), (&[], 0)] {
        let verdict = verify(&world, arguments, code);
        let names = |object: &Value| -> BTreeSet<String> {
            object.as_object().unwrap().keys().cloned().collect()
        };
        let set = |names: &[&str]| -> BTreeSet<String> {
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        let sums = ["archived", "late", "removed", "lastfm", "difference"];
        let own = [
            "user", "from", "to", "deep", "repaired", "agrees", "months", "missing", "vanished",
            "newer", "undated", "requests",
        ];
        assert_eq!(
            names(&verdict),
            set(&[&own[..], &sums].concat()),
            "{verdict}"
        );
        for month in verdict["months"].as_array().unwrap() {
            assert_eq!(names(month), set(&[&["month"][..], &sums].concat()));
        }
        assert_eq!(verdict["deep"], arguments.contains(&"--deep"));
        assert_eq!(verdict["repaired"], arguments.contains(&"--repair"));
        assert_eq!(verdict["undated"], 0);
        assert!(number(&verdict, "requests") > 0);
    }
}

#[test]
fn with_json_nothing_else_is_on_stdout_and_talk_stays_on_stderr() {
    let world = archived(daily(5, |_| true));
    let ran = world.program(&["verify", "--json"]).run().expect(0);
    assert_eq!(ran.json_lines().len(), 1);
    assert!(ran.stderr.lines().all(|line| line.starts_with("alice: ")));
    ran.says("agree");
}

#[test]
fn quiet_is_silent_about_agreement_but_prints_its_data() {
    let world = archived(daily(5, |_| true));
    for flag in ["--quiet", "-q"] {
        let ran = world.program(&["verify", flag]).run().expect(0);
        assert_eq!(ran.stderr, "");
        assert!(ran.stdout.contains("LAST.FM"), "{}", ran.stdout);
        let ran = world.program(&["verify", flag, "--json"]).run().expect(0);
        assert_eq!((ran.json_lines().len(), ran.stderr.as_str()), (1, ""));
    }
    world.change(|history| history.add(play(2 * DAY, "late")));
    let ran = world.program(&["verify", "-q"]).run().expect(3);
    assert_eq!(ran.errors(), 0, "a disagreement is no error");
    world.program(&["verify", "-q", "--repair"]).run().expect(0);
    let ran = world.program(&["verify", "-q", "ghost"]).run().expect(1);
    assert_eq!(ran.errors(), 1);
}

#[test]
fn plays_without_a_date_are_told_apart_and_never_chased() {
    let world = archived(daily(40, |_| true));
    world
        .server
        .with(|lastfm| lastfm.user_mut("alice").undated = 7);
    for how in [&[][..], &["--deep"], &["--repair"]] {
        let verdict = verify(&world, how, 0);
        assert_eq!(
            (&verdict["undated"], &verdict["missing"]),
            (&7.into(), &0.into())
        );
        let ran = world.program(&[&["verify"], how].concat()).run().expect(0);
        ran.says("7 plays").says("no date");
    }
    world.take_requests();
    verify(&world, &[], 0);
    assert!(world.take_requests() <= 2 + 1);
    // With a difference they are still counted rightly.
    world.change(|history| {
        history.add_all([play(20 * DAY, "late"), play(50 * DAY, "newer")]);
        history.delete(3);
    });
    assert_eq!(verify(&world, &[], 3)["undated"], 7);
    assert_eq!(verify(&world, &["--repair"], 0)["undated"], 7);
}

#[test]
fn a_profile_that_does_not_come_leaves_the_undated_plays_unknown() {
    let world = archived(daily(40, |_| true));
    let is_profile = |info: &fake_lastfm::RequestInfo| info.method == "user.getinfo";
    world.fault_when(usize::MAX, is_profile, Fault::error(10));
    let verdict = verify(&world, &[], 0);
    assert!(verdict["undated"].is_null(), "{verdict}");
}

/// Alice's archive is right, Bob's lacks a play, and there is no ghost.
fn three_users() -> World {
    let world = World::of_users(&[("Alice", daily(5, |_| true)), ("bob", daily(9, |_| true))]);
    world.sync_well(&[]);
    world.server.with(|lastfm| {
        let bob = &mut lastfm.user_mut("bob").history;
        bob.add(play(2 * DAY, "late"));
    });
    world
}

#[track_caller]
fn told(ran: Program, code: i32) -> Vec<(String, bool)> {
    let told = ran.run().expect(code).json_lines().into_iter();
    let one = |object: Value| {
        let user = object["user"].as_str().unwrap().to_owned();
        (user, object["agrees"].as_bool().unwrap())
    };
    told.map(one).collect()
}

#[test]
fn every_user_is_verified_and_the_worst_one_decides_the_exit_status() {
    let world = three_users();
    let verify = |users: &[&str]| world.program(&[&["verify", "--json"], users].concat());
    let (alice, bob) = (("alice".to_owned(), true), ("bob".to_owned(), false));
    let both = [alice.clone(), bob.clone()];
    // Without a name they come from the settings.
    assert_eq!(told(verify(&[]), 3), both);
    assert_eq!(told(verify(&["ALICE"]), 0), both[..1]);
    assert_eq!(told(verify(&["bob", "alice"]), 3), [bob, alice]);
    // One that fails does not keep the others from being verified.
    assert_eq!(told(verify(&["ghost", "alice"]), 1), both[..1]);
    assert_eq!(told(verify(&["alice", "ghost", "bob"]), 1), both);
    let ran = verify(&["ghost", "bob"]).run().expect(1);
    assert_eq!((ran.errors(), ran.count("hint: ")), (1, 1));
    // What passes may pass is worse than what a person has to see to.
    world.fault_when(usize::MAX, |info| info.is_for("bob"), Fault::plain_500());
    assert_eq!(told(verify(&["ghost", "bob", "alice"]), 2), both[..1]);
}

#[test]
fn a_repair_of_several_users_repairs_each() {
    let world = three_users();
    let ran = world.program(&["verify", "--repair", "--json"]);
    let all = [("alice".to_owned(), true), ("bob".to_owned(), true)];
    assert_eq!(told(ran, 0), all);
    assert_eq!(world.everything("bob").late_tracks(), ["late"]);
    assert_eq!(world.everything("alice").late.len(), 0);
    world.everything("bob").assert_today(&world.truth("bob"));
}

#[test]
fn an_unknown_user_is_the_callers_input() {
    let world = archived(daily(5, |_| true));
    for arguments in [&["ghost"][..], &["ghost", "--deep"], &["ghost", "--repair"]] {
        let ran = world.program(&[&["verify"], arguments].concat()).run();
        let ran = ran.expect(1).says("error: ghost: ").says("spelling");
        assert_eq!((ran.errors(), ran.count("hint: ")), (1, 1));
        assert_eq!(ran.stdout, "");
    }
    assert!(!world.archive().join("user=ghost").exists());
}

#[test]
fn a_private_profile_is_told_with_a_hint_and_nothing_is_noted() {
    let world = archived(daily(5, |_| true));
    world
        .server
        .with(|lastfm| lastfm.user_mut("alice").private = true);
    let before = world.snapshot();
    for arguments in [&[][..], &["--deep"], &["--repair"], &["--deep", "--repair"]] {
        let ran = world.program(&[&["verify"], arguments].concat()).run();
        let ran = ran.expect(1).says("the user hides recent listening");
        assert_eq!((ran.errors(), ran.count("hint: ")), (1, 1));
        assert!(world.snapshot() == before);
    }
}

#[test]
fn a_rejected_key_ends_everything_at_once() {
    for code in [4, 10, 26] {
        let world = three_users();
        world.fault_when(usize::MAX, |_| true, Fault::error(code));
        let before = world.snapshot();
        for arguments in [&[][..], &["--deep"], &["--repair"]] {
            world.take_requests();
            let ran = world.program(&[&["verify"], arguments].concat()).run();
            let ran = ran.expect(1).says("rejects the key");
            assert_eq!((ran.errors(), ran.count("hint: ")), (1, 1));
            assert_eq!(world.take_requests(), 1, "code {code} {arguments:?}");
        }
        assert!(world.snapshot() == before);
    }
}

#[test]
fn wrong_flags_and_settings_are_the_callers_input() {
    let world = archived(daily(5, |_| true));
    world.take_requests();
    for arguments in [
        &["--frobnicate"][..],
        &["al ice"],
        &[""],
        &["alice/../bob"],
        &["--deep=yes"],
        &["--dry-run"],
    ] {
        let ran = world.program(&[&["verify"], arguments].concat()).run();
        let ran = ran.expect(1);
        assert!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{ran:?}");
    }
    let unset = |name: &str| world.program(&["verify"]).unset(name).run();
    unset("LASTFM_API_KEY").expect(1).says("LASTFM_API_KEY");
    unset("LASTFM_USERS").expect(1).says("LASTFM_USERS");
    assert_eq!(world.take_requests(), 0);
    // A name makes the setting needless.
    let named = world.program(&["verify", "alice"]).unset("LASTFM_USERS");
    named.run().expect(0);
    // No archive at all.
    let nowhere = Program::new(&["verify", "alice"]).set("LASTFM_API_KEY", "key");
    nowhere.run().expect(1).says("--archive");
}

#[test]
fn help_tells_every_flag() {
    let ran = Program::new(&["verify", "--help"]).run().expect(0);
    for word in [
        "--from",
        "--to",
        "--deep",
        "--repair",
        "--json",
        "--quiet",
        "--archive",
        "USER",
    ] {
        assert!(ran.stdout.contains(word), "no {word}: {}", ran.stdout);
    }
    let ran = Program::new(&["--help"]).run().expect(0);
    assert!(ran.stdout.contains("verify"), "{}", ran.stdout);
}
