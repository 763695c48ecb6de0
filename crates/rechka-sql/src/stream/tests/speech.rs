//! `TRANSCRIBE` and `WORDS`.
use std::path::Path;

use super::*;
use crate::{Mode, Pipeline, Reply, Running, Statement, plan::Source};

const AUDIO: &str = "CREATE STREAM audio WITH (topic = 'audio-stream', format = 'audio', partitions = 4);";
const TRANSCRIPTS: &str =
    "CREATE STREAM transcripts AS SELECT * FROM TRANSCRIBE(audio, model => 'digits', language => 'en');";

/// What runs for statements over a stream of audio.
fn running(text: &str) -> Result<Vec<Running>, Error> {
    let mut pipeline = Pipeline::new(Mode::Stream, Path::new(""));
    for statement in Statement::parse(&format!("{AUDIO}{text}"))? {
        pipeline.execute(statement)?;
    }
    pipeline
        .running
        .iter()
        .for_each(|running| consistent::check(&running.query));
    Ok(pipeline.running)
}

fn refuses(text: &str, words: &[&str]) {
    let refusal = running(text).unwrap_err().to_string();
    for word in words {
        assert!(refusal.contains(word), "no {word:?} in: {refusal}");
    }
}

fn explained(text: &str) -> String {
    let mut pipeline = Pipeline::new(Mode::Stream, Path::new(""));
    let statements = Statement::parse(&format!("{AUDIO}{text}")).unwrap();
    let replies = statements
        .into_iter()
        .map(|statement| pipeline.execute(statement).unwrap());
    match replies.last() {
        Some(Reply::Text(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_of_transcribe_is_written_straight_to_the_result() {
    let running = running(TRANSCRIPTS).unwrap();
    let [Running { query, .. }] = running.as_slice() else {
        panic!("{running:?}")
    };
    assert_eq!(
        (&*query.name, &*query.result.topic, query.result.partitions),
        ("transcripts", "transcripts", 4)
    );
    let transcribe = query.stages[0].transcribes().unwrap();
    assert_eq!(
        (&*transcribe.model, transcribe.language.as_deref()),
        ("digits", Some("en"))
    );
    let time = query.result.event_time.clone().unwrap();
    assert_eq!(query.result.schema.field(time.column).name(), "ts");
}

#[test]
fn an_alias_changes_nothing_of_that() {
    let running =
        running("CREATE STREAM t WITH (topic = 'texts') AS SELECT t.* FROM TRANSCRIBE(audio, model => 'm') AS t;");
    let running = running.unwrap();
    assert_eq!((running.len(), &*running[0].query.result.topic), (1, "texts"));
}

#[test]
fn anything_more_reads_a_stream_between() {
    for more in [
        "CREATE STREAM said AS SELECT session, text FROM TRANSCRIBE(audio, model => 'm') WHERE kind = 'speech';",
        "CREATE STREAM said WITH (format = 'csv') AS SELECT session, segment, text FROM TRANSCRIBE(audio, model => 'm');",
        "CREATE STREAM said WITH (partitions = 2) AS SELECT * FROM TRANSCRIBE(audio, model => 'm');",
        "CREATE MATERIALIZED VIEW said AS SELECT session, count(*) AS n FROM TRANSCRIBE(audio, model => 'm') GROUP BY session;",
        "CREATE SINK said FROM TRANSCRIBE(audio, model => 'm') WITH (to = 'file:out', format = 'json');",
    ] {
        let running = running(more).unwrap();
        let names: Vec<_> = running.iter().map(|running| &*running.query.name).collect();
        assert_eq!(names, ["said.transcripts", "said"], "{more}");
        assert!(running[0].query.stages[0].transcribes().is_some() && running[0].files.is_none());
        let input = &running[1].query.stages[0].inputs[0];
        assert!(
            matches!(&input.source, Source::Stream(relation) if *relation == running[0].query.result.clone().into())
        );
    }
}

#[test]
fn the_same_recognition_runs_once_in_a_query() {
    let of = |model: &str| format!("SELECT session, text FROM TRANSCRIBE(audio, model => '{model}')");
    let same = running(&format!("CREATE STREAM s AS {} UNION ALL {};", of("m"), of("m"))).unwrap();
    assert_eq!(same.len(), 2);
    let two = running(&format!("CREATE STREAM s AS {} UNION ALL {};", of("m"), of("n"))).unwrap();
    let names: Vec<_> = two.iter().map(|running| &*running.query.name).collect();
    assert_eq!(names, ["s.transcripts", "s.transcripts.1", "s"]);
}

#[test]
fn dropping_a_query_drops_the_recognition_that_it_reads() {
    let text =
        "CREATE STREAM s AS SELECT session FROM TRANSCRIBE(audio, model => 'm'); DROP STREAM s; DROP STREAM audio;";
    assert!(running(text).unwrap().is_empty());
    refuses(
        "CREATE STREAM s AS SELECT session FROM TRANSCRIBE(audio, model => 'm'); DROP STREAM audio;",
        &["s.transcripts reads audio"],
    );
}

#[test]
fn words_have_an_event_time_of_their_own() {
    let text = format!(
        "{TRANSCRIPTS} CREATE STREAM words AS SELECT * FROM WORDS(transcripts);
         CREATE MATERIALIZED VIEW pace AS SELECT session, window_start, window_end, count(*) AS words
           FROM TUMBLE(words, ts, INTERVAL '1 minute') GROUP BY session, window_start, window_end;
         CREATE MATERIALIZED VIEW pace_at_once AS SELECT session, window_start, window_end, count(*) AS words
           FROM TUMBLE(WORDS(transcripts), ts, INTERVAL '1 minute') GROUP BY session, window_start, window_end;"
    );
    let running = running(&text).unwrap();
    let words = &running[1].query.result;
    let names: Vec<_> = words
        .schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(
        names,
        [
            "session",
            "segment",
            "word",
            "start",
            "end",
            "probability",
            "language",
            "ts"
        ]
    );
    let time = words.event_time.clone().unwrap();
    assert_eq!((time.column, time.delay), (7, Duration::from_secs(30)));
    // Who is silent in one partition holds up no window of those who speak in another.
    assert_eq!(time.idle, Some(Duration::from_secs(10)));
    assert_eq!(running[2].query.result.event_time.clone().unwrap().idle, None);
    for pace in &running[2..] {
        assert!(
            explain(&pace.query).contains("in windows: tumble 60s"),
            "{}",
            explain(&pace.query)
        );
    }
}

#[test]
fn words_are_read_from_any_stream_that_looks_like_transcripts() {
    let words = "ARRAY<STRUCT<word TEXT, start DOUBLE, \"end\" DOUBLE, probability REAL>>";
    let declared = format!(
        "CREATE STREAM mine (session TEXT, segment BIGINT, \"end\" DOUBLE, language TEXT, words {words},
           ts TIMESTAMP METADATA FROM 'timestamp', WATERMARK FOR ts AS ts - INTERVAL '9 seconds');
         CREATE STREAM words AS SELECT * FROM WORDS((SELECT * FROM mine WHERE language = 'en'));"
    );
    let running = running(&declared).unwrap();
    assert_eq!(
        running[0].query.result.event_time.clone().unwrap().delay,
        Duration::from_secs(9)
    );
    refuses(
        "CREATE STREAM w AS SELECT * FROM WORDS(audio);",
        &["WORDS reads transcripts", "missing"],
    );
    refuses(
        "CREATE STREAM t (words TEXT, \"end\" DOUBLE, ts TIMESTAMP); CREATE STREAM w AS SELECT * FROM WORDS(t);",
        &["words ARRAY<STRUCT<word TEXT", "is missing"],
    );
    refuses(
        "CREATE STREAM w AS SELECT * FROM WORDS(audio, 1);",
        &["nothing else", "WORDS(transcripts)"],
    );
}

#[test]
fn what_transcribe_does_not_understand_it_refuses_with_a_way_out() {
    let of = |arguments: &str| format!("CREATE STREAM t AS SELECT * FROM TRANSCRIBE({arguments});");
    for (arguments, words) in [
        ("", &["the audio is missing", "TRANSCRIBE(audio, model"][..]),
        ("audio", &["which model", "'digits'", "'openai/whisper-base'"]),
        ("audio, 'digits'", &["model => 'digits'"]),
        ("audio, modl => 'digits'", &["no argument modl; did you mean model?"]),
        (
            "audio, model => 'digits', colour => 'red'",
            &["there are model, language, task, precision"],
        ),
        ("audio, model => 7", &["model must be a text"]),
        ("audio, model => 'a', model => 'b'", &["model is given twice"]),
        (
            "audio, model => 'a', task => 'tanslate'",
            &["task can't be 'tanslate': did you mean 'translate'?"],
        ),
        (
            "audio, model => 'a', precision => 'double'",
            &["choose from 'int8', 'f32'"],
        ),
        ("(SELECT * FROM audio), model => 'a'", &["no query"]),
        ("nothing, model => 'a'", &["there is no nothing"]),
    ] {
        refuses(&of(arguments), words);
    }
    refuses(
        "CREATE STREAM events (id BIGINT) WITH (topic = 'e'); CREATE STREAM t AS SELECT * FROM TRANSCRIBE(events, model => 'a');",
        &[
            "events is no audio",
            "CREATE STREAM events WITH (topic = 'e', format = 'audio')",
        ],
    );
}

#[test]
fn recognition_is_explained() {
    let expected = "stream transcripts in topic transcripts, key session, watermark ts - 30s
stage 0, 4 tasks
└─ transcribe with model digits (int8), language en; state: open sessions
   └─ stream audio (topic audio-stream): session, ts, audio, encoding, rate, channels, frame, language, task, control; watermark ts - 5s
";
    assert_eq!(explained(&format!("EXPLAIN {TRANSCRIPTS}")), expected);
    let two = explained("EXPLAIN SELECT session FROM TRANSCRIBE(audio, model => 'm', task => 'translate')");
    assert!(
        two.starts_with("stream query in topic query") && two.contains("\n\nstream query.transcripts in topic"),
        "{two}"
    );
    assert!(
        two.contains("translate with model m (int8), language detected"),
        "{two}"
    );
}
