//! Scaled dot-product attention over keys and values kept in panels.
//!
//! Keys and values of one head lie in panels of [`PANEL`] positions, so that a cache grows panel by panel and both
//! products of attention are the same small kernel, "a few rows times a panel":
//!
//! ```text
//! panel = | keys, transposed: [head width][PANEL] | values, in column blocks: [blocks][PANEL positions][PANEL] |
//! ```
//!
//! Every sum runs over positions (or channels) in ascending order, one product at a time, whatever rows are computed
//! together: a query's result does not depend on its company.
use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, Simd, SimdOp, SimdUnaryOp};
use rten_vecmath::Exp;

/// Positions per panel, and width of a block of value channels.
pub(super) const PANEL: usize = 32;

/// Queries whose products are held in registers together.
const ROWS: usize = 6;

/// The size of a head's keys and values in panels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PanelShape {
    /// Channels per head.
    pub(super) width: usize,
}

impl PanelShape {
    fn value_blocks(self) -> usize {
        self.width.div_ceil(PANEL)
    }

    /// Length of one panel.
    pub(super) fn len(self) -> usize {
        (self.width + self.value_blocks() * PANEL) * PANEL
    }

    /// Writes the key and the value of the position in slot `slot` of a panel.
    pub(super) fn write(self, panel: &mut [f32], slot: usize, key: &[f32], value: &[f32]) {
        let (keys, values) = panel.split_at_mut(self.width * PANEL);
        for (row, &key) in keys.chunks_exact_mut(PANEL).zip(key) {
            row[slot] = key;
        }
        for (block, value) in values.chunks_exact_mut(PANEL * PANEL).zip(value.chunks(PANEL)) {
            block[slot * PANEL..slot * PANEL + value.len()].copy_from_slice(value);
        }
    }
}

/// One position that looks at keys: a row of one head.
pub(super) struct Query<'a> {
    /// The query, as wide as a head.
    pub(super) query: &'a [f32],
    /// Where the mixed values go.
    pub(super) out: &'a mut [f32],
    /// The number of keys it may see, at least one.
    pub(super) visible: usize,
    /// Where its attention weights go, `visible` of them, when they are wanted.
    pub(super) weights: Option<&'a mut [f32]>,
}

/// Lets `queries` of one head attend to the keys and values in panels.
pub(super) fn attend<'p, P>(shape: PanelShape, queries: &mut [Query<'_>], panel: P)
where
    P: Fn(usize) -> &'p [f32],
{
    Attend { shape, queries, panel }.dispatch();
}

struct Attend<'a, 'q, P> {
    shape: PanelShape,
    queries: &'a mut [Query<'q>],
    panel: P,
}

impl<'p, P: Fn(usize) -> &'p [f32]> SimdOp for Attend<'_, '_, P> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let width = self.shape.width;
        let scale = (width as f32).sqrt().recip();
        let visible = self.queries.iter().map(|query| query.visible).max().unwrap_or(0);
        let panels = visible.div_ceil(PANEL);
        let rows = self.queries.len();

        let mut scaled = Vec::with_capacity(rows * width);
        for query in self.queries.iter() {
            scaled.extend(query.query.iter().map(|value| value * scale));
        }
        let stride = panels * PANEL;
        let mut weights = vec![0.0; rows * stride];
        for index in 0..panels {
            let keys = &(self.panel)(index)[..width * PANEL];
            for (group, weights) in weights.chunks_mut(ROWS * stride).enumerate() {
                let scaled = &scaled[group * ROWS * width..];
                let columns = &mut weights[index * PANEL..];
                multiply(
                    isa,
                    Operand {
                        data: scaled,
                        stride: width,
                    },
                    keys,
                    columns,
                    stride,
                    rows - group * ROWS,
                );
            }
        }
        for (query, weights) in self.queries.iter_mut().zip(weights.chunks_exact_mut(stride)) {
            weights[query.visible..].fill(f32::NEG_INFINITY);
            softmax(isa, weights);
            if let Some(wanted) = &mut query.weights {
                wanted.copy_from_slice(&weights[..query.visible]);
            }
        }
        let mut mixed = vec![0.0; rows * PANEL];
        for block in 0..self.shape.value_blocks() {
            mixed.fill(0.0);
            let start = (width + block * PANEL) * PANEL;
            for index in 0..panels {
                let values = &(self.panel)(index)[start..start + PANEL * PANEL];
                for (group, mixed) in mixed.chunks_mut(ROWS * PANEL).enumerate() {
                    let weights = &weights[group * ROWS * stride + index * PANEL..];
                    multiply(
                        isa,
                        Operand { data: weights, stride },
                        values,
                        mixed,
                        PANEL,
                        rows - group * ROWS,
                    );
                }
            }
            for (query, mixed) in self.queries.iter_mut().zip(mixed.chunks_exact(PANEL)) {
                let columns = block * PANEL..((block + 1) * PANEL).min(width);
                let count = columns.len();
                query.out[columns].copy_from_slice(&mixed[..count]);
            }
        }
    }
}

/// Rows that start every `stride` values.
#[derive(Clone, Copy)]
struct Operand<'a> {
    data: &'a [f32],
    stride: usize,
}

// Vector code keeps to plain loops: a closure given to the standard library is compiled without the instructions that the
// dispatched function may use, and is not always inlined into it.

