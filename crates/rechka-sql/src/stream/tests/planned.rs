//! What becomes of the forms of a query.
use super::*;
use crate::plan::{AsOf, Closing, DELETED, Emit, Groups, Join, Lookup, Operation, Output, Phase, Source, TopN, Window};

const TUMBLE: &str = "TUMBLE(bid, dateTime, INTERVAL '10' SECOND)";
const SECONDS: i64 = 1_000_000;

fn nodes(query: &plan::Query) -> Vec<&Operation> {
    query
        .stages
        .iter()
        .flat_map(|stage| &stage.nodes)
        .map(|node| &node.operation)
        .collect()
}

fn groups(query: &plan::Query) -> Vec<(Groups, Phase, Emit)> {
    let aggregate = |operation: &&Operation| match operation {
        Operation::Aggregate(own) => Some((own.groups, own.phase, own.emit)),
        _ => None,
    };
    nodes(query).iter().filter_map(aggregate).collect()
}

fn top(query: &plan::Query) -> &TopN {
    let found = nodes(query).into_iter().find_map(|operation| {
        if let Operation::TopN(top) = operation {
            Some(top)
        } else {
            None
        }
    });
    found.unwrap_or_else(|| panic!("{}", explain(query)))
}

fn join(query: &plan::Query) -> &Join {
    let found = nodes(query).into_iter().find_map(|operation| {
        if let Operation::Join(join) = operation {
            Some(join)
        } else {
            None
        }
    });
    found.unwrap_or_else(|| panic!("{}", explain(query)))
}

fn lookup(query: &plan::Query) -> &Lookup {
    let found = nodes(query).into_iter().find_map(|operation| {
        if let Operation::Lookup(own) = operation {
            Some(own)
        } else {
            None
        }
    });
    found.unwrap_or_else(|| panic!("{}", explain(query)))
}

fn names(query: &plan::Query, columns: &[usize]) -> Vec<String> {
    columns
        .iter()
        .map(|&column| query.result.schema.field(column).name().clone())
        .collect()
}

fn key(query: &plan::Query) -> Vec<String> {
    names(query, &query.result.key)
}

fn time(query: &plan::Query) -> Option<(String, u64)> {
    let time = query.result.event_time.as_ref()?;
    Some((
        query.result.schema.field(time.column).name().clone(),
        time.delay.as_secs(),
    ))
}

#[test]
fn a_filter_and_a_projection_are_one_map() {
    let query =
        planned("SELECT price * 2 AS p FROM (SELECT price, channel FROM bid WHERE price > 3) WHERE channel = 'a'");
    assert!(
        matches!(nodes(&query)[..], [Operation::Map { filter: Some(_), .. }]),
        "{}",
        explain(&query)
    );
}

#[test]
fn only_the_columns_that_are_read_and_the_time_are_decoded() {
    let query = planned("SELECT price FROM bid WHERE channel = 'a'");
    let columns: Vec<_> = query.stages[0].inputs[0]
        .schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(columns, ["price", "channel", "dateTime"]);
    assert_eq!(query.stages[0].inputs[0].event_time.as_ref().unwrap().column, 2);
}

#[test]
fn a_derived_stream_inherits_the_time_and_its_delay_under_its_new_name() {
    assert_eq!(
        time(&planned("SELECT price, dateTime AS at FROM bid")),
        Some(("at".to_owned(), 4))
    );
    assert_eq!(time(&planned("SELECT price FROM bid")), None);
    assert_eq!(
        time(&planned("SELECT price, dateTime + INTERVAL '1 hour' AS at FROM bid")),
        None
    );
}

#[test]
fn a_windowed_aggregate_writes_each_window_once_with_its_end_as_time() {
    let query = planned(&format!(
        "SELECT auction, window_start, window_end, count(*) AS n FROM {TUMBLE} GROUP BY auction, window_start, window_end"
    ));
    let window = Window::Hop {
        size: 10 * SECONDS,
        slide: 10 * SECONDS,
        offset: 0,
    };
    assert_eq!(
        groups(&query),
        [(Groups::Windows { time: Some(1), window }, Phase::Single, Emit::Append)]
    );
    assert_eq!(key(&query), ["auction", "window_end"]);
    assert_eq!(time(&query), Some(("window_end".to_owned(), 0)));
    assert_eq!(query.result.related_times, [(1, -10 * SECONDS)]);
    assert_eq!(query.result.kind, Kind::Stream);
}

