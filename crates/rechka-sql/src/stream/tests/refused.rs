//! What can't be streamed is refused with the reason and a way out.
use super::*;
use crate::plan::Emit;

fn says(sql: &str, options: &Options, words: &[&str]) {
    let refusal = refused(sql, options);
    for word in words {
        assert!(refusal.contains(word), "no {word:?} in: {refusal}");
    }
}

fn refuses(sql: &str, words: &[&str]) {
    says(sql, &Options::default(), words);
}

const TUMBLE: &str = "TUMBLE(bid, dateTime, INTERVAL '10' SECOND)";

#[test]
fn an_order_without_end() {
    refuses("SELECT * FROM bid ORDER BY price", &["ORDER BY", "ROW_NUMBER"]);
}

#[test]
fn a_limit() {
    refuses("SELECT * FROM bid LIMIT 10", &["LIMIT", "ROW_NUMBER"]);
}

#[test]
fn a_join_that_would_keep_all_rows() {
    refuses(
        "SELECT b.price FROM bid b JOIN auction a ON b.auction = a.id",
        &["keep all rows", "BETWEEN", "state_retention"],
    );
}

#[test]
fn a_join_bounded_on_one_side_only() {
    refuses(
        "SELECT b.price FROM bid b JOIN auction a ON b.auction = a.id AND b.dateTime >= a.dateTime",
        &["keep all rows", "state_retention"],
    );
}

#[test]
fn a_join_bounded_by_months() {
    refuses(
        "SELECT b.price FROM bid b JOIN auction a ON b.auction = a.id \
         AND b.dateTime BETWEEN a.dateTime AND a.dateTime + INTERVAL '1 month'",
        &["keep all rows"],
    );
}

#[test]
fn a_join_whose_times_contradict_each_other() {
    refuses(
        "SELECT b.price FROM bid b JOIN auction a ON b.auction = a.id \
         AND b.dateTime >= a.dateTime + INTERVAL '2 seconds' AND b.dateTime <= a.dateTime + INTERVAL '1 second'",
        &["contradict"],
    );
}

#[test]
fn a_state_retention_without_event_time() {
    let options = Options {
        state_retention: Some(Duration::from_secs(60)),
        ..Options::default()
    };
    says(
        "SELECT b.price, t.name FROM bid b JOIN timeless t ON b.auction = t.id",
        &options,
        &["state_retention", "WATERMARK FOR"],
    );
}

#[test]
fn a_join_where_null_equals_null() {
    refuses(
        "SELECT auction FROM bid INTERSECT SELECT id FROM auction",
        &["NULL equals NULL"],
    );
}

#[test]
fn not_in_a_subquery() {
    refuses(
        "SELECT price FROM bid WHERE auction NOT IN (SELECT id FROM auction)",
        &["NOT EXISTS"],
    );
}

#[test]
fn a_scalar_subquery() {
    refuses(
        "SELECT price FROM bid WHERE price > (SELECT max(initialBid) FROM auction)",
        &["JOIN"],
    );
}

#[test]
fn window_functions_other_than_row_number() {
    refuses(
        "SELECT LAG(price) OVER (PARTITION BY auction ORDER BY dateTime) FROM bid",
        &["lag", "ROW_NUMBER"],
    );
    refuses(
        "SELECT sum(price) OVER (PARTITION BY auction) FROM bid",
        &["sum", "ROW_NUMBER"],
    );
    refuses(
        "SELECT * FROM (SELECT price, RANK() OVER (PARTITION BY auction ORDER BY price) AS r FROM bid) WHERE r <= 3",
        &["rank", "ROW_NUMBER"],
    );
}

#[test]
fn a_row_number_without_limit() {
    refuses(
        "SELECT price, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price) AS n FROM bid",
        &["keep all rows", "WHERE rank <= 10"],
    );
}

#[test]
fn an_aggregate_of_changing_groups() {
    refuses(
        "SELECT max(n) FROM (SELECT auction, count(*) AS n FROM bid GROUP BY auction)",
        &["inner GROUP BY", "window", "MATERIALIZED VIEW"],
    );
}

