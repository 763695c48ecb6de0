//! The element-wise steps around matrix products, vectorised.
use rten_simd::ops::{BitOps, FloatOps, NarrowSaturate, NumOps, ToFloat};
use rten_simd::{Isa, Simd, SimdOp, SimdUnaryOp};
use rten_vecmath::{Exp, Gelu, Normalize, NormalizeOptions, Sum, SumSquareSub};

/// What happens to a linear layer's product, its bias added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finish {
    /// It is written.
    Store,
    /// It is added to what is there: the residual connection.
    Add,
    /// It goes through the Gaussian error linear unit (the exact one, by erf).
    Gelu,
}

/// How a row's values became 8 bits: `value = scale * (bits - zero_point)`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    scale: f32,
    zero_point: u8,
}

/// Quantises a row to 8 bits over the range of its values and zero.
pub(super) fn quantize_row(x: &[f32], out: &mut [u8]) -> Range {
    let (min, max) = Extremes(x).dispatch();
    let scale = if max > min { (max - min) / 255.0 } else { 1.0 };
    let zero_point = (-min / scale).round_ties_even() as u8;
    Quantize {
        x,
        out,
        inverse: 1.0 / scale,
        zero_point,
    }
    .dispatch();
    Range { scale, zero_point }
}

/// The least and the largest of some values and zero.
struct Extremes<'a>(&'a [f32]);

impl SimdOp for Extremes<'_> {
    type Output = (f32, f32);

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) -> (f32, f32) {
        let floats = isa.f32();
        let (mut min, mut max) = (floats.zero(), floats.zero());
        let mut vectors = self.0.chunks_exact(floats.len());
        for x in vectors.by_ref() {
            let x = floats.load(x);
            min = floats.min(min, x);
            max = floats.max(max, x);
        }
        let (rest, _) = floats.load_pad(vectors.remainder());
        let (min, max) = (floats.min(min, rest), floats.max(max, rest));
        let (mut least, mut largest) = (0.0_f32, 0.0_f32);
        for (min, max) in min.to_array().into_iter().zip(max.to_array()) {
            least = least.min(min);
            largest = largest.max(max);
        }
        (least, largest)
    }
}

struct Quantize<'a> {
    x: &'a [f32],
    out: &'a mut [u8],
    inverse: f32,
    zero_point: u8,
}

impl SimdOp for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let (floats, ints) = (isa.f32(), isa.i32());
        let inverse = floats.splat(self.inverse);
        let zero = ints.splat(i32::from(self.zero_point));
        let lanes = floats.len() * 4;
        let mut x = self.x.chunks_exact(lanes);
        let mut out = self.out.chunks_exact_mut(lanes);
        for (x, out) in x.by_ref().zip(out.by_ref()) {
            let mut parts = [zero; 4];
            for (part, x) in parts.iter_mut().zip(x.chunks_exact(floats.len())) {
                *part = ints.add(floats.to_int_round(floats.mul(floats.load(x), inverse)), zero);
            }
            let [a, b, c, d] = parts;
            let (low, high) = (ints.narrow_saturate(a, b), ints.narrow_saturate(c, d));
            isa.u8().store(isa.i16().narrow_saturate(low, high), out);
        }
        for (x, out) in x.remainder().iter().zip(out.into_remainder()) {
            let rounded = (x * self.inverse).round_ties_even() as i32;
            *out = rounded.saturating_add(i32::from(self.zero_point)).clamp(0, 255) as u8;
        }
    }
}

/// Scales a row of integer products back, adds the bias and finishes it.
pub(super) struct Dequantize<'a> {
    pub(super) product: &'a [i32],
    /// Of the row that was multiplied.
    pub(super) range: Range,
    /// Of the output channels' weights.
    pub(super) scales: &'a [f32],
    /// Of the output channels' weights.
    pub(super) sums: &'a [i32],
    pub(super) bias: &'a [f32],
    pub(super) out: &'a mut [f32],
    pub(super) finish: Finish,
}

