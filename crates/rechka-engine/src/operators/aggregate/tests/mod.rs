//! Aggregations against a model that keeps all rows and looks at them one by one.
mod edges;
mod functions;
mod keyed;
mod sessions;
mod speed;
mod windows;

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    compute::cast,
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    util::display::array_value_to_string,
};
use datafusion::{
    functions_aggregate::{
        array_agg::array_agg_udaf, average::avg_udaf, count::count_udaf, min_max::max_udaf, sum::sum_udaf,
    },
    logical_expr::AggregateUDF,
    physical_expr::{
        PhysicalSortExpr,
        aggregate::{AggregateExprBuilder, AggregateFunctionExpr},
        expressions::{Column, lit},
    },
};
use rechka_sql::plan::{Aggregate, AggregateColumn, Emit, Expr, Groups, Phase};

use crate::operators::{Delta, Operator, Output, Time, expressions};

pub(super) const SECOND: i64 = 1_000_000;

/// Rows as text.
pub(super) type Text = Vec<Vec<String>>;

/// A row of the tests' input.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// Seconds.
    pub time: Option<i64>,
    pub key: Option<&'static str>,
    pub number: Option<i64>,
}

pub(super) fn row(time: i64, key: &'static str, number: i64) -> Row {
    Row {
        time: Some(time),
        key: Some(key),
        number: Some(number),
    }
}

/// Columns `ts`, `key`, `number`, `real`.
pub(super) fn input(unit: TimeUnit) -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("ts", DataType::Timestamp(unit, None), true),
        Field::new("key", DataType::Utf8, true),
        Field::new("number", DataType::Int64, true),
        Field::new("real", DataType::Float64, true),
    ]))
}

pub(super) fn rows(unit: TimeUnit, rows: &[Row]) -> RecordBatch {
    let times: TimestampMicrosecondArray = rows.iter().map(|row| row.time.map(|time| time * SECOND)).collect();
    let schema = input(unit);
    let columns: Vec<ArrayRef> = vec![
        cast(&times, schema.field(0).data_type()).unwrap(),
        Arc::new(rows.iter().map(|row| row.key).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.number).collect::<Int64Array>()),
        Arc::new(
            rows.iter()
                .map(|row| row.number.map(|number| number as f64 / 4.0))
                .collect::<Float64Array>(),
        ),
    ];
    RecordBatch::try_new(schema, columns).unwrap()
}

pub(super) fn column(name: &str) -> Expr {
    Arc::new(Column::new_with_schema(name, &input(TimeUnit::Microsecond)).unwrap())
}

/// A function whose name in the result is that of its first argument.
pub(super) fn function(
    function: Arc<AggregateUDF>,
    arguments: Vec<Expr>,
    change: impl FnOnce(AggregateExprBuilder) -> AggregateExprBuilder,
) -> AggregateColumn {
    let alias = function.name().to_owned();
    let builder = AggregateExprBuilder::new(function, arguments)
        .schema(input(TimeUnit::Microsecond))
        .alias(alias);
    let function: AggregateFunctionExpr = change(builder).build().unwrap();
    AggregateColumn {
        function: Arc::new(function),
        filter: None,
    }
}

pub(super) fn by_time() -> Vec<PhysicalSortExpr> {
    vec![PhysicalSortExpr {
        expr: column("ts"),
        options: Default::default(),
    }]
}

pub(super) fn count() -> AggregateColumn {
    function(count_udaf(), vec![lit(1_i64)], |builder| builder)
}

pub(super) fn sum() -> AggregateColumn {
    function(sum_udaf(), vec![column("number")], |builder| builder)
}

/// `count(*)`, `sum(number)`, `max(number)`, `avg(number)`, `count(DISTINCT number)`, `array_agg(number ORDER BY
/// number)`.
pub(super) fn functions() -> Vec<AggregateColumn> {
    let by_number = vec![PhysicalSortExpr {
        expr: column("number"),
        options: Default::default(),
    }];
    vec![
        count(),
        sum(),
        function(max_udaf(), vec![column("number")], |builder| builder),
        function(avg_udaf(), vec![column("real")], |builder| builder),
        function(count_udaf(), vec![column("number")], |builder| builder.distinct()),
        function(array_agg_udaf(), vec![column("number")], |builder| {
            builder.order_by(by_number)
        }),
    ]
}

