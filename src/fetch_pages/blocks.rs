//! Cuts new plays into blocks: by month of play, at most so many bytes, each ending at a whole second.

use crate::archive::Month;
use crate::scrobble::{LineWriter, Play, PlayId};
use std::collections::VecDeque;
use std::iter::Peekable;

/// Largest block. The service takes 4 MiB at least in every version; Azurite takes more, so only this cap holds.
pub const BLOCK_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One append.
#[derive(Debug)]
pub struct Block {
    /// The month of play (UTC), which decides the blob.
    pub month: Month,
    /// Whole lines.
    pub lines: Vec<u8>,
    /// How many lines.
    pub plays: usize,
    /// Second of the last line.
    pub newest: i64,
}

/// The blocks of plays that come oldest first. Lines are written only when their block is wanted, so a batch
/// never stands in memory twice.
pub struct Blocks<'a, I: Iterator<Item = (Play, PlayId)>> {
    plays: Peekable<I>,
    writer: LineWriter<'a>,
    bytes_max: usize,
    /// A second that did not fit into the block before it.
    pending: Option<Block>,
    /// The rest of a second that is larger than a block.
    pieces: VecDeque<Block>,
}

impl<'a, I: Iterator<Item = (Play, PlayId)>> Blocks<'a, I> {
    /// `bytes_max` is the largest block; one single line may be larger.
    pub fn new(plays: I, writer: LineWriter<'a>, bytes_max: usize) -> Self {
        Self {
            plays: plays.peekable(),
            writer,
            bytes_max,
            pending: None,
            pieces: VecDeque::new(),
        }
    }

    /// All plays of the next second, as a block of their own.
    fn next_second(&mut self) -> Result<Option<Block>, serde_json::Error> {
        let Some((first, _)) = self.plays.peek() else {
            return Ok(None);
        };
        let newest = first.uts;
        let mut second = Block {
            month: Month::of(newest),
            lines: Vec::new(),
            plays: 0,
            newest,
        };
        while let Some((play, id)) = self.plays.next_if(|(play, _)| play.uts == newest) {
            self.writer.write(&play, id, &mut second.lines)?;
            second.plays += 1;
        }
        Ok(Some(second))
    }

    fn next_block(&mut self) -> Result<Option<Block>, serde_json::Error> {
        if let Some(piece) = self.pieces.pop_front() {
            return Ok(Some(piece));
        }
        let first = match self.pending.take() {
            Some(second) => Some(second),
            None => self.next_second()?,
        };
        let Some(mut block) = first else {
            return Ok(None);
        };
        if block.lines.len() > self.bytes_max {
            self.pieces = cut_at_lines(&block, self.bytes_max);
            return Ok(self.pieces.pop_front());
        }
        while let Some(second) = self.next_second()? {
            if second.month != block.month
                || block.lines.len() + second.lines.len() > self.bytes_max
            {
                self.pending = Some(second);
                break;
            }
            block.lines.extend_from_slice(&second.lines);
            block.plays += second.plays;
            block.newest = second.newest;
        }
        Ok(Some(block))
    }
}

impl<I: Iterator<Item = (Play, PlayId)>> Iterator for Blocks<'_, I> {
    type Item = Result<Block, serde_json::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_block().transpose()
    }
}

/// Several blocks for one second: the one case in which a block ends inside a second.
fn cut_at_lines(second: &Block, bytes_max: usize) -> VecDeque<Block> {
    let mut pieces: VecDeque<Block> = VecDeque::new();
    for line in second.lines.split_inclusive(|byte| *byte == b'\n') {
        match pieces.back_mut() {
            Some(piece) if piece.lines.len() + line.len() <= bytes_max => {
                piece.lines.extend_from_slice(line);
                piece.plays += 1;
            }
            _ => pieces.push_back(Block {
                lines: line.to_vec(),
                plays: 1,
                ..*second
            }),
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::{User, UserName};
    use jiff::tz::TimeZone;

    /// Cuts plays at `seconds`; tells each block as month, plays and newest second.
    fn cut(seconds: &[i64], bytes_max: usize) -> Vec<(String, usize, i64)> {
        let user = User {
            name: UserName::new("rj").unwrap(),
            time_zone: TimeZone::UTC,
        };
        let plays = seconds.iter().map(|uts| {
            let play = Play {
                uts: *uts,
                ..Play::default()
            };
            let id = PlayId::new("rj", &play, 0);
            (play, id)
        });
        Blocks::new(plays, LineWriter::new(&user, 0), bytes_max)
            .map(|block| {
                let block = block.unwrap();
                assert_eq!(
                    block.lines.split_inclusive(|byte| *byte == b'\n').count(),
                    block.plays
                );
                assert!(block.lines.ends_with(b"\n"));
                (block.month.to_string(), block.plays, block.newest)
            })
            .collect()
    }

    const JANUARY: i64 = 1_704_067_200;
    const LINE: usize = 330;

    #[test]
    fn a_month_is_a_block() {
        let block = |month: &str, plays, newest| (month.to_owned(), plays, newest);
        assert_eq!(cut(&[], 1_000_000), []);
        assert_eq!(
            cut(&[JANUARY - 1, JANUARY, JANUARY + 5], 1_000_000),
            [
                block("2023-12", 1, JANUARY - 1),
                block("2024-01", 2, JANUARY + 5)
            ]
        );
    }

    #[test]
    fn a_block_is_cut_between_seconds() {
        let blocks = cut(&[JANUARY, JANUARY + 1, JANUARY + 1, JANUARY + 2], 2 * LINE);
        let plays: Vec<_> = blocks
            .iter()
            .map(|(_, plays, newest)| (*plays, newest - JANUARY))
            .collect();
        assert_eq!(plays, [(1, 0), (2, 1), (1, 2)]);
    }

    #[test]
    fn only_a_second_larger_than_a_block_is_cut_inside() {
        let blocks = cut(
            &[JANUARY, JANUARY + 1, JANUARY + 1, JANUARY + 1, JANUARY + 2],
            2 * LINE,
        );
        let plays: Vec<_> = blocks
            .iter()
            .map(|(_, plays, newest)| (*plays, newest - JANUARY))
            .collect();
        assert_eq!(plays, [(1, 0), (2, 1), (1, 1), (1, 2)]);
    }
}
