use std::{sync::Arc, time::Duration};

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use rechka_formats::Format;

use super::*;
use crate::{EventTime, Kind, Relation, Statement, catalog::Named};

pub(crate) fn catalog() -> Catalog {
    let mut catalog = Catalog::default();
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    for (name, columns) in [
        (
            "bid",
            vec![
                ("auction", DataType::Int64),
                ("price", DataType::Int64),
                ("dateTime", time.clone()),
            ],
        ),
        (
            "person",
            vec![
                ("id", DataType::Int64),
                ("name", DataType::Utf8),
                ("dateTime", time.clone()),
            ],
        ),
    ] {
        let fields: Vec<_> = columns
            .into_iter()
            .map(|(name, kind)| Field::new(name, kind, true))
            .collect();
        let relation = Relation {
            name: name.into(),
            kind: Kind::Stream,
            schema: Arc::new(Schema::new(fields)),
            event_time: Some(EventTime {
                column: 2,
                delay: Duration::from_secs(4),
                idle: None,
                ahead: Duration::from_secs(3600),
                announced: false,
            }),
            key: vec![],
            topic: name.into(),
            partitions: 1,
            format: Format::Json,
            related_times: vec![],
            metadata: vec![],
            file: None,
        };
        catalog.declare_relation(relation).unwrap();
    }
    catalog
}

fn plan(catalog: &Catalog, sql: &str) -> Result<LogicalPlan, Error> {
    logical_plan(catalog, &Query::parse(sql)?)
}

fn optimised(sql: &str) -> String {
    optimise(plan(&catalog(), sql).unwrap())
        .unwrap()
        .display_indent()
        .to_string()
}

fn refused(sql: &str) -> String {
    plan(&catalog(), sql).unwrap_err().to_string()
}

#[test]
fn a_projection_is_pushed_below_a_window_but_keeps_the_time() {
    let plan = optimised(
        "SELECT auction, count(*) AS num FROM TUMBLE(bid, dateTime, INTERVAL '10' SECOND) GROUP BY auction, window_end",
    );
    assert!(plan.contains("Window: tumble 10s on bid.dateTime"), "{plan}");
    assert!(plan.contains("TableScan: bid projection=[auction, dateTime]"), "{plan}");
}

#[test]
fn a_filter_is_pushed_below_a_window_unless_it_asks_for_the_window() {
    let plan = optimised(
        "SELECT * FROM HOP(bid, dateTime, INTERVAL '2' SECOND, INTERVAL '10' SECOND) \
         WHERE price > 5 AND window_start > TIMESTAMP '2024-01-01 00:00:00'",
    );
    let at = |text: &str| plan.find(text).unwrap_or_else(|| panic!("{text} in {plan}"));
    assert!(
        at("window_start >") < at("Window: hop 2s 10s on bid.dateTime"),
        "{plan}"
    );
    assert!(at("Window: hop") < at("bid.price > Int64(5)"), "{plan}");
}

#[test]
fn the_input_may_be_a_subquery_a_cte_or_another_window_and_have_an_alias() {
    for sql in [
        "SELECT w.window_start FROM TUMBLE((SELECT auction, dateTime AS t FROM bid), t, '1 minute') AS w",
        "WITH b AS (SELECT * FROM bid) SELECT b.window_start FROM TUMBLE(b, b.dateTime, INTERVAL '1 minute', INTERVAL '5 s') b",
        "SELECT second.auction FROM CUMULATE((SELECT auction, window_time AS t FROM \
         TUMBLE(bid, dateTime, INTERVAL '1' SECOND)), t, INTERVAL '1' HOUR, INTERVAL '1' DAY) AS second",
        "SELECT count(*) FROM TUMBLE(DATA => bid, TIMECOL => dateTime, SIZE => INTERVAL '1' DAY)",
        "SELECT count(*) FROM SESSION(bid, dateTime, INTERVAL '5 minutes') GROUP BY auction, window_start, window_end",
    ] {
        optimised(sql);
    }
    let plan = optimised("SELECT * FROM TUMBLE(bid, dateTime, INTERVAL '1 minute', -INTERVAL '5 s')");
    assert!(plan.contains("tumble 60s offset -5s"), "{plan}");
}

#[test]
fn a_window_over_proctime_needs_no_column() {
    let mut catalog = catalog();
    let view = plan(&catalog, "SELECT *, PROCTIME() AS p_time FROM bid").unwrap();
    catalog.declare("B", Named::Query(Arc::new(view))).unwrap();
    let sql = "SELECT auction, count(*) FROM TUMBLE(B, p_time, INTERVAL '10' SECOND) GROUP BY auction, window_start, window_end";
    let plan = optimise(plan(&catalog, sql).unwrap())
        .unwrap()
        .display_indent()
        .to_string();
    assert!(plan.contains("Window: tumble 10s on processing time"), "{plan}");
    assert!(
        plan.contains("projection=[auction]") && !plan.contains("proctime()"),
        "{plan}"
    );
}

