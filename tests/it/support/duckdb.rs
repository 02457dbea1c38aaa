//! `DuckDB`, to run the queries of the documentation as their readers do.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use super::npm;

/// Runs statements with `folder` as the working directory; the rows of the last one, each an object. Numbers beyond 32 bits are texts
/// in them.
#[track_caller]
pub(crate) fn rows(folder: &Path, sql: &str) -> Vec<Value> {
    let mut child = npm::script("duckdb.mjs")
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect(npm::NODE_MISSING);
    // Closed at the end of the statement, which is how the script knows that it has everything.
    child
        .stdin
        .take()
        .unwrap()
        .write_all(sql.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "DuckDB: {stderr}\n{sql}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    let lines = stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
