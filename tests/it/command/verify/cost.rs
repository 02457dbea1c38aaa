//! What a verification asks of Last.fm.

use super::{archived, daily, repair, verify};
use crate::support::local_world::{DAY, World, play};

/// The requests since the last call: how many there were, and whether each counted only.
fn requests(world: &World) -> (usize, bool) {
    let only_counts = world.server.with(|lastfm| {
        let entries = lastfm.log.entries().iter();
        let mut pages = entries.filter(|entry| entry.request.method == "user.getrecenttracks");
        pages.all(|entry| entry.request.limit == 1)
    });
    (world.take_requests(), only_counts)
}

#[test]
fn without_a_difference_each_month_with_plays_costs_one_request() {
    // Eight months, of which February has no play.
    let world = archived(daily(240, |day| !(31..60).contains(&day)));
    world.take_requests();
    let verdict = verify(&world, &[], 0);
    let (asked, only_counts) = requests(&world);
    // One more asks the profile for the plays without a date.
    assert!(asked <= 7 + 1, "{asked} requests for seven months");
    assert!(only_counts, "a page was fetched to count");
    assert_eq!(verdict["requests"], asked);
    // A part of the history says nothing about plays without a date, so the profile is not asked.
    verify(&world, &["--from", "2020-03-01", "--to", "2020-04-30"], 0);
    let (asked, only_counts) = requests(&world);
    assert!(asked <= 2 && only_counts, "{asked} requests for two months");
}

#[test]
fn each_difference_costs_twice_the_logarithm_of_its_month() {
    // 300 plays a month, which are 30 pages: halving asks less often than fetching all of them.
    let plays = (0..1_200).map(|number| play(number * DAY / 10, &format!("play {number}")));
    let world = archived(plays.collect());
    world.change(|history| {
        history.add(play(40 * DAY + 17, "late"));
        history.delete(900);
    });
    world.take_requests();
    let ran = world.program(&["verify"]).set("LASTFM_PAGE_SIZE", "10");
    ran.run().expect(3);
    let (asked, _) = requests(&world);
    // Four months, the profile, and the two differences.
    let log2 = 9;
    let most = 4 + 1 + 2 * (2 * log2);
    assert!(asked <= most, "{asked} requests, at most {most}");
}

#[test]
fn play_by_play_costs_about_a_request_a_page() {
    let world = archived(daily(300, |_| true));
    world.take_requests();
    let ran = world.program(&["verify", "--deep"]);
    ran.set("LASTFM_PAGE_SIZE", "50").run().expect(0);
    let (asked, _) = requests(&world);
    // 900 plays are 18 pages; the rest learns the numbers, looks behind the newest play and asks the profile.
    assert!((18..=26).contains(&asked), "{asked} requests for 18 pages");
}

#[test]
fn every_page_size_and_range_finds_the_same() {
    for (page_size, pages) in [
        ("1", "1"),
        ("2", "3"),
        ("7", "1"),
        ("50", "2"),
        ("1000", "40"),
    ] {
        let world = archived(daily(60, |_| true));
        world.change(|history| {
            history.add(play(20 * DAY, "late"));
            history.delete(10);
            history.edit(100, |play| play.track = "edited".to_owned());
        });
        let small = |arguments: &[&str]| {
            let program = world.program(arguments).set("LASTFM_PAGE_SIZE", page_size);
            program.set("PAGES_PER_ITEM", pages).run()
        };
        small(&["verify", "--deep"]).expect(3);
        small(&["verify", "--deep", "--repair"]).expect(0);
        let everything = world.everything("alice");
        everything.assert_today(&world.truth("alice"));
        assert_eq!((everything.late.len(), everything.removed.len()), (2, 2));
        repair(&world, &["--deep"]);
    }
}