/// The results of [`functions`].
pub(super) fn results(numbers: &[Option<i64>]) -> Vec<String> {
    let mut present: Vec<i64> = numbers.iter().flatten().copied().collect();
    present.sort();
    let or_null = |value: Option<String>| value.unwrap_or_default();
    let sum: i64 = present.iter().sum();
    let count = present.len();
    let mut list: Vec<String> = present.iter().map(i64::to_string).collect();
    let (max, avg) = (
        present.last().map(i64::to_string),
        (count > 0).then(|| format!("{:?}", sum as f64 / 4.0 / count as f64)),
    );
    list.splice(0..0, std::iter::repeat_n("".to_owned(), numbers.len() - count));
    present.dedup();
    vec![
        numbers.len().to_string(),
        or_null((count > 0).then(|| sum.to_string())),
        or_null(max),
        or_null(avg),
        present.len().to_string(),
        format!("[{}]", list.join(", ")),
    ]
}

/// An aggregation by `keys`.
#[derive(Clone)]
pub(super) struct Query {
    pub groups: Groups,
    pub keys: Vec<&'static str>,
    pub columns: Vec<AggregateColumn>,
    pub emit: Emit,
    pub unit: TimeUnit,
}

impl Query {
    fn aggregate(&self, phase: Phase) -> Aggregate {
        Aggregate {
            groups: self.groups,
            keys: self.keys.iter().map(|key| column(key)).collect(),
            columns: self.columns.clone(),
            phase,
            emit: self.emit,
        }
    }

    fn key_fields(&self) -> Vec<Field> {
        let input = input(self.unit);
        self.keys
            .iter()
            .map(|key| input.field_with_name(key).unwrap().clone())
            .collect()
    }

    pub fn output(&self) -> SchemaRef {
        let time = DataType::Timestamp(self.unit, None);
        let mut fields = self.key_fields();
        if matches!(self.groups, Groups::Windows { .. }) {
            fields.extend(["window_start", "window_end"].map(|name| Field::new(name, time.clone(), true)));
        }
        fields.extend(
            self.columns
                .iter()
                .map(|column| column.function.field().as_ref().clone()),
        );
        Arc::new(Schema::new(fields))
    }

    pub fn exchange(&self) -> SchemaRef {
        let mut fields = Vec::new();
        if matches!(self.groups, Groups::Windows { .. }) {
            fields.extend(["start", "end"].map(|name| Field::new(name, DataType::Int64, true)));
        }
        fields.extend(self.key_fields());
        let states = self
            .columns
            .iter()
            .flat_map(|column| column.function.state_fields().unwrap());
        fields.extend(states.map(|field| field.as_ref().clone().with_nullable(true)));
        Arc::new(Schema::new(fields))
    }

    pub fn single(&self) -> Box<dyn Operator> {
        super::build(&self.aggregate(Phase::Single), &input(self.unit), &self.output()).unwrap()
    }

    pub fn partial(&self) -> Box<dyn Operator> {
        super::build(&self.aggregate(Phase::Partial), &input(self.unit), &self.exchange()).unwrap()
    }

    pub fn last(&self) -> Box<dyn Operator> {
        super::build(&self.aggregate(Phase::Final), &self.exchange(), &self.output()).unwrap()
    }
}

/// A batch as text, row by row.
pub(super) fn text(batches: &[RecordBatch]) -> Text {
    let mut text = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            text.push(
                batch
                    .columns()
                    .iter()
                    .map(|column| array_value_to_string(column, row).unwrap())
                    .collect(),
            );
        }
    }
    text
}

/// What happens between two epochs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Between {
    Nothing,
    /// The operator is restored from all deltas.
    Restart,
    /// The same, after a snapshot took the place of the deltas.
    Snapshot,
}

/// An operator that can be restored.
pub(super) struct Running {
    operator: Box<dyn Operator>,
    changelog: Vec<Delta>,
    pub watermark: i64,
}

impl Running {
    pub fn new(operator: Box<dyn Operator>) -> Self {
        Running {
            operator,
            changelog: Vec::new(),
            watermark: i64::MIN,
        }
    }

    pub fn epoch(&mut self, batches: &[RecordBatch], time: Time) -> Output {
        let mut out = Output::default();
        for batch in batches {
            let time = Time {
                watermark: self.watermark,
                ..time
            };
            self.operator.push(0, batch, time, &mut out).unwrap();
        }
        self.watermark = time.watermark;
        self.operator.end_epoch(time, &mut out).unwrap();
        out
    }

    pub fn between(&mut self, between: Between, fresh: Box<dyn Operator>) {
        match between {
            Between::Snapshot => self.changelog = self.operator.snapshot().unwrap(),
            _ => self.changelog.extend(self.operator.take_delta().unwrap()),
        }
        if between != Between::Nothing {
            self.operator = fresh;
            for delta in &self.changelog {
                self.operator.restore(delta).unwrap();
            }
        }
    }

    pub fn state_bytes(&self) -> usize {
        self.operator.state_bytes()
    }
}
