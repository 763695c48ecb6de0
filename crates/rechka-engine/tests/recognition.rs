//! What a recogniser makes of good and bad records.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod common;

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use common::*;
use rechka_engine::{Metrics, Outside, Reading, RunOptions, Speech, stored};
use rechka_log::{Append, BatchBuilder, Log, MAX_RECORD_BYTES, SqliteLog, TopicPartition, TopicSpec};
use rechka_sql::{Mode, Pipeline, Reply, Statement};
use rechka_types::{Kind, Partial, Transcript, headers, topics};

struct Run {
    log: Arc<dyn Log>,
    _directory: tempfile::TempDir,
}

/// The log after `records` were recognised, which complete so many sessions.
fn run(records: &[Record], sessions: usize, config: Speech) -> Run {
    let directory = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(SqliteLog::open(directory.path()).unwrap());
    create_audio_topic(&*log);
    append(&*log, records);
    let recogniser = start_script(&log, config);
    wait_for(&*log, sessions);
    recogniser.stop().unwrap();
    Run {
        log,
        _directory: directory,
    }
}

impl Run {
    fn transcripts(&self) -> Vec<Transcript> {
        transcripts(&*self.log)
    }

    /// Why records went to the dead letters.
    fn reasons(&self) -> Vec<String> {
        let dead = read(&*self.log, &topics::dead(topics::AUDIO));
        let reason = |read: &Read| {
            read.headers
                .iter()
                .find(|(name, _)| name == "dead.reason")
                .unwrap()
                .1
                .clone()
        };
        dead.iter().map(reason).collect()
    }
}

fn assert_covered(transcripts: &[Transcript], seconds: f64) {
    let mut at = 0.0;
    for (number, transcript) in transcripts.iter().enumerate() {
        assert_eq!(transcript.segment, number as u64);
        if transcript.kind == Kind::End {
            assert_eq!((transcript.start, transcript.end), (0.0, at));
        } else {
            assert_eq!(transcript.start, at);
            assert!(transcript.end > at);
            at = transcript.end;
        }
    }
    assert!((at - seconds).abs() < 0.001, "{at} of {seconds} seconds");
    assert_eq!(transcripts.last().unwrap().kind, Kind::End);
}

#[test]
fn every_second_of_several_sessions_is_accounted_for() {
    let run = run(&sessions(), 3, speech());
    let all = run.transcripts();
    for (name, seconds) in [("anna", 70.0), ("boris", 45.0), ("vera", 30.0)] {
        let own: Vec<Transcript> = all
            .iter()
            .filter(|transcript| transcript.session == name)
            .cloned()
            .collect();
        assert_covered(&own, seconds);
        let speech = own.iter().find(|transcript| transcript.kind == Kind::Speech).unwrap();
        assert!(!speech.text.is_empty() && !speech.words.is_empty());
        let provenance = speech.provenance.as_ref().unwrap();
        assert_eq!((&*provenance.model, &*provenance.version), ("digits", "000000000000"));
        assert!(
            provenance.parameters.contains("policy=local-agreement"),
            "{}",
            provenance.parameters
        );
    }
    assert_eq!(run.reasons(), [""; 0]);
}

#[test]
fn partials_are_shown_before_segments_are_final() {
    let run = run(&session("anna", &noise(1, 20.0, 16_000), 16_000, 1_600), 1, speech());
    let partials = read(&*run.log, topics::PARTIALS);
    let partials: Vec<Partial> = partials
        .iter()
        .map(|read| serde_json::from_str(&read.value).unwrap())
        .collect();
    assert!(partials.iter().any(|partial| !partial.tentative.is_empty()));
}

