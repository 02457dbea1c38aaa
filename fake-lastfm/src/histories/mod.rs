//! Made-up listening histories: the same seed gives the same plays on every machine. All names are invented.

mod catalogue;

use std::collections::HashSet;

use crate::play::Play;
use crate::random::Random;
use catalogue::Catalogue;

const SECONDS_PER_DAY: i64 = 86_400;
/// How many plays may share a second.
const TIE_MAX: usize = 6;

/// A plausible history of exactly so many plays from `first_uts` to `last_uts`, oldest first.
///
/// Sessions of records played in order, days without music, about three plays in a hundred on a second that they
/// share with others, and every kind of text that is known to break programs. No play repeats second, artist and
/// track of another.
pub fn made_up(seed: u64, plays: usize, first_uts: i64, last_uts: i64) -> Vec<Play> {
    let mut random = Random::new(seed);
    let catalogue = Catalogue::new(&mut random, 20 + plays / 60);
    let mut history = Vec::with_capacity(plays);
    while history.len() < plays {
        let room = plays - history.len();
        add_session(
            &mut history,
            room,
            first_uts,
            last_uts,
            &catalogue,
            &mut random,
        );
    }
    history.sort_by_key(|play| play.uts);
    tie_some(&mut history, &mut random);
    make_distinct(&mut history);
    history
}

/// Repeats so many plays of a history exactly, each right after its original.
pub fn true_repeats(seed: u64, plays: &mut Vec<Play>, repeats: usize) {
    if plays.is_empty() {
        return;
    }
    let mut random = Random::new(seed);
    for _ in 0..repeats {
        let index = random.below(plays.len());
        plays.insert(index, plays[index].clone());
    }
}

/// A few records in a row, at a time and on a day when this listener listens.
fn add_session(
    history: &mut Vec<Play>,
    room: usize,
    first_uts: i64,
    last_uts: i64,
    catalogue: &Catalogue,
    random: &mut Random,
) {
    let mut uts = random.between(first_uts, last_uts);
    // Three days in ten stay silent, unless the whole history is too short for that.
    for _ in 0..20 {
        if Random::new(uts.div_euclid(SECONDS_PER_DAY).unsigned_abs()).percent(70) {
            break;
        }
        uts = random.between(first_uts, last_uts);
    }
    let length = (1 + random.below(25)).min(room);
    let mut added = 0;
    while added < length {
        for mut play in catalogue.record(random) {
            if added == length || uts > last_uts {
                return;
            }
            play.uts = uts;
            history.push(play);
            added += 1;
            uts += random.between(95, 330);
        }
    }
}

/// Moves plays onto the second of their predecessor, until about 3 % share a second.
fn tie_some(history: &mut [Play], random: &mut Random) {
    let mut index = 1;
    while index < history.len() {
        if !random.percent(1) {
            index += 1;
            continue;
        }
        let others = if random.percent(75) {
            1
        } else {
            2 + random.below(TIE_MAX - 2)
        };
        let uts = history[index - 1].uts;
        let end = (index + others).min(history.len());
        for play in &mut history[index..end] {
            play.uts = uts;
        }
        // The next play keeps its own second, so that ties do not grow together.
        index = end + 1;
    }
}

/// Renames the tracks that would repeat second, artist and track of another play.
fn make_distinct(history: &mut [Play]) {
    for second in history.chunk_by_mut(|left, right| left.uts == right.uts) {
        if second.len() == 1 {
            continue;
        }
        let mut seen = HashSet::new();
        for play in second {
            let title = play.track.clone();
            let mut take = 2;
            while !seen.insert((play.artist.clone(), play.track.clone())) {
                play.track = format!("{title} (take {take})");
                take += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use crate::play::Play;

    use super::{SECONDS_PER_DAY, made_up, true_repeats};

    const FIRST: i64 = 1_500_000_000;
    const LAST: i64 = 1_600_000_000;

    /// On how many days something was played.
    fn days(history: &[Play]) -> usize {
        let days = history.chunk_by(|left, right| {
            left.uts.div_euclid(SECONDS_PER_DAY) == right.uts.div_euclid(SECONDS_PER_DAY)
        });
        days.count()
    }

    #[test]
    fn the_same_seed_gives_the_same_history_and_another_seed_another() {
        assert_eq!(made_up(7, 500, FIRST, LAST), made_up(7, 500, FIRST, LAST));
        assert_ne!(made_up(7, 500, FIRST, LAST), made_up(8, 500, FIRST, LAST));
    }

    #[test]
    fn a_history_has_the_asked_size_and_span_and_no_repeats() {
        for plays in [0, 1, 2, 300, 10_000] {
            let history = made_up(1, plays, FIRST, LAST);
            assert_eq!(history.len(), plays);
            assert!(history.is_sorted_by_key(|play| play.uts));
            assert!(
                history
                    .iter()
                    .all(|play| (FIRST..=LAST).contains(&play.uts))
            );
            let distinct: HashSet<_> = history
                .iter()
                .map(|play| (play.uts, &play.artist, &play.track))
                .collect();
            assert_eq!(distinct.len(), plays);
        }
    }

    #[test]
    fn a_history_is_as_odd_as_real_ones() {
        let history = made_up(2, 20_000, FIRST, LAST);
        let tied: usize = history
            .chunk_by(|left, right| left.uts == right.uts)
            .map(<[_]>::len)
            .filter(|&plays| plays > 1)
            .sum();
        assert!((300..1200).contains(&tied), "{tied} tied plays");
        let all_days = usize::try_from((LAST - FIRST) / SECONDS_PER_DAY).unwrap();
        let silent_days = all_days - days(&history);
        assert!(silent_days > 100, "{silent_days} silent days");
        assert!(history.iter().any(|play| play.album.is_empty()));
        assert!(history.iter().any(|play| play.mbid.is_empty()));
        assert!(history.iter().any(|play| play.mbid.len() == 36));
        for odd in ["\u{10}", "\"", "\\", "/", "&amp;", "é", "音", "ש", "🎧"] {
            let found = |text: &str| text.contains(odd);
            assert!(
                history
                    .iter()
                    .any(|play| found(&play.track) || found(&play.artist)),
                "no {odd:?}"
            );
        }
        assert!(history.iter().any(|play| play.track.len() > 500));
        assert!(history.iter().any(|play| play.track.starts_with(' ')));
    }

    #[test]
    fn true_repeats_are_added_on_request() {
        let mut history = made_up(3, 100, FIRST, LAST);
        true_repeats(3, &mut history, 5);
        let distinct: HashSet<_> = history.iter().collect();
        assert_eq!((history.len(), distinct.len()), (105, 100));
    }
}