#[test]
fn a_window_is_known_by_its_start_alone() {
    let query = planned(&format!(
        "SELECT window_start, sum(price) AS s FROM {TUMBLE} GROUP BY window_start"
    ));
    assert!(matches!(
        groups(&query)[..],
        [(Groups::Windows { .. }, _, Emit::Append)]
    ));
    assert_eq!(key(&query), ["window_start"]);
}

#[test]
fn the_time_of_a_window_is_computed_from_its_end() {
    let query = planned(&format!(
        "SELECT window_time, count(*) AS n FROM {TUMBLE} GROUP BY window_time"
    ));
    assert!(matches!(
        groups(&query)[..],
        [(Groups::Windows { .. }, _, Emit::Append)]
    ));
    assert_eq!(
        (key(&query), time(&query)),
        (vec!["window_time".to_owned()], Some(("window_time".to_owned(), 0)))
    );
}

#[test]
fn conditions_on_windows_are_asked_of_the_groups() {
    for source in [TUMBLE, "SESSION(bid, dateTime, INTERVAL '10' SECOND)"] {
        let query = planned(&format!(
            "SELECT auction, window_end, count(*) AS n FROM {source} GROUP BY auction, window_start, window_end \
             HAVING window_end > TIMESTAMP '2026-01-01 00:00:00' AND count(*) > 3 AND auction > 5"
        ));
        assert!(
            matches!(groups(&query)[..], [(Groups::Windows { .. }, ..)]),
            "{}",
            explain(&query)
        );
        assert!(
            matches!(
                nodes(&query)[..],
                [
                    Operation::Map { filter: Some(_), .. },
                    Operation::Aggregate(_),
                    Operation::Map { filter: Some(_), .. }
                ]
            ),
            "{}",
            explain(&query)
        );
    }
}

#[test]
fn rows_get_their_windows_where_no_aggregate_takes_them() {
    let query = planned(&format!("SELECT auction, window_end FROM {TUMBLE}"));
    assert!(
        nodes(&query)
            .iter()
            .any(|operation| matches!(operation, Operation::AssignWindows { time: Some(_), .. }))
    );
    let query = planned(&format!("SELECT auction, count(*) AS n FROM {TUMBLE} GROUP BY auction"));
    assert!(
        matches!(groups(&query)[..], [(Groups::Keys, _, Emit::Update)]),
        "{}",
        explain(&query)
    );
}

#[test]
fn an_aggregate_over_windows_closes_with_them() {
    let inner = format!(
        "SELECT auction, window_start AS s, window_end AS e, count(*) AS n FROM {TUMBLE} GROUP BY auction, window_start, window_end"
    );
    for by in ["s, e", "e", "s"] {
        let query = planned(&format!("SELECT max(n) AS most, {by} FROM ({inner}) GROUP BY {by}"));
        assert!(
            matches!(
                groups(&query)[..],
                [_, (Groups::Carried { .. }, Phase::Single, Emit::Append)]
            ),
            "{}",
            explain(&query)
        );
    }
}

#[test]
fn windows_of_windows_take_the_time_of_the_inner_window() {
    let query = planned(&format!(
        "SELECT window_end, avg(n) AS mean FROM HOP((SELECT window_end AS e, window_time AS t, count(*) AS n FROM {TUMBLE} \
         GROUP BY window_start, window_end, window_time), t, INTERVAL '10 seconds', INTERVAL '1 minute') GROUP BY window_end"
    ));
    assert_eq!(groups(&query).len(), 2, "{}", explain(&query));
}

#[test]
fn groups_by_an_event_time_end_with_it() {
    let query = planned("SELECT dateTime, count(*) AS n FROM bid GROUP BY dateTime");
    assert!(
        matches!(groups(&query)[..], [(Groups::Carried { .. }, _, Emit::Append)]),
        "{}",
        explain(&query)
    );
    assert_eq!(
        (key(&query), time(&query)),
        (vec!["dateTime".to_owned()], Some(("dateTime".to_owned(), 0)))
    );
}

