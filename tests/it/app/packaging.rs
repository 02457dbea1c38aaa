//! The deployable folder and the zip: what is in them, and what never is.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const FUNCTIONS: [&str; 4] = [
    "enqueue_users",
    "fetch_pages",
    "reconcile_user",
    "reconcile_users",
];

/// A copy of what the script works on, so that no test writes into the repository.
fn copy_of_the_repository() -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in ["package.sh", "host.json"] {
        fs::copy(Path::new(ROOT).join(name), copy.path().join(name)).unwrap();
    }
    for function in FUNCTIONS {
        let folder = Path::new("function-triggers").join(function);
        fs::create_dir_all(copy.path().join(&folder)).unwrap();
        let file = folder.join("function.json");
        fs::copy(Path::new(ROOT).join(&file), copy.path().join(&file)).unwrap();
    }
    // Any bytes will do for a program that is only packed; its own mode must not matter.
    fs::write(copy.path().join("program"), b"\x7fELF any bytes").unwrap();
    fs::set_permissions(
        copy.path().join("program"),
        fs::Permissions::from_mode(0o600),
    )
    .unwrap();
    copy
}

fn package(root: &Path, arguments: &[&str]) -> Output {
    Command::new(root.join("package.sh"))
        .args(arguments)
        .current_dir("/")
        .output()
        .unwrap()
}

#[track_caller]
fn packaged(root: &Path, arguments: &[&str]) {
    let output = package(root, arguments);
    assert!(output.status.success(), "{output:?}");
}

fn files_below(folder: &Path) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap();
                files.insert(name.to_str().unwrap().to_owned());
            }
        }
    }
    files
}

fn expected_files() -> BTreeSet<String> {
    let files = ["host.json", "lastfm-archive"].map(str::to_owned);
    let functions = FUNCTIONS.map(|name| format!("{name}/function.json"));
    files.into_iter().chain(functions).collect()
}