#[test]
fn what_is_no_window_is_refused_with_the_right_form() {
    for (sql, reason) in [
        (
            "SELECT * FROM TUMBLE(bid, price, INTERVAL '1' SECOND)",
            "price is Int64: declare it TIMESTAMP(3)",
        ),
        (
            "SELECT * FROM TUMBLE(bid, dateTime)",
            "SIZE is missing: write TUMBLE(stream, time",
        ),
        ("SELECT * FROM TUMBLE(bid)", "TIMECOL is missing"),
        (
            "SELECT * FROM TUMBLE(bid, dateTime, INTERVAL '1' MONTH)",
            "write it in days",
        ),
        (
            "SELECT * FROM TUMBLE(bid, dateTime, INTERVAL '0' SECOND)",
            "more than 0",
        ),
        ("SELECT * FROM TUMBLE(bid, dateTime, 5)", "no length of time"),
        (
            "SELECT * FROM TUMBLE(bid, dateTime, INTERVAL '1 microsecond')",
            "too coarse",
        ),
        (
            "SELECT * FROM HOP(bid, dateTime, INTERVAL '7' SECOND, INTERVAL '10' SECOND)",
            "must be a multiple of the slide",
        ),
        (
            "SELECT * FROM HOP(bid, dateTime, INTERVAL '1 ms', INTERVAL '10' DAY)",
            "more than 10000 times",
        ),
        (
            "SELECT * FROM SESSION(bid, dateTime, INTERVAL '1' SECOND, INTERVAL '1' SECOND)",
            "too many arguments",
        ),
        (
            "SELECT * FROM TUMBLE(5, dateTime, INTERVAL '1' SECOND)",
            "5 is no table",
        ),
        (
            "SELECT * FROM TUMBLE(bids, dateTime, INTERVAL '1' SECOND)",
            "did you mean bid?",
        ),
        (
            "SELECT * FROM TUMBLE(TUMBLE(bid, dateTime, INTERVAL '1 s'), dateTime, INTERVAL '1' SECOND)",
            "already has a column window_start",
        ),
    ] {
        let error = refused(sql);
        assert!(error.contains(reason), "{sql}: {error}");
    }
}

#[test]
fn an_unknown_name_is_answered_with_its_place_and_the_right_one() {
    for (sql, reason) in [
        (
            "SELECT auction,\n  pricee FROM bid",
            "line 2, column 3: there is no column pricee; did you mean price?",
        ),
        (
            "SELECT b.pricee FROM bid AS b",
            "line 1, column 8: there is no column b.pricee; did you mean price?",
        ),
        ("SELECT * FROM bids", "there is no bids; did you mean bid?"),
        ("SELECT wibble(price) FROM bid", "wibble"),
    ] {
        let error = refused(sql);
        assert!(error.contains(reason), "{sql}: {error}");
    }
}

#[test]
fn a_table_as_of_a_time_is_a_join_with_a_mark() {
    for join in [
        "person FOR SYSTEM_TIME AS OF b.dateTime AS p",
        "AS_OF(person, b.dateTime) AS p",
    ] {
        let plan = optimised(&format!(
            "SELECT b.price, p.name FROM bid AS b LEFT JOIN {join} ON b.auction = p.id"
        ));
        assert!(
            plan.contains("Left Join: b.auction = p.id Filter: as_of(b.dateTime, b.auction = p.id)"),
            "{plan}"
        );
    }
    assert!(
        refused("SELECT 1 FROM bid AS b JOIN AS_OF(person) AS p ON true")
            .contains("write JOIN AS_OF(table, stream.time)")
    );
}

#[test]
fn a_column_may_be_called_table() {
    let statements = Statement::parse("CREATE STREAM bookings (id BIGINT, table INT, ts TIMESTAMP)").unwrap();
    let mut catalog = Catalog::default();
    for statement in statements {
        let Statement::Declare(declare) = statement else {
            panic!("declares")
        };
        catalog.declare_relation(declare.relation).unwrap();
    }
    for text in [
        "SELECT id, table FROM bookings",
        "SELECT table, id FROM TUMBLE(TABLE bookings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)",
        "SELECT id, coalesce(table, 0) AS table FROM SESSION(DATA => TABLE bookings, TIMECOL => DESCRIPTOR(ts), GAP => INTERVAL '1' MINUTE)",
    ] {
        let plan =
            logical_plan(&catalog, &Query::parse(text).unwrap()).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert!(plan.schema().has_column_with_unqualified_name("table"), "{text}");
    }
}
