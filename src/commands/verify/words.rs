//! What a verification has found, as data and in words.

use super::Options;
use crate::commands::Exit;
use crate::commands::progress::Talk;
use crate::logging;
use crate::user::UserName;
use crate::verify::{Sums, Verdict};

/// Tells what was found, as data and in words.
pub(super) fn tell(user: &UserName, verdict: &Verdict, options: &Options, talk: Talk) -> Exit {
    if options.json {
        logging::print(&to_json(user, verdict, options).to_string());
    } else {
        logging::print(&row(
            user.as_str(),
            "ARCHIVED",
            "LATE",
            "REMOVED",
            "LAST.FM",
            "DIFFERENCE",
        ));
        for (month, sums) in &verdict.months {
            logging::print(&to_row(&month.to_string(), sums));
        }
        logging::print(&to_row("all", &verdict.sum()));
    }
    for line in in_words(verdict, options) {
        talk.say(&format!("{user}: {line}"));
    }
    if verdict.agrees() {
        Exit::Done
    } else {
        Exit::Disagreement
    }
}

fn in_words(verdict: &Verdict, options: &Options) -> Vec<String> {
    let mut lines = Vec::new();
    let recorded = &verdict.recorded;
    let older = verdict.missing - verdict.newer;
    if older > 0 {
        let what = match (options.repair, recorded.late + recorded.returned >= older) {
            (true, true) => "; now they are there",
            _ => "",
        };
        lines.push(format!(
            "{}{what}",
            plays(older, "that Last.fm has and the archive lacks")
        ));
    }
    if verdict.newer > 0 {
        lines.push(format!(
            "{}: run `sync`",
            plays(verdict.newer, "newer than everything in the archive")
        ));
    }
    if verdict.vanished > 0 {
        let noted = if options.repair && recorded.removed >= verdict.vanished {
            "; that is noted now"
        } else {
            ""
        };
        lines.push(format!(
            "{}{noted}",
            plays(
                verdict.vanished,
                "that the archive has and Last.fm no longer shows"
            )
        ));
    }
    if let Some(undated) = verdict.undated.filter(|undated| *undated > 0) {
        lines.push(format!(
            "{}: nobody can archive these",
            plays(
                undated,
                "that the profile counts and that have no date, or one in the future"
            )
        ));
    }
    let how = if options.deep {
        "play by play"
    } else {
        "by count"
    };
    let conclusion = match (verdict.agrees(), options.repair) {
        (true, _) => format!("archive and Last.fm agree, {how}"),
        (false, false) => {
            "archive and Last.fm disagree; `verify --repair` makes the archive complete".to_owned()
        }
        (false, true) => "archive and Last.fm still disagree; run it again".to_owned(),
    };
    lines.push(format!("{conclusion} ({} requests)", verdict.requests));
    lines
}

fn plays(count: u64, what: &str) -> String {
    let noun = if count == 1 { "play" } else { "plays" };
    format!("{count} {noun} {what}")
}

fn to_json(user: &UserName, verdict: &Verdict, options: &Options) -> serde_json::Value {
    let sums = |sums: &Sums| {
        serde_json::json!({
            "archived": sums.archived,
            "late": sums.late,
            "removed": sums.removed,
            "lastfm": sums.lastfm,
            "difference": sums.difference(),
        })
    };
    let months: Vec<_> = verdict
        .months
        .iter()
        .map(|(month, of_month)| {
            let mut object = sums(of_month);
            object["month"] = month.to_string().into();
            object
        })
        .collect();
    let mut object = sums(&verdict.sum());
    object["user"] = user.as_str().into();
    object["from"] = verdict.range.and_then(|range| range.from).into();
    object["to"] = verdict.range.map(|range| range.to).into();
    object["deep"] = options.deep.into();
    object["repaired"] = options.repair.into();
    object["agrees"] = verdict.agrees().into();
    object["missing"] = verdict.missing.into();
    object["newer"] = verdict.newer.into();
    object["vanished"] = verdict.vanished.into();
    object["undated"] = verdict.undated.into();
    object["requests"] = verdict.requests.into();
    object["months"] = months.into();
    object
}

fn to_row(name: &str, sums: &Sums) -> String {
    let difference = match sums.difference() {
        0 => "0".to_owned(),
        difference => format!("{difference:+}"),
    };
    row(
        name,
        &sums.archived.to_string(),
        &sums.late.to_string(),
        &sums.removed.to_string(),
        &sums.lastfm.to_string(),
        &difference,
    )
}

fn row(
    name: &str,
    archived: &str,
    late: &str,
    removed: &str,
    lastfm: &str,
    difference: &str,
) -> String {
    format!("{name:<16}  {archived:>10}  {late:>8}  {removed:>8}  {lastfm:>10}  {difference:>10}")
}
