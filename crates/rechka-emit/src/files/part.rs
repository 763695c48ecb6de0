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

/// How the names of a partition's files begin.
fn prefix(relation: &Relation, partition: Partition) -> String {
    format!("{}-{partition}-", relation.name)
}

/// Any finished file of a partition.
pub(super) fn any(folder: &Path, relation: &Relation, partition: Partition) -> Result<Option<PathBuf>> {
    let failed = |error: std::io::Error| EmitError::File {
        path: folder.to_owned(),
        reason: error.to_string(),
    };
    let prefix = prefix(relation, partition);
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

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
        let name = format!("{}{:020}.{ending}", prefix(relation, partition), self.first);
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
