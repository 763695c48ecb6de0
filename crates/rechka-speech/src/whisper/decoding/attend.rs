//! AlignAtt: where in the audio the decoder listens, token by token (Papi et al. 2023, "AlignAtt: Using Attention-based
//! Audio-Translation Alignments as a Guide for Simultaneous Speech Translation").
use super::AlignAtt;
use super::align::median_filter;
use crate::whisper::{Config, Encoded};

/// Where the newest token listens, and what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attended {
    /// Clear of the audio's end: the token stands.
    Clear,
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
    /// Whether the first tokens read end with a part of the text, behind which the next one must not fall back far.
    after_prefix: bool,
    /// Where the latest token of the text listens.
    last: Option<usize>,
}

impl Follower {
    /// Follows the alignment heads over `audio`. `after_prefix` says that the first tokens read end with a part of the text.
    pub(super) fn new(policy: AlignAtt, config: &Config, audio: &Encoded, after_prefix: bool) -> Self {
        let heads = config.alignment_heads.len();
        Self::over(
            policy,
            heads,
            audio.frames(),
            audio.audio_frames(),
            config.median_filter_width,
            after_prefix,
        )
    }

    fn over(
        policy: AlignAtt,
        heads: usize,
        frames: usize,
        audio_frames: usize,
        width: usize,
        after_prefix: bool,
    ) -> Self {
        let zeros = vec![0.0; heads * frames];
        Follower {
            policy,
            heads,
            frames,
            audio_frames,
            width,
            rows: 0.0,
            sums: zeros.clone(),
            squares: zeros,
            after_prefix,
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
        if self.after_prefix && self.last.is_none() && tokens > 1 {
            self.last = Some(self.listens_at(attention, tokens, tokens - 2));
        }
        let frame = self.listens_at(attention, tokens, tokens - 1);
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
            Attended::Clear
        }
    }

    /// The frame to which a row's normalised, smoothed attention is highest.
    fn listens_at(&self, attention: &[f32], tokens: usize, row: usize) -> usize {
        let mut total = vec![0.0; self.audio_frames];
        for head in 0..self.heads {
            let start = (head * tokens + row) * self.frames;
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

    const POLICY: AlignAtt = AlignAtt {
        threshold: 10,
        rewind: 15,
        last: false,
    };

    /// What is decided for tokens that listen at `frames`, and where they were found to listen.
    fn follow(policy: AlignAtt, after_prefix: bool, frames: &[usize]) -> Vec<(Attended, Option<usize>)> {
        let mut follower = Follower::over(policy, 1, FRAMES, 50, 3, after_prefix);
        // The prompt's tokens listen to nothing in particular; the last one before the text is at 40.
        let prompt: Vec<f32> = [row(5), row(40), row(frames[0])].concat();
        let mut decisions = vec![(follower.read(&prompt), follower.last)];
        decisions.extend(
            frames[1..]
                .iter()
                .map(|&frame| (follower.read(&row(frame)), follower.last)),
        );
        decisions
    }

    #[test]
    fn tokens_stand_while_the_attention_is_clear_of_the_end() {
        let decisions = follow(POLICY, false, &[12, 20, 30, 44]);
        for ((decision, found), frame) in decisions[..3].iter().zip([12, 20, 30]) {
            assert_eq!(*decision, Attended::Clear);
            assert!(found.unwrap().abs_diff(frame) <= 2, "{decisions:?}");
        }
        assert_eq!(decisions[3].0, Attended::End);
    }

    #[test]
    fn at_the_end_of_speech_the_attention_may_go_further() {
        let decisions = follow(AlignAtt { threshold: 4, ..POLICY }, false, &[12, 20, 30, 40]);
        assert_eq!(decisions[3].0, Attended::Clear);
    }

    #[test]
    fn a_jump_far_back_is_noticed_also_behind_the_prefix() {
        assert_eq!(follow(POLICY, false, &[12, 35, 10])[2].0, Attended::Rewound);
        assert_eq!(follow(POLICY, false, &[12])[0].0, Attended::Clear);
        assert_eq!(follow(POLICY, true, &[12])[0].0, Attended::Rewound);
    }
}
