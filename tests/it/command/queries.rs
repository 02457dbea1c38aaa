//! The README's queries and the schemas, run on real archives as their readers do.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use fake_lastfm::Play;
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::support::checker::files_below;
use crate::support::duckdb;
use crate::support::local_world::{DAY, World, made_up, plain, play};

/// When, by whom, what; in that order.
type Plays = Vec<(i64, String, String)>;

/// The blocks of a page that are written in this language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let page = fs::read_to_string(page).unwrap();
    let begin = format!("```{language}\n");
    let blocks = page.split(&begin).skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap().to_owned())
        .collect()
}

/// The README's queries, in their order; the first one makes the views.
fn queries() -> Vec<String> {
    blocks("README.md", "sql")
}

fn sorted(plays: impl IntoIterator<Item = (i64, String, String)>) -> Plays {
    let mut plays: Plays = plays.into_iter().collect();
    plays.sort();
    plays
}

/// What a view shows of a user.
#[track_caller]
fn shown(world: &World, view: &str, user: &str) -> Plays {
    let views = &queries()[0];
    let query = format!("SELECT uts, artist, track FROM {view} WHERE username = '{user}'");
    let rows = duckdb::rows(world.outside(), &format!("{views}{query};"));
    let text = |row: &Value, field: &str| row[field].as_str().unwrap().to_owned();
    let play = |row: &Value| {
        let uts = text(row, "uts").parse().unwrap();
        (uts, text(row, "artist"), text(row, "track"))
    };
    sorted(rows.iter().map(play))
}

fn known(plays: &[Play]) -> Plays {
    let play = |play: &Play| (play.uts, play.artist.clone(), play.track.clone());
    sorted(plays.iter().map(play))
}

fn append(file: &Path, lines: &[Value]) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(file)
        .unwrap();
    for line in lines {
        writeln!(file, "{line}").unwrap();
    }
}

/// Every line of the files below `removed/` whose names begin like this; each fits the schema.
#[track_caller]
fn removed_lines(world: &World, series: &str, schema: &str) -> Vec<Value> {
    let schema = format!("{}/schema/{schema}", env!("CARGO_MANIFEST_DIR"));
    let schema: Value = serde_json::from_str(&fs::read_to_string(schema).unwrap()).unwrap();
    let options = jsonschema::options().should_validate_formats(true);
    let schema: Validator = options.build(&schema).unwrap();
    let mut files = files_below(&world.archive().join("removed"));
    files.retain(|file| {
        let name = file.file_name().unwrap().to_str().unwrap();
        name.starts_with(series)
    });
    files.sort();
    let mut lines = Vec::new();
    for file in files {
        for text in fs::read_to_string(file).unwrap().lines() {
            let line: Value = serde_json::from_str(text).unwrap();
            let errors: Vec<_> = schema
                .iter_errors(&line)
                .map(|error| error.to_string())
                .collect();
            assert!(errors.is_empty(), "{errors:?} in {line}");
            lines.push(line);
        }
    }
    lines
}

fn events(lines: &[Value]) -> Vec<&Value> {
    lines.iter().map(|line| &line["event"]).collect()
}

/// A line about an archived play, as the design has it.
fn event(play: &Value, event: &str, noticed_at: &str) -> Value {
    json!({
        "username": play["username"], "id": play["id"], "uts": play["uts"], "artist": play["artist"], "track": play["track"],
        "event": event, "noticed_at": noticed_at,
    })
}

#[test]
fn the_readme_s_queries_read_every_file_that_there_may_be() {
    let world = World::of_users(&[("Alice", made_up(60, 300)), ("2024", plain(20))]);
    world.sync_well(&[]);
    let truth = known(&world.truth("alice"));
    // No late play and no removed one: a pattern that finds nothing is an error to DuckDB.
    assert_eq!(shown(&world, "ever", "alice"), truth);
    assert_eq!(shown(&world, "today", "alice"), truth);

    let lines = world.lines("alice").0;
    let [one, two, three, four, five] = &lines[..5] else {
        panic!("too few plays")
    };
    let mut late = one.clone();
    late["track"] = "Late".into();
    late["id"] = "0123456789abcdef0123456789abcdef".into();
    let month = world.file("year=2020/month=01");
    // A play that is there twice is one play.
    append(&month.join("late-0.ndjson"), &[late.clone(), five.clone()]);
    let day = |day: u32| format!("2026-11-{day:02}T18:26:42.703123Z");
    let removed = world.archive().join("removed/user=alice");
    let first = [
        event(one, "removed", &day(1)),
        event(two, "removed", &day(1)),
        event(three, "removed", &day(1)),
        event(two, "returned", &day(2)),
        event(three, "returned", &day(2)),
    ];
    append(&removed.join("part-0.ndjson"), &first);
    append(
        &removed.join("part-1.ndjson"),
        &[event(three, "removed", &day(3))],
    );
    let mut missing = event(four, "missing", &day(3));
    missing["run"] = "mark".into();
    append(&removed.join("missing-0.ndjson"), &[missing]);
    assert_eq!(
        removed_lines(&world, "part-", "removed.schema.json").len(),
        6
    );
    assert_eq!(
        removed_lines(&world, "missing-", "missing.schema.json").len(),
        1
    );

    let of = |line: &Value| {
        let text = |field: &str| line[field].as_str().unwrap().to_owned();
        (line["uts"].as_i64().unwrap(), text("artist"), text("track"))
    };
    let ever = sorted(truth.iter().cloned().chain([of(&late)]));
    let is_gone = |play: &(i64, String, String)| [of(one), of(three)].contains(play);
    let today: Plays = ever.iter().filter(|play| !is_gone(play)).cloned().collect();
    assert_eq!(today.len(), ever.len() - 2);
    assert_eq!(shown(&world, "ever", "alice"), ever);
    assert_eq!(shown(&world, "today", "alice"), today);
    // Another user's plays are theirs, also when the name is a number.
    let other = known(&world.truth("2024"));
    assert_eq!(shown(&world, "ever", "2024"), other);
    assert_eq!(shown(&world, "today", "2024"), other);
}