#[test]
fn a_complete_session_leaves_almost_nothing_in_the_state() {
    let run = run(&session("anna", &noise(1, 20.0, 16_000), 16_000, 1_600), 1, speech());
    let state = read(&*run.log, STATE);
    assert_eq!(state.last().unwrap().value, r#"{"version":1,"open":null}"#);
}

#[test]
fn what_a_client_sends_again_is_not_heard_again() {
    let bytes = noise(1, 30.0, 16_000);
    let once = session("anna", &bytes, 16_000, 1_600);
    let mut again = once.clone();
    // The client lost its connection after the fiftieth record and sends ten of them once more, in larger records.
    again.splice(50..50, session("anna", &bytes, 16_000, 4_000)[16..21].to_vec());
    // And the end twice.
    again.push(again.last().unwrap().clone());
    let values = |run: &Run| {
        read(&*run.log, topics::TRANSCRIPTS)
            .into_iter()
            .map(|read| read.value)
            .collect::<Vec<_>>()
    };
    let (once, again) = (run(&once, 1, speech()), run(&again, 1, speech()));
    assert_eq!(values(&once), values(&again));
    assert_eq!(again.reasons(), [""; 0]);
}

#[test]
fn audio_that_never_came_is_reported_as_failed() {
    let mut records = session("anna", &noise(1, 30.0, 8_000), 8_000, 800);
    records.drain(100..120);
    let run = run(&records, 1, speech());
    let transcripts = run.transcripts();
    assert_covered(&transcripts, 30.0);
    let failed: Vec<_> = transcripts
        .iter()
        .filter(|transcript| transcript.kind == Kind::Failed)
        .collect();
    assert_eq!(failed.len(), 1);
    assert_eq!((failed[0].start, failed[0].end), (10.0, 12.0));
    assert_eq!(
        failed[0].reason.as_deref(),
        Some("frames 80000 to 96000 did not arrive")
    );
}

#[test]
fn audio_that_is_missing_at_the_end_is_reported_as_failed() {
    let mut records = session("anna", &noise(1, 30.0, 8_000), 8_000, 800);
    let mut end = records.pop().unwrap();
    end.headers.push((headers::FRAME, "240000".into()));
    records.truncate(280);
    records.push(end);
    let transcripts = run(&records, 1, speech()).transcripts();
    assert_covered(&transcripts, 30.0);
    let last = &transcripts[transcripts.len() - 2];
    assert_eq!((last.kind, last.start, last.end), (Kind::Failed, 28.0, 30.0));
}

#[test]
fn audio_that_is_damaged_in_the_log_is_reported_as_failed_and_the_stream_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut anna = session("anna", &noise(1, 30.0, 8_000), 8_000, 800);
    let mut end = anna.pop().unwrap();
    end.headers.push((headers::FRAME, "240000".into()));
    let log = SqliteLog::open(directory.path()).unwrap();
    create_audio_topic(&log);
    append(&log, &anna);
    append(&log, &[end]);
    append(&log, &session("boris", &noise(2, 10.0, 8_000), 8_000, 800));
    drop(log);
    // Batches have sixteen records: these are in the seventh and in the last.
    let file = directory.path().join("log.sqlite");
    let mut bytes = std::fs::read(&file).unwrap();
    let mut damage = |record: &Record| {
        let needle = record
            .value
            .chunks(64)
            .find(|chunk| chunk.iter().all(|byte| *byte != 0));
        let needle = needle.expect("not all of it is silence");
        let place = bytes.windows(needle.len()).position(|window| window == needle);
        bytes[place.expect("literals of LZ4 lie there as they are")] ^= 1;
    };
    damage(&anna[100]);
    damage(&anna[299]);
    std::fs::write(&file, bytes).unwrap();

    let log: Arc<dyn Log> = Arc::new(SqliteLog::open(directory.path()).unwrap());
    let recogniser = start_script(&log, speech());
    wait_for(&*log, 2);
    let metrics = recogniser.recognition().unwrap().clone();
    recogniser.stop().unwrap();
    let text = Metrics::prometheus(&[("transcripts".into(), metrics, true)]);
    assert!(
        text.contains("\nrechka_recogniser_damaged_records_total{query=\"transcripts\"} 28\n"),
        "{text}"
    );
    let run = Run {
        log,
        _directory: directory,
    };
    let (anna, boris): (Vec<_>, Vec<_>) = run.transcripts().into_iter().partition(|t| t.session == "anna");
    assert_covered(&anna, 30.0);
    assert_covered(&boris, 10.0);
    let failed = |t: &Transcript| (t.kind == Kind::Failed).then_some((t.start, t.end));
    assert_eq!(
        anna.iter().filter_map(failed).collect::<Vec<_>>(),
        [(9.6, 11.2), (28.8, 30.0)]
    );
    let reasons = run.reasons();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(reasons.iter().all(|reason| reason.contains("checksum")), "{reasons:?}");
}

