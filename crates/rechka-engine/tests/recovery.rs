//! Whatever happens to a recogniser, its transcripts are those of a run in which nothing did.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod common;

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock, atomic::Ordering::SeqCst},
    thread,
    time::Duration,
};

use common::*;
use rechka_engine::{EngineError, Speech};
use rechka_log::{Log, LogError, Partition, SqliteLog, TopicSpec};
use rechka_types::{headers, topics};

static RECORDS: LazyLock<Vec<Record>> = LazyLock::new(sessions);
static EXPECTED: LazyLock<Vec<Read>> = LazyLock::new(|| undisturbed(&RECORDS, 3, PARTITIONS));

/// Small epochs, so that there are many places to die in.
fn small_steps() -> Speech {
    Speech {
        max_batch: 2,
        max_backlog: 3.0,
        ..speech()
    }
}

/// Runs a recogniser through the faults, one process each, and then without; gives the steps of the first.
fn run(faults: &[Fault]) -> (Vec<Read>, usize) {
    run_over(&RECORDS, PARTITIONS, 3, faults)
}

/// The same over records that make so many sessions.
fn run_over(records: &[Record], partitions: Partition, sessions: usize, faults: &[Fault]) -> (Vec<Read>, usize) {
    let directory = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(SqliteLog::open(directory.path()).unwrap());
    log.create_topic(&TopicSpec::new(topics::AUDIO, partitions)).unwrap();
    append(&*log, records);
    let mut steps = 0;
    for fault in faults {
        let faulty = Faulty::new(log.clone(), *fault);
        let recogniser = start_script(&(faulty.clone() as Arc<dyn Log>), small_steps());
        wait_until("it dies or is done", || {
            !recogniser.is_running() || complete(&*log) == sessions
        });
        let died = recogniser.stop();
        assert!(
            matches!(died, Ok(()) | Err(EngineError::Log(LogError::Closed))),
            "{died:?}"
        );
        steps = steps.max(faulty.steps.load(SeqCst));
    }
    let recogniser = start_script(&log, speech());
    wait_for(&*log, sessions);
    recogniser.stop().unwrap();
    (read(&*log, topics::TRANSCRIPTS), steps)
}

/// Dies at every `stride`th step.
fn die_at_steps(stride: impl Fn(usize) -> usize) {
    let (_, steps) = run(&[Fault::Dies(usize::MAX)]);
    assert!(steps > 40, "{steps} steps are too few to be of interest");
    for step in (0..steps).step_by(stride(steps).max(1)) {
        let (transcripts, _) = run(&[Fault::Dies(step)]);
        assert_eq!(transcripts, *EXPECTED, "died at step {step}");
    }
}

#[test]
fn a_process_that_dies_at_some_step_changes_no_transcript() {
    die_at_steps(|steps| steps / 30);
}

#[test]
#[ignore = "takes minutes: every step"]
fn a_process_that_dies_at_any_step_changes_no_transcript() {
    die_at_steps(|_| 1);
}

#[test]
fn a_process_that_dies_right_after_a_commit_changes_no_transcript() {
    for commit in 0..20 {
        let (transcripts, _) = run(&[Fault::DiesAfterCommit(commit)]);
        assert_eq!(transcripts, *EXPECTED, "died after commit {commit}");
    }
}

#[test]
fn processes_that_die_one_after_another_change_no_transcript() {
    for seed in 1..8_usize {
        let faults: Vec<Fault> = (1..8)
            .map(|i| match i % 2 {
                0 => Fault::Dies(seed * i * 7 % 41),
                _ => Fault::DiesAfterCommit(seed * i * 5 % 9),
            })
            .collect();
        let (transcripts, _) = run(&faults);
        assert_eq!(transcripts, *EXPECTED, "{faults:?}");
    }
}

/// Which session a record without key belongs to is found again, wherever a process died; the last session's end is given by hand, as
/// the clock has no part in this.
#[test]
fn processes_that_die_change_no_session_of_records_without_key() {
    let mut records = keyless();
    let mut end = records.last().unwrap().clone();
    end.value = vec![];
    end.headers = vec![(headers::CONTROL, headers::END.into())];
    records.push(end);
    let expected = undisturbed(&records, 2, 1);
    let sessions = |reads: &[Read]| reads.iter().map(|read| read.key.clone()).collect::<BTreeSet<_>>();
    assert_eq!(sessions(&expected).len(), 2);
    let (_, steps) = run_over(&records, 1, 2, &[Fault::Dies(usize::MAX)]);
    for step in (0..steps).step_by((steps / 20).max(1)) {
        let faults = [Fault::Dies(step), Fault::DiesAfterCommit(step % 5)];
        assert_eq!(run_over(&records, 1, 2, &faults).0, expected, "{faults:?}");
    }
}

#[test]
fn a_commit_that_fails_is_tried_again() {
    for commit in [0, 3, 7] {
        let (transcripts, _) = run(&[Fault::CommitFails(commit)]);
        assert_eq!(transcripts, *EXPECTED, "commit {commit} failed");
    }
}

#[test]
fn a_log_that_can_not_say_what_is_committed_loses_no_partition() {
    for failing in [0..1, 0..3, 1..4] {
        let directory = tempfile::tempdir().unwrap();
        let log: Arc<dyn Log> = Arc::new(SqliteLog::open(directory.path()).unwrap());
        create_audio_topic(&*log);
        // Where it is missing, it is looked up at the start whether it was deleted.
        log.create_topic(&TopicSpec::new(topics::TRANSCRIPTS, PARTITIONS))
            .unwrap();
        append(&*log, &RECORDS);
        let faulty = Faulty::with_failing_lookups(log.clone(), failing.clone());
        let recogniser = start_script(&(faulty as Arc<dyn Log>), small_steps());
        wait_for(&*log, 3);
        recogniser.stop().unwrap();
        assert_eq!(
            read(&*log, topics::TRANSCRIPTS),
            *EXPECTED,
            "lookups {failing:?} failed"
        );
    }
}

#[test]
fn partitions_that_go_to_another_member_change_no_transcript() {
    let directory = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(SqliteLog::open(directory.path()).unwrap());
    create_audio_topic(&*log);
    let start = || start_script(&log, speech());
    let mut recognisers = vec![start()];
    for (index, records) in RECORDS.chunks(60).enumerate() {
        append(&*log, records);
        thread::sleep(Duration::from_millis(30));
        // Members come and go.
        match index % 2 {
            0 => recognisers.push(start()),
            _ => recognisers.remove(0).stop().unwrap(),
        }
    }
    wait_for(&*log, 3);
    for recogniser in recognisers {
        recogniser.stop().unwrap();
    }
    assert_eq!(read(&*log, topics::TRANSCRIPTS), *EXPECTED);
}

#[test]
fn the_size_of_records_and_their_pace_change_no_text() {
    let sessions = vec![
        session("anna", &noise(1, 70.0, 16_000), 16_000, 777),
        session("boris", &noise(2, 45.0, 8_000), 8_000, 20_000),
        session("vera", &noise(3, 30.0, 44_100), 44_100, 441),
    ];
    let values = |reads: &[Read]| reads.iter().map(|read| read.value.clone()).collect::<Vec<_>>();
    assert_eq!(
        values(&undisturbed(&interleave(sessions), 3, PARTITIONS)),
        values(&EXPECTED)
    );
}