/// Names, modes and sizes in a zip, read by a program that is not ours.
fn zip_entries(zip: &Path) -> Vec<(String, u32, String)> {
    const READ: &str = "import sys,zipfile,json
z=zipfile.ZipFile(sys.argv[1])
print(json.dumps([[i.filename,i.external_attr>>16,z.read(i).decode('latin-1')] for i in z.infolist()]))";
    let output = Command::new("python3")
        .args(["-c", READ])
        .arg(zip)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_folder_holds_a_fixed_list_of_files_and_nothing_from_before() {
    let copy = copy_of_the_repository();
    let root = copy.path();
    let out = root.join("out");
    fs::create_dir_all(out.join("old_function")).unwrap();
    fs::write(out.join("old_function/function.json"), "{}").unwrap();
    fs::write(root.join("stray.txt"), "stray").unwrap();
    packaged(root, &["--binary", "program", "--out", "out"]);
    assert_eq!(files_below(&out), expected_files());
    let mode = fs::metadata(out.join("lastfm-archive")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o755);
    let program = fs::read(out.join("lastfm-archive")).unwrap();
    assert_eq!(program, fs::read(root.join("program")).unwrap());
}

#[test]
fn local_settings_are_for_the_folder_and_never_for_the_zip() {
    let copy = copy_of_the_repository();
    let root = copy.path();
    fs::write(root.join("local.settings.json"), "{\"secret\":1}").unwrap();
    let arguments = [
        "--binary",
        "program",
        "--out",
        "out",
        "--zip",
        "zips/app.zip",
    ];
    packaged(root, &arguments);
    let mut with_settings = expected_files();
    with_settings.insert("local.settings.json".to_owned());
    assert_eq!(files_below(&root.join("out")), with_settings);
    let entries = zip_entries(&root.join("zips/app.zip"));
    let names: BTreeSet<_> = entries.iter().map(|entry| entry.0.clone()).collect();
    assert_eq!(names, expected_files());
    assert!(entries.iter().all(|entry| !entry.2.contains("secret")));
}

#[test]
fn the_zip_keeps_modes_and_has_the_same_bytes_each_time() {
    let copy = copy_of_the_repository();
    let root = copy.path();
    let zip = |name: &str| {
        packaged(
            root,
            &["--binary", "program", "--out", "out", "--zip", name],
        );
        fs::read(root.join(name)).unwrap()
    };
    let first = zip("first.zip");
    // Neither the time of the files nor what else lies around may matter.
    let old = fs::File::open(root.join("host.json")).unwrap();
    old.set_modified(std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_hours(400_000))
        .unwrap();
    fs::write(root.join("local.settings.json"), "{}").unwrap();
    assert_eq!(first, zip("second.zip"));
    for (name, mode, _) in zip_entries(&root.join("first.zip")) {
        let wanted = if name == "lastfm-archive" {
            0o755
        } else {
            0o644
        };
        assert_eq!(mode & 0o777, wanted, "{name}");
        assert_eq!(mode & 0o170_000, 0o100_000, "{name} is a regular file");
    }
}

#[test]
fn a_wrong_call_of_the_script_fails_and_says_why() {
    let copy = copy_of_the_repository();
    for arguments in [
        &["--binary"][..],
        &["--unknown", "x"],
        &["--binary", "no-such-file", "--out", "out"],
    ] {
        let output = package(copy.path(), arguments);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
    assert!(!copy.path().join("out").exists());
}

fn read_json(path: &str) -> Value {
    let text = fs::read_to_string(Path::new(ROOT).join(path)).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn the_triggers_are_bound_by_settings_and_as_bytes() {
    for (function, schedule) in [
        ("enqueue_users", "%SYNC_SCHEDULE%"),
        ("reconcile_users", "%RECONCILE_SCHEDULE%"),
    ] {
        let timer = read_json(&format!("function-triggers/{function}/function.json"));
        let binding = &timer["bindings"][0];
        assert_eq!(timer["bindings"].as_array().unwrap().len(), 1);
        assert_eq!(binding["type"], "timerTrigger");
        assert_eq!(binding["schedule"], schedule);
        let retry =
            json!({ "strategy": "fixedDelay", "maxRetryCount": 3, "delayInterval": "00:01:00" });
        assert_eq!(timer["retry"], retry);
        assert_ne!(binding["runOnStartup"], true);
    }
    for (function, queue_name) in [
        ("fetch_pages", "%WORK_QUEUE%"),
        ("reconcile_user", "%RECONCILE_QUEUE%"),
    ] {
        let queue = read_json(&format!("function-triggers/{function}/function.json"));
        let binding = &queue["bindings"][0];
        assert_eq!(queue["bindings"].as_array().unwrap().len(), 1);
        assert_eq!(binding["type"], "queueTrigger");
        assert_eq!(binding["name"], "item");
        assert_eq!(binding["queueName"], queue_name);
        assert_eq!(binding["dataType"], "binary");
        assert_eq!(binding["connection"], "AzureWebJobsStorage");
        assert_eq!(queue.get("retry"), None);
    }
}

#[test]
fn host_json_has_the_values_of_the_design() {
    let host = read_json("host.json");
    let queues = json!({
        "batchSize": 16, "newBatchThreshold": 8, "visibilityTimeout": "00:00:30", "maxDequeueCount": 5,
        "maxPollingInterval": "00:00:10", "messageEncoding": "none",
    });
    assert_eq!(host["version"], "2.0");
    assert_eq!(host["extensions"]["queues"], queues);
    assert_eq!(host["functionTimeout"], "00:02:00");
    assert_eq!(host["extensionBundle"]["version"], "[4.*, 5.0.0)");
    assert_eq!(
        host["customHandler"]["description"],
        json!({ "defaultExecutablePath": "lastfm-archive", "arguments": ["serve"] })
    );
    let sampling = &host["logging"]["applicationInsights"]["samplingSettings"];
    let excluded: BTreeSet<_> = sampling["excludedTypes"]
        .as_str()
        .unwrap()
        .split(';')
        .collect();
    assert_eq!(excluded, BTreeSet::from(["Exception", "Request", "Trace"]));
}

#[test]
fn the_example_settings_hold_no_key_and_every_name_that_the_triggers_need() {
    let values = &read_json("local.settings.example.json")["Values"];
    for name in [
        "SYNC_SCHEDULE",
        "WORK_QUEUE",
        "RECONCILE_SCHEDULE",
        "RECONCILE_QUEUE",
        "AzureWebJobsStorage",
        "LASTFM_API_KEY",
    ] {
        assert!(values[name].is_string(), "{name}");
    }
    assert_eq!(values["FUNCTIONS_WORKER_RUNTIME"], "custom");
    let key = values["LASTFM_API_KEY"].as_str().unwrap();
    assert!(!key.bytes().all(|digit| digit.is_ascii_hexdigit()), "{key}");
}

fn names_in(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(Path::new(ROOT).join(folder)).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn folder_route_and_module_of_a_function_share_one_name() {
    let folders = names_in("function-triggers");
    let wanted: BTreeSet<_> = FUNCTIONS.map(str::to_owned).into();
    assert_eq!(folders, wanted);
    let modules = names_in("src/triggers");
    let router = fs::read_to_string(Path::new(ROOT).join("src/triggers/mod.rs")).unwrap();
    for name in &folders {
        assert!(modules.contains(&format!("{name}.rs")), "{name}");
        assert!(router.contains(&format!("\"/{name}\"")), "{name}");
        assert_eq!(names_in(&format!("function-triggers/{name}")).len(), 1);
    }
}

/// Every Rust file of the repository.
fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in [
        "src",
        "tests/it",
        "fake-lastfm/src",
        "fake-lastfm/tests",
        "benches",
    ] {
        let folder = Path::new(ROOT).join(folder);
        let below = files_below(&folder);
        files.extend(below.iter().map(|name| folder.join(name)));
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    assert!(files.len() > 50, "{files:?}");
    files
}

#[test]
fn no_source_file_is_longer_than_400_lines() {
    let lines = |path: &PathBuf| fs::read_to_string(path).unwrap().lines().count();
    let long: Vec<_> = sources()
        .into_iter()
        .map(|path| (lines(&path), path))
        .filter(|(lines, _)| *lines > 400)
        .collect();
    assert_eq!(long, []);
}

#[test]
fn every_module_says_first_what_it_is_for() {
    let silent: Vec<_> = sources()
        .into_iter()
        .filter(|path| !fs::read_to_string(path).unwrap().starts_with("//! "))
        .collect();
    assert!(silent.is_empty(), "{silent:?}");
}

#[test]
fn no_test_sleeps_or_is_ignored() {
    let words = ["thread::sleep", "time::sleep", "#[ignore"];
    let offenders: Vec<_> = sources()
        .into_iter()
        .filter(|path| path.starts_with(Path::new(ROOT).join("tests")))
        .filter(|path| !path.ends_with("packaging.rs"))
        // A fake that is slow on purpose; nobody waits there for anything.
        .filter(|path| !path.ends_with("support/identity.rs"))
        .filter(|path| {
            let text = fs::read_to_string(path).unwrap();
            words.iter().any(|word| text.contains(word))
        })
        .collect();
    assert!(offenders.is_empty(), "{offenders:?}");
}
