//! Filter and projection.
use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    compute::filter_record_batch,
    datatypes::SchemaRef,
};
use rechka_sql::plan::Expr;

use super::{
    Time,
    expressions::{self, Narrowed},
    stateless::Transform,
};
use crate::Result;

/// Keeps the rows for which a condition is true, and computes columns of them.
pub(super) struct Map {
    filter: Option<Expr>,
    columns: Narrowed,
    schema: SchemaRef,
}

impl Map {
    pub fn new(filter: Option<&Expr>, columns: &[Expr], schema: SchemaRef) -> Result<Self> {
        Ok(Self {
            filter: filter.cloned(),
            columns: Narrowed::new(columns)?,
            schema,
        })
    }
}

impl Transform for Map {
    fn transform(&self, rows: &RecordBatch, _time: Time, _late: &mut Vec<RecordBatch>) -> Result<RecordBatch> {
        // What only the condition needs is not copied.
        let mut needed = rows.project(&self.columns.columns)?;
        if let Some(filter) = &self.filter {
            needed = filter_record_batch(&needed, &expressions::condition(filter, rows)?)?;
        }
        let columns = expressions::evaluate(&self.columns.expressions, &needed)?;
        let options = RecordBatchOptions::new().with_row_count(Some(needed.num_rows()));
        Ok(RecordBatch::try_new_with_options(
            self.schema.clone(),
            columns,
            &options,
        )?)
    }

    fn origins(&self, rows: &RecordBatch, _time: Time) -> Result<Option<Vec<u32>>> {
        let all = 0..rows.num_rows() as u32;
        let Some(filter) = &self.filter else {
            return Ok(Some(all.collect()));
        };
        if expressions::is_volatile(filter)? {
            return Ok(None);
        }
        let kept = expressions::condition(filter, rows)?;
        let kept = all.zip(&kept).filter(|(_, kept)| *kept == Some(true));
        Ok(Some(kept.map(|(row, _)| row).collect()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::Int64Array,
        datatypes::{DataType, Field, Schema},
    };
    use datafusion::{
        logical_expr::Operator,
        physical_expr::{
            ScalarFunctionExpr,
            expressions::{binary, col, lit},
        },
    };

    use super::{super::testing::numbers, *};

    const TIME: Time = Time {
        watermark: i64::MIN,
        now: 0,
    };

    fn rows() -> RecordBatch {
        numbers([
            ("a", vec![Some(1), None, Some(3), Some(4)]),
            ("b", vec![Some(10), Some(20), Some(30), Some(40)]),
        ])
    }

    fn output(names: &[&str]) -> SchemaRef {
        Arc::new(Schema::new(
            names
                .iter()
                .map(|name| Field::new(*name, DataType::Int64, true))
                .collect::<Vec<_>>(),
        ))
    }

    #[test]
    fn only_rows_whose_condition_is_true_are_computed() {
        let rows = rows();
        let schema = rows.schema();
        let a = || col("a", &schema).unwrap();
        let filter = binary(a(), Operator::Gt, lit(1_i64), &schema).unwrap();
        // 12 / (a - 1) fails for the row that is filtered.
        let less = binary(a(), Operator::Minus, lit(1_i64), &schema).unwrap();
        let quotient = binary(lit(12_i64), Operator::Divide, less, &schema).unwrap();
        let columns = [quotient, col("b", &schema).unwrap()];
        let map = Map::new(Some(&filter), &columns, output(&["q", "b"])).unwrap();
        let expected = numbers([("q", vec![Some(6), Some(4)]), ("b", vec![Some(30), Some(40)])]);
        assert_eq!(map.transform(&rows, TIME, &mut Vec::new()).unwrap(), expected);
    }

    #[test]
    fn unfiltered_columns_are_not_copied() {
        let rows = rows();
        let map = Map::new(None, &[col("b", &rows.schema()).unwrap()], output(&["b"])).unwrap();
        let out = map.transform(&rows, TIME, &mut Vec::new()).unwrap();
        let values = |batch: &RecordBatch, column: usize| {
            batch
                .column(column)
                .as_any()
                .downcast_ref::<Int64Array>()
                .unwrap()
                .values()
                .as_ptr()
        };
        assert_eq!(values(&out, 0), values(&rows, 1));
    }

    #[test]
    fn constants_need_no_column() {
        let rows = rows();
        let filter = binary(
            col("b", &rows.schema()).unwrap(),
            Operator::Lt,
            lit(30_i64),
            &rows.schema(),
        )
        .unwrap();
        let map = Map::new(Some(&filter), &[lit(7_i64)], output(&["seven"])).unwrap();
        assert_eq!(
            map.transform(&rows, TIME, &mut Vec::new()).unwrap(),
            numbers([("seven", vec![Some(7), Some(7)])])
        );
        let map = Map::new(None, &[], output(&[])).unwrap();
        assert_eq!(map.transform(&rows, TIME, &mut Vec::new()).unwrap().num_rows(), 4);
    }

    #[test]
    fn what_a_volatile_condition_kept_is_not_asked_again() {
        let rows = rows();
        let schema = rows.schema();
        let function = datafusion::functions::math::random();
        let options = Arc::new(datafusion::config::ConfigOptions::default());
        let random = ScalarFunctionExpr::try_new(function, vec![], &schema, options).unwrap();
        let filter = binary(Arc::new(random), Operator::Lt, lit(0.5), &schema).unwrap();
        let origins = |filter| {
            Map::new(Some(filter), &[], output(&[]))
                .unwrap()
                .origins(&rows, TIME)
                .unwrap()
        };
        assert_eq!(origins(&filter), None);
        let plain = binary(col("a", &schema).unwrap(), Operator::Gt, lit(1_i64), &schema).unwrap();
        assert_eq!(origins(&plain), Some(vec![2, 3]));
    }
}
