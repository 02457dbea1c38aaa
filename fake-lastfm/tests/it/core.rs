//! Pages, windows, changes while paging, the log.

use fake_lastfm::{Bound, Fault, PastTheEnd, Play};

use crate::{NOW_MS, alice, ask, names, page, play};

#[test]
fn pages_run_from_the_newest_play_to_the_oldest() {
    let mut lastfm = alice([10, 20, 30, 40, 50]);
    assert_eq!(names(&mut lastfm, "limit=2"), "t50 t40");
    assert_eq!(names(&mut lastfm, "limit=2&page=2"), "t30 t20");
    assert_eq!(names(&mut lastfm, "limit=2&page=3"), "t10");
    assert_eq!(names(&mut lastfm, "limit=2&page=4"), "");
    assert_eq!(names(&mut lastfm, ""), "t50 t40 t30 t20 t10");
}

#[test]
fn the_attributes_describe_the_window_in_strings_and_canonical_case() {
    let mut lastfm = alice([10, 20, 30, 40, 50]);
    let page = page(&mut lastfm, "limit=2&page=2&from=20");
    let expected = serde_json::json!({
        "user": "Alice", "page": "2", "perPage": "2", "totalPages": "2", "total": "4"
    });
    assert_eq!(page["@attr"], expected);
}

#[test]
fn the_four_readings_of_the_bounds() {
    for (from, to, expected) in [
        (Bound::Inclusive, Bound::Exclusive, "t20 t10"),
        (Bound::Inclusive, Bound::Inclusive, "t30 t20 t10"),
        (Bound::Exclusive, Bound::Exclusive, "t20"),
        (Bound::Exclusive, Bound::Inclusive, "t30 t20"),
    ] {
        let mut lastfm = alice([5, 10, 20, 30, 35]);
        lastfm.config.from_bound = from;
        lastfm.config.to_bound = to;
        assert_eq!(names(&mut lastfm, "from=10&to=30"), expected);
    }
}

#[test]
fn odd_bounds_are_not_rejected() {
    let mut lastfm = alice([-3, 0, 10]);
    assert_eq!(names(&mut lastfm, "from=-2"), "t10 t0");
    assert_eq!(names(&mut lastfm, "from=tomorrow&to=5"), "t0 t-3");
    assert_eq!(names(&mut lastfm, "from=1700000000000"), "");
    assert_eq!(names(&mut lastfm, "from=20&to=5"), "");
}

#[test]
fn a_new_play_shifts_the_pages_unless_the_window_is_closed() {
    let mut lastfm = alice([10, 20, 30, 40]);
    assert_eq!(names(&mut lastfm, "limit=2"), "t40 t30");
    lastfm.user_mut("alice").history.add(play(50));
    assert_eq!(names(&mut lastfm, "limit=2&page=2"), "t30 t20");
    assert_eq!(names(&mut lastfm, "limit=2&page=2&to=50"), "t20 t10");
}

#[test]
fn an_edit_shows_in_the_next_answer() {
    let mut lastfm = alice([10, 20]);
    assert_eq!(names(&mut lastfm, ""), "t20 t10");
    let history = &mut lastfm.user_mut("alice").history;
    history.edit_where(|play| play.uts == 10, |play| play.track = "new".to_owned());
    assert_eq!(names(&mut lastfm, ""), "t20 new");
}

#[test]
fn plays_of_one_second_keep_their_order_until_it_is_changed() {
    let mut lastfm = alice([]);
    let history = &mut lastfm.user_mut("alice").history;
    for track in ["a", "b", "c"] {
        history.add(Play::new(10, "Artist", track));
    }
    assert_eq!(names(&mut lastfm, ""), "c b a");
    lastfm.user_mut("alice").history.rotate_second(10);
    assert_eq!(names(&mut lastfm, ""), "b a c");
}

#[test]
fn the_row_that_plays_now_tops_every_page_of_every_window_and_is_not_counted() {
    let mut lastfm = alice([10, 20, 30]);
    lastfm.user_mut("alice").now_playing = Some(Play::new(0, "Artist", "now"));
    assert_eq!(names(&mut lastfm, "limit=1"), "now t30");
    assert_eq!(names(&mut lastfm, "limit=2&page=2"), "now t10");
    assert_eq!(names(&mut lastfm, "limit=2&page=9"), "now");
    let page = page(&mut lastfm, "limit=1&to=11");
    assert_eq!(page["@attr"]["total"], "1");
    assert_eq!(page["track"][0]["@attr"]["nowplaying"], "true");
    assert_eq!(page["track"][0].get("date"), None);
    assert_eq!(page["track"][1]["date"]["uts"], "10");
    assert_eq!(lastfm.log.entries().last().unwrap().rows, 1);
}

