//! What is refused, and the bodies that are no JSON.

use fake_lastfm::{Fault, LastFm, RateLimit};

use crate::{NOW_MS, alice, ask, json};

#[track_caller]
fn assert_refused(lastfm: &mut LastFm, query: &str, status: u16, code: u16, message: &str) {
    let answer = lastfm.answer(query, None, NOW_MS);
    let body = json(&answer);
    assert_eq!(answer.status, status);
    assert_eq!(body["error"], code);
    assert_eq!(body["message"], message);
    assert_eq!(lastfm.log.entries().last().unwrap().code, Some(code));
}

const MISSING: &str = "Invalid parameters - Your request is missing a required parameter";
const RECENT: &str = "method=user.getrecenttracks&format=json&api_key=k";

#[test]
fn bad_requests_are_refused_as_last_fm_refuses_them() {
    let mut lastfm = alice([10]);
    let limit = "limit param out of bounds (1-1000)";
    let page = "page param out of bounds (1-1000000)";
    for (parameters, status, message) in [
        ("", 400, MISSING),
        ("&user=nobody", 404, "User not found"),
        ("&user=alice&limit=0", 400, limit),
        ("&user=alice&limit=1001", 400, limit),
        ("&user=alice&page=0", 400, page),
        ("&user=alice&page=1000001", 400, page),
    ] {
        let query = format!("{RECENT}{parameters}");
        assert_refused(&mut lastfm, &query, status, 6, message);
    }
    let unknown = "Invalid Method - No method with that name in this package";
    assert_refused(
        &mut lastfm,
        "method=user.getLost&format=json",
        400,
        3,
        unknown,
    );
}

#[test]
fn private_and_removed_users_are_refused() {
    let mut lastfm = alice([10]);
    let query = format!("{RECENT}&user=ALICE");
    lastfm.user_mut("alice").private = true;
    let message = "Login: User required to be logged in";
    assert_refused(&mut lastfm, &query, 403, 17, message);
    lastfm.remove_user("alice").unwrap();
    assert_refused(&mut lastfm, &query, 404, 6, "User not found");
}

#[test]
fn keys_are_checked() {
    let mut lastfm = alice([10]);
    lastfm.config.accepted_keys = Some(vec!["good".to_owned()]);
    lastfm.config.suspended_keys = vec!["lost".to_owned()];
    let query = |key| format!("method=user.getRecentTracks&user=alice&format=json{key}");
    let invalid = "Invalid API key - You must be granted a valid key by last.fm";
    let suspended =
        "Suspended API key - Access for your account has been suspended, please contact Last.fm";
    assert_refused(&mut lastfm, &query("&api_key=bad"), 403, 10, invalid);
    assert_refused(&mut lastfm, &query(""), 403, 10, invalid);
    assert_refused(&mut lastfm, &query("&api_key=lost"), 403, 26, suspended);
    let answer = lastfm.answer(&query("&api_key=good"), None, NOW_MS);
    assert_eq!(answer.status, 200);
}

fn with_rate(requests_per_second: usize, burst: usize) -> LastFm {
    let mut lastfm = alice([10]);
    lastfm.config.rate_limit = Some(RateLimit {
        requests_per_second,
        burst,
        retry_after_seconds: Some(7),
    });
    lastfm
}

#[test]
fn more_requests_than_the_rate_allows_are_refused() {
    let mut lastfm = with_rate(2, 2);
    let query = format!("{RECENT}&user=alice");
    // A refused request takes nothing: at 500 there is one again.
    let times = [0, 1, 499, 499, 500, 999, 1_000, 9_000, 9_000, 9_001];
    let statuses = times.map(|at_ms| lastfm.answer(&query, None, at_ms).status);
    assert_eq!(statuses, [200, 200, 429, 429, 200, 429, 200, 200, 200, 429]);
    let answer = lastfm.answer(&query, None, 9_002);
    assert_eq!(answer.header("retry-after"), Some("7"));
    assert_eq!(json(&answer)["error"], 29);
    // A clock that is set back fills nothing.
    assert_eq!(lastfm.answer(&query, None, 0).status, 429);
}

