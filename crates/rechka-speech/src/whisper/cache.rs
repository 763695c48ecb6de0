//! The decoder's memory of the tokens it has read.
use std::sync::Arc;

use super::attention::{PANEL, PanelShape};

/// The self-attention keys and values of one hypothesis. A clone continues on its own: that is how beams fork. Clones
/// share what they have in common and copy at most the last 32 tokens when they part.
#[derive(Clone, Default)]
pub struct Cache {
    len: usize,
    /// Each holds the panels of 32 tokens: every layer's every head.
    blocks: Vec<Arc<Vec<f32>>>,
    shape: Option<CacheShape>,
}

/// How much a model's cache holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CacheShape {
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) panel: PanelShape,
}

impl Cache {
    /// A cache that has read nothing.
    pub fn new() -> Cache {
        Cache::default()
    }

    /// Number of tokens read.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has been read.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets all but the first `len` tokens.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.blocks.truncate(self.len.div_ceil(PANEL));
    }

    /// Whether a model of this shape wrote it, or nobody yet.
    pub(super) fn fits(&self, shape: CacheShape) -> bool {
        self.shape.is_none_or(|own| own == shape)
    }

    /// Makes room for `tokens` more.
    pub(super) fn grow(&mut self, shape: CacheShape, tokens: usize) {
        self.shape = Some(shape);
        self.len += tokens;
        let size = shape.layers * shape.heads * shape.panel.len();
        while self.blocks.len() * PANEL < self.len {
            self.blocks.push(Arc::new(vec![0.0; size]));
        }
    }

    /// Writes the keys and values of all heads of `layer` at `position`; each is as wide as the model.
    pub(super) fn write(&mut self, layer: usize, position: usize, keys: &[f32], values: &[f32]) {
        let Some(shape) = self.shape else { return };
        let block = Arc::make_mut(&mut self.blocks[position / PANEL]);
        let panels = block.chunks_exact_mut(shape.panel.len()).skip(layer * shape.heads);
        let width = shape.panel.width;
        let heads = keys.chunks_exact(width).zip(values.chunks_exact(width));
        for (panel, (key, value)) in panels.zip(heads) {
            shape.panel.write(panel, position % PANEL, key, value);
        }
    }

    /// A head's panel number `index`.
    pub(super) fn panel(&self, shape: CacheShape, layer: usize, head: usize, index: usize) -> &[f32] {
        let len = shape.panel.len();
        &self.blocks[index][(layer * shape.heads + head) * len..][..len]
    }
}
