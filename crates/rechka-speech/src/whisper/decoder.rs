//! The decoder: a step reads the new tokens of many lanes together, so that each weight is read once for all of them.
use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

use super::attention::{PanelShape, Query, attend};
use super::cache::{Cache, CacheShape};
use super::encoder::pack;
use super::kernels::Finish;
use super::layers::{Layers, Norm};
use super::linear::Linear;
use super::model::{Encoded, Lane, Step};
use super::{Config, Precision, WhisperError};

/// Queries of one head and one window that a task takes.
const QUERIES: usize = 48;

pub(super) struct Decoder {
    width: usize,
    heads: usize,
    embedding: Embedding,
    embedding_scale: f32,
    /// `[positions, width]`.
    positions: Vec<f32>,
    layers: Vec<Layer>,
    norm: Norm,
    /// The tied embedding as the output layer.
    logits: Linear,
    alignment_heads: Vec<(usize, usize)>,
}

struct Layer {
    self_norm: Norm,
    self_qkv: Linear,
    self_out: Linear,
    cross_norm: Norm,
    cross_query: Linear,
    /// Keys and values of the audio, computed once per window.
    cross_kv: Linear,
    cross_out: Linear,
    feed_forward_norm: Norm,
    expand: Linear,
    contract: Linear,
}

/// `[tokens, width]`; next to 8-bit weights 16 bits are enough.
enum Embedding {
    F32(Vec<f32>),
    F16(Vec<f16>),
}

/// What a lane's rows are in the step's matrices.
struct LaneRows {
    first: usize,
    /// Tokens read before.
    past: usize,
}

impl Decoder {
    pub(super) fn load(layers: &Layers<'_>, config: &Config) -> Result<Decoder, WhisperError> {
        let (width, inner) = (config.d_model, config.decoder_ffn);
        let root = "model.decoder";
        let load = |index| {
            let name = |part: &str| format!("{root}.layers.{index}.{part}");
            let (own, cross) = (name("self_attn"), name("encoder_attn"));
            Ok(Layer {
                self_norm: layers.norm(&name("self_attn_layer_norm"))?,
                self_qkv: layers.projections(&own, &["q_proj", "k_proj", "v_proj"])?,
                self_out: layers.linear(&format!("{own}.out_proj"), width, width)?,
                cross_norm: layers.norm(&name("encoder_attn_layer_norm"))?,
                cross_query: layers.projections(&cross, &["q_proj"])?,
                cross_kv: layers.projections(&cross, &["k_proj", "v_proj"])?,
                cross_out: layers.linear(&format!("{cross}.out_proj"), width, width)?,
                feed_forward_norm: layers.norm(&name("final_layer_norm"))?,
                expand: layers.linear(&name("fc1"), width, inner)?,
                contract: layers.linear(&name("fc2"), inner, width)?,
            })
        };
        let table = layers
            .weights
            .tensor(&format!("{root}.embed_tokens.weight"), &[config.vocab_size, width])?;
        let logits = Linear::new(&table, vec![0.0; config.vocab_size], layers.precision);
        let embedding = match layers.precision {
            Precision::F32 => Embedding::F32(table),
            Precision::Int8 => {
                let mut halves = vec![f16::ZERO; table.len()];
                halves.convert_from_f32_slice(&table);
                Embedding::F16(halves)
            }
        };
        Ok(Decoder {
            width,
            heads: config.decoder_heads,
            embedding,
            embedding_scale: if config.scale_embedding {
                (width as f32).sqrt()
            } else {
                1.0
            },
            positions: layers.weights.tensor(
                &format!("{root}.embed_positions.weight"),
                &[config.max_target_positions, width],
            )?,
            layers: (0..config.decoder_layers)
                .map(load)
                .collect::<Result<_, WhisperError>>()?,
            norm: layers.norm(&format!("{root}.layer_norm"))?,
            logits,
            alignment_heads: config.alignment_heads.clone(),
        })
    }

    fn panel(&self) -> PanelShape {
        PanelShape {
            width: self.width / self.heads,
        }
    }

    fn cache_shape(&self) -> CacheShape {
        CacheShape {
            layers: self.layers.len(),
            heads: self.heads,
            panel: self.panel(),
        }
    }

    fn vocab(&self) -> usize {
        self.logits.outputs()
    }

    /// The cross-attention's keys and values of encoded windows: per window, per layer, in panels.
    pub(super) fn listen(&self, encoded: &[f32], lengths: &[usize]) -> Vec<Vec<Vec<f32>>> {
        let mut windows: Vec<Vec<Vec<f32>>> = lengths.iter().map(|_| Vec::with_capacity(self.layers.len())).collect();
        let stride = 2 * self.width;
        let mut kv = vec![0.0; encoded.len() * 2];
        for layer in &self.layers {
            layer.cross_kv.forward(encoded, &mut kv, Finish::Store);
            let mut start = 0;
            for (window, &length) in windows.iter_mut().zip(lengths) {
                let rows = &kv[start * stride..(start + length) * stride];
                window.push(pack(self.panel(), self.heads, rows, 0, stride));
                start += length;
            }
        }
        windows
    }

