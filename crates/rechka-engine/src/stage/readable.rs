//! Rows as JSON, whatever their types are: late rows and dead letters, which nobody chose the columns of.
use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray},
    datatypes::{DataType, Field, Schema},
    util::display::{ArrayFormatter, FormatOptions},
};
use rechka_formats::Format;

use crate::Result;

/// An object of JSON for each row, one behind another, and where each ends. A column that JSON has no place for (an interval, a map) is text.
pub(super) fn encode(rows: &RecordBatch) -> Result<(Vec<u8>, Vec<usize>)> {
    let (mut values, mut ends) = (Vec::new(), Vec::new());
    let rows = readable(rows)?;
    let mut encoder = Format::Json.encoder(&rows.schema())?;
    encoder.encode(&rows, &mut values, &mut ends)?;
    Ok((values, ends))
}

fn readable(rows: &RecordBatch) -> Result<RecordBatch> {
    if Format::Json.encoder(&rows.schema()).is_ok() {
        return Ok(rows.clone());
    }
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
        let fits = Format::Json.encoder(&Schema::new(vec![Arc::clone(field)])).is_ok();
        let (data_type, column) = match fits {
            true => (field.data_type().clone(), Arc::clone(column)),
            false => (DataType::Utf8, text(column)?),
        };
        fields.push(Field::new(field.name(), data_type, true));
        columns.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        Arc::new(Schema::new(fields)),
        columns,
        &options,
    )?)
}

fn text(column: &ArrayRef) -> Result<ArrayRef> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column, &options)?;
    // What can't be written is not known.
    let value = |row| {
        column
            .is_valid(row)
            .then(|| formatter.value(row).try_to_string().ok())
            .flatten()
    };
    Ok(Arc::new((0..column.len()).map(value).collect::<StringArray>()))
}

#[cfg(test)]
mod tests {
    use arrow::array::{DurationMillisecondArray, Int64Array, Int64Builder, MapBuilder, StringBuilder};

    use super::*;

    #[test]
    fn what_json_has_no_place_for_is_text() {
        let mut maps = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
        for number in 0..2 {
            maps.keys().append_value("a");
            maps.values().append_value(number);
            maps.append(true).unwrap();
        }
        let columns: [(&str, ArrayRef); 3] = [
            ("n", Arc::new(Int64Array::from(vec![1, 2]))),
            ("took", Arc::new(DurationMillisecondArray::from(vec![Some(1500), None]))),
            ("map", Arc::new(maps.finish())),
        ];
        let (values, ends) = encode(&RecordBatch::try_from_iter(columns).unwrap()).unwrap();
        let text = String::from_utf8(values).unwrap();
        assert_eq!(&text[..ends[0]], r#"{"n":1,"took":"PT1.5S","map":"{a: 0}"}"#);
        assert_eq!(&text[ends[0]..], r#"{"n":2,"took":null,"map":"{a: 1}"}"#);
    }
}
