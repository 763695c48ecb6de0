use std::{fs::File, io, sync::Arc};

use arrow::{array::RecordBatch, csv, datatypes::SchemaRef, json};
use datafusion::parquet::arrow::ArrowWriter;
use rechka_sql::statement::FileFormat;

/// Writes rows in a format.
pub(super) fn write(file: &File, schema: &SchemaRef, rows: &[RecordBatch], format: FileFormat) -> io::Result<()> {
    match format {
        FileFormat::Parquet => {
            let mut writer = ArrowWriter::try_new(file, Arc::clone(schema), None)?;
            for rows in rows {
                writer.write(rows)?;
            }
            writer.close()?;
        }
        FileFormat::Json => {
            let mut writer = json::LineDelimitedWriter::new(io::BufWriter::new(file));
            for rows in rows {
                writer.write(rows).map_err(io::Error::other)?;
            }
            writer.finish().map_err(io::Error::other)?;
            io::Write::flush(&mut writer.into_inner())?;
        }
        FileFormat::Csv => {
            let mut writer = csv::WriterBuilder::new()
                .with_header(true)
                .build(io::BufWriter::new(file));
            for rows in rows {
                writer.write(rows).map_err(io::Error::other)?;
            }
            io::Write::flush(&mut writer.into_inner())?;
        }
    }
    Ok(())
}
