use arrow::datatypes::{DataType, TimeUnit};

use super::*;
use crate::{Kind, Metadata};

fn one(text: &str) -> Statement {
    let mut statements = Statement::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(statements.len(), 1);
    statements.remove(0)
}

fn relation(text: &str) -> Relation {
    let Statement::Declare(declare) = one(text) else {
        panic!("{text} declares")
    };
    declare.relation
}

fn refused(text: &str) -> String {
    match Statement::parse(text) {
        Ok(statements) => panic!("{text} is accepted: {statements:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_stream_has_columns_a_watermark_and_options() {
    let stream = relation(
        "CREATE STREAM Bids (
            auction BIGINT NOT NULL, price DOUBLE, \"dateTime\" TIMESTAMP, tags ARRAY<TEXT>,
            item STRUCT<name TEXT, size STRUCT<width INT, height INT>>, session TEXT METADATA FROM 'key',
            WATERMARK FOR dateTime AS dateTime - INTERVAL '4' SECOND
        ) WITH (topic = 'bids.v1', partitions = 4, idle_timeout = '30 seconds', max_ahead = '1 day', key = 'auction')",
    );
    assert_eq!(
        (&*stream.name, &*stream.topic, stream.partitions, stream.kind),
        ("Bids", "bids.v1", 4, Kind::Stream)
    );
    assert_eq!((stream.format, stream.key), (Format::Json, vec![0]));
    assert_eq!(stream.metadata, [(5, Metadata::Key)]);
    let field = |index: usize| stream.schema.field(index).clone();
    assert!(!field(0).is_nullable() && field(1).is_nullable());
    assert_eq!(field(2).name(), "dateTime");
    assert_eq!(*field(2).data_type(), DataType::Timestamp(TimeUnit::Millisecond, None));
    assert!(matches!(field(3).data_type(), DataType::List(item) if *item.data_type() == DataType::Utf8));
    assert!(
        matches!(field(4).data_type(), DataType::Struct(fields) if matches!(fields[1].data_type(), DataType::Struct(_)))
    );
    let time = stream.event_time.unwrap();
    assert_eq!(
        (time.column, time.delay.as_secs(), time.idle.unwrap().as_secs()),
        (2, 4, 30)
    );
    assert_eq!(time.ahead.as_secs(), 86_400);
}

#[test]
fn the_usual_types_are_known() {
    let timestamp = |unit, zone: Option<&str>| DataType::Timestamp(unit, zone.map(Into::into));
    for (sql, expected) in [
        ("BOOLEAN", DataType::Boolean),
        ("TINYINT", DataType::Int8),
        ("SMALLINT", DataType::Int16),
        ("INT", DataType::Int32),
        ("INTEGER", DataType::Int32),
        ("BIGINT", DataType::Int64),
        ("BIGINT UNSIGNED", DataType::UInt64),
        ("REAL", DataType::Float32),
        ("DOUBLE", DataType::Float64),
        ("DOUBLE PRECISION", DataType::Float64),
        ("DECIMAL(12, 2)", DataType::Decimal128(12, 2)),
        ("TEXT", DataType::Utf8),
        ("STRING", DataType::Utf8),
        ("VARCHAR(20)", DataType::Utf8),
        ("BYTES", DataType::Binary),
        ("BYTEA", DataType::Binary),
        ("DATE", DataType::Date32),
        ("TIMESTAMP", timestamp(TimeUnit::Millisecond, None)),
        ("TIMESTAMP(0)", timestamp(TimeUnit::Second, None)),
        ("TIMESTAMP(3)", timestamp(TimeUnit::Millisecond, None)),
        ("TIMESTAMP(6)", timestamp(TimeUnit::Microsecond, None)),
        ("TIMESTAMP(9)", timestamp(TimeUnit::Nanosecond, None)),
        ("TIMESTAMPTZ", timestamp(TimeUnit::Millisecond, Some("+00:00"))),
        (
            "TIMESTAMP(6) WITH TIME ZONE",
            timestamp(TimeUnit::Microsecond, Some("+00:00")),
        ),
        ("TIMESTAMP_LTZ(3)", timestamp(TimeUnit::Millisecond, Some("+00:00"))),
    ] {
        let stream = relation(&format!("CREATE STREAM s (x {sql})"));
        assert_eq!(*stream.schema.field(0).data_type(), expected, "{sql}");
    }
    let stream = relation("CREATE STREAM s (x STRUCT<at TIMESTAMP, all ARRAY<STRUCT<n BIGINT>>>, y INT[])");
    assert!(matches!(stream.schema.field(1).data_type(), DataType::List(_)));
}

#[test]
fn a_table_has_a_key_or_a_file() {
    let table =
        relation("CREATE TABLE products (id BIGINT, name TEXT, PRIMARY KEY (id) NOT ENFORCED) WITH (topic = p)");
    assert_eq!((table.kind, table.key, &*table.topic), (Kind::Table, vec![0], "p"));
    let table = relation("CREATE TABLE products (id BIGINT PRIMARY KEY, name TEXT)");
    assert_eq!(table.key, [0]);
    let table =
        relation("CREATE TABLE rates (currency TEXT, rate DOUBLE) WITH (path = 'data/rates.csv', delimiter = ';')");
    assert_eq!(table.file.as_deref(), Some(Path::new("data/rates.csv")));
    assert_eq!(table.format, Format::Csv { delimiter: b';' });
    assert!(refused("CREATE TABLE t (id INT)").contains("add PRIMARY KEY"));
    assert!(refused("CREATE TABLE t (id INT) WITH (path = 'x.txt')").contains(".csv, .json or .parquet"));
}

#[test]
fn a_derived_relation_has_options_and_a_query() {
    let Statement::Derive(derive) = one(
        "CREATE MATERIALIZED VIEW IF NOT EXISTS totals WITH (output_mode = 'update', delivery = at_least_once, key = 'a, b') \
         AS SELECT a, b, count(*) FROM t GROUP BY a, b;",
    ) else {
        panic!("derives")
    };
    assert!(derive.materialised && derive.if_not_exists);
    assert_eq!(
        (derive.options.output_mode, derive.options.delivery),
        (Some(Emit::Update), Some(Delivery::AtLeastOnce))
    );
    assert_eq!(derive.options.key, ["a".into(), "b".into()]);
    assert!(matches!(
        one("CREATE STREAM b AS SELECT * FROM a"),
        Statement::Derive(Derive {
            materialised: false,
            ..
        })
    ));
    assert!(matches!(
        one("CREATE VIEW b AS WITH x AS (SELECT 1) SELECT * FROM x"),
        Statement::View { .. }
    ));
}

#[test]
fn a_sink_says_where_to() {
    let Statement::Sink(sink) = one("CREATE SINK out FROM totals WITH (to = 'topic:out', format = csv)") else {
        panic!()
    };
    assert!(matches!(sink.to, Target::Topic { ref topic, format: Format::Csv { .. }, .. } if &**topic == "out"));
    let Statement::Sink(sink) = one("CREATE SINK out FROM (SELECT a FROM t WHERE b > 1) WITH (to = 'file:out/totals')")
    else {
        panic!()
    };
    assert!(matches!(
        sink.to,
        Target::Files {
            format: FileFormat::Parquet,
            ..
        }
    ));
    assert!(refused("CREATE SINK out FROM t").contains("where to is missing"));
    assert!(refused("CREATE SINK out FROM t WITH (to = 'somewhere')").contains("'topic:NAME' or 'file:DIRECTORY'"));
}

#[test]
fn several_statements_are_separated_by_semicolons_and_may_have_comments() {
    let text = "-- first; not yet\nCREATE STREAM a (x TEXT);; /* ; */ DROP MATERIALIZED VIEW IF EXISTS v;\nSHOW STREAMS; \
                DESCRIBE a; EXPLAIN SELECT ';' FROM a; SELECT * FROM a";
    let kinds: Vec<_> = Statement::parse(text).unwrap();
    assert!(matches!(
        kinds.as_slice(),
        [
            Statement::Declare(_),
            Statement::Drop {
                object: Object::View,
                if_exists: true,
                ..
            },
            Statement::Show(Some(Object::Stream)),
            Statement::Describe(_),
            Statement::Explain(_),
            Statement::Query(_),
        ]
    ));
    assert!(Statement::parse(" -- nothing\n ; ").unwrap().is_empty());
}

#[test]
fn an_error_names_the_place_and_what_to_write() {
    for (text, expected) in [
        (
            "CREATE STREAM s (x INT)\nWITH (fromat = 'json')",
            "line 2, column 7: a stream has no option fromat; did you mean format?",
        ),
        (
            "CREATE STREAM s (x INT) WITH (format = 'jsno')",
            "line 1, column 31: format can't be 'jsno': did you mean 'json'?",
        ),
        (
            "CREATE STREAM s (x INT) WITH (partitions = 0)",
            "partitions must be a number from 1 to 1024, not 0",
        ),
        (
            "CREATE STREAM s (x INT) WITH (partitions = 'many')",
            "must be a number from 1 to 1024, not 'many'",
        ),
        (
            "CREATE STREAM s (x INT) WITH (idle_timeout = 5)",
            "write idle_timeout = '10 minutes'",
        ),
        ("CREATE STREAM s (x INT) WITH (topic = 'a', TOPIC = 'b')", "given twice"),
        ("CREATE STREAM s (x INT) WITH (topic = 'a b')", "up to 249 letters"),
        (
            "CREATE STREAM s (x INT) WITH (wibble = 'x')",
            "a stream has no option wibble; there are retention",
        ),
        (
            "CREATE STREAM s (x INTT)",
            "line 1, column 20: there is no type INTT: did you mean INT?",
        ),
        ("CREATE STREAM s (x INT, x TEXT)", "column x is there twice"),
        (
            "CREATE STREAM s (x INT, WATERMARK FOR x AS x)",
            "x must be a TIMESTAMP to have a watermark; it is Int32",
        ),
        (
            "CREATE STREAM s (ts TIMESTAMP, WATERMARK FOR tz AS tz)",
            "there is no column tz; did you mean ts?",
        ),
        (
            "CREATE STREAM s (ts TIMESTAMP, WATERMARK FOR ts AS now())",
            "a watermark is written WATERMARK FOR ts",
        ),
        (
            "CREATE STREAM s (ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '1 month')",
            "write it in days",
        ),
        ("CREATE STREAM s (k TEXT METADATA FROM 'kye')", "did you mean 'key'?"),
        (
            "CREATE STREAM s (k BIGINT METADATA FROM 'key')",
            "the column k must be TEXT or BYTES",
        ),
        ("CREATE STREAM s (x INT) WITH (format = 'raw')", "the format raw"),
        ("CREATE STREAM s (x INT, y AS x + 1)", "CREATE VIEW name AS SELECT"),
        ("CREATE STREAM s (x INT) garbage", "should end before garbage"),
        ("CREATE STREAM s", "AS SELECT … must follow, not the end"),
        ("CREATE STREM s (x INT)", "STREM is unknown here; did you mean STREAM?"),
        ("CREATE TABLE t AS SELECT 1", "CREATE MATERIALIZED VIEW name AS"),
        (
            "SELET 1",
            "line 1, column 1: SELET is unknown here; did you mean SELECT?",
        ),
        ("INSERT INTO t VALUES (1)", "CREATE SINK"),
        ("SELECT a FROM t\n  WHERE", "line 2, column"),
        ("SELECT 'open", "line 1, column"),
        ("EXPLAIN", "EXPLAIN needs a statement"),
        ("DROP x", "DROP goes on with STREAM"),
    ] {
        let error = refused(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_chain_too_long_for_recursion_is_refused() {
    let long = |link: &str, times: usize| format!("SELECT 1{} FROM t", link.repeat(times));
    for link in [
        " + 1",
        " AND x",
        "::int",
        " IS NULL",
        "[1]",
        " UNION ALL SELECT 1",
        " || (1)",
    ] {
        Statement::parse(&long(link, 50)).unwrap();
        assert!(
            matches!(Statement::parse(&long(link, 50_000)), Err(Error::Syntax { .. })),
            "{link}"
        );
    }
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("CASE WHEN ", " THEN 1 END"),
        ("NOT ", ""),
        ("- ", ""),
    ] {
        let nested = format!("SELECT {}1{}", open.repeat(20_000), close.repeat(20_000));
        assert!(Statement::parse(&nested).is_err(), "{open}");
    }
    let nested = format!(
        "CREATE STREAM s (x {}INT{})",
        "ARRAY<".repeat(10_000),
        ">".repeat(10_000)
    );
    assert!(Statement::parse(&nested).is_err());
}

#[test]
fn show_and_describe_answer_with_tables() {
    let mut catalog = crate::Catalog::default();
    let text = "CREATE STREAM clicks (k TEXT METADATA FROM 'key', ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '5 s');
                CREATE TABLE products (id BIGINT PRIMARY KEY) WITH (path = 'p.csv')";
    for statement in Statement::parse(text).unwrap() {
        let Statement::Declare(declare) = statement else {
            panic!()
        };
        catalog.declare_relation(declare.relation).unwrap();
    }
    let text = |batch| {
        arrow::util::pretty::pretty_format_batches(&[batch])
            .unwrap()
            .to_string()
    };
    let streams = text(show(&catalog, Some(Object::Stream)));
    assert!(
        streams.contains("clicks | stream | topic clicks (1 partitions)") && !streams.contains("products"),
        "{streams}"
    );
    assert!(text(show(&catalog, None)).contains("file p.csv"));
    let columns = text(describe(&catalog, "CLICKS").unwrap());
    assert!(
        columns.contains("the record's key") && columns.contains("event time, 5s late at most"),
        "{columns}"
    );
    assert_eq!(
        describe(&catalog, "click").unwrap_err().to_string(),
        "there is no click; did you mean clicks?"
    );
}

#[test]
fn the_longest_chains_are_planned_without_overflow() {
    let catalog = crate::Catalog::default();
    for link in [
        " + 1",
        " = 1",
        "::int",
        " IS NULL",
        " || 'a'",
        " + CASE WHEN true THEN 1 END",
        " UNION ALL SELECT 1",
    ] {
        let longest = (1..400)
            .rev()
            .find_map(|times| Query::parse(&format!("SELECT 1{}", link.repeat(times))).ok());
        let plan = crate::logical::logical_plan(&catalog, &longest.unwrap());
        let _ = plan.map(crate::logical::optimise);
    }
}

struct Shelf;

impl Outside for Shelf {
    fn schema(&self, path: &Path) -> Result<String, String> {
        match path.to_str() {
            Some("bid.avsc") => {
                Ok(r#"{"type": "record", "name": "bid", "fields": [{"name": "price", "type": "long"}]}"#.to_owned())
            }
            _ => Err("there is no such file".to_owned()),
        }
    }

    fn registry(&self, address: &str) -> Result<Arc<dyn rechka_formats::Registry>, String> {
        Err(format!("{address} is closed"))
    }

    fn partitions(&self, topic: &str) -> Option<u32> {
        (topic == "bids.v1").then_some(3)
    }
}

#[test]
fn a_format_finds_its_schema_outside() {
    let read =
        |options: &str| Statement::parse_with(&format!("CREATE STREAM bid (price BIGINT) WITH ({options})"), &Shelf);
    let statements = read("format = 'avro', schema = 'bid.avsc'").unwrap();
    assert!(matches!(
        &statements[..],
        [Statement::Declare(Declare {
            relation: Relation {
                format: Format::Avro(_),
                ..
            },
            ..
        })]
    ));
    for (options, expected) in [
        (
            "format = 'avro', schema = 'bids.avsc'",
            "bids.avsc: there is no such file",
        ),
        (
            "format = 'protobuf', registry = 'http://x', message = 'Bid'",
            "http://x is closed",
        ),
        (
            "format = 'avro', registry = 'x', schema = 'bid.avsc'",
            "exclude each other",
        ),
        (
            "format = 'avro'",
            "format avro needs schema = 'PATH' or registry = 'http://HOST:PORT'",
        ),
        ("format = 'json', schema = 'bid.avsc'", "a stream has no option schema"),
    ] {
        let error = read(options).unwrap_err().to_string();
        assert!(error.contains(expected), "{options}: {error}");
    }
    assert!(
        refused("CREATE STREAM bid (price BIGINT) WITH (format = 'avro', schema = 'bid.avsc')")
            .contains("can't be read here")
    );
}

#[test]
fn audio_has_columns_of_its_own_and_says_what_it_is_if_its_records_do_not() {
    use rechka_formats::{Encoding, Pcm};
    let audio = relation("CREATE STREAM audio WITH (topic = 'audio-stream', format = 'audio', partitions = 4)");
    assert_eq!(
        (audio.format, &*audio.topic, audio.partitions, audio.key),
        (Format::Audio(None), "audio-stream", 4, vec![0])
    );
    assert_eq!(audio.metadata[..2], [(0, Metadata::Key), (1, Metadata::Timestamp)]);
    assert_eq!(audio.event_time.unwrap().column, 1);
    let calls = relation("CREATE STREAM IF NOT EXISTS calls WITH (format = 'mulaw', rate = 8000, channels = 2)");
    let pcm = Pcm {
        encoding: Encoding::MuLaw,
        rate: 8_000,
        channels: 2,
    };
    assert_eq!((calls.format, calls.schema), (Format::Audio(Some(pcm)), audio.schema));
    for (text, expected) in [
        ("CREATE STREAM a WITH (format = 'adio')", "did you mean 'audio'?"),
        (
            "CREATE STREAM a WITH (format = 's16el', rate = 8000)",
            "did you mean 's16le'?",
        ),
        (
            "CREATE STREAM a WITH (format = 's16le')",
            "add rate = 16000 to format = 's16le'",
        ),
        (
            "CREATE STREAM a WITH (format = 'alaw', rate = 80)",
            "rate must be a number from 1000 to 384000",
        ),
        ("CREATE STREAM a WITH (format = 'alaw', rat = 8000)", "add rate = 16000"),
        (
            "CREATE STREAM a WITH (format = 'audio', rate = 8000)",
            "a stream has no option rate",
        ),
        ("CREATE STREAM a (x INT) WITH (format = 'audio')", "leave them away"),
        (
            "CREATE TABLE a (x INT PRIMARY KEY) WITH (format = 'audio')",
            "audio is no table",
        ),
        (
            "CREATE STREAM a WITH (topic = 'a')",
            "columns are missing: write CREATE STREAM name (column TYPE",
        ),
        (
            "CREATE STREAM a WITH (format = 'audio') AS SELECT 1",
            "a query makes no sound",
        ),
        (
            "CREATE SINK a FROM b WITH (to = 'topic:t', format = 'audio')",
            "a query makes no sound",
        ),
    ] {
        let error = refused(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn what_is_kept_by_key_is_not_forgotten_with_time() {
    for text in [
        "CREATE TABLE t (id BIGINT PRIMARY KEY) WITH (retention = '1 day')",
        "CREATE MATERIALIZED VIEW v WITH (retention = '1 day') AS SELECT a, count(*) FROM s GROUP BY a",
    ] {
        assert!(refused(text).contains("retention is for streams"), "{text}");
    }
}

#[test]
fn a_topic_that_is_there_keeps_its_partitions() {
    let partitions = |text: &str| match Statement::parse_with(text, &Shelf).unwrap().remove(0) {
        Statement::Declare(declare) => declare.relation.partitions,
        other => panic!("{other:?}"),
    };
    assert_eq!(partitions("CREATE STREAM b (x INT) WITH (topic = 'bids.v1')"), 3);
    assert_eq!(
        partitions("CREATE STREAM b (x INT) WITH (topic = 'bids.v1', partitions = 8)"),
        3
    );
    assert_eq!(
        partitions("CREATE STREAM b (x INT) WITH (topic = 'bids.v2', partitions = 8)"),
        8
    );
    assert_eq!(partitions("CREATE STREAM b (x INT)"), 1);
}

#[test]
fn types_that_are_nested_too_deep_are_refused_before_they_are_parsed() {
    let nested =
        |depth: usize, comma: &str| format!("CREATE STREAM s (a {} INT)", format!("STRUCT<{comma}a ").repeat(depth));
    for comma in ["", "x INT, "] {
        let error = refused(&nested(20_000, comma));
        assert!(error.contains("nested more than 32 deep"), "{error}");
    }
    let fits = format!("CREATE STREAM s (a {}INT{})", "ARRAY<".repeat(32), ">".repeat(32));
    assert!(Statement::parse(&fits).is_ok());
    let compared = format!("SELECT {} FROM s", ["array < 3"; 60].join(", "));
    if let Err(error) = Statement::parse(&compared) {
        assert!(
            !error.to_string().contains("nested"),
            "a comparison is no type: {error}"
        );
    }
}