#[test]
fn records_that_make_no_sense_go_to_the_dead_letters_and_the_stream_goes_on() {
    let good = session("anna", &noise(1, 20.0, 16_000), 16_000, 1_600);
    let spoil = |change: fn(&mut Record)| {
        let mut record = good[10].clone();
        change(&mut record);
        record
    };
    fn set(record: &mut Record, name: &str, value: &str) {
        record.headers.iter_mut().find(|(header, _)| *header == name).unwrap().1 = value.into();
    }
    let bad = [
        spoil(|record| record.key = None),
        spoil(|record| record.key = Some("audio-stream@7".into())),
        spoil(|record| set(record, headers::ENCODING, "mp3")),
        spoil(|record| set(record, headers::RATE, "fast")),
        spoil(|record| set(record, headers::RATE, "4000000")),
        spoil(|record| set(record, headers::FRAME, "999999999999999")),
        spoil(|record| set(record, headers::RATE, "8000")),
        spoil(|record| record.value.truncate(7)),
        spoil(|record| record.value = vec![]),
        spoil(|record| record.headers.clear()),
        spoil(|record| record.headers.push((headers::CONTROL, "explode".into()))),
        spoil(|record| record.headers.push((headers::TASK, "sing".into()))),
    ];
    let mut records = good.clone();
    for (index, record) in bad.iter().enumerate() {
        records.insert(20 + 7 * index, record.clone());
    }
    let late = good[10].clone();
    records.push(late);
    let (clean, spoilt) = (run(&good, 1, speech()), run(&records, 1, speech()));
    assert_eq!(clean.transcripts(), spoilt.transcripts());
    let reasons = spoilt.reasons();
    assert_eq!(reasons.len(), bad.len() + 1, "{reasons:#?}");
    for hint in [
        "has 2 partitions, over which records without key are scattered",
        "is one of records without key: take another name",
        "unknown encoding \"mp3\"",
        "header rate is \"fast\"; give a decimal number",
        "4000000 Hz is out of range",
        "frames count from the session's start",
        "begin another session to change it",
        "no whole number of frames",
        "give the headers encoding, rate and channels with every record, or say what records without them are (rechka serve --audio",
        "only \"end\" is known",
        "give transcribe or translate",
        "the session is complete",
    ] {
        assert!(
            reasons.iter().any(|reason| reason.contains(hint)),
            "{hint}: {reasons:#?}"
        );
    }
    let dead = read(&*spoilt.log, &topics::dead(topics::AUDIO));
    assert!(
        dead.iter()
            .all(|read| read.headers.iter().any(|(name, _)| name == "dead.offset"))
    );
}