#[test]
fn a_join_of_changing_groups() {
    refuses(
        "SELECT b.price, c.n FROM bid b JOIN (SELECT auction, count(*) AS n FROM bid GROUP BY auction) c \
         ON b.auction = c.auction",
        &["inner GROUP BY", "a join"],
    );
}

#[test]
fn a_union_of_changing_groups() {
    refuses(
        "SELECT auction, count(*) AS n FROM bid GROUP BY auction UNION ALL SELECT id, price FROM (SELECT auction AS id, price FROM bid)",
        &["UNION ALL"],
    );
}

#[test]
fn an_aggregate_of_ranks_that_change() {
    refuses(
        "SELECT count(*) FROM (SELECT price, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price DESC) AS n FROM bid) WHERE n <= 3",
        &["ranks", "window_end"],
    );
}

#[test]
fn append_mode_for_groups_that_never_end() {
    says(
        "SELECT auction, count(*) FROM bid GROUP BY auction",
        &mode(Emit::Append),
        &["append", "never", "update"],
    );
}

#[test]
fn append_mode_for_ranks_that_are_never_final() {
    let sql = "SELECT auction, price, n FROM \
         (SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price DESC) AS n FROM bid) WHERE n <= 3";
    says(sql, &mode(Emit::Append), &["append", "update"]);
    says(sql, &mode(Emit::Complete), &["complete", "update"]);
}

#[test]
fn update_mode_for_sessions() {
    let sql = "SELECT bidder, window_start, window_end, count(*) FROM SESSION(bid, dateTime, INTERVAL '10' SECOND) \
         GROUP BY bidder, window_start, window_end";
    says(sql, &mode(Emit::Update), &["sessions", "append"]);
    says(sql, &mode(Emit::Complete), &["sessions", "append"]);
}

#[test]
fn complete_mode_without_groups() {
    says(
        "SELECT auction, price FROM bid",
        &mode(Emit::Complete),
        &["complete", "append"],
    );
}

#[test]
fn sessions_without_groups() {
    refuses(
        "SELECT bidder, window_start FROM SESSION(bid, dateTime, INTERVAL '10' SECOND)",
        &["session", "GROUP BY"],
    );
}

#[test]
fn windows_over_a_time_that_no_watermark_follows() {
    refuses(
        "SELECT count(*) FROM TUMBLE(auction, expires, INTERVAL '10' SECOND) GROUP BY window_end",
        &["expires", "WATERMARK FOR"],
    );
}

#[test]
fn changing_rows_without_their_key() {
    refuses("SELECT count(*) AS n FROM bid GROUP BY auction", &["auction", "SELECT"]);
    let asked = Options {
        key: vec!["n".into()],
        ..Options::default()
    };
    says(
        "SELECT auction, count(*) AS n FROM bid GROUP BY auction",
        &asked,
        &["auction", "key"],
    );
}

#[test]
fn a_view_of_rows_that_nothing_tells_apart() {
    says("SELECT price FROM bid", &view(), &["key", "CREATE STREAM"]);
}

#[test]
fn a_key_that_is_no_column() {
    let asked = Options {
        key: vec!["nobody".into()],
        ..Options::default()
    };
    says("SELECT price FROM bid", &asked, &["nobody"]);
}

#[test]
fn two_columns_of_one_name() {
    refuses(
        "SELECT a.id, p.id FROM auction a JOIN person p ON a.seller = p.id \
         AND a.dateTime BETWEEN p.dateTime AND p.dateTime + INTERVAL '1 minute'",
        &["id", "AS"],
    );
}

#[test]
fn the_moment_at_which_a_query_starts() {
    refuses("SELECT price, now() AS t FROM bid", &["now", "PROCTIME"]);
    refuses(
        "SELECT price FROM bid WHERE dateTime > now() - INTERVAL '1 hour'",
        &["now", "PROCTIME"],
    );
}

#[test]
fn a_table_alone() {
    refuses("SELECT * FROM items", &["items", "table", "--batch"]);
    refuses(
        "SELECT i.name FROM items i JOIN rates r ON i.id = r.id",
        &["tables", "--batch"],
    );
}

