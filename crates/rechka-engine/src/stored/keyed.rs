use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{AsArray, RecordBatch},
    compute::{concat_batches, interleave_record_batch},
    row::{OwnedRow, RowConverter, SortField},
};
use rechka_log::Log;
use rechka_sql::{
    Relation,
    plan::{Input, Source},
};

use crate::{
    Result,
    stage::{News, TableReader},
};

/// The rows that a table or a view holds now: the last of each key.
pub(super) fn read(log: &dyn Log, relation: &Arc<Relation>) -> Result<Vec<RecordBatch>> {
    let input = Input {
        source: Source::Table(Arc::clone(relation)),
        schema: Arc::clone(&relation.schema),
        event_time: None,
    };
    let key_types = relation
        .key
        .iter()
        .map(|&column| SortField::new(relation.schema.field(column).data_type().clone()));
    let keys = RowConverter::new(key_types.collect())?;
    let columns: Vec<usize> = (0..relation.schema.fields().len()).collect();
    let (mut batches, mut last) = (Vec::new(), HashMap::<OwnedRow, (usize, usize)>::new());
    TableReader::open(log, relation, &input, &[])?.read_all(|news| {
        let rows = match news {
            News::Rows(rows) => rows,
            News::Bad(fetched, bad) => {
                let (from, records, reason) = (fetched.from, bad.len(), &bad[0].reason);
                tracing::warn!(%from, records, reason, "records can't be used");
                return Ok(());
            }
            News::Lost { from, offsets, reason } => {
                tracing::warn!(%from, ?offsets, reason, "records are damaged");
                return Ok(());
            }
        };
        let deleted = rows.column(columns.len()).as_boolean().clone();
        let rows = rows.project(&columns)?;
        let found = keys.convert_columns(rows.project(&relation.key)?.columns())?;
        for (row, key) in found.iter().enumerate() {
            match deleted.value(row) {
                true => last.remove(&key.owned()),
                false => last.insert(key.owned(), (batches.len(), row)),
            };
        }
        batches.push(rows);
        Ok(())
    })?;
    let mut places: Vec<_> = last.into_values().collect();
    places.sort_unstable();
    if batches.is_empty() {
        return Ok(vec![concat_batches(&relation.schema, &[])?]);
    }
    Ok(vec![interleave_record_batch(
        &batches.iter().collect::<Vec<_>>(),
        &places,
    )?])
}
