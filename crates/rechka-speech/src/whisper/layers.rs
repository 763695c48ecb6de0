//! Reading layers out of a checkpoint.
use rayon::prelude::*;

use super::kernels::layer_norm;
use super::linear::Linear;
use super::weights::Weights;
use super::{Precision, WhisperError};

/// Rows that a task normalises: few are not worth sharing.
const ROWS: usize = 64;

/// Where layers come from, and how they are to be held.
pub(super) struct Layers<'a> {
    pub(super) weights: &'a Weights,
    pub(super) precision: Precision,
    /// Width of the model.
    pub(super) width: usize,
}

/// The scale and shift of a layer normalisation.
pub(super) struct Norm {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Norm {
    /// Normalises every row of `x` into `out`.
    pub(super) fn forward(&self, x: &[f32], out: &mut [f32]) {
        let chunk = ROWS * self.weight.len();
        let chunks = x.par_chunks(chunk).zip(out.par_chunks_mut(chunk));
        chunks.for_each(|(x, out)| layer_norm(x, &self.weight, &self.bias, out));
    }
}

impl Layers<'_> {
    pub(super) fn norm(&self, name: &str) -> Result<Norm, WhisperError> {
        Ok(Norm {
            weight: self.weights.tensor(&format!("{name}.weight"), &[self.width])?,
            bias: self.weights.tensor(&format!("{name}.bias"), &[self.width])?,
        })
    }

    pub(super) fn linear(&self, name: &str, inputs: usize, outputs: usize) -> Result<Linear, WhisperError> {
        let weight = self.weights.tensor(&format!("{name}.weight"), &[outputs, inputs])?;
        let bias = self.weights.tensor(&format!("{name}.bias"), &[outputs])?;
        Ok(Linear::new(&weight, bias, self.precision))
    }

    /// Several projections of attention as one layer, their outputs side by side. Keys have no bias.
    pub(super) fn projections(&self, attention: &str, parts: &[&str]) -> Result<Linear, WhisperError> {
        let mut weight = Vec::with_capacity(parts.len() * self.width * self.width);
        let mut bias = Vec::with_capacity(parts.len() * self.width);
        for part in parts {
            let name = format!("{attention}.{part}");
            weight.extend(
                self.weights
                    .tensor(&format!("{name}.weight"), &[self.width, self.width])?,
            );
            if *part == "k_proj" {
                bias.resize(bias.len() + self.width, 0.0);
            } else {
                bias.extend(self.weights.tensor(&format!("{name}.bias"), &[self.width])?);
            }
        }
        Ok(Linear::new(&weight, bias, self.precision))
    }

    /// A convolution over time as a linear layer over `kernel` consecutive frames of `inputs` channels.
    pub(super) fn convolution(
        &self,
        name: &str,
        inputs: usize,
        kernel: usize,
        precision: Precision,
    ) -> Result<Linear, WhisperError> {
        let stored = self
            .weights
            .tensor(&format!("{name}.weight"), &[self.width, inputs, kernel])?;
        let bias = self.weights.tensor(&format!("{name}.bias"), &[self.width])?;
        let mut weight = Vec::with_capacity(stored.len());
        for output in stored.chunks_exact(inputs * kernel) {
            for tap in 0..kernel {
                weight.extend(output.iter().skip(tap).step_by(kernel));
            }
        }
        Ok(Linear::new(&weight, bias, precision))
    }
}
