//! The encoder: two convolutions over the spectrogram, then layers of self-attention over all positions of a window.
use rayon::prelude::*;

use super::attention::{PANEL, PanelShape, Query, attend};
use super::kernels::Finish;
use super::layers::{Layers, Norm};
use super::linear::Linear;
use super::{Config, Mel, Precision, WhisperError};

/// Queries that one task takes: their keys' panels stay in cache while they do.
const QUERIES: usize = 48;

/// Width of both convolutions.
const KERNEL: usize = 3;

pub(super) struct Encoder {
    width: usize,
    heads: usize,
    conv1: Linear,
    conv2: Linear,
    /// `[positions, width]`.
    positions: Vec<f32>,
    layers: Vec<Layer>,
    norm: Norm,
}

struct Layer {
    attention_norm: Norm,
    /// Queries, keys and values in one product.
    qkv: Linear,
    attention_out: Linear,
    feed_forward_norm: Norm,
    expand: Linear,
    contract: Linear,
}

impl Encoder {
    pub(super) fn load(layers: &Layers<'_>, config: &Config) -> Result<Encoder, WhisperError> {
        let (width, inner) = (config.d_model, config.encoder_ffn);
        let root = "model.encoder";
        let load = |index| {
            let name = |part: &str| format!("{root}.layers.{index}.{part}");
            let attention = name("self_attn");
            Ok(Layer {
                attention_norm: layers.norm(&name("self_attn_layer_norm"))?,
                qkv: layers.projections(&attention, &["q_proj", "k_proj", "v_proj"])?,
                attention_out: layers.linear(&format!("{attention}.out_proj"), width, width)?,
                feed_forward_norm: layers.norm(&name("final_layer_norm"))?,
                expand: layers.linear(&name("fc1"), width, inner)?,
                contract: layers.linear(&name("fc2"), inner, width)?,
            })
        };
        Ok(Encoder {
            width,
            heads: config.encoder_heads,
            // The first layer sees the spectrogram itself: little work, and no place to lose precision.
            conv1: layers.convolution(&format!("{root}.conv1"), config.mel_bins, KERNEL, Precision::F32)?,
            conv2: layers.convolution(&format!("{root}.conv2"), width, KERNEL, layers.precision)?,
            positions: layers.weights.tensor(
                &format!("{root}.embed_positions.weight"),
                &[config.max_source_positions, width],
            )?,
            layers: (0..config.encoder_layers)
                .map(load)
                .collect::<Result<_, WhisperError>>()?,
            norm: layers.norm(&format!("{root}.layer_norm"))?,
        })
    }

    /// Encodes all windows together: `[positions of all windows, width]`, and each window's number of positions.
    pub(super) fn forward(&self, windows: &[Mel]) -> (Vec<f32>, Vec<usize>) {
        let width = self.width;
        let lengths: Vec<usize> = windows.iter().map(|window| window.frames().div_ceil(2)).collect();
        let mut x = Vec::with_capacity(lengths.iter().sum::<usize>() * width);
        for window in windows {
            self.embed(window, &mut x);
        }
        let mut normed = vec![0.0; x.len()];
        let mut mixed = vec![0.0; x.len()];
        let mut qkv = vec![0.0; x.len() * 3];
        let mut inner = vec![0.0; x.len() / width * self.layers.first().map_or(0, |layer| layer.expand.outputs())];
        for layer in &self.layers {
            layer.attention_norm.forward(&x, &mut normed);
            layer.qkv.forward(&normed, &mut qkv, Finish::Store);
            let mut start = 0;
            for &length in &lengths {
                let rows = start..start + length;
                self.attend(
                    &qkv[rows.start * 3 * width..rows.end * 3 * width],
                    &mut mixed[rows.start * width..rows.end * width],
                );
                start = rows.end;
            }
            layer.attention_out.forward(&mixed, &mut x, Finish::Add);
            layer.feed_forward_norm.forward(&x, &mut normed);
            layer.expand.forward(&normed, &mut inner, Finish::Gelu);
            layer.contract.forward(&inner, &mut x, Finish::Add);
        }
        self.norm.forward(&x, &mut normed);
        (normed, lengths)
    }

    /// The convolutions and the positional embedding of one window, appended to `x`.
    fn embed(&self, window: &Mel, x: &mut Vec<f32>) {
        let (bins, width, frames) = (window.bins(), self.width, window.frames());
        // Frames lie one after the other, so the three that a position hears are one row; a frame of zeros at either
        // end is the convolutions' padding.
        let mut padded = vec![0.0; (frames + 2) * bins];
        padded[bins..][..frames * bins].copy_from_slice(window.data());
        let mut hidden = vec![0.0; (frames + 2) * width];
        let inside = &mut hidden[width..][..frames * width];
        self.conv1.forward_strided(&padded, bins, inside, Finish::Gelu);
        let start = x.len();
        x.resize(start + frames.div_ceil(2) * width, 0.0);
        let added = &mut x[start..];
        self.conv2.forward_strided(&hidden, 2 * width, added, Finish::Gelu);
        for (value, position) in added.iter_mut().zip(&self.positions) {
            *value += position;
        }
    }

    /// Self-attention over one window: `qkv` is `[positions, 3 * width]`, `out` `[positions, width]`.
    fn attend(&self, qkv: &[f32], out: &mut [f32]) {
        let (width, heads) = (self.width, self.heads);
        let shape = PanelShape { width: width / heads };
        let length = out.len() / width;
        let keys_and_values = pack(shape, heads, qkv, width, 3 * width);
        let head_len = length.div_ceil(PANEL) * shape.len();
        out.par_chunks_mut(QUERIES * width)
            .zip(qkv.par_chunks(QUERIES * 3 * width))
            .for_each(|(out, qkv)| {
                let mut of_heads: Vec<Vec<Query<'_>>> = (0..heads).map(|_| Vec::with_capacity(QUERIES)).collect();
                for (out, row) in out.chunks_exact_mut(width).zip(qkv.chunks_exact(3 * width)) {
                    let parts = row.chunks_exact(shape.width).zip(out.chunks_exact_mut(shape.width));
                    for ((query, out), queries) in parts.zip(&mut of_heads) {
                        queries.push(Query {
                            query,
                            out,
                            visible: length,
                            weights: None,
                        });
                    }
                }
                for (head, queries) in of_heads.iter_mut().enumerate() {
                    let panels = &keys_and_values[head * head_len..][..head_len];
                    attend(shape, queries, |index| &panels[index * shape.len()..][..shape.len()]);
                }
            });
    }
}

/// Packs the keys and values of all heads into panels, head by head. Each row holds keys at `offset` and values right
/// after them, both as wide as the model, and rows start every `stride` values.
pub(super) fn pack(shape: PanelShape, heads: usize, rows: &[f32], offset: usize, stride: usize) -> Vec<f32> {
    let length = rows.len() / stride;
    let width = heads * shape.width;
    let head_len = length.div_ceil(PANEL) * shape.len();
    let mut packed = vec![0.0; heads * head_len];
    packed.par_chunks_mut(head_len).enumerate().for_each(|(head, panels)| {
        for (position, row) in rows.chunks_exact(stride).enumerate() {
            let key = &row[offset + head * shape.width..][..shape.width];
            let value = &row[offset + width + head * shape.width..][..shape.width];
            let panel = &mut panels[position / PANEL * shape.len()..][..shape.len()];
            shape.write(panel, position % PANEL, key, value);
        }
    });
    packed
}