#[test]
fn groups_without_window_are_updated_by_key() {
    let query = planned("SELECT count(*) AS n, channel FROM bid GROUP BY channel");
    assert_eq!(groups(&query), [(Groups::Keys, Phase::Single, Emit::Update)]);
    assert_eq!(
        (key(&query), query.result.kind),
        (vec!["channel".to_owned()], Kind::Table)
    );
}

#[test]
fn early_results_of_a_window_are_asked_for() {
    let sql = format!("SELECT window_end, count(*) AS n FROM {TUMBLE} GROUP BY window_end");
    for emit in [Emit::Update, Emit::Complete] {
        let query = plan_in(&catalog(1), &sql, &mode(emit)).unwrap();
        assert!(matches!(groups(&query)[..], [(Groups::Windows { .. }, _, own)] if own == emit));
        assert_eq!(
            (key(&query), query.result.kind),
            (vec!["window_end".to_owned()], Kind::Table)
        );
    }
}

#[test]
fn a_having_over_changing_groups_deletes() {
    let query = planned("SELECT channel, count(*) AS n FROM bid GROUP BY channel HAVING avg(price) > 10");
    let last = &query.stages[0].nodes.last().unwrap();
    let columns: Vec<_> = last.schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(columns, ["channel", "n", DELETED], "{}", explain(&query));
    assert_eq!(query.result.schema.fields().len(), 2);
}

#[test]
fn distinct_rows_are_groups_without_functions() {
    let query = planned("SELECT DISTINCT channel FROM bid");
    let [Operation::Aggregate(aggregate)] = nodes(&query)[..] else {
        panic!("{}", explain(&query))
    };
    assert!(aggregate.columns.is_empty());
    assert_eq!(key(&query), ["channel"]);
}

#[test]
fn functions_keep_distinct_filter_and_order() {
    let query = planned(&format!(
        "SELECT window_end, count(DISTINCT bidder) AS d, count(*) FILTER (WHERE price > 5) AS f, \
         array_agg(price ORDER BY dateTime) AS a FROM {TUMBLE} GROUP BY window_end"
    ));
    let [Operation::Aggregate(aggregate), ..] = nodes(&query)[..] else {
        panic!("{}", explain(&query))
    };
    let functions = &aggregate.columns;
    assert_eq!(
        functions
            .iter()
            .map(|column| column.function.is_distinct())
            .collect::<Vec<_>>(),
        [true, false, false]
    );
    assert!(functions[1].filter.is_some());
    assert_eq!(functions[2].function.order_bys().len(), 1);
}

#[test]
fn several_partitions_aggregate_before_and_after_an_exchange() {
    let sql = format!(
        "SELECT auction, window_end, count(*) AS n, avg(price) AS p FROM {TUMBLE} GROUP BY auction, window_end"
    );
    let query = plan_in(&catalog(4), &sql, &Options::default()).unwrap();
    let phases: Vec<_> = groups(&query).into_iter().map(|(_, phase, _)| phase).collect();
    assert_eq!(phases, [Phase::Partial, Phase::Final]);
    let Output::Exchange { partitions, keys, .. } = &query.stages[0].output else {
        panic!("{}", explain(&query))
    };
    assert_eq!((*partitions, keys.len()), (4, 1));
    let exchanged = &query.stages[1].inputs[0];
    assert_eq!(exchanged.source, Source::Exchange(0));
    let columns: Vec<_> = exchanged
        .schema
        .fields()
        .iter()
        .map(|field| field.data_type().clone())
        .collect();
    assert_eq!(columns[..3], [DataType::Int64, DataType::Int64, DataType::Int64]);
    assert_eq!(query.result.partitions, 4);
}

#[test]
fn a_group_of_all_rows_is_in_one_partition() {
    let sql = format!("SELECT window_end, count(*) AS n FROM {TUMBLE} GROUP BY window_end");
    let query = plan_in(&catalog(4), &sql, &Options::default()).unwrap();
    assert_eq!(query.result.partitions, 1);
}

