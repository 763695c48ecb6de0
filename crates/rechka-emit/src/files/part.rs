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
    Ok(beginning(folder, &prefix(relation, partition))?.into_iter().next())
}

/// Deletes what somebody who died has left unfinished of a partition.
pub(super) fn clear(folder: &Path, relation: &Relation, partition: Partition) -> Result<()> {
    let unfinished = beginning(folder, &format!(".{}", prefix(relation, partition)))?;
    unfinished.iter().try_for_each(|path| match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(path, &error)),
        _ => Ok(()),
    })
}

/// The files whose names begin so.
fn beginning(folder: &Path, prefix: &str) -> Result<Vec<PathBuf>> {
    let failed = |error: std::io::Error| failed(folder, &error);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            found.push(entry.path());
        }
    }
    Ok(found)
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

    /// Its first offset.
    pub fn first(&self) -> Offset {
        self.first
    }

    /// Makes the file, under a name that nobody else uses and nobody reads.
    pub fn write(
        &self,
        folder: &Path,
        relation: &Relation,
        partition: Partition,
        format: FileFormat,
    ) -> Result<Written> {
        let ending = match format {
            FileFormat::Parquet => "parquet",
            FileFormat::Json => "json",
            FileFormat::Csv => "csv",
        };
        let name = format!("{}{:020}.{ending}", prefix(relation, partition), self.first);
        let written = Written {
            path: folder.join(&name),
            // Another process may be writing the same rows.
            unfinished: folder.join(format!(".{name}.{}.unfinished", std::process::id())),
        };
        let write = || -> std::io::Result<()> {
            let file = File::create(&written.unfinished)?;
            writer::write(&file, &relation.schema, &self.rows, format)?;
            file.sync_all()
        };
        write().map_err(|error| failed(&written.unfinished, &error))?;
        Ok(written)
    }
}

/// A file that is whole and has not got its name yet. Dropped, it is deleted.
pub(super) struct Written {
    path: PathBuf,
    unfinished: PathBuf,
}

impl Written {
    /// Gives it its name; a file of the same first offset is replaced.
    pub fn publish(self) -> Result<()> {
        let publish = || -> std::io::Result<()> {
            std::fs::rename(&self.unfinished, &self.path)?;
            self.path
                .parent()
                .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        };
        publish().map_err(|error| failed(&self.path, &error))
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        // It has its name, and is not there under this one any more; or it is nobody's.
        let _ = std::fs::remove_file(&self.unfinished);
    }
}

fn failed(path: &Path, error: &std::io::Error) -> EmitError {
    EmitError::File {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::Int64Array,
        datatypes::{DataType, Field, Schema},
    };
    use rechka_sql::{Mode, Pipeline, Statement, catalog::Named};

    use super::*;

    fn relation() -> Arc<Relation> {
        let mut pipeline = Pipeline::new(Mode::Stream, "");
        for statement in Statement::parse("CREATE STREAM s (n BIGINT)").unwrap() {
            pipeline.execute(statement).unwrap();
        }
        let mut relations = pipeline.catalog.iter().filter_map(|(_, named)| match named {
            Named::Relation(relation) => Some(Arc::clone(relation)),
            _ => None,
        });
        relations.next().unwrap()
    }

    fn part() -> Part {
        let schema = Schema::new(vec![Field::new("n", DataType::Int64, true)]);
        let rows = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int64Array::from(vec![1, 2]))]).unwrap();
        let mut part = Part::new(7);
        part.push(rows, 9);
        part
    }

    fn names(folder: &Path) -> Vec<String> {
        let names = std::fs::read_dir(folder).unwrap();
        names
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn a_file_is_there_when_it_is_published_and_gone_when_it_is_not() {
        let (folder, relation) = (tempfile::tempdir().unwrap(), relation());
        let write = || part().write(folder.path(), &relation, 0, FileFormat::Json).unwrap();
        drop(write());
        assert!(names(folder.path()).is_empty());
        write().publish().unwrap();
        assert_eq!(names(folder.path()), ["s-0-00000000000000000007.json"]);
    }

    #[test]
    fn what_the_dead_left_unfinished_is_deleted() {
        let (folder, relation) = (tempfile::tempdir().unwrap(), relation());
        std::mem::forget(part().write(folder.path(), &relation, 0, FileFormat::Json).unwrap());
        std::fs::write(folder.path().join(".s-1-00.json.5.unfinished"), "").unwrap();
        clear(folder.path(), &relation, 0).unwrap();
        assert_eq!(names(folder.path()), [".s-1-00.json.5.unfinished"]);
    }
}