/// The same words as under a key; the end of the last session, of which no record tells, is written into the audio.
#[test]
fn records_without_key_are_sessions_that_end_with_a_pause() {
    let directory = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(SqliteLog::open(directory.path()).unwrap());
    log.create_topic(&TopicSpec::new(topics::AUDIO, 1)).unwrap();
    append(&*log, &keyless());
    let recogniser = start_script(
        &log,
        Speech {
            pause: Duration::from_secs(2),
            ..speech()
        },
    );
    wait_for(&*log, 2);
    recogniser.stop().unwrap();
    let found = transcripts(&*log);
    for (seed, name) in [(1, "audio-stream@0"), (2, "audio-stream@400")] {
        let keyed = session("anna", &noise(seed, 40.0, 16_000), 16_000, 1_600);
        let expected = run(&keyed, 1, speech()).transcripts();
        let own = found.iter().filter(|transcript| transcript.session == name);
        let own: Vec<Transcript> = own.cloned().collect();
        assert_covered(&own, 40.0);
        let texts = |all: &[Transcript]| all.iter().map(|one| (one.kind, one.text.clone())).collect::<Vec<_>>();
        assert_eq!(texts(&own), texts(&expected));
    }
    let audio = read(&*log, topics::AUDIO);
    let end = audio.last().unwrap();
    assert_eq!((&*end.key, &*end.value), ("audio-stream@400", ""));
    assert_eq!(end.headers, [(headers::CONTROL.to_owned(), headers::END.to_owned())]);
}

#[test]
fn a_flood_of_senseless_records_and_one_as_large_as_can_be_do_not_stop_the_stream() {
    const FLOOD: usize = 450_000; // More dead letters than one batch can hold.
    let directory = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(SqliteLog::open(directory.path()).unwrap());
    create_audio_topic(&*log);
    let partition = TopicPartition::new(topics::AUDIO, 0);
    let write = |batch: BatchBuilder| {
        let append = Append {
            to: partition.clone(),
            batch: batch.finish(),
        };
        log.append(vec![append]).unwrap().wait().unwrap();
    };
    for _ in 0..10 {
        let mut batch = BatchBuilder::new();
        (0..FLOOD / 10).for_each(|_| batch.push(None, b"no", 0, &[]).unwrap());
        write(batch);
    }
    let mut batch = BatchBuilder::new();
    batch.push(None, &vec![b'x'; MAX_RECORD_BYTES - 64], 0, &[]).unwrap();
    write(batch);
    append(&*log, &session("anna", &noise(1, 10.0, 16_000), 16_000, 1_600));

    let recogniser = start_script(&log, speech());
    wait_for(&*log, 1);
    recogniser.stop().unwrap();
    let dead = log
        .offsets(&TopicPartition::new(topics::dead(topics::AUDIO), 0))
        .unwrap();
    assert_eq!(dead.end - dead.start, FLOOD as u64 + 1);
}

#[test]
fn a_window_that_cannot_be_decoded_fails_alone() {
    let mut records = session("anna", &noise(1, 20.0, 16_000), 16_000, 1_600);
    records
        .iter_mut()
        .for_each(|record| record.headers.push((headers::LANGUAGE, "xx".into())));
    let records = interleave(vec![records, session("boris", &noise(2, 20.0, 16_000), 16_000, 1_600)]);
    let run = run(&records, 2, speech());
    let all = run.transcripts();
    let (anna, boris): (Vec<_>, Vec<_>) = all.into_iter().partition(|transcript| transcript.session == "anna");
    assert_covered(&anna, 20.0);
    assert_covered(&boris, 20.0);
    assert!(
        anna.iter()
            .any(|t| t.reason.as_deref() == Some("there is no language xx"))
    );
    assert!(anna.iter().all(|t| t.kind != Kind::Speech) && boris.iter().all(|t| t.kind != Kind::Failed));
}

#[test]
fn sessions_beyond_the_limit_wait_in_the_log() {
    let names = ["anna", "boris", "vera", "gleb", "dina"];
    let records = |name: &&str| session(name, &noise(name.len() as u64, 20.0, 16_000), 16_000, 1_600);
    let records = interleave(names.iter().map(records).collect());
    let all = run(&records, 5, speech());
    let few = run(
        &records,
        5,
        Speech {
            max_sessions: 2,
            ..speech()
        },
    );
    assert_eq!(
        read(&*all.log, topics::TRANSCRIPTS),
        read(&*few.log, topics::TRANSCRIPTS)
    );
}

