//! The command line of `lastfm-archive`.

use std::process::ExitCode;

fn main() -> ExitCode {
    lastfm_archive::commands::run(std::env::args_os(), &variable).into()
}

/// The one place that reads the environment. What is not UTF-8 shows by its replacement characters, and is refused.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}