/// Makes scores, as many as whole panels hold, weights that sum to one.
#[inline(always)]
fn softmax<I: Isa>(isa: I, scores: &mut [f32]) {
    let floats = isa.f32();
    let lanes = floats.len();
    let mut max = floats.splat(f32::NEG_INFINITY);
    for scores in scores.chunks_exact(lanes) {
        max = floats.max(max, floats.load(scores));
    }
    let mut largest = f32::NEG_INFINITY;
    for score in max.to_array() {
        largest = largest.max(score);
    }
    let max = floats.splat(largest);
    let mut sum = floats.zero();
    for scores in scores.chunks_exact_mut(lanes) {
        let power = Exp {}.eval(isa, floats.sub(floats.load(scores), max));
        sum = floats.add(sum, power);
        floats.store(power, scores);
    }
    let scale = floats.splat(1.0 / floats.sum(sum));
    for scores in scores.chunks_exact_mut(lanes) {
        floats.store(floats.mul(floats.load(scores), scale), scores);
    }
}

/// Adds the product of at most [`ROWS`] rows of `left` with `right`, `[depth, PANEL]`, to rows of `out`.
#[inline(always)]
fn multiply<I: Isa>(isa: I, left: Operand<'_>, right: &[f32], out: &mut [f32], stride: usize, rows: usize) {
    match rows {
        0 => {}
        1 => multiply_rows::<I, 1>(isa, left, right, out, stride),
        2 => multiply_rows::<I, 2>(isa, left, right, out, stride),
        3 => multiply_rows::<I, 3>(isa, left, right, out, stride),
        4 => multiply_rows::<I, 4>(isa, left, right, out, stride),
        5 => multiply_rows::<I, 5>(isa, left, right, out, stride),
        _ => multiply_rows::<I, ROWS>(isa, left, right, out, stride),
    }
}

#[inline(always)]
fn multiply_rows<I: Isa, const N: usize>(isa: I, left: Operand<'_>, right: &[f32], out: &mut [f32], stride: usize) {
    let floats = isa.f32();
    let lanes = floats.len();
    let depth = right.len() / PANEL;
    let mut rows: [&[f32]; N] = [&[]; N];
    for (row, data) in rows.iter_mut().enumerate() {
        *data = &left.data[row * left.stride..][..depth];
    }
    let mut column = 0;
    while column < PANEL {
        let mut sums = [[floats.zero(); 2]; N];
        for row in 0..N {
            let out = &out[row * stride + column..][..2 * lanes];
            sums[row] = [floats.load(out), floats.load(&out[lanes..])];
        }
        for (k, right) in right.chunks_exact(PANEL).enumerate() {
            let right = &right[column..][..2 * lanes];
            let right = [floats.load(right), floats.load(&right[lanes..])];
            for row in 0..N {
                let left = floats.splat(rows[row][k]);
                sums[row][0] = floats.mul_add(left, right[0], sums[row][0]);
                sums[row][1] = floats.mul_add(left, right[1], sums[row][1]);
            }
        }
        for (row, sums) in sums.into_iter().enumerate() {
            let out = &mut out[row * stride + column..];
            floats.store(sums[0], out);
            floats.store(sums[1], &mut out[lanes..]);
        }
        column += 2 * lanes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(count: usize, seed: f32) -> Vec<f32> {
        (0..count).map(|n| ((n as f32 + seed) * 12.9898).sin()).collect()
    }

    /// Attention as the formula says it, in f64.
    fn formula(query: &[f32], keys: &[Vec<f32>], values: &[Vec<f32>]) -> Vec<f64> {
        let scale = 1.0 / (query.len() as f64).sqrt();
        let dot = |key: &[f32]| -> f64 { key.iter().zip(query).map(|(k, q)| f64::from(*k) * f64::from(*q)).sum() };
        let powers: Vec<f64> = keys.iter().map(|key| (dot(key) * scale).exp()).collect();
        let total: f64 = powers.iter().sum();
        (0..query.len())
            .map(|channel| {
                powers
                    .iter()
                    .zip(values)
                    .map(|(p, v)| p / total * f64::from(v[channel]))
                    .sum()
            })
            .collect()
    }

    #[test]
    fn every_row_is_the_formula_s_and_the_same_alone() {
        for width in [7, 32, 36, 64] {
            let shape = PanelShape { width };
            let positions: usize = 75;
            let keys: Vec<Vec<f32>> = (0..positions).map(|n| values(width, n as f32)).collect();
            let contents: Vec<Vec<f32>> = (0..positions).map(|n| values(width, 0.3 + n as f32)).collect();
            let mut panels = vec![0.0; positions.div_ceil(PANEL) * shape.len()];
            for (n, (key, value)) in keys.iter().zip(&contents).enumerate() {
                let panel = &mut panels[n / PANEL * shape.len()..][..shape.len()];
                shape.write(panel, n % PANEL, key, value);
            }
            let panel = |index: usize| &panels[index * shape.len()..][..shape.len()];
            let rows: Vec<Vec<f32>> = (0..14).map(|n| values(width, 0.7 * n as f32)).collect();
            let visible = |row: usize| positions - 5 * row;
            let mut together = vec![vec![0.0; width]; rows.len()];
            let mut queries: Vec<Query<'_>> = rows
                .iter()
                .zip(&mut together)
                .enumerate()
                .map(|(row, (query, out))| Query {
                    query,
                    out,
                    visible: visible(row),
                    weights: None,
                })
                .collect();
            attend(shape, &mut queries, panel);
            for (row, (query, together)) in rows.iter().zip(&together).enumerate() {
                let seen = visible(row);
                let (mut alone, mut weights) = (vec![0.0; width], vec![0.0; seen]);
                let mut single = [Query {
                    query,
                    out: &mut alone,
                    visible: seen,
                    weights: Some(&mut weights),
                }];
                attend(shape, &mut single, panel);
                assert_eq!(&alone, together);
                assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                for (ours, exact) in alone.iter().zip(formula(query, &keys[..seen], &contents[..seen])) {
                    assert!((f64::from(*ours) - exact).abs() < 1e-5, "{ours} {exact}");
                }
            }
        }
    }
}