impl SimdOp for Dequantize<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let (floats, ints) = (isa.f32(), isa.i32());
        let lanes = floats.len();
        let row_scale = floats.splat(self.range.scale);
        let zero_point = ints.splat(i32::from(self.range.zero_point));
        let columns = self.out.len();
        let mut start = 0;
        while start < columns {
            let end = (start + lanes).min(columns);
            let range = start..end;
            let (product, _) = ints.load_pad(&self.product[range.clone()]);
            let (sum, _) = ints.load_pad(&self.sums[range.clone()]);
            let product = ints.sub(product, ints.mul(sum, zero_point));
            let (scale, _) = floats.load_pad(&self.scales[range.clone()]);
            let (bias, _) = floats.load_pad(&self.bias[range.clone()]);
            let value = floats.mul_add(ints.to_float(product), floats.mul(scale, row_scale), bias);
            finish(isa, value, &mut self.out[range], self.finish);
            start = end;
        }
    }
}

/// Adds the bias to a row of products and finishes it.
pub(super) struct FinishRow<'a> {
    pub(super) product: &'a [f32],
    pub(super) bias: &'a [f32],
    pub(super) out: &'a mut [f32],
    pub(super) finish: Finish,
}

impl SimdOp for FinishRow<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let floats = isa.f32();
        let lanes = floats.len();
        let columns = self.out.len();
        let mut start = 0;
        while start < columns {
            let end = (start + lanes).min(columns);
            let range = start..end;
            let (product, _) = floats.load_pad(&self.product[range.clone()]);
            let (bias, _) = floats.load_pad(&self.bias[range.clone()]);
            finish(isa, floats.add(product, bias), &mut self.out[range], self.finish);
            start = end;
        }
    }
}

/// Writes a vector to at most as many values of `out`.
#[inline(always)]
fn finish<I: Isa>(isa: I, value: I::F32, out: &mut [f32], finish: Finish) {
    let floats = isa.f32();
    let value = match finish {
        Finish::Store => value,
        Finish::Add => floats.add(floats.load_pad(out).0, value),
        Finish::Gelu => Gelu {}.eval(isa, value),
    };
    if out.len() == floats.len() {
        floats.store(value, out);
    } else {
        let mut padded = [0.0; 16];
        floats.store(value, &mut padded);
        out.copy_from_slice(&padded[..out.len()]);
    }
}

/// Layer normalisation of every row of `x` into `out` (Ba et al., 2016; epsilon 1e-5 as in the reference).
pub(super) fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], out: &mut [f32]) {
    out.copy_from_slice(x);
    for row in out.chunks_exact_mut(weight.len()) {
        let width = row.len() as f32;
        let mean = Sum::new(row).dispatch() / width;
        let variance = SumSquareSub::new(row, mean).dispatch() / width;
        Normalize::new_mut(
            row,
            NormalizeOptions {
                pre_scale_bias: mean,
                scale: 1.0 / (variance + 1e-5).sqrt(),
                element_scale: Some(weight),
                element_bias: Some(bias),
                ..Default::default()
            },
        )
        .dispatch();
    }
}

/// The largest of some values, -inf for none, and the sum of the exponentials of their distances from it.
///
/// Plain loops: rten-vecmath 0.27 gives closures to its folds, which are not inlined here and cost ten times as much.
pub(super) struct SumExp<'a>(pub(super) &'a [f32]);

impl SimdOp for SumExp<'_> {
    type Output = (f32, f32);

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) -> (f32, f32) {
        let floats = isa.f32();
        let lanes = floats.len();
        let whole = self.0.len() / lanes * lanes;
        let (whole, rest) = self.0.split_at(whole);
        let mut padded = [f32::NEG_INFINITY; 16];
        padded[..rest.len()].copy_from_slice(rest);
        let rest = floats.load(&padded);
        let mut max = rest;
        for values in whole.chunks_exact(lanes) {
            max = floats.max(max, floats.load(values));
        }
        let mut largest = f32::NEG_INFINITY;
        for value in max.to_array() {
            largest = largest.max(value);
        }
        if largest == f32::NEG_INFINITY {
            return (largest, 0.0);
        }
        let max = floats.splat(largest);
        let mut sum = Exp {}.eval(isa, floats.sub(rest, max));
        for values in whole.chunks_exact(lanes) {
            sum = floats.add(sum, Exp {}.eval(isa, floats.sub(floats.load(values), max)));
        }
        (largest, floats.sum(sum))
    }
}
