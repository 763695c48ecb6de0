//! When each token was spoken: dynamic time warping over the cross-attention of the alignment heads, as in OpenAI's
//! `timing.py`.

/// Cross-attention of the alignment heads over the audio, `[heads, tokens, frames]` in one run; each row sums to at most 1.
#[derive(Clone, Debug, Default)]
pub(super) struct Attention {
    pub(super) heads: usize,
    pub(super) tokens: usize,
    pub(super) frames: usize,
    pub(super) weights: Vec<f32>,
}

impl Attention {
    fn row(&self, head: usize, token: usize) -> &[f32] {
        let start = (head * self.tokens + token) * self.frames;
        &self.weights[start..start + self.frames]
    }

    /// Keeps the first `frames` frames and makes every row sum to 1 again: the softmax over the real audio alone.
    pub(super) fn crop(&self, frames: usize) -> Attention {
        let frames = frames.min(self.frames);
        let mut weights = Vec::with_capacity(self.heads * self.tokens * frames);
        for row in self.weights.chunks_exact(self.frames.max(1)) {
            let sum: f32 = row[..frames].iter().sum();
            let scale = if sum > 0.0 { 1.0 / sum } else { 0.0 };
            weights.extend(row[..frames].iter().map(|weight| weight * scale));
        }
        Attention {
            frames,
            weights,
            ..*self
        }
    }
}

/// How strongly each token follows each frame, `[tokens, frames]`: normalised over all tokens, smoothed over time by a median
/// of `width` frames, mean over the heads. Only rows from `first` on are given.
pub(super) fn alignment(attention: &Attention, first: usize, width: usize) -> Vec<f32> {
    let Attention {
        heads, tokens, frames, ..
    } = *attention;
    let mut matrix = vec![0.0; tokens.saturating_sub(first) * frames];
    let mut row = vec![0.0; frames];
    for head in 0..heads {
        let (mean, deviation) = over_tokens(attention, head);
        for token in first..tokens {
            for (frame, (value, &weight)) in row.iter_mut().zip(attention.row(head, token)).enumerate() {
                *value = (weight - mean[frame]) / deviation[frame];
            }
            let sums = &mut matrix[(token - first) * frames..][..frames];
            for (sum, value) in sums.iter_mut().zip(median_filter(&row, width)) {
                *sum += value / heads as f32;
            }
        }
    }
    matrix
}

/// Mean and deviation of one head's attention to each frame.
fn over_tokens(attention: &Attention, head: usize) -> (Vec<f32>, Vec<f32>) {
    let mut mean = vec![0.0; attention.frames];
    let mut deviation = vec![0.0; attention.frames];
    let count = attention.tokens.max(1) as f32;
    for token in 0..attention.tokens {
        for (mean, weight) in mean.iter_mut().zip(attention.row(head, token)) {
            *mean += weight / count;
        }
    }
    for token in 0..attention.tokens {
        for ((deviation, mean), weight) in deviation.iter_mut().zip(&mean).zip(attention.row(head, token)) {
            *deviation += (weight - mean) * (weight - mean) / count;
        }
    }
    for deviation in &mut deviation {
        // A frame to which all tokens attend alike says nothing; it must not become infinite.
        *deviation = if *deviation > 0.0 { deviation.sqrt() } else { 1.0 };
    }
    (mean, deviation)
}

/// The median of each value's `width` (odd) neighbours, edges reflected; rows too short for that stay as they are.
pub(super) fn median_filter(row: &[f32], width: usize) -> Vec<f32> {
    let half = width / 2;
    if row.len() <= half {
        return row.to_vec();
    }
    let reflected = |index: isize| {
        let last = row.len() as isize - 1;
        let index = index.abs();
        row[(if index > last { 2 * last - index } else { index }) as usize]
    };
    let mut window = vec![0.0; 2 * half + 1];
    (0..row.len() as isize)
        .map(|center| {
            for (offset, value) in (-(half as isize)..).zip(&mut window) {
                *value = reflected(center + offset);
            }
            let (_, median, _) = window.select_nth_unstable_by(half, f32::total_cmp);
            *median
        })
        .collect()
}

/// The frame at which each of `rows` rows of the `[rows, frames]` matrix begins on the path through it that climbs highest,
/// from the first row and frame to the last ones, one step right, down or both at a time.
pub(super) fn warp(matrix: &[f32], rows: usize, frames: usize) -> Vec<usize> {
    if rows == 0 || frames == 0 {
        return vec![0; rows];
    }
    let (costs, steps) = cheapest_paths(matrix, rows, frames);
    debug_assert!(costs.is_finite());
    let mut begins = vec![0; rows];
    let (mut row, mut frame) = (rows - 1, frames - 1);
    loop {
        begins[row] = frame;
        match steps[row * frames + frame] {
            Step::Start => return begins,
            Step::Both => (row, frame) = (row - 1, frame - 1),
            Step::Down => row -= 1,
            Step::Right => frame -= 1,
        }
    }
}

