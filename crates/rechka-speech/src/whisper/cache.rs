//! The decoder's memory of the tokens it has read.

/// The self-attention keys and values of one hypothesis. A clone continues on its own: that is how beams fork.
#[derive(Clone, Default)]
pub struct Cache {
    len: usize,
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
    }
}