#[test]
fn rows_that_are_together_need_no_exchange() {
    let mut catalog = Catalog::default();
    for relation in relations() {
        let key = if &*relation.name == "bid" {
            vec![0]
        } else {
            relation.key.clone()
        };
        catalog
            .declare_relation(Relation {
                partitions: 4,
                key,
                ..relation
            })
            .unwrap();
    }
    let sql = format!("SELECT auction, window_end, count(*) AS n FROM {TUMBLE} GROUP BY auction, window_end");
    let query = plan_in(&catalog, &sql, &Options::default()).unwrap();
    assert_eq!(
        (query.stages.len(), query.result.partitions),
        (1, 4),
        "{}",
        explain(&query)
    );
}

#[test]
fn a_result_is_spread_by_the_key_that_was_asked_for() {
    let options = Options {
        key: vec!["auction".into()],
        partitions: Some(3),
        ..Options::default()
    };
    let query = plan_in(&catalog(1), "SELECT auction, price FROM bid", &options).unwrap();
    assert_eq!(
        (query.stages.len(), query.result.partitions, key(&query)),
        (2, 3, vec!["auction".to_owned()])
    );
}

#[test]
fn the_sides_of_a_join_meet_by_their_keys() {
    let sql = "SELECT b.price, a.category FROM bid b JOIN auction a ON b.auction = a.id AND b.dateTime BETWEEN a.dateTime AND \
         a.dateTime + INTERVAL '1 hour'";
    assert_eq!(planned(sql).stages.len(), 1);
    let query = plan_in(&catalog(4), sql, &Options::default()).unwrap();
    let exchanges = query.stages.iter().map(|stage| match &stage.output {
        Output::Exchange { partitions, keys, .. } => Some((*partitions, keys.len())),
        Output::Result => None,
    });
    assert_eq!(
        exchanges.collect::<Vec<_>>(),
        [Some((4, 1)), Some((4, 1)), None],
        "{}",
        explain(&query)
    );
}

#[test]
fn the_kinds_of_join_keep_the_sides_they_should() {
    let on = "ON b.auction = a.id AND b.dateTime BETWEEN a.dateTime AND a.dateTime + INTERVAL '1 hour'";
    for (kind, columns) in [
        ("LEFT", 12),
        ("RIGHT", 12),
        ("FULL", 12),
        ("LEFT SEMI", 7),
        ("LEFT ANTI", 7),
        ("RIGHT SEMI", 5),
    ] {
        let select = if kind.starts_with("RIGHT S") { "a.id" } else { "b.price" };
        let query = planned(&format!("SELECT {select} FROM bid b {kind} JOIN auction a {on}"));
        let _ = (join(&query), columns);
        assert_eq!(query.result.schema.field(0).name(), &select[2..], "{}", explain(&query));
    }
    let exists = planned(&format!(
        "SELECT price FROM bid b WHERE EXISTS (SELECT 1 FROM auction a WHERE {})",
        &on[3..]
    ));
    assert_eq!(join(&exists).kind.to_string(), "LeftSemi");
}

#[test]
fn a_row_of_a_join_is_as_late_as_the_bound_lets_it_be() {
    let query = planned(
        "SELECT a.id, b.dateTime FROM bid b JOIN auction a ON b.auction = a.id AND b.dateTime BETWEEN a.dateTime AND \
         a.dateTime + INTERVAL '1 minute'",
    );
    assert_eq!(time(&query), Some(("dateTime".to_owned(), 64)));
}

