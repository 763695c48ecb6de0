//! Linear layers: `y = x Wᵀ + b`, in f32 or with 8-bit weights.
//!
//! A row's result depends on that row alone, bit for bit: the f32 kernel adds its products in one order whatever the
//! number of rows, and 8-bit products are summed as integers with a scale per row and per output channel. (That is why
//! weights are always packed, even for one row: the vector-matrix kernels for unpacked weights add in another order.)
use rayon::prelude::*;
use rten_gemm::{GemmExecutor, GemmInputA, GemmInputB, GemmUninitOptions, PackedBMatrix};
use rten_simd::SimdOp;
use rten_tensor::NdTensorView;

use super::Precision;
use super::kernels::{Dequantize, Finish, FinishRow, quantize_row};

/// The most rows that one task takes: enough to reuse the weights in cache, few enough to share among threads.
const ROWS: usize = 64;
/// What the number of a task's rows is a multiple of: no kernel takes more rows at a time.
const TILE: usize = 8;

thread_local! {
    // Making one asks the processor what it can do (CPUID), which takes some 10 µs in a virtual machine; and one can't be shared
    // between threads (rten-gemm 0.27). So every thread keeps its own.
    static GEMM_F32: GemmExecutor<f32, f32, f32> = GemmExecutor::default();
    static GEMM_INT8: GemmExecutor<u8, i8, i32> = GemmExecutor::default();
}

/// A linear layer with its weights packed for the machine's matrix kernel.
pub(super) struct Linear {
    inputs: usize,
    bias: Vec<f32>,
    weights: Packed,
}

enum Packed {
    F32 {
        weights: PackedBMatrix<f32>,
    },
    Int8 {
        weights: PackedBMatrix<i8>,
        /// Per output channel.
        scales: Vec<f32>,
        /// Of the weights of each output channel: what a row's zero point is multiplied with. (The kernel could subtract
        /// zero points itself, but rten-gemm 0.27 takes those of the first rows for all.)
        sums: Vec<i32>,
    },
}

impl Linear {
    /// Packs `weight`, `[outputs, inputs]` row by row, one output per element of `bias`.
    pub(super) fn new(weight: &[f32], bias: Vec<f32>, precision: Precision) -> Linear {
        let outputs = bias.len();
        let inputs = weight.len() / outputs;
        let weights = match precision {
            Precision::F32 => {
                let gemm = GemmExecutor::<f32, f32, f32>::default();
                let view = NdTensorView::from_data([outputs, inputs], weight);
                let weights = gemm.prepack_b(view.transposed());
                Packed::F32 { weights }
            }
            Precision::Int8 => {
                let gemm = GemmExecutor::<u8, i8, i32>::default();
                // Kernels without a dot-product instruction add two products in 16 bits; seven bits can't overflow.
                let largest = if gemm.may_saturate() { 63.0 } else { 127.0 };
                let mut quantized = Vec::with_capacity(weight.len());
                let mut scales = Vec::with_capacity(outputs);
                let mut sums = Vec::with_capacity(outputs);
                for row in weight.chunks_exact(inputs) {
                    let peak = row.iter().fold(0.0_f32, |peak, value| peak.max(value.abs()));
                    let scale = if peak > 0.0 { peak / largest } else { 1.0 };
                    let start = quantized.len();
                    quantized.extend(row.iter().map(|value| (value / scale).round_ties_even() as i8));
                    sums.push(quantized[start..].iter().map(|&value| i32::from(value)).sum());
                    scales.push(scale);
                }
                let view = NdTensorView::from_data([outputs, inputs], &quantized[..]);
                let weights = gemm.prepack_b(view.transposed());
                Packed::Int8 { weights, scales, sums }
            }
        };
        Linear { inputs, bias, weights }
    }

    /// Number of outputs.
    pub(super) fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// Multiplies the rows of `x` and writes to `out`, `[rows, outputs]`, as `finish` says.
    pub(super) fn forward(&self, x: &[f32], out: &mut [f32], finish: Finish) {
        self.forward_strided(x, self.inputs, out, finish);
    }

    /// The same for rows of `x` that start every `stride` values and may overlap: a convolution over time.
    pub(super) fn forward_strided(&self, x: &[f32], stride: usize, out: &mut [f32], finish: Finish) {
        let outputs = self.outputs();
        let rows = rows_per_task(out.len() / outputs, rayon::current_num_threads());
        out.par_chunks_mut(rows * outputs).enumerate().for_each(|(chunk, out)| {
            self.forward_chunk(&x[chunk * rows * stride..], stride, out, finish);
        });
    }