/// How a path came to a cell.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Start,
    Both,
    Down,
    Right,
}

/// The cost of the cheapest path (the negated matrix summed), and the last step to every cell. The only way to the first
/// column is down: what is left of it and above the matrix costs infinitely much.
fn cheapest_paths(matrix: &[f32], rows: usize, frames: usize) -> (f32, Vec<Step>) {
    let mut steps = vec![Step::Start; rows * frames];
    let mut above = vec![f32::INFINITY; frames];
    for row in 0..rows {
        let mut left = f32::INFINITY;
        let mut both = f32::INFINITY;
        for frame in 0..frames {
            let down = above[frame];
            let (cost, step) = match (row, frame) {
                (0, 0) => (0.0, Step::Start),
                _ if left <= both && left <= down => (left, Step::Right),
                _ if both <= down => (both, Step::Both),
                _ => (down, Step::Down),
            };
            both = down;
            left = cost - matrix[row * frames + frame];
            above[frame] = left;
            steps[row * frames + frame] = step;
        }
    }
    (above[frames - 1], steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tokens_begin_where_their_attention_does() {
        let matrix = [
            [9.0, 9.0, -1.0, -1.0, -1.0, -1.0], //
            [-1.0, -1.0, 9.0, -1.0, -1.0, -1.0],
            [-1.0, -1.0, -1.0, 9.0, 9.0, 9.0],
        ];
        assert_eq!(warp(matrix.as_flattened(), 3, 6), [0, 2, 3]);
    }

    #[test]
    fn more_tokens_than_frames_share_frames() {
        assert_eq!(warp(&[1.0, 1.0, 1.0], 3, 1), [0, 0, 0]);
        assert_eq!(warp(&[], 2, 0), [0, 0]);
    }

    #[test]
    fn the_median_drops_a_lone_peak_and_reflects_edges() {
        assert_eq!(median_filter(&[0.0, 0.0, 9.0, 0.0, 0.0], 3), [0.0; 5]);
        assert_eq!(median_filter(&[1.0, 2.0, 3.0, 4.0], 3), [2.0, 2.0, 3.0, 3.0]);
        assert_eq!(median_filter(&[3.0, 1.0], 7), [3.0, 1.0], "too short to filter");
    }

    #[test]
    fn cropped_rows_sum_to_one() {
        let attention = Attention {
            heads: 1,
            tokens: 2,
            frames: 3,
            weights: vec![0.1, 0.3, 0.6, 0.0, 0.0, 1.0],
        };
        let cropped = attention.crop(2);
        assert_eq!(cropped.frames, 2);
        assert!((cropped.weights[0] - 0.25).abs() < 1e-6 && (cropped.weights[1] - 0.75).abs() < 1e-6);
        assert_eq!(cropped.weights[2..], [0.0, 0.0], "a row without mass stays empty");
    }

    /// The best path by trying all of them.
    fn exhaustive(matrix: &[f32], frames: usize, row: usize, frame: usize) -> f32 {
        let here = matrix[row * frames + frame];
        let from = |row: usize, frame: usize| exhaustive(matrix, frames, row, frame);
        let before = match (row, frame) {
            (0, 0) => 0.0,
            (0, _) => from(0, frame - 1),
            (_, 0) => from(row - 1, 0),
            _ => from(row - 1, frame - 1)
                .max(from(row - 1, frame))
                .max(from(row, frame - 1)),
        };
        before + here
    }

    proptest! {
        #[test]
        fn no_path_is_better_than_the_one_found(
            rows in 1usize..5, frames in 1usize..6, values in prop::collection::vec(-3i8..4, 30),
        ) {
            let matrix: Vec<f32> = values[..rows * frames].iter().map(|&v| f32::from(v)).collect();
            let (cost, _) = cheapest_paths(&matrix, rows, frames);
            prop_assert_eq!(-cost, exhaustive(&matrix, frames, rows - 1, frames - 1));
        }

        #[test]
        fn begins_never_decrease(rows in 1usize..8, frames in 1usize..9, values in prop::collection::vec(-1f32..1.0, 72)) {
            let begins = warp(&values[..rows * frames], rows, frames);
            prop_assert!(begins.is_sorted() && begins.iter().all(|&frame| frame < frames));
        }
    }
}
