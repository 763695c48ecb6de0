//! Whatever a text is, reading and planning it ends with a result or an error.
use std::sync::LazyLock;

use proptest::{collection::vec, prelude::*, sample::select};

use crate::{
    Catalog, Mode, Pipeline, Query, Statement,
    logical::{logical_plan, optimise},
};

const TEXTS: [&str; 14] = [
    "CREATE STREAM bid (auction BIGINT NOT NULL, price DOUBLE, ts TIMESTAMP(3), s STRUCT<a INT, b ARRAY<TEXT>>, k TEXT METADATA \
     FROM 'key', WATERMARK FOR ts AS ts - INTERVAL '4' SECOND) WITH (topic = 'bids', partitions = 4, idle_timeout = '1 s')",
    "CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT) WITH (path = 'x.csv', delimiter = ';')",
    "CREATE MATERIALIZED VIEW v WITH (output_mode = 'update') AS SELECT auction, count(*) FROM bid GROUP BY auction",
    "CREATE SINK out FROM bid WITH (to = 'topic:out', format = csv)",
    "DROP MATERIALIZED VIEW IF EXISTS v",
    "SHOW STREAMS",
    "EXPLAIN SELECT * FROM bid",
    "SELECT auction, count(*) FROM TABLE(HOP(TABLE bid, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '10' SECOND)) \
     GROUP BY auction, window_start, window_end",
    "SELECT * FROM CUMULATE(DATA => bid, TIMECOL => ts, STEP => INTERVAL '1 s', SIZE => INTERVAL '1 m', \"OFFSET\" => '3 s')",
    "SELECT window.start, window, count(*) FROM bid AS b GROUP BY window(b.ts, '10 s', '5 s'), auction",
    "SELECT SESSION_START(ts, INTERVAL '1' SECOND) FROM bid GROUP BY SESSION(ts, INTERVAL '1' SECOND), price",
    "SELECT * FROM bid AS b LEFT JOIN t FOR SYSTEM_TIME AS OF b.ts AS p ON b.auction = p.id",
    "WITH x AS (SELECT *, PROCTIME() AS p FROM bid) SELECT sum(price) FILTER (WHERE price > 0), max(ts) OVER (ORDER BY ts) \
     FROM x GROUP BY ts UNION ALL SELECT 1, ts FROM TUMBLE((SELECT * FROM bid), ts, '1 day') WHERE ts BETWEEN '2024-01-01' AND now()",
    "SELECT DISTINCT ON (auction) s['a'], unnest(s.b), CASE WHEN price IS NULL THEN [1, 2] ELSE make_array(3) END FROM bid",
];

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let mut catalog = Catalog::default();
    for text in &TEXTS[..2] {
        for statement in Statement::parse(text).unwrap() {
            let Statement::Declare(declare) = statement else {
                panic!("declares")
            };
            catalog.declare_relation(declare.relation).unwrap();
        }
    }
    catalog
});

fn read(text: &str) {
    let Ok(statements) = Statement::parse(text) else { return };
    for statement in statements {
        let query = match statement {
            Statement::Query(query) | Statement::View { query, .. } => query,
            Statement::Derive(derive) => derive.query,
            Statement::Sink(sink) => sink.query,
            _ => continue,
        };
        // What panics here is ours; planning catches the panics of DataFusion.
        let _ = query.syntax(&CATALOG);
        let _ = logical_plan(&CATALOG, &query).map(optimise);
    }
}

/// Words and signs of all texts, and the space between them.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    for letter in text.chars() {
        let word = |letter: char| letter.is_alphanumeric() || letter == '_';
        match pieces.last_mut() {
            Some(piece) if word(letter) && piece.ends_with(word) => piece.push(letter),
            _ => pieces.push(letter.to_string()),
        }
    }
    pieces
}

fn mutated() -> impl Strategy<Value = String> {
    let all: Vec<String> = TEXTS
        .iter()
        .flat_map(|text| pieces(text))
        .chain(["'", "\"", ";", "9e99", "é"].map(str::to_owned))
        .collect();
    let change = (
        any::<prop::sample::Index>(),
        0..4,
        select(all),
        any::<prop::sample::Index>(),
    );
    (select(TEXTS.to_vec()), vec(change, 1..6)).prop_map(|(text, changes)| {
        let mut pieces = pieces(text);
        for (place, how, piece, other) in changes {
            let (place, other) = (place.index(pieces.len()), other.index(pieces.len()));
            match how {
                0 => pieces[place] = piece,
                1 => pieces.insert(place, piece),
                2 => pieces.swap(place, other),
                _ => drop(pieces.drain(place.min(other)..place.max(other).min(pieces.len() - 1))),
            }
        }
        pieces.concat()
    })
}

#[test]
fn the_texts_themselves_are_right() {
    for text in TEXTS {
        for statement in Statement::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")) {
            if let Statement::Query(query) = statement {
                logical_plan(&CATALOG, &query).unwrap_or_else(|error| panic!("{text}: {error}"));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_mutated_statement_never_panics(text in mutated()) {
        read(&text);
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Statement::parse(&String::from_utf8_lossy(&bytes));
        let _ = Query::parse(&String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn the_reference_reads_as_it_says() {
    let reference = include_str!("../../../docs/sql.md");
    let mut pipeline = Pipeline::new(Mode::Stream, "");
    let examples = reference
        .split("```sql")
        .skip(1)
        .filter_map(|part| part.split("```").next());
    for statement in
        examples.flat_map(|example| Statement::parse(example).unwrap_or_else(|error| panic!("{example}: {error}")))
    {
        // A question is planned as if it were to run for ever.
        let statement = match statement {
            Statement::Query(_) => Statement::Explain(Box::new(statement)),
            other => other,
        };
        let text = format!("{statement:?}");
        pipeline
            .execute(statement)
            .unwrap_or_else(|error| panic!("{text}: {error}"));
    }
}