#[test]
fn a_table_is_looked_up_on_either_side() {
    for sql in [
        "SELECT b.price, i.name FROM bid b JOIN items i ON b.auction = i.id AND i.price > 3",
        "SELECT b.price, i.name FROM items i JOIN bid b ON b.auction = i.id WHERE i.price > 3",
    ] {
        let query = planned(sql);
        assert_eq!(lookup(&query).kind.to_string(), "Inner");
        assert!(lookup(&query).filter.is_some(), "{}", explain(&query));
        assert!(
            query.stages[0]
                .inputs
                .iter()
                .any(|input| matches!(input.source, Source::Table(_)))
        );
    }
    let query = planned("SELECT b.price, i.name FROM bid b LEFT JOIN items i ON b.auction = i.id");
    assert_eq!(
        (lookup(&query).kind.to_string(), time(&query)),
        ("Left".to_owned(), None)
    );
    for (sql, filters) in [
        (
            "SELECT price FROM bid b WHERE NOT EXISTS (SELECT 1 FROM items i WHERE i.id = b.auction)",
            true,
        ),
        (
            "SELECT price FROM bid b WHERE b.auction IN (SELECT id FROM items)",
            false,
        ),
    ] {
        let query = planned(sql);
        let anti = nodes(&query)
            .iter()
            .any(|operation| matches!(operation, Operation::Map { filter: Some(_), .. }));
        assert_eq!(anti, filters, "{}", explain(&query));
        lookup(&query);
    }
}

#[test]
fn a_table_is_asked_as_of_the_time_of_a_row() {
    let query =
        planned("SELECT b.price, p.price AS list FROM bid b JOIN AS_OF(prices, b.dateTime) AS p ON b.auction = p.id");
    let lookup = lookup(&query);
    let Some(AsOf { stream, event, table }) = lookup.as_of else {
        panic!("{}", explain(&query))
    };
    let (streams, tables): (Vec<_>, Vec<_>) = query.stages[0]
        .inputs
        .iter()
        .partition(|input| matches!(input.source, Source::Stream(_)));
    assert_eq!(streams[0].schema.field(stream).name(), "dateTime");
    assert_eq!(event, stream);
    assert_eq!(tables[0].schema.field(table).name(), "since");
    assert!(lookup.filter.is_none(), "{}", explain(&query));
}

#[test]
fn the_first_rows_of_a_window_are_known_when_it_ends() {
    let counts = format!(
        "SELECT auction, window_start, window_end, count(*) AS n FROM {TUMBLE} GROUP BY auction, window_start, window_end"
    );
    let ranked =
        format!("SELECT *, ROW_NUMBER() OVER (PARTITION BY window_end ORDER BY n DESC) AS place FROM ({counts})");
    let query = planned(&format!(
        "SELECT window_end, place, auction, n FROM ({ranked}) WHERE place <= 5"
    ));
    assert_eq!(
        (top(&query).limit, matches!(top(&query).closing, Closing::WindowEnd(_))),
        (5, true)
    );
    assert_eq!(key(&query), ["window_end", "place"]);
    assert_eq!(time(&query), Some(("window_end".to_owned(), 0)));
    let by_start = ranked.replace("PARTITION BY window_end", "PARTITION BY window_start");
    let query = planned(&format!(
        "SELECT window_start, auction FROM ({by_start}) WHERE place < 3 AND 1 = 1"
    ));
    assert_eq!(
        (top(&query).limit, matches!(top(&query).closing, Closing::WindowEnd(_))),
        (2, true)
    );
}

#[test]
fn the_first_row_of_a_key_is_final_when_the_watermark_has_passed_it() {
    let sql = "SELECT auction, price, dateTime FROM \
         (SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY dateTime) AS n FROM bid) WHERE n = 1";
    let query = planned(sql);
    assert!(matches!(top(&query).closing, Closing::EventTime(_)));
    assert_eq!(
        (key(&query), time(&query)),
        (vec!["auction".to_owned()], Some(("dateTime".to_owned(), 4)))
    );
}

#[test]
fn the_last_row_of_a_key_changes() {
    let query = planned(
        "SELECT auction, price FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY dateTime DESC) AS n FROM bid) WHERE n = 1",
    );
    assert_eq!((top(&query).closing, query.result.kind), (Closing::Never, Kind::Table));
    assert_eq!(key(&query), ["auction"]);
}

#[test]
fn unions_take_the_least_that_is_known_of_both_times() {
    let query = planned("SELECT auction, dateTime AS t FROM bid UNION ALL SELECT id, dateTime FROM auction");
    assert!(
        nodes(&query)
            .iter()
            .any(|operation| matches!(operation, Operation::Union))
    );
    assert_eq!(time(&query), Some(("t".to_owned(), 4)));
    let query = planned("SELECT auction, dateTime AS t FROM bid UNION ALL SELECT id, expires FROM auction");
    assert_eq!(time(&query), None);
}

