//! What must be there in the end, and whether it is.
use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rechka_log::{Log, SqliteLog};

use crate::{
    difference,
    events::Events,
    pipeline::Pipeline,
    records::{last_rows, records},
    setup::Setup,
    speech::Speech,
};

/// Nothing has changed for so long: nothing more comes.
const PATIENCE: Duration = Duration::from_secs(60);
/// Looked at so often.
const TICK: Duration = Duration::from_secs(1);
/// When everything is there: whether more comes.
const SURPLUS: Duration = Duration::from_secs(5);

/// Everything that the pipeline makes, as it is undisturbed.
pub struct Expected<'a> {
    events: &'a Events,
    /// By session, in their order.
    transcripts: BTreeMap<String, Vec<String>>,
    words: Vec<String>,
    vocabulary: Vec<String>,
    counts: Vec<String>,
    totals: Vec<String>,
}

impl<'a> Expected<'a> {
    /// The speech is recognised undisturbed, on an embedded log; the rest is arithmetic.
    pub fn new(setup: &Setup, pipeline: &Pipeline, events: &'a Events, speech: &Speech, folder: &Path) -> Self {
        let begun = Instant::now();
        let folder = folder.join("undisturbed");
        let log = SqliteLog::open(&folder).unwrap();
        pipeline.create_topics(&log);
        speech.write(&log);
        drop(log);
        let mut command = Command::new(&setup.binary);
        command.args(["run", "--once"]).arg(&pipeline.speech);
        command.arg("--log").arg(format!("embedded:{}", folder.display()));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let log = SqliteLog::open(&folder).unwrap();
        let expected = Self {
            events,
            transcripts: transcripts(&log, pipeline),
            words: values(&log, &pipeline.words()),
            vocabulary: last_rows(&log, &pipeline.vocabulary()),
            counts: events.counts(),
            totals: events.totals(),
        };
        assert!(
            speech.names().eq(expected.transcripts.keys().cloned()),
            "everybody was heard"
        );
        assert!(
            expected.words.len() > expected.transcripts.len(),
            "what was heard has words"
        );
        println!(
            "undisturbed: {} words in {} sessions, recognised in {} s; {} windows",
            expected.words.len(),
            expected.transcripts.len(),
            begun.elapsed().as_secs(),
            expected.counts.len()
        );
        expected
    }

    /// Waits until everything is there, and a moment longer; or until nothing more comes. Says what differs then.
    pub fn wait_for(&self, log: &dyn Log, pipeline: &Pipeline) -> Result<(), String> {
        let mut differences = self.differences(log, pipeline);
        let mut changed = Instant::now();
        while !differences.is_empty() && changed.elapsed() < PATIENCE {
            thread::sleep(TICK);
            let now = self.differences(log, pipeline);
            if now != differences {
                differences = now;
                changed = Instant::now();
            }
        }
        if differences.is_empty() {
            thread::sleep(SURPLUS);
            differences = self.differences(log, pipeline);
        }
        if differences.is_empty() {
            return Ok(());
        }
        differences.push(self.events.appended(&records(log, &pipeline.clicks())));
        Err(differences.join("\n"))
    }

    fn differences(&self, log: &dyn Log, pipeline: &Pipeline) -> Vec<String> {
        let found = transcripts(log, pipeline);
        let sessions = self.transcripts.iter().filter_map(|(session, lines)| {
            let found = found.get(session).map_or(&[][..], Vec::as_slice);
            difference::of_lines(&format!("transcripts of {session}"), lines, found)
        });
        let sessions = sessions.collect::<Vec<_>>();
        let rows = |what: &str, expected: &[String], found: Vec<String>| difference::of_rows(what, expected, &found);
        let others = [
            rows("words", &self.words, values(log, &pipeline.words())),
            rows("vocabulary", &self.vocabulary, last_rows(log, &pipeline.vocabulary())),
            rows("counts", &self.counts, values(log, &pipeline.counts())),
            rows("totals", &self.totals, last_rows(log, &pipeline.totals())),
        ];
        let refused = pipeline.refuse(log).into_iter();
        let refused = refused.filter_map(|topic| difference::of_rows(&topic, &[], &values(log, &topic)));
        sessions
            .into_iter()
            .chain(others.into_iter().flatten())
            .chain(refused)
            .collect()
    }
}

fn values(log: &dyn Log, topic: &str) -> Vec<String> {
    records(log, topic).into_iter().map(|(_, value)| value).collect()
}

fn transcripts(log: &dyn Log, pipeline: &Pipeline) -> BTreeMap<String, Vec<String>> {
    let mut sessions = BTreeMap::<String, Vec<String>>::new();
    for (session, transcript) in records(log, &pipeline.transcripts()) {
        sessions.entry(session).or_default().push(transcript);
    }
    sessions
}
