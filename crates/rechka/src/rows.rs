//! Rows on standard output.
use std::io::Write;

use anyhow::{Result, bail};
use arrow::{array::RecordBatch, csv, datatypes::SchemaRef, json, util::pretty};

use crate::cli::RowFormat;

/// Rows that a table for people can have.
const MOST_ROWS: usize = 10_000;

/// Prints rows as they come; a table at the end, when the widths are known.
pub struct Printer {
    format: RowFormat,
    schema: SchemaRef,
    rows: Vec<RecordBatch>,
    header: bool,
}

impl Printer {
    /// For rows with these columns.
    pub fn new(format: RowFormat, schema: SchemaRef) -> Self {
        let header = true;
        Self {
            format,
            schema,
            rows: Vec::new(),
            header,
        }
    }

    /// Prints rows.
    pub fn print(&mut self, rows: RecordBatch) -> Result<()> {
        let mut out = std::io::stdout().lock();
        match self.format {
            RowFormat::Table => {
                self.rows.push(rows);
                if self.rows.iter().map(RecordBatch::num_rows).sum::<usize>() > MOST_ROWS {
                    bail!("more than {MOST_ROWS} rows: add a LIMIT, or print them with --format json or csv");
                }
            }
            RowFormat::Json => {
                let mut writer = json::LineDelimitedWriter::new(&mut out);
                writer.write(&rows)?;
                writer.finish()?;
            }
            RowFormat::Csv => {
                csv::WriterBuilder::new()
                    .with_header(self.header)
                    .build(&mut out)
                    .write(&rows)?;
                self.header = false;
            }
        }
        Ok(out.flush()?)
    }

    /// Prints what waits.
    pub fn finish(mut self) -> Result<()> {
        if self.format == RowFormat::Table {
            self.rows.push(RecordBatch::new_empty(self.schema));
            writeln!(std::io::stdout(), "{}", pretty::pretty_format_batches(&self.rows)?)?;
        }
        Ok(())
    }
}