#[test]
fn what_is_stored_is_recognised_to_its_end_whether_or_not_sessions_are_complete() {
    let names = ["anna", "boris", "vera", "gleb", "dina"];
    let records = |name: &&str| session(name, &noise(name.len() as u64, 20.0, 16_000), 16_000, 1_600);
    let whole = interleave(names.iter().map(records).collect());
    let expected = read(&*run(&whole, 5, speech()).log, topics::TRANSCRIPTS);
    let is_end = |record: &&Record| record.headers.iter().any(|(name, _)| *name == headers::CONTROL);
    let open: Vec<Record> = whole.iter().filter(|record| !is_end(record)).cloned().collect();

    let directory = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(SqliteLog::open(directory.path()).unwrap());
    create_audio_topic(&*log);
    append(&*log, &open);
    let few = || Speech {
        max_sessions: 2,
        ..speech()
    };
    for _ in 0..2 {
        let options = RunOptions {
            reading: Reading::ToTheEnd,
            ..options(script(&Arc::default()), few())
        };
        let query = captions(&*log).running.remove(0).query;
        let running = rechka_engine::run(log.clone(), query, options).unwrap();
        wait_until("it ends by itself", || !running.is_running());
        assert_eq!(running.statistics().lag(), 0);
        running.wait().unwrap();
        assert_eq!(read(&*log, topics::TRANSCRIPTS), expected);
    }

    // And at once, without a word to the log.
    let topics_before = log.topics().unwrap().len();
    let mut pipeline = Pipeline::new(Mode::Batch, "");
    let text = include_str!("../../../pipelines/captions.sql").to_owned() + "SELECT * FROM transcripts;";
    let statements = Statement::parse_with(&text, &Outside::new("").over(&*log).unwrap()).unwrap();
    let replies = statements
        .into_iter()
        .map(|statement| pipeline.execute(statement).unwrap());
    let Some(Reply::Query(plan)) = replies.last() else {
        panic!("the last statement asks")
    };
    let speech = options(script(&Arc::default()), few()).speech;
    let rows = stored::query(&log, plan, &speech).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let rows = runtime.block_on(rows.collect()).unwrap();
    let count: usize = rows.iter().map(|rows| rows.num_rows()).sum();
    assert_eq!((count, log.topics().unwrap().len()), (expected.len(), topics_before));
}

