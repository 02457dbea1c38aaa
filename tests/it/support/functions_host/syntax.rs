//! The small languages of host.json and function.json: `%SETTING%`, names, time spans.

use std::time::Duration;

use super::app::Settings;
use serde::Deserialize;

/// Replaces each `%SETTING%`; one without a value is an error, as in the host.
pub(super) fn expand(text: &str, settings: &Settings) -> Result<String, String> {
    expand_with(text, |name| match settings.get(name) {
        Some(value) => Ok(value.clone()),
        None => Err(format!("`%{name}%` does not resolve to a value")),
    })
}

/// Replaces each `%NAME%` by what `value_of` says.
pub(super) fn expand_with<E>(
    text: &str,
    value_of: impl Fn(&str) -> Result<String, E>,
) -> Result<String, E> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        let Some((name, after)) = after.split_once('%') else {
            break;
        };
        expanded.push_str(before);
        expanded.push_str(&value_of(name)?);
        rest = after;
    }
    Ok(expanded + rest)
}

/// Whether a folder of this name is a function to the host.
pub(super) fn is_function_name(name: &str) -> bool {
    let legal = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.len() <= 128
        && name.chars().all(legal)
        && !name.eq_ignore_ascii_case("host")
}

/// Whether the storage service takes this name.
pub(super) fn is_queue_name(name: &str) -> bool {
    let legal = |character: char| {
        character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-'
    };
    (3..=63).contains(&name.len())
        && name.chars().all(legal)
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}

/// For fields of host.json.
pub(super) fn time_span<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    parse_time_span(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

/// Reads `hh:mm:ss`, the only form that the project uses.
pub(super) fn parse_time_span(text: &str) -> Result<Duration, String> {
    let numbers: Result<Vec<u64>, _> = text.split(':').map(str::parse).collect();
    match numbers.as_deref() {
        Ok([hours, minutes, seconds]) if *hours < 24 && *minutes < 60 && *seconds < 60 => {
            Ok(Duration::from_secs(hours * 3600 + minutes * 60 + seconds))
        }
        _ => Err(format!("`{text}` is not a time span `hh:mm:ss`")),
    }
}
