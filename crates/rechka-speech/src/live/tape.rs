//! The audio that a session still needs, and the holes in it.
use std::{collections::VecDeque, ops::Range};

/// Samples by their number in the session. Audio comes in pieces; between two pieces some is lost.
#[derive(Debug)]
pub(super) struct Tape {
    /// At least one; the first is the one being worked on.
    pieces: VecDeque<Piece>,
}

#[derive(Debug)]
struct Piece {
    start: u64,
    samples: Vec<f32>,
    /// Samples dropped from the front of `samples` but not yet moved out.
    dropped: usize,
    /// Why the audio before this piece is missing.
    lost: String,
}

impl Piece {
    fn new(start: u64, lost: String) -> Self {
        Piece {
            start,
            samples: Vec::new(),
            dropped: 0,
            lost,
        }
    }

    fn end(&self) -> u64 {
        self.start + (self.samples.len() - self.dropped) as u64
    }
}

impl Tape {
    /// An empty tape whose first sample will be number `start`.
    pub fn new(start: u64) -> Self {
        Tape {
            pieces: VecDeque::from([Piece::new(start, String::new())]),
        }
    }

    /// The number that the next sample gets.
    pub fn next(&self) -> u64 {
        self.pieces.back().map_or(0, Piece::end)
    }

    /// Where the audio being worked on ends for now.
    pub fn end(&self) -> u64 {
        self.pieces.front().map_or(0, Piece::end)
    }

    /// Samples held.
    pub fn held(&self) -> usize {
        self.pieces.iter().map(|piece| piece.samples.len()).sum()
    }

    pub fn push(&mut self, samples: &[f32]) {
        if let Some(piece) = self.pieces.back_mut() {
            piece.samples.extend_from_slice(samples);
        }
    }

    /// Says that the next `count` samples are lost.
    pub fn lose(&mut self, count: u64, reason: String) {
        self.pieces.push_back(Piece::new(self.next() + count, reason));
    }

    /// The loss that ends the audio being worked on, if it is known: the samples lost, and why.
    pub fn loss(&self) -> Option<(Range<u64>, &str)> {
        let next = self.pieces.get(1)?;
        Some((self.end()..next.start, &next.lost))
    }

    /// Goes on behind the loss.
    pub fn pass_loss(&mut self) {
        if self.pieces.len() > 1 {
            self.pieces.pop_front();
        }
    }

    /// Samples of the audio being worked on, as far as they are held.
    pub fn slice(&self, range: Range<u64>) -> &[f32] {
        let Some(piece) = self.pieces.front() else { return &[] };
        let index = |at: u64| (at.clamp(piece.start, piece.end()) - piece.start) as usize + piece.dropped;
        &piece.samples[index(range.start)..index(range.end)]
    }

    /// Drops what lies before `start`.
    pub fn forget_before(&mut self, start: u64) {
        let Some(piece) = self.pieces.front_mut() else { return };
        let start = start.clamp(piece.start, piece.end());
        piece.dropped += (start - piece.start) as usize;
        piece.start = start;
        // Moving the rest at every call would be quadratic; waiting for half keeps twice what is needed.
        if piece.dropped >= piece.samples.len() / 2 {
            piece.samples.drain(..piece.dropped);
            piece.dropped = 0;
        }
    }
}
