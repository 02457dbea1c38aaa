//! Where words go: logs of `serve` to stdout as JSON lines (the host turns stderr lines into errors), the talk of
//! every other command to stderr.

use crate::settings::Invalid;
use indicatif::MultiProgress;
use std::io::{self, Write};
use std::sync::OnceLock;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt};

/// The progress bars that a line on stderr must not tear, if there are any.
static BARS: OnceLock<MultiProgress> = OnceLock::new();

/// Logs as JSON lines with their fields on top, to stdout.
pub fn to_stdout_as_json(lookup: &dyn Fn(&str) -> Option<String>) -> Result<(), Invalid> {
    // The SDK tells each request that fails, which is a detail of the attempt; what comes of it is told by us.
    let filter = filter(lookup, "info,typespec_client_core=warn")?;
    let lines = fmt::layer()
        .json()
        .flatten_event(true)
        // The invocation in which a line was written, if any.
        .with_current_span(true)
        .with_span_list(false)
        .with_writer(io::stdout);
    let _ = Registry::default().with(filter).with(lines).try_init();
    Ok(())
}

/// Warnings and errors as plain lines to stderr, above the progress bars.
pub fn to_stderr(lookup: &dyn Fn(&str) -> Option<String>) -> Result<(), Invalid> {
    let filter = filter(lookup, "warn")?;
    let lines = fmt::layer()
        .without_time()
        .with_target(false)
        .with_ansi(false)
        .with_writer(AboveBars);
    let _ = Registry::default().with(filter).with(lines).try_init();
    Ok(())
}

/// Levels by target, without `EnvFilter`, which brings an engine for regular expressions that nothing else needs.
fn filter(lookup: &dyn Fn(&str) -> Option<String>, default: &str) -> Result<Targets, Invalid> {
    let directives = lookup("RUST_LOG").filter(|value| !value.trim().is_empty());
    let directives = directives.as_deref().unwrap_or(default).trim();
    let filter = if directives.contains('\u{fffd}') {
        None
    } else {
        directives.parse().ok()
    };
    filter.ok_or_else(|| {
        Invalid(
            "`RUST_LOG` must be a level (`error`, `warn`, `info`, `debug`, `trace`) or `target=level` pairs \
             separated by commas"
                .to_owned(),
        )
    })
}

/// Draws the bars of this process from now on, and keeps other lines above them.
pub fn bars() -> &'static MultiProgress {
    BARS.get_or_init(MultiProgress::new)
}

/// One line on stderr.
pub fn say(line: &str) {
    // In one piece: the bars are drawn again after each write.
    let _ = AboveBars.write_all(format!("{line}\n").as_bytes());
}

/// A question on stderr; the answer comes on the same line.
pub fn ask(question: &str) {
    let _ = AboveBars.write_all(question.as_bytes());
}

/// One line of data on stdout.
pub fn print(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

struct AboveBars;

impl MakeWriter<'_> for AboveBars {
    type Writer = AboveBars;

    fn make_writer(&self) -> AboveBars {
        AboveBars
    }
}

impl Write for AboveBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let write = || io::stderr().write_all(bytes);
        match BARS.get() {
            Some(bars) => bars.suspend(write)?,
            None => write()?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