#[test]
fn a_list_gives_a_row_for_each_element() {
    let query = planned("SELECT user, unnest(tags) AS tag, ts FROM clicks");
    assert!(
        nodes(&query)
            .iter()
            .any(|operation| matches!(operation, Operation::Unnest { .. })),
        "{}",
        explain(&query)
    );
    assert_eq!(time(&query), Some(("ts".to_owned(), 4)));
}

#[test]
fn common_table_expressions_and_aliases_are_seen_through() {
    let query = planned(
        "WITH big AS (SELECT auction AS a, price AS p, dateTime AS t FROM bid WHERE price > 100) \
         SELECT x.a, count(*) AS n, window_end AS e FROM TUMBLE(big, t, INTERVAL '1 minute') AS x GROUP BY x.a, window_end",
    );
    assert!(
        matches!(groups(&query)[..], [(Groups::Windows { .. }, _, Emit::Append)]),
        "{}",
        explain(&query)
    );
    assert_eq!(
        (key(&query), time(&query)),
        (vec!["a".to_owned(), "e".to_owned()], Some(("e".to_owned(), 0)))
    );
}

#[test]
fn every_form_runs_on_several_partitions() {
    let windowed = format!("SELECT auction, window_end, count(*) AS n FROM {TUMBLE} GROUP BY auction, window_end");
    for sql in [
        format!("SELECT window_end, max(n) AS most FROM ({windowed}) GROUP BY window_end"),
        format!("SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_end ORDER BY n) AS r FROM ({windowed})) WHERE r < 4"),
        "SELECT auction FROM bid UNION ALL SELECT id FROM auction".to_owned(),
        "SELECT DISTINCT channel FROM bid".to_owned(),
        "SELECT channel, stddev(price) AS s, approx_distinct(bidder) AS a, array_agg(price) AS l FROM bid GROUP BY channel".to_owned(),
        "SELECT upper(channel) AS c, count(*) AS n FROM bid GROUP BY upper(channel)".to_owned(),
        "SELECT b.price, i.name FROM bid b LEFT JOIN items i ON b.auction = i.id".to_owned(),
        "SELECT b.price, a.id FROM bid b FULL JOIN auction a ON b.auction + 1 = a.id AND b.dateTime = a.dateTime".to_owned(),
        "SELECT user, unnest(tags) AS tag FROM clicks".to_owned(),
        "SELECT bidder, window_start, window_end, avg(price) AS p FROM SESSION(bid, dateTime, INTERVAL '10' SECOND) \
         GROUP BY bidder, window_start, window_end"
            .to_owned(),
        "SELECT window_start, window_end, count(*) AS n FROM CUMULATE(bid, dateTime, INTERVAL '10' SECOND, INTERVAL '1' MINUTE) \
         GROUP BY window_start, window_end"
            .to_owned(),
    ] {
        plan_in(&catalog(3), &sql, &Options::default()).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

#[test]
fn a_row_in_several_windows_is_told_apart_by_their_ends_too() {
    let tumbling = "SELECT auction, window_end AS minute, window_time AS at, count(*) AS n FROM TUMBLE(bid, dateTime, INTERVAL '1 minute')
        GROUP BY auction, window_start, window_end, window_time";
    let around = |window: &str| {
        let query = format!("SELECT auction, minute, n, window_start, window_end FROM {window}");
        key(&plan_in(&catalog(1), &query, &view()).unwrap())
    };
    let hop = around(&format!(
        "HOP(({tumbling}), at, INTERVAL '1 minute', INTERVAL '5 minutes')"
    ));
    assert_eq!(hop, ["auction", "minute", "window_end"]);
    let cumulate = around(&format!(
        "CUMULATE(({tumbling}), at, INTERVAL '1 minute', INTERVAL '5 minutes')"
    ));
    assert_eq!(cumulate, ["auction", "minute", "window_end"]);
    assert_eq!(
        around(&format!("TUMBLE(({tumbling}), at, INTERVAL '5 minutes')")),
        ["auction", "minute"]
    );
}
