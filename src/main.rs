//! The command line of `lastfm-archive`.

use std::process::ExitCode;

fn main() -> ExitCode {
    lastfm_archive::commands::run(std::env::args_os(), &variable).into()
}

/// The one place that reads the environment. A value that is no text cannot be used by any setting.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