#[test]
fn a_page_past_the_end_may_be_an_error() {
    let mut lastfm = alice([10, 20, 30]);
    lastfm.config.past_the_end = PastTheEnd::NoSuchPage;
    assert_eq!(names(&mut lastfm, "limit=2&page=2"), "t10");
    let answer = ask(&mut lastfm, "limit=2&page=3");
    assert_eq!(answer.status, 400);
    assert!(answer.body.windows(12).any(|text| text == b"no such page"));
    assert_eq!(names(&mut lastfm, "from=99"), "");
}

#[test]
fn a_clamped_limit_is_what_the_attributes_tell() {
    let mut lastfm = alice(0..300);
    lastfm.config.limit_clamp = Some(200);
    let page = page(&mut lastfm, "limit=1000");
    assert_eq!(page["track"].as_array().unwrap().len(), 200);
    assert_eq!(page["@attr"]["perPage"], "200");
    assert_eq!(page["@attr"]["totalPages"], "2");
}

#[test]
fn the_log_remembers_requests_and_finds_the_busiest_window() {
    let mut lastfm = alice([10]);
    let query = "method=user.getRecentTracks&user=ALICE&api_key=k&format=json&limit=7&from=3";
    for at_ms in [0, 400, 999, 1000, 5000] {
        lastfm.answer(query, Some("tester/1"), at_ms);
    }
    let entry = &lastfm.log.entries()[1];
    assert!(entry.request.is_for("alice"));
    assert_eq!(entry.request.user_agent.as_deref(), Some("tester/1"));
    assert_eq!((entry.request.limit, entry.request.from), (7, Some(3)));
    assert_eq!((entry.status, entry.rows, entry.code), (200, 1, None));
    assert_eq!((lastfm.log.busiest(1000), lastfm.log.busiest(601)), (3, 3));
    assert_eq!((lastfm.log.busiest(1001), lastfm.log.busiest(1)), (4, 1));
    lastfm.log.clear();
    assert_eq!((lastfm.log.count(), lastfm.log.total()), (0, 5));
}

#[test]
fn faults_take_the_requests_that_they_are_meant_for() {
    let mut lastfm = alice([10, 20, 30, 40, 50]);
    lastfm
        .faults
        .push_when(2, |request| request.page == 2, Fault::error(8));
    lastfm
        .faults
        .hook(|request| (request.limit == 4).then_some(Fault::EmptyPage));
    assert_eq!(ask(&mut lastfm, "page=1").status, 200);
    assert_eq!(ask(&mut lastfm, "page=2").status, 500);
    assert_eq!(ask(&mut lastfm, "page=2").status, 500);
    assert_eq!(ask(&mut lastfm, "page=2").status, 200);
    assert_eq!(lastfm.faults.pending(), 0);
    let page = page(&mut lastfm, "limit=4");
    assert_eq!(page["track"], serde_json::json!([]));
    assert_eq!(page["@attr"]["total"], "5");
    assert!(lastfm.log.entries()[4].faulty);
}

#[test]
fn pages_can_lie() {
    let mut lastfm = alice([10, 20, 30, 40, 50]);
    lastfm.add_user("bob", [play(7)]);
    lastfm.faults.push(Fault::ShortPage(2));
    assert_eq!(names(&mut lastfm, ""), "t50 t20 t10");
    lastfm.faults.push(Fault::WrongTotal(99));
    assert_eq!(page(&mut lastfm, "")["@attr"]["total"], "99");
    lastfm.faults.push(Fault::OtherUser("bob".to_owned()));
    let page = page(&mut lastfm, "");
    assert_eq!(page["@attr"]["user"], "bob");
    assert_eq!(page["track"][0]["name"], "t7");
}

#[test]
fn the_date_header_can_run_ahead() {
    let mut lastfm = alice([]);
    let date = "Tue, 14 Nov 2023 22:13:20 GMT";
    assert_eq!(NOW_MS, 1_700_000_000_000);
    assert_eq!(ask(&mut lastfm, "").header("date"), Some(date));
    lastfm.config.date_skew_seconds = 3600;
    let date = "Tue, 14 Nov 2023 23:13:20 GMT";
    assert_eq!(ask(&mut lastfm, "").header("date"), Some(date));
}
