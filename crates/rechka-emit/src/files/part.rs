use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Instant,
};

use arrow::array::RecordBatch;
use rechka_log::{Offset, Partition};
use rechka_sql::{Relation, statement::FileFormat};

use super::{Limits, writer};
use crate::{EmitError, Result};

/// A file that is not written yet.
pub(super) struct Part {
    first: Offset,
    next: Offset,
    rows: Vec<RecordBatch>,
    count: usize,
    bytes: usize,
    since: Instant,
}

impl Part {
    /// Begins at an offset.
    pub fn new(first: Offset) -> Self {
        Self {
            first,
            next: first,
            rows: Vec::new(),
            count: 0,
            bytes: 0,
            since: Instant::now(),
        }
    }

    /// Takes rows up to an offset.
    pub fn push(&mut self, rows: RecordBatch, next: Offset) {
        self.next = next;
        self.count += rows.num_rows();
        self.bytes += rows.get_array_memory_size();
        self.rows.push(rows);
    }

    /// The offset after its last row.
    pub fn next(&self) -> Offset {
        self.next
    }

    pub fn is_due(&self, limits: &Limits) -> bool {
        self.count >= limits.rows || self.bytes >= limits.bytes || self.since.elapsed() >= limits.age
    }

    /// Makes the file; a file of the same first offset is replaced.
    pub fn write(&self, folder: &Path, relation: &Relation, partition: Partition, format: FileFormat) -> Result<()> {
        let ending = match format {
            FileFormat::Parquet => "parquet",
            FileFormat::Json => "json",
            FileFormat::Csv => "csv",
        };
        let name = format!("{}-{partition}-{:020}.{ending}", relation.name, self.first);
        let (path, unfinished) = (folder.join(&name), folder.join(format!(".{name}.unfinished")));
        let failed = |path: &PathBuf, reason: String| EmitError::File {
            path: path.clone(),
            reason,
        };
        let write = || -> std::io::Result<()> {
            let file = File::create(&unfinished)?;
            writer::write(&file, &relation.schema, &self.rows, format)?;
            file.sync_all()
        };
        write().map_err(|error| failed(&unfinished, error.to_string()))?;
        let publish = || -> std::io::Result<()> {
            std::fs::rename(&unfinished, &path)?;
            File::open(folder)?.sync_all()
        };
        publish().map_err(|error| failed(&path, error.to_string()))
    }
}