#[test]
fn sessions_that_fall_silent_give_their_room_to_others_and_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(SqliteLog::open(directory.path()).unwrap());
    create_audio_topic(&*log);
    let names = ["anna", "boris", "vera"];
    let all: Vec<_> = names
        .iter()
        .map(|name| session(name, &noise(4, 60.0, 16_000), 16_000, 1_600))
        .collect();
    let config = Speech {
        max_sessions: 1,
        idle: Duration::from_millis(20),
        ..speech()
    };
    let recogniser = start_script(&log, config);
    for part in 0..7 {
        for session in &all {
            append(&*log, &session[part * 100..session.len().min(part * 100 + 100)]);
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    wait_for(&*log, 3);
    recogniser.stop().unwrap();
    assert_eq!(
        read(&*log, topics::TRANSCRIPTS),
        undisturbed(&interleave(all), 3, PARTITIONS)
    );
}

#[test]
fn sessions_that_are_due_together_are_decoded_together() {
    let directory = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(SqliteLog::open(directory.path()).unwrap());
    create_audio_topic(&*log);
    let sessions = (0..6)
        .map(|i| session(&format!("s{i}"), &noise(i, 20.0, 16_000), 16_000, 1_600))
        .collect();
    append(&*log, &interleave(sessions));
    let model = Arc::new(Script::default());
    let recogniser = start(
        &log,
        script(&model),
        Speech {
            max_batch: 4,
            ..speech()
        },
    )
    .unwrap();
    wait_for(&*log, 6);
    let metrics = recogniser.recognition().unwrap().clone();
    let error = recogniser.statistics().error;
    recogniser.stop().unwrap();
    assert_eq!(model.largest_batch.load(SeqCst), 4);
    assert_eq!(metrics.requests(), model.requests.load(SeqCst) as u64);
    assert!((metrics.audio_seconds() - 120.0).abs() < 0.01);
    assert!(metrics.finals() > 0 && error.is_none());
    let text = Metrics::prometheus(&[("transcripts".into(), metrics, true)]);
    assert!(
        text.contains("\nrechka_recogniser_audio_seconds_total{query=\"transcripts\"} 120\n"),
        "{text}"
    );
    assert!(
        text.contains("rechka_recogniser_final_latency_seconds_bucket{query=\"transcripts\",le=\"+Inf\"}"),
        "{text}"
    );
}

/// Memory of this process, in KiB, where the system tells.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// A session of so many minutes, fed as fast as it goes: memory stays bounded, and times are right at its end.
fn long_session(minutes: usize) {
    let directory = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(SqliteLog::open(directory.path()).unwrap());
    create_audio_topic(&*log);
    let recogniser = start_script(&log, speech());
    let metrics = recogniser.recognition().unwrap().clone();
    let minute = noise(5, 58.0, 8_000);
    let mut most_held = 0;
    let mut early = None;
    for number in 0..minutes {
        let mut audio_of_minute = minute.clone();
        audio_of_minute.resize(60 * 16_000, 0);
        for (index, bytes) in audio_of_minute.chunks(16_000).enumerate() {
            append(&*log, &[audio("anna", 8_000, number * 480_000 + index * 8_000, bytes)]);
        }
        wait_until("it keeps up", || metrics.audio_seconds() >= number as f64 * 60.0 - 60.0);
        most_held = most_held.max(metrics.held_samples());
        if number == 60 {
            early = resident();
        }
        let partition = audio("anna", 8_000, 0, &[]).partition(PARTITIONS);
        let name = TopicPartition::new(topics::AUDIO, partition);
        log.delete_before(
            &name,
            log.committed(GROUP, &name).unwrap().unwrap_or(0).saturating_sub(120),
        )
        .unwrap();
    }
    // Looking for the end reads all transcripts: that is the test's own memory.
    if let (Some(early), Some(late)) = (early, resident()) {
        assert!(
            late < early + (32 << 10),
            "{early} KiB after an hour, {late} KiB at the end"
        );
    }
    append(&*log, session("anna", &[0; 2], 8_000, 1)[1..].as_ref());
    wait_for(&*log, 1);
    recogniser.stop().unwrap();
    assert!(most_held < 80 * 16_000, "{most_held} samples held");
    let transcripts = transcripts(&*log);
    assert_covered(&transcripts, minutes as f64 * 60.0);
    // Every minute has the same speech at the same places, but for the grid of the detector's frames.
    let starts = |minute: usize| -> Vec<f64> {
        let from = minute as f64 * 60.0;
        let words = transcripts.iter().flat_map(|transcript| &transcript.words);
        let places = words.map(|word| word.start - from);
        places.filter(|place| (0.0..59.5).contains(place)).collect()
    };
    let (early, late) = (starts(1), starts(minutes - 1));
    assert!(early.len() > 20 && early.len() == late.len());
    assert!(early.iter().zip(&late).all(|(early, late)| (early - late).abs() < 0.02));
}

#[test]
fn a_session_of_half_an_hour_takes_no_more_memory_than_a_short_one() {
    long_session(30);
}

#[test]
#[ignore = "takes minutes: a whole day"]
fn a_session_of_a_day_takes_no_more_memory_than_a_short_one() {
    long_session(24 * 60);
}
