//! Whole pipelines: what a statement makes is what the next one reads.
use super::*;
use crate::{Statement, catalog::Named, statement::Declare};

/// Plans the statements of a pipeline one after the other.
fn pipeline(text: &str) -> Result<Vec<plan::Query>, Error> {
    let mut catalog = Catalog::default();
    let mut queries = vec![];
    for statement in Statement::parse(text)? {
        match statement {
            Statement::Declare(Declare { relation, .. }) => {
                catalog.declare_relation(relation)?;
            }
            Statement::Derive(derive) => {
                let plan = logical_plan(&catalog, &derive.query)?;
                let query = plan_query(&derive.name, plan, &Options::from(&derive))?;
                consistent::check(&query);
                catalog.declare_relation(query.result.clone())?;
                queries.push(query);
            }
            Statement::View { name, query } => {
                let plan = logical_plan(&catalog, &query)?;
                catalog.declare(&name, Named::Query(Arc::new(plan)))?;
            }
            _ => {}
        }
    }
    Ok(queries)
}

const MINUTES: &str = "CREATE STREAM orders (id BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5 seconds');
    CREATE STREAM orders_per_minute AS
      SELECT window_start AS minute, window_time AS last_moment, count(*) AS orders
      FROM TUMBLE(orders, ts, INTERVAL '1 minute') GROUP BY window_start, window_time;
    CREATE STREAM orders_before AS
      SELECT window_end AS minute, avg(orders) AS mean
      FROM HOP(orders_per_minute, last_moment, INTERVAL '1 minute', INTERVAL '10 minutes') GROUP BY window_end;";

#[test]
fn windows_of_a_derived_stream_are_cut_by_the_last_moment_of_its_own() {
    let queries = pipeline(MINUTES).unwrap();
    let time = queries[0].result.event_time.clone().unwrap();
    assert_eq!((time.column, time.delay), (1, Duration::ZERO));
    assert_eq!(queries[0].result.related_times, [(0, -59_999_000)]);
    assert!(
        explain(&queries[1]).contains("in windows: hop 60s 600s; once"),
        "{}",
        explain(&queries[1])
    );
}

#[test]
fn derived_streams_are_joined_by_any_time_of_their_windows() {
    let join = "CREATE MATERIALIZED VIEW anomalies WITH (key = 'minute') AS SELECT n.minute, n.orders, h.mean
        FROM orders_per_minute n JOIN orders_before h ON n.minute = h.minute WHERE n.orders > 2 * h.mean;";
    let queries = pipeline(&format!("{MINUTES}{join}")).unwrap();
    let shown = explain(&queries[2]);
    assert!(
        shown.contains("time of the right from -59.999s to -59.999s of the left"),
        "{shown}"
    );
    assert_eq!(
        (queries[2].result.kind, queries[2].result.key.as_slice()),
        (Kind::View, &[0][..])
    );
}

#[test]
fn a_view_feeds_lookups() {
    let queries = pipeline(
        "CREATE STREAM clicks (user_id BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts);
         CREATE MATERIALIZED VIEW features AS SELECT user_id, count(*) AS n FROM clicks GROUP BY user_id;
         CREATE STREAM enriched AS SELECT c.ts, f.n FROM clicks c LEFT JOIN features f ON c.user_id = f.user_id;",
    )
    .unwrap();
    assert!(
        explain(&queries[1]).contains("table features (topic features), read whole"),
        "{}",
        explain(&queries[1])
    );
}

/// Reads a text, and says why it is refused.
fn why_not(text: &str) -> String {
    let mut pipeline = crate::Pipeline::new(crate::Mode::Stream, "");
    let statements = Statement::parse(text).unwrap();
    let replies: Result<Vec<_>, Error> = statements
        .into_iter()
        .map(|statement| pipeline.execute(statement))
        .collect();
    replies.unwrap_err().to_string()
}

#[test]
fn what_a_query_writes_does_not_come_back_to_it() {
    let clicks = "CREATE STREAM clicks (id BIGINT) WITH (topic = 'user-events');";
    let error = why_not(&format!(
        "{clicks} CREATE SINK copy FROM clicks WITH (to = 'topic:user-events')"
    ));
    assert!(
        error.contains("copy would write to the topic \"user-events\""),
        "{error}"
    );
    let error = why_not(&format!(
        "{clicks} CREATE SINK copy FROM clicks WITH (to = 'topic:rechka.pipelines')"
    ));
    assert!(error.contains("Rechka's own"), "{error}");
}

#[test]
fn lists_do_not_go_into_csv_files() {
    let clicks = "CREATE STREAM clicks (id BIGINT, tags ARRAY<TEXT>);";
    let sink =
        |format: &str| format!("{clicks} CREATE SINK files FROM clicks WITH (to = 'file:out', format = '{format}')");
    assert!(why_not(&sink("csv")).contains("the column tags is a list or a struct"));
}

/// Why a pipeline over a stream of ids is refused.
fn refusal(text: &str) -> String {
    let declared = "CREATE STREAM s (k BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts);";
    let mut pipeline = crate::Pipeline::new(crate::Mode::Stream, "");
    let statements = Statement::parse(&format!("{declared}{text}")).unwrap();
    let refused = statements
        .into_iter()
        .find_map(|statement| pipeline.execute(statement).err());
    refused.unwrap_or_else(|| panic!("{text} is not refused")).to_string()
}

#[test]
fn rows_that_change_are_no_rows_of_files_nor_of_records_without_keys() {
    let counts = "SELECT k, count(*) AS n FROM s GROUP BY k";
    for files in ["", ", format = 'json'"] {
        let refused = refusal(&format!("CREATE SINK f FROM ({counts}) WITH (to = 'file:out'{files});"));
        assert!(refused.contains("TUMBLE") && refused.contains("topic:"), "{refused}");
    }
    for create in [
        "STREAM v WITH (format = 'arrow') AS",
        "MATERIALIZED VIEW v WITH (format = 'arrow') AS",
    ] {
        let refused = refusal(&format!("CREATE {create} {counts};"));
        assert!(refused.contains("format = 'json'"), "{refused}");
    }
    let refused = refusal(&format!(
        "CREATE SINK f FROM ({counts}) WITH (to = 'topic:out', format = 'arrow');"
    ));
    assert!(refused.contains("format = 'json'"), "{refused}");
}

#[test]
fn rows_that_count_until_they_change_are_not_deleted_by_their_age() {
    let refused = refusal("CREATE STREAM v WITH (retention = '1 day') AS SELECT k, count(*) AS n FROM s GROUP BY k;");
    assert!(refused.contains("retention is for streams"), "{refused}");
}