    #[expect(clippy::expect_used, reason = "the shapes are this function's own")]
    fn forward_chunk(&self, x: &[f32], stride: usize, out: &mut [f32], finish: Finish) {
        let outputs = self.outputs();
        let rows = out.len() / outputs;
        match &self.weights {
            Packed::F32 { weights } => {
                let view = NdTensorView::from_slice_with_strides([rows, self.inputs], x, [stride, 1])
                    .expect("the caller brings a row of inputs for every row of outputs");
                let mut buffer = Vec::with_capacity(out.len());
                let product = GEMM_F32
                    .with(|gemm| {
                        gemm.gemm_uninit(
                            &mut buffer.spare_capacity_mut()[..out.len()],
                            GemmInputA::Unpacked(view),
                            GemmInputB::Packed(weights),
                            GemmUninitOptions::default(),
                        )
                    })
                    .expect("shapes agree and the weights were packed by this kernel");
                for (out, product) in out.chunks_exact_mut(outputs).zip(product.chunks_exact(outputs)) {
                    FinishRow {
                        product,
                        bias: &self.bias,
                        out,
                        finish,
                    }
                    .dispatch();
                }
            }
            Packed::Int8 { weights, scales, sums } => {
                let mut quantized = vec![0_u8; rows * self.inputs];
                let mut ranges = Vec::with_capacity(rows);
                for (row, quantized) in quantized.chunks_exact_mut(self.inputs).enumerate() {
                    let x = &x[row * stride..row * stride + self.inputs];
                    ranges.push(quantize_row(x, quantized));
                }
                let view = NdTensorView::from_data([rows, self.inputs], &quantized[..]);
                let mut buffer = Vec::with_capacity(out.len());
                let product = GEMM_INT8
                    .with(|gemm| {
                        // Left to itself it would pack the rows anew for every block of columns.
                        let rows = gemm.prepack_a(view);
                        gemm.gemm_uninit(
                            &mut buffer.spare_capacity_mut()[..out.len()],
                            GemmInputA::Packed(&rows),
                            GemmInputB::Packed(weights),
                            GemmUninitOptions::default(),
                        )
                    })
                    .expect("shapes agree and the weights were packed by this kernel");
                let rows = out.chunks_exact_mut(outputs).zip(product.chunks_exact(outputs));
                for ((out, product), range) in rows.zip(ranges) {
                    Dequantize {
                        product,
                        range,
                        scales,
                        sums,
                        bias: &self.bias,
                        out,
                        finish,
                    }
                    .dispatch();
                }
            }
        }
    }
}

/// How many rows each task takes: all threads have the same number of equal tasks, but a few rows are one task, whose columns the
/// kernel shares among the threads, so that the weights are read once.
fn rows_per_task(rows: usize, threads: usize) -> usize {
    if rows <= ROWS {
        return ROWS;
    }
    let tasks = rows.div_ceil(ROWS).next_multiple_of(threads);
    rows.div_ceil(tasks).next_multiple_of(TILE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Deterministic values around zero.
    fn values(count: usize, seed: u64) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    fn layer(inputs: usize, outputs: usize, precision: Precision) -> Linear {
        Linear::new(&values(inputs * outputs, 1), values(outputs, 2), precision)
    }

    fn forward(layer: &Linear, x: &[f32], finish: Finish) -> Vec<f32> {
        let mut out = vec![0.5; x.len() / layer.inputs * layer.outputs()];
        layer.forward(x, &mut out, finish);
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn a_row_is_the_same_alone_in_a_batch_and_on_any_number_of_threads(
            inputs in prop_oneof![1_usize..40, 250_usize..262, 1020_usize..1030, Just(2048)],
            outputs in prop_oneof![1_usize..70, 500_usize..520, Just(1100)],
            rows in prop_oneof![1_usize..12, 60_usize..140],
            int8 in any::<bool>(),
            finish in prop_oneof![Just(Finish::Store), Just(Finish::Add), Just(Finish::Gelu)],
        ) {
            let precision = if int8 { Precision::Int8 } else { Precision::F32 };
            let layer = layer(inputs, outputs, precision);
            let x = values(rows * inputs, 3);
            let alone: Vec<f32> = x.chunks_exact(inputs).flat_map(|row| forward(&layer, row, finish)).collect();
            for threads in [1, 2, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                prop_assert_eq!(&pool.install(|| forward(&layer, &x, finish)), &alone);
            }
        }
    }

    #[test]
    fn eight_bits_are_within_a_hundredth_of_f32() {
        let x = values(3 * 700, 5);
        let [exact, rounded] =
            [Precision::F32, Precision::Int8].map(|p| forward(&layer(700, 300, p), &x, Finish::Store));
        let norm = |values: &[f32]| values.iter().map(|v| v * v).sum::<f32>().sqrt();
        let error: Vec<f32> = exact.iter().zip(&rounded).map(|(a, b)| a - b).collect();
        assert!(
            norm(&error) < 0.01 * norm(&exact),
            "{} of {}",
            norm(&error),
            norm(&exact)
        );
    }

    #[test]
    fn a_convolution_s_rows_may_overlap() {
        let layer = layer(6, 4, Precision::F32);
        let x = values(10, 7);
        let mut out = vec![0.0; 3 * 4];
        layer.forward_strided(&x, 2, &mut out, Finish::Store);
        let rows: Vec<f32> = x
            .windows(6)
            .step_by(2)
            .flat_map(|row| forward(&layer, row, Finish::Store))
            .collect();
        assert_eq!(out, rows);
    }
}