#[test]
fn one_request_in_each_interval_needs_a_burst_of_two_and_no_more() {
    let query = format!("{RECENT}&user=alice");
    // Now early and now late in its interval.
    let times: Vec<i64> = (0..200).map(|k| k * 250 + k * 101 % 250).collect();
    let refused = |burst| {
        let mut lastfm = with_rate(4, burst);
        let statuses = times
            .iter()
            .map(|at_ms| lastfm.answer(&query, None, *at_ms).status);
        let refused = statuses.filter(|status| *status == 429).count();
        (
            refused,
            lastfm.log.busiest(1_000),
            lastfm.log.busiest(10_000),
        )
    };
    assert_eq!(refused(2), (0, 5, 41));
    assert!(refused(1).0 > 20);
}

#[test]
fn without_a_format_the_answer_is_xml() {
    let mut lastfm = alice([10]);
    let query = "method=user.getRecentTracks&user=alice&api_key=k";
    let answer = lastfm.answer(query, None, NOW_MS);
    assert_eq!(answer.status, 200);
    assert!(answer.body.starts_with(b"<?xml"));
}

#[test]
fn user_info_tells_the_playcount() {
    let mut lastfm = alice([10, 20]);
    let query = "method=user.getInfo&user=alice&api_key=k&format=json";
    let body = json(&lastfm.answer(query, None, NOW_MS));
    assert_eq!(body["user"]["name"], "Alice");
    assert_eq!(body["user"]["playcount"], "2");
    assert_eq!(body["user"]["registered"]["unixtime"], "10");
    assert_eq!(body["user"]["registered"]["#text"], 10);
}

#[test]
fn plays_without_a_date_are_counted_by_the_profile_alone() {
    let mut lastfm = alice([10, 20]);
    lastfm.user_mut("alice").undated = 5;
    let query = "method=user.getInfo&user=alice&api_key=k&format=json";
    let body = json(&lastfm.answer(query, None, NOW_MS));
    assert_eq!(body["user"]["playcount"], "7");
    let body = json(&ask(&mut lastfm, "limit=1"));
    assert_eq!(body["recenttracks"]["@attr"]["total"], "2");
    lastfm.user_mut("alice").history.delete(0);
    let body = json(&lastfm.answer(query, None, NOW_MS));
    assert_eq!(body["user"]["playcount"], "6");
}

#[test]
fn scripted_bodies_replace_the_true_one() {
    let mut lastfm = alice([10, 20]);
    let whole = ask(&mut lastfm, "").body;
    for fault in [
        Fault::Error {
            code: 11,
            status: 200,
        },
        Fault::RateLimited {
            retry_after_seconds: Some(3),
        },
        Fault::Html(502),
        Fault::plain_500(),
        Fault::EmptyBody,
        Fault::TruncatedJson,
        Fault::HugeBody(1_000_000),
    ] {
        lastfm.faults.push(fault);
    }
    let offline = ask(&mut lastfm, "");
    assert_eq!(
        (offline.status, json(&offline)["error"].as_i64()),
        (200, Some(11))
    );
    assert_eq!(ask(&mut lastfm, "").header("retry-after"), Some("3"));
    let html = ask(&mut lastfm, "");
    assert_eq!(html.status, 502);
    assert!(html.body.starts_with(b"\n<html>"));
    assert_eq!(ask(&mut lastfm, "").status, 500);
    assert!(ask(&mut lastfm, "").body.is_empty());
    assert_eq!(ask(&mut lastfm, "").body.len(), whole.len() / 2);
    let huge = ask(&mut lastfm, "");
    assert_eq!(huge.body.len(), 1_000_000);
    assert_eq!(json(&huge)["recenttracks"]["@attr"]["total"], "2");
}
