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

    /// Writes the plays of the next second behind the lines of `block`, whose month it is.
    fn write_second(&mut self, block: &mut Block) -> Result<(), serde_json::Error> {
        let Some((first, _)) = self.plays.peek() else {
            return Ok(());
        };
        block.newest = first.uts;
        while let Some((play, id)) = self.plays.next_if(|(play, _)| play.uts == block.newest) {
            self.writer.write(&play, id, &mut block.lines)?;
            block.plays += 1;
        }
        Ok(())
    }

    fn next_block(&mut self) -> Result<Option<Block>, serde_json::Error> {
        if let Some(piece) = self.pieces.pop_front() {
            return Ok(Some(piece));
        }
        let mut block = match (self.pending.take(), self.plays.peek()) {
            (Some(second), _) => second,
            (None, Some((first, _))) => {
                let month = Month::of(first.uts);
                let mut block = Block {
                    month,
                    lines: Vec::new(),
                    plays: 0,
                    newest: first.uts,
                };
                self.write_second(&mut block)?;
                block
            }
            (None, None) => return Ok(None),
        };
        if block.lines.len() > self.bytes_max {
            self.pieces = cut_at_lines(&block, self.bytes_max);
            return Ok(self.pieces.pop_front());
        }
        while self
            .plays
            .peek()
            .is_some_and(|(play, _)| Month::of(play.uts) == block.month)
        {
            let (bytes, plays, newest) = (block.lines.len(), block.plays, block.newest);
            self.write_second(&mut block)?;
            if block.lines.len() > self.bytes_max {
                // One second too many: it opens the next block.
                let second = Block {
                    month: block.month,
                    lines: block.lines.split_off(bytes),
                    plays: block.plays - plays,
                    newest: block.newest,
                };
                self.pending = Some(second);
                (block.plays, block.newest) = (plays, newest);
                break;
            }
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
    use crate::scrobble::Words;
    use crate::user::{User, UserName};
    use jiff::tz::TimeZone;

    /// Cuts plays at `seconds`; tells each block as month, plays and newest second.
    fn cut(seconds: &[i64], bytes_max: usize) -> Vec<(String, usize, i64)> {
        let user = User {
            name: UserName::new("rj").unwrap(),
            time_zone: TimeZone::UTC,
        };
        let plays = seconds.iter().map(|uts| {
            let play = Play::new(*uts, &Words::default()).unwrap();
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