#[test]
fn text_is_read_as_it_was_written() {
    let zone = [("LASTFM_USERS", "alice=Asia/Kolkata")];
    let world = World::of(vec![play(0, "2024-05-01"), play(60, "1e5"), play(120, "")]);
    world.sync_well(&zone);
    let views = &queries()[0];
    let query = "SELECT track, local_time, year, month FROM ever ORDER BY uts";
    let rows = duckdb::rows(world.outside(), &format!("{views}{query};"));
    let row = |track: &str, minute: i64| json!({ "track": track, "local_time": format!("2020-01-01T05:{:02}:00+05:30", 30 + minute), "year": 2020, "month": 1 });
    assert_eq!(rows, [row("2024-05-01", 0), row("1e5", 1), row("", 2)]);
}

#[test]
fn the_example_query_runs_on_the_views() {
    let mut plays = plain(3);
    plays.extend((0..2).map(|day| Play::new(play(day * DAY + 7, "").uts, "Another", "Track")));
    let world = World::of_users(&[("rj", plays)]);
    world.sync_well(&[]);
    let [views, years] = &queries()[..] else {
        panic!("the README has other queries than the test knows")
    };
    let rows = duckdb::rows(world.outside(), &format!("{views}{years}"));
    assert_eq!(
        rows,
        [json!({ "year": 2020, "artist": "Artist", "plays": "3" })]
    );
}

/// Looks at everything, play by play, and repairs what it finds.
#[track_caller]
fn repair(world: &World) {
    world
        .program(&["verify", "--deep", "--repair", "--quiet"])
        .run()
        .expect(0);
}

#[test]
fn the_readme_s_queries_tell_everything_ever_scrobbled_from_what_lastfm_shows_today() {
    let world = World::of_users(&[("Alice", made_up(62, 400)), ("Bob", made_up(63, 50))]);
    world.sync_well(&[]);
    let before = known(&world.truth("alice"));

    let late = play(10 * DAY + 12_345, "Came two weeks late");
    let mut removed = None;
    world.change(|history| {
        history.add(late.clone());
        removed = history.delete(200);
        history.edit(100, |play| play.track.push_str(" (corrected)"));
    });
    let removed = removed.unwrap();
    repair(&world);
    let truth = known(&world.truth("alice"));
    assert_eq!(shown(&world, "today", "alice"), truth);
    let mut ever = before.clone();
    ever.extend(truth.iter().filter(|play| !before.contains(play)).cloned());
    let ever = sorted(ever);
    assert_eq!(
        ever.len(),
        before.len() + 2,
        "the late play and the edited one"
    );
    assert_eq!(shown(&world, "ever", "alice"), ever);
    let lines = removed_lines(&world, "part-", "removed.schema.json");
    assert_eq!(events(&lines), ["removed"; 2]);
    removed_lines(&world, "missing-", "missing.schema.json");

    // What comes back is there once, and nothing was lost on the way.
    world.change(|history| history.add(removed.clone()));
    repair(&world);
    let truth = known(&world.truth("alice"));
    assert_eq!(shown(&world, "today", "alice"), truth);
    assert_eq!(shown(&world, "ever", "alice"), ever);
    let lines = removed_lines(&world, "part-", "removed.schema.json");
    assert_eq!(events(&lines), ["removed", "removed", "returned"]);
    assert_eq!(lines[2]["track"], removed.track);
    let bob = known(&world.truth("bob"));
    assert_eq!(shown(&world, "today", "bob"), bob);
}

/// What a line of shell prints in the directory around the archive.
#[track_caller]
fn shell(world: &World, script: &str) -> String {
    let output = Command::new("sh")
        .args(["-c", script])
        .current_dir(world.outside())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {stderr}");
    assert_eq!(stderr, "", "{script}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_commands_that_check_an_archive_by_hand_work_on_one_with_a_late_and_a_removed_play() {
    let page = blocks("docs/guarantees.md", "sh");
    let [_verify, in_order, twice, how_many, events, id] = &page[..] else {
        panic!("the page has other commands than the test knows")
    };
    let world = World::of_users(&[("rj", made_up(64, 300))]);
    world.sync_well(&[]);
    assert_eq!(shell(&world, in_order), "in order\n");
    assert_eq!(shell(&world, twice), "");
    assert_eq!(shell(&world, how_many).trim(), "300");
    assert_eq!(shell(&world, events), "nothing was removed\n");

    let low = Play::new(1_714_560_000, "Low", "Words");
    world.server.with(|lastfm| {
        let history = &mut lastfm.user_mut("rj").history;
        history.delete(100);
        history.add(play(DAY, "Late"));
        history.add(low);
    });
    repair(&world);
    assert_eq!(shell(&world, in_order), "in order\n");
    assert_eq!(shell(&world, twice), "");
    assert_eq!(shell(&world, how_many).trim(), "302");
    assert_eq!(shell(&world, events).lines().count(), 1);
    let newest = world
        .archive()
        .join("user=rj/year=2024/month=05/part-0.ndjson");
    let newest: Value = serde_json::from_str(&fs::read_to_string(newest).unwrap()).unwrap();
    assert_eq!(newest["id"], shell(&world, id).trim());
}
