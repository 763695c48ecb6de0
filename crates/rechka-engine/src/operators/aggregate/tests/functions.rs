//! Every function that DataFusion has gives what its plain accumulator gives over all rows at once.
use arrow::datatypes::TimeUnit;
use datafusion::{
    functions_aggregate::all_default_aggregate_functions,
    logical_expr::Operator,
    physical_expr::expressions::{binary, cast},
};
use rechka_sql::plan::Window;

use super::{
    windows::{hop, query, sorted},
    *,
};

/// What the function is called with.
fn arguments(name: &str) -> Vec<Vec<Expr>> {
    let (number, real, key, time) = (column("number"), column("real"), column("key"), column("ts"));
    let odd: Expr = binary(number.clone(), Operator::Gt, lit(3_i64), &input(TimeUnit::Microsecond)).unwrap();
    match name {
        "grouping" => vec![],
        "bool_and" | "bool_or" => vec![vec![odd]],
        "bit_and" | "bit_or" | "bit_xor" => vec![vec![number]],
        "string_agg" => vec![vec![key, lit("-")]],
        "approx_percentile_cont" | "percentile_cont" => vec![vec![real, lit(0.4)]],
        "approx_percentile_cont_with_weight" => vec![vec![real.clone(), real, lit(0.5)]],
        "nth_value" => vec![vec![number, lit(2_i64)]],
        "corr" | "covar_samp" | "covar_pop" => vec![vec![real, cast_real(number)]],
        name if name.starts_with("regr_") => vec![vec![real, cast_real(number)]],
        "avg" | "approx_median" | "stddev" | "stddev_pop" | "var" | "var_pop" => vec![vec![real]],
        "sum" | "median" => vec![vec![number], vec![real]],
        _ => vec![vec![number], vec![real], vec![key], vec![time]],
    }
}

fn cast_real(number: Expr) -> Expr {
    cast(number, &input(TimeUnit::Microsecond), DataType::Float64).unwrap()
}

/// Two rows in three of group a, the numbers of both mixed.
fn some_rows() -> Vec<Row> {
    let numbers = (0..60_i64).map(|i| (i * 37 % 41, i));
    let rows = numbers.map(|(number, i)| Row {
        time: Some(i * 7 % 60),
        key: Some(if i % 3 == 0 { "b" } else { "a" }),
        number: (number % 10 != 3).then_some(number % 17),
    });
    rows.collect()
}

/// The plain accumulator over all rows of a group.
fn expected(column: &AggregateColumn, all: &[Row], key: &str) -> String {
    let group: Vec<Row> = all.iter().filter(|row| row.key == Some(key)).cloned().collect();
    let batch = rows(TimeUnit::Microsecond, &group);
    let order = column.function.order_bys().iter().map(|order| order.expr.clone());
    let arguments: Vec<Expr> = column.function.expressions().into_iter().chain(order).collect();
    let arguments = expressions::evaluate(&arguments, &batch).unwrap();
    let mut accumulator = column.function.create_accumulator().unwrap();
    accumulator.update_batch(&arguments).unwrap();
    array_value_to_string(&accumulator.evaluate().unwrap().to_array().unwrap(), 0).unwrap()
}

/// Runs all rows in epochs of `size` rows; the groups' results by key.
fn run(query: &Query, all: &[Row], size: usize, exchange: bool) -> Vec<Vec<String>> {
    let mut first = exchange.then(|| Running::new(query.partial()));
    let last = || if exchange { query.last() } else { query.single() };
    let mut running = Running::new(last());
    let time = |watermark| Time { watermark, now: 0 };
    for (index, part) in all.chunks(size).enumerate() {
        let mut batches = vec![rows(TimeUnit::Microsecond, part)];
        if let Some(first) = &mut first {
            batches = first.epoch(&batches, time(0)).rows;
        }
        running.epoch(&batches, time(0));
        running.between(
            [Between::Nothing, Between::Restart, Between::Snapshot][index % 3],
            last(),
        );
    }
    sorted(text(&running.epoch(&[], time(i64::MAX)).rows))
}

fn is_like(name: &str, expected: &str, found: &str) -> bool {
    let tolerance = if name.starts_with("approx") { 0.1 } else { 1e-9 };
    let sorted = |list: &str| {
        let mut items: Vec<String> = list.trim_matches(['[', ']']).split(", ").map(str::to_owned).collect();
        items.sort();
        items
    };
    match (expected.parse::<f64>(), found.parse::<f64>()) {
        (Ok(expected), Ok(found)) => (expected - found).abs() <= tolerance * expected.abs(),
        // Of distinct values the order is not said.
        _ if expected.starts_with('[') => sorted(expected) == sorted(found),
        _ => expected == found,
    }
}

#[test]
fn every_function_gives_what_it_gives_over_all_rows_at_once() {
    let all = some_rows();
    let mut checked = 0;
    let in_order = ["first_value", "last_value", "array_agg", "string_agg"];
    for udaf in all_default_aggregate_functions() {
        for arguments in arguments(udaf.name()) {
            for (distinct, ordered) in [(false, false), (true, false), (false, true)] {
                let builder = AggregateExprBuilder::new(udaf.clone(), arguments.clone())
                    .schema(input(TimeUnit::Microsecond))
                    .alias("f")
                    .with_distinct(distinct)
                    .order_by(if ordered { by_time() } else { vec![] });
                let Ok(function) = builder.build() else { continue };
                let column = AggregateColumn {
                    function: Arc::new(function),
                    filter: None,
                };
                let mut accumulator = match column.function.create_accumulator() {
                    // What it can't do, DataFusion can't do either.
                    Err(_) => continue,
                    Ok(accumulator) => accumulator,
                };
                let query = Query {
                    columns: vec![column.clone()],
                    ..query(hop(60, 60))
                };
                let built = super::super::build(&query.aggregate(Phase::Single), &input(query.unit), &query.output());
                if let Err(error) = built {
                    let refused = ordered && !in_order.contains(&udaf.name());
                    assert!(
                        refused && error.to_string().contains("takes no ORDER BY"),
                        "{}: {error}",
                        udaf.name()
                    );
                    continue;
                }
                let call = format!("{}({arguments:?}) distinct {distinct} ordered {ordered}", udaf.name());
                let _ = accumulator.evaluate();
                // Panes bring the rows of a hop in another order than that in which they came.
                let by_arrival = ["first_value", "last_value", "nth_value", "any_value", "string_agg"];
                let slide = if by_arrival.contains(&udaf.name()) && !ordered {
                    60
                } else {
                    20
                };
                for window in [hop(60, 60), hop(60, slide), Window::Session { gap: 100 * SECOND }] {
                    for (size, exchange) in [(100, false), (7, false), (1, false), (9, true)] {
                        let query = Query {
                            columns: vec![column.clone()],
                            ..windows::query(window)
                        };
                        let found = run(&query, &all, size, exchange);
                        // The window of all rows.
                        let found: Vec<_> = match window {
                            Window::Session { .. } => found,
                            _ => found.into_iter().filter(|row| row[1] == windows::stamp(0)).collect(),
                        };
                        assert_eq!(found.len(), 2, "{call} {window:?}: {found:?}");
                        for row in found {
                            let expected = expected(&column, &all, &row[0]);
                            assert!(
                                is_like(udaf.name(), &expected, &row[3]),
                                "{call} in epochs of {size} over {window:?}, exchange {exchange}, key {}: {} instead of \
                                 {expected}",
                                row[0],
                                row[3]
                            );
                        }
                        checked += 1;
                    }
                }
            }
        }
    }
    assert!(checked > 400, "{checked} are too few");
}