#[test]
fn a_table_looked_up_by_something_else_than_its_key() {
    refuses(
        "SELECT b.price, i.name FROM bid b JOIN items i ON b.price = i.price",
        &["items", "key", "id"],
    );
}

#[test]
fn all_rows_of_a_table_in_an_outer_join() {
    refuses(
        "SELECT b.price, i.name FROM bid b RIGHT JOIN items i ON b.auction = i.id",
        &["items", "LEFT JOIN"],
    );
    refuses(
        "SELECT b.price, i.name FROM bid b FULL JOIN items i ON b.auction = i.id",
        &["items", "LEFT JOIN"],
    );
}

#[test]
fn a_table_computed_before_the_join() {
    refuses(
        "SELECT b.price, i.name FROM bid b JOIN (SELECT id, upper(name) AS name FROM items) i ON b.auction = i.id",
        &["items", "around the join"],
    );
}

#[test]
fn a_table_without_time_as_of_a_time() {
    refuses(
        "SELECT b.price, i.name FROM bid b JOIN AS_OF(items, b.dateTime) AS i ON b.auction = i.id",
        &["items", "time"],
    );
}

#[test]
fn grouping_sets() {
    refuses(
        &format!("SELECT auction, window_end, count(*) FROM {TUMBLE} GROUP BY ROLLUP (auction, window_end)"),
        &["ROLLUP", "UNION ALL"],
    );
}

#[test]
fn nothing_to_read() {
    refuses("SELECT 1 AS one", &["no stream"]);
    refuses("SELECT price FROM bid WHERE false", &["no stream"]);
    refuses("SELECT * FROM (VALUES (1), (2)) AS t", &["VALUES"]);
}

#[test]
fn a_lateral_subquery() {
    refuses(
        "SELECT c.user, t.tag FROM clicks c CROSS JOIN UNNEST(c.tags) AS t(tag)",
        &["JOIN", "SELECT user, unnest"],
    );
}

#[test]
fn a_stream_as_of_a_time() {
    refuses(
        "SELECT b.price FROM bid AS b JOIN AS_OF(auction, b.dateTime) AS a ON b.auction = a.id \
         AND a.dateTime BETWEEN b.dateTime - INTERVAL '1 day' AND b.dateTime",
        &["AS OF asks a table", "CREATE TABLE"],
    );
}

#[test]
fn a_join_bounded_by_the_same_clock_in_another_zone() {
    refuses(
        "SELECT b.price FROM bid b JOIN auction a ON b.auction = a.id \
         AND b.dateTime AT TIME ZONE '+02:00' BETWEEN a.dateTime AND a.dateTime + INTERVAL '10 s'",
        &["keep all rows"],
    );
}

#[test]
fn a_retention_of_state_where_no_streams_are_joined() {
    let options = Options {
        state_retention: Some(Duration::from_secs(60)),
        ..Options::default()
    };
    says(
        "SELECT auction, count(*) FROM bid GROUP BY auction",
        &options,
        &["state_retention", "leave it away"],
    );
}

#[test]
fn the_start_of_another_window_than_that_of_the_group() {
    let of = |start: &str| format!("SELECT {start}, count(*) FROM bid GROUP BY TUMBLE(dateTime, INTERVAL '1' MINUTE)");
    let _ = planned(&of("tumble_start(datetime, INTERVAL '1' MINUTE)"));
    for start in [
        "TUMBLE_START(dateTime, INTERVAL '1' HOUR)",
        "TUMBLE_END(price, INTERVAL '1' MINUTE)",
    ] {
        refuses(&of(start), &["another window", "GROUP BY TUMBLE(dateTime"]);
    }
}

#[test]
fn more_windows_than_a_row_may_fall_in() {
    for sql in [
        "SELECT count(*) AS n, window_end FROM CUMULATE(bid, dateTime, INTERVAL '1 second', INTERVAL '1 day') GROUP BY window_start, window_end",
        "SELECT * FROM HOP(bid, dateTime, INTERVAL '1 second', INTERVAL '10001 seconds')",
    ] {
        refuses(sql, &["10000"]);
    }
}
