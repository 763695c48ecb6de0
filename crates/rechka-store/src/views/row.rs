//! A row, and what became of it.
use std::{collections::BTreeMap, sync::Arc};

use super::columns::Key;

/// A row of a view: its key and its columns as they were written, JSON on one line. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Key and value in one allocation.
    text: Arc<str>,
    key: usize,
}

impl Row {
    pub(super) fn new(key: &str, value: &str) -> Self {
        let mut text = String::with_capacity(key.len() + value.len());
        text.push_str(key);
        text.push_str(value);
        // Outside of strings a line break means nothing, and inside JSON has none: receivers may count on single lines.
        if text.bytes().any(|byte| byte == b'\n' || byte == b'\r') {
            text = text.replace(['\n', '\r'], " ");
        }
        Self {
            text: text.into(),
            key: key.len(),
        }
    }

    /// The key columns: an object of JSON.
    pub fn key(&self) -> &str {
        &self.text[..self.key]
    }

    /// All columns: an object of JSON.
    pub fn value(&self) -> &str {
        &self.text[self.key..]
    }

    /// Bytes of text.
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }
}

/// What became of one key in one epoch: one of the two is a row.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) key: Key,
    pub(super) before: Option<Row>,
    pub(super) after: Option<Row>,
}

/// What changed at once. Shared by all subscribers.
#[derive(Debug)]
pub(super) struct Changes {
    /// Their number, from 1: what is seen after them.
    pub(super) sequence: u64,
    /// By key.
    pub(super) changes: Vec<Change>,
    /// Memory, about.
    pub(super) bytes: usize,
}

/// Rows that are written or deleted together, by key.
pub(super) type Staged = BTreeMap<Key, Option<Row>>;