    /// Refuses lanes that the step could not carry out.
    pub(super) fn check(&self, lanes: &[Lane<'_>]) -> Result<(), WhisperError> {
        let room = self.positions.len() / self.width;
        for lane in lanes {
            let refuse = |reason: String| Err(WhisperError::Request(reason));
            if lane.tokens.is_empty() {
                return refuse("a decoding step needs at least one token".to_owned());
            }
            if let Some(token) = lane.tokens.iter().find(|&&token| token as usize >= self.vocab()) {
                return refuse(format!("token {token} is outside the vocabulary of {}", self.vocab()));
            }
            if lane.cache.len() + lane.tokens.len() > room {
                return refuse(format!(
                    "{} tokens after {} are more than the decoder's {room} positions",
                    lane.tokens.len(),
                    lane.cache.len()
                ));
            }
            if !lane.cache.fits(self.cache_shape()) || lane.audio.shape() != self.cache_shape() {
                return refuse("the audio or the cache belongs to another model".to_owned());
            }
        }
        Ok(())
    }

    pub(super) fn forward(&self, lanes: &mut [Lane<'_>]) -> Vec<Step> {
        let width = self.width;
        let mut rows = Vec::with_capacity(lanes.len());
        let mut x = Vec::new();
        for lane in lanes.iter_mut() {
            let (first, past) = (x.len() / width, lane.cache.len());
            rows.push(LaneRows { first, past });
            for (index, &token) in lane.tokens.iter().enumerate() {
                self.embed(token as usize, past + index, &mut x);
            }
            lane.cache.grow(self.cache_shape(), lane.tokens.len());
        }
        let mut steps: Vec<Step> = lanes
            .iter()
            .map(|lane| Step {
                logits: Vec::new(),
                attention: if lane.attention {
                    vec![0.0; self.alignment_heads.len() * lane.tokens.len() * lane.audio.frames()]
                } else {
                    Vec::new()
                },
            })
            .collect();
        let mut normed = vec![0.0; x.len()];
        let mut mixed = vec![0.0; x.len()];
        let mut qkv = vec![0.0; x.len() * 3];
        let mut inner = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            layer.self_norm.forward(&x, &mut normed);
            layer.self_qkv.forward(&normed, &mut qkv, Finish::Store);
            for (lane, rows) in lanes.iter_mut().zip(&rows) {
                let qkv = qkv[rows.first * 3 * width..].chunks_exact(3 * width);
                for (token, row) in (0..lane.tokens.len()).zip(qkv) {
                    let (keys, values) = row[width..].split_at(width);
                    lane.cache.write(index, rows.past + token, keys, values);
                }
            }
            self.attend_to_past(index, lanes, &rows, &qkv, &mut mixed);
            layer.self_out.forward(&mixed, &mut x, Finish::Add);

            layer.cross_norm.forward(&x, &mut normed);
            let queries = &mut qkv[..x.len()];
            layer.cross_query.forward(&normed, queries, Finish::Store);
            self.attend_to_audio(index, lanes, queries, &mut mixed, &mut steps);
            layer.cross_out.forward(&mixed, &mut x, Finish::Add);

            layer.feed_forward_norm.forward(&x, &mut normed);
            inner.resize(x.len() / width * layer.expand.outputs(), 0.0);
            layer.expand.forward(&normed, &mut inner, Finish::Gelu);
            layer.contract.forward(&inner, &mut x, Finish::Add);
        }
        self.score(lanes, &rows, &x, &mut steps);
        steps
    }

    fn embed(&self, token: usize, position: usize, x: &mut Vec<f32>) {
        let width = self.width;
        let positions = &self.positions[position * width..][..width];
        let range = token * width..(token + 1) * width;
        let scale = self.embedding_scale;
        match &self.embedding {
            Embedding::F32(table) => x.extend(table[range].iter().zip(positions).map(|(e, p)| e * scale + p)),
            Embedding::F16(table) => {
                x.extend(table[range].iter().zip(positions).map(|(e, p)| e.to_f32() * scale + p));
            }
        }
    }

    /// Causal self-attention: every token sees its lane's tokens up to itself.
    fn attend_to_past(&self, layer: usize, lanes: &[Lane<'_>], rows: &[LaneRows], qkv: &[f32], mixed: &mut [f32]) {
        let (width, shape) = (self.width, self.panel());
        let mut tasks: Vec<(&Cache, usize, Vec<Query<'_>>)> = Vec::new();
        let mut outs = mixed.chunks_exact_mut(width);
        let mut queries = qkv.chunks_exact(3 * width);
        for (lane, rows) in lanes.iter().zip(rows) {
            for start in (0..lane.tokens.len()).step_by(QUERIES) {
                let first_task = tasks.len();
                tasks.extend((0..self.heads).map(|head| (&*lane.cache, head, Vec::new())));
                for token in start..lane.tokens.len().min(start + QUERIES) {
                    let (Some(query), Some(out)) = (queries.next(), outs.next()) else {
                        break;
                    };
                    let heads = query.chunks_exact(shape.width).zip(out.chunks_exact_mut(shape.width));
                    for ((query, out), task) in heads.zip(&mut tasks[first_task..]) {
                        let visible = rows.past + token + 1;
                        task.2.push(Query {
                            query,
                            out,
                            visible,
                            weights: None,
                        });
                    }
                }
            }
        }
        tasks.par_iter_mut().for_each(|(cache, head, queries)| {
            attend(shape, queries, |index| {
                cache.panel(self.cache_shape(), layer, *head, index)
            });
        });
    }

    /// Cross-attention; lanes that listen to the same window do it together.
    fn attend_to_audio(
        &self,
        layer: usize,
        lanes: &[Lane<'_>],
        queries: &[f32],
        mixed: &mut [f32],
        steps: &mut [Step],
    ) {
        let (width, shape) = (self.width, self.panel());
        let mut tasks: Vec<(&Encoded, usize, Vec<Query<'_>>)> = Vec::new();
        // Where the tasks of each window that is still to be filled begin.
        let mut open: Vec<(&Encoded, usize)> = Vec::new();
        let mut rows = queries.chunks_exact(width).zip(mixed.chunks_exact_mut(width));
        for (lane, step) in lanes.iter().zip(steps) {
            let (audio, frames) = (lane.audio, lane.audio.frames());
            let mut weights = self.weight_slots(layer, lane, step);
            for _ in lane.tokens {
                let Some((query, out)) = rows.next() else { break };
                let known = open
                    .iter()
                    .rposition(|(other, first)| other.same(audio) && tasks[*first].2.len() < QUERIES);
                let first = match known {
                    Some(known) => open[known].1,
                    None => {
                        open.push((audio, tasks.len()));
                        tasks.extend((0..self.heads).map(|head| (audio, head, Vec::new())));
                        tasks.len() - self.heads
                    }
                };
                let heads = query.chunks_exact(shape.width).zip(out.chunks_exact_mut(shape.width));
                for (head, (query, out)) in heads.enumerate() {
                    let weights = weights
                        .iter_mut()
                        .find(|(own, _)| *own == head)
                        .and_then(|(_, slots)| slots.next());
                    tasks[first + head].2.push(Query {
                        query,
                        out,
                        visible: frames,
                        weights,
                    });
                }
            }
        }
        tasks.par_iter_mut().for_each(|(audio, head, queries)| {
            let panels = audio.panels(layer, *head);
            attend(shape, queries, |index| &panels[index * shape.len()..][..shape.len()]);
        });
    }

    /// For each alignment head of `layer`: where the weights of the lane's tokens go, one after the other.
    fn weight_slots<'s>(
        &self,
        layer: usize,
        lane: &Lane<'_>,
        step: &'s mut Step,
    ) -> Vec<(usize, std::slice::ChunksExactMut<'s, f32>)> {
        let frames = lane.audio.frames();
        let of_heads = step.attention.chunks_exact_mut(lane.tokens.len() * frames);
        self.alignment_heads
            .iter()
            .zip(of_heads)
            .filter(|((own, _), _)| *own == layer)
            .map(|((_, head), weights)| (*head, weights.chunks_exact_mut(frames)))
            .collect()
    }

    /// The logits that lanes asked for.
    fn score(&self, lanes: &[Lane<'_>], rows: &[LaneRows], x: &[f32], steps: &mut [Step]) {
        let width = self.width;
        let mut wanted = Vec::new();
        for (lane, rows) in lanes.iter().zip(rows) {
            let from = lane.logits_from.min(lane.tokens.len());
            wanted.extend_from_slice(&x[(rows.first + from) * width..(rows.first + lane.tokens.len()) * width]);
        }
        let mut normed = vec![0.0; wanted.len()];
        self.norm.forward(&wanted, &mut normed);
        let mut logits = vec![0.0; wanted.len() / width * self.vocab()];
        self.logits.forward(&normed, &mut logits, Finish::Store);
        if let [step] = steps {
            step.logits = logits;
            return;
        }
        let mut rest = &logits[..];
        for (lane, step) in lanes.iter().zip(steps) {
            let count = lane.tokens.len().saturating_sub(lane.logits_from);
            let (own, others) = rest.split_at(count * self.vocab());
            step.logits = own.to_vec();
            rest = others;
        }
    }
}
