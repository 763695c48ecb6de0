//! AlignAtt: where in the audio the decoder listens, token by token (Papi et al. 2023, "AlignAtt: Using Attention-based
//! Audio-Translation Alignments as a Guide for Simultaneous Speech Translation").
use super::AlignAtt;
use super::align::median_filter;

/// Where the newest token listens, and what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attended {
    /// Clear of the audio's end: the token stands.
    Frame(usize),
    /// So near to the end that more audio may change the token.
    End,
    /// Far back from where the last token listened.
    Rewound,
}

/// Follows the attention of the alignment heads. The statistics over tokens that normalise it are kept as sums, so that a step
/// costs no more late in the text than early.
#[derive(Clone, Debug)]
pub(super) struct Follower {
    policy: AlignAtt,
    heads: usize,
    /// Encoder frames, padding included.
    frames: usize,
    /// Encoder frames of audio.
    audio_frames: usize,
    width: usize,
    /// Rows read, their sum and their sum of squares, `[heads, frames]`.
    rows: f64,
    sums: Vec<f64>,
    squares: Vec<f64>,
    last: Option<usize>,
}

impl Follower {
    /// Follows `heads` alignment heads over `frames` encoder frames of which `audio_frames` are audio; `width` is the median
    /// filter's.
    pub(super) fn new(policy: AlignAtt, heads: usize, frames: usize, audio_frames: usize, width: usize) -> Self {
        let zeros = vec![0.0; heads * frames];
        let audio_frames = audio_frames.min(frames);
        Follower {
            policy,
            heads,
            frames,
            audio_frames,
            width,
            rows: 0.0,
            sums: zeros.clone(),
            squares: zeros,
            last: None,
        }
    }

    /// Reads the attention of the tokens just decoded, `[heads, tokens, frames]`; the last one's row is where the token that
    /// follows it listens.
    pub(super) fn read(&mut self, attention: &[f32]) -> Attended {
        let tokens = attention.len() / (self.heads * self.frames).max(1);
        for (head, rows) in attention.chunks_exact((tokens * self.frames).max(1)).enumerate() {
            let sums = &mut self.sums[head * self.frames..][..self.frames];
            let squares = &mut self.squares[head * self.frames..][..self.frames];
            for row in rows.chunks_exact(self.frames) {
                for ((sum, square), &weight) in sums.iter_mut().zip(squares.iter_mut()).zip(row) {
                    *sum += f64::from(weight);
                    *square += f64::from(weight) * f64::from(weight);
                }
            }
        }
        self.rows += tokens as f64;
        let frame = self.listens_at(attention, tokens);
        let decision = self.decide(frame);
        self.last = Some(frame);
        decision
    }

    fn decide(&self, frame: usize) -> Attended {
        if self.last.is_some_and(|last| frame + self.policy.rewind < last) {
            Attended::Rewound
        } else if self.audio_frames - frame <= self.policy.threshold {
            Attended::End
        } else {
            Attended::Frame(frame)
        }
    }

    /// The frame to which the last row's normalised, smoothed attention is highest.
    fn listens_at(&self, attention: &[f32], tokens: usize) -> usize {
        let mut total = vec![0.0; self.audio_frames];
        for head in 0..self.heads {
            let start = (head * tokens + tokens - 1) * self.frames;
            let normalised: Vec<f32> = (0..self.audio_frames)
                .map(|frame| {
                    let index = head * self.frames + frame;
                    let mean = self.sums[index] / self.rows;
                    let variance = self.squares[index] / self.rows - mean * mean;
                    let deviation = if variance > 1e-12 { variance.sqrt() } else { 1.0 };
                    ((f64::from(attention[start + frame]) - mean) / deviation) as f32
                })
                .collect();
            for (total, value) in total.iter_mut().zip(median_filter(&normalised, self.width)) {
                *total += value;
            }
        }
        super::sampling::argmax(&total) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMES: usize = 60;

    /// A row of attention with a peak five frames wide around `frame`.
    fn row(frame: usize) -> Vec<f32> {
        (0..FRAMES)
            .map(|f| if f.abs_diff(frame) <= 2 { 0.15 } else { 0.25 / 55.0 })
            .collect()
    }

    fn follow(policy: AlignAtt, frames: &[usize]) -> Vec<Attended> {
        let mut follower = Follower::new(policy, 1, FRAMES, 50, 3);
        // The prompt's tokens listen to nothing in particular.
        let prompt: Vec<f32> = [row(5), row(45), row(frames[0])].concat();
        let mut decisions = vec![follower.read(&prompt)];
        decisions.extend(frames[1..].iter().map(|&frame| follower.read(&row(frame))));
        decisions
    }

    fn near(decision: Attended, frame: usize) -> bool {
        matches!(decision, Attended::Frame(found) if found.abs_diff(frame) <= 2)
    }

    #[test]
    fn tokens_stand_while_the_attention_is_clear_of_the_end() {
        let decisions = follow(
            AlignAtt {
                threshold: 10,
                rewind: 200,
                last: false,
            },
            &[12, 20, 30, 44],
        );
        assert!(
            near(decisions[0], 12) && near(decisions[1], 20) && near(decisions[2], 30),
            "{decisions:?}"
        );
        assert_eq!(decisions[3], Attended::End);
    }

    #[test]
    fn at_the_end_of_speech_the_attention_may_go_further() {
        let decisions = follow(
            AlignAtt {
                threshold: 4,
                rewind: 200,
                last: true,
            },
            &[12, 20, 30, 40],
        );
        assert!(near(decisions[3], 40), "{decisions:?}");
    }

    #[test]
    fn a_jump_far_back_is_noticed() {
        let decisions = follow(
            AlignAtt {
                threshold: 4,
                rewind: 15,
                last: false,
            },
            &[12, 35, 10],
        );
        assert_eq!(decisions[2], Attended::Rewound);
    }
}
