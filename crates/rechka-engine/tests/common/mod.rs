//! A scripted model, audio for it, and a log that fails when it is told to.
#![allow(dead_code)]

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use rechka_engine::{LoadedModel, Model, Models, Outside, RunOptions, RunningQuery, Speech};
use rechka_log::*;
use rechka_speech::{
    Segment, Word,
    audio::VadEvent,
    live::{self, VoiceActivity},
    whisper::{Ended, Hypothesis, Request},
};
use rechka_sql::{Pipeline, plan::Precision};
use rechka_types::{Kind, Transcript, headers, topics};

/// Partitions of the topic of audio, unless a test makes it with others.
pub const PARTITIONS: Partition = 2;

/// A model that writes what the bits of its audio are: a word for every loud third of a second.
///
/// It is a pure function of a request; any sample that differs in a run changes a word.
#[derive(Default)]
pub struct Script {
    pub requests: AtomicUsize,
    pub largest_batch: AtomicUsize,
}

impl Model for Script {
    fn transcribe(&self, requests: &[Request<'_>]) -> Vec<std::result::Result<Hypothesis, String>> {
        self.requests.fetch_add(requests.len(), SeqCst);
        self.largest_batch.fetch_max(requests.len(), SeqCst);
        requests.iter().map(hear).collect()
    }
}

fn hear(request: &Request<'_>) -> std::result::Result<Hypothesis, String> {
    if request.options.language.as_deref() == Some("xx") {
        return Err("there is no language xx".into());
    }
    let mut words = Vec::new();
    for (index, third) in request.audio.chunks(5_333).enumerate() {
        if third.iter().any(|sample| sample.abs() > 0.05) {
            let mut hasher = DefaultHasher::new();
            third.iter().for_each(|sample| sample.to_bits().hash(&mut hasher));
            request.prompt.hash(&mut hasher);
            let start = index as f64 / 3.0;
            words.push(Word {
                word: format!("w{}", hasher.finish() % 1000),
                start,
                end: start + 0.3,
                probability: (hasher.finish() % 97) as f32 / 97.0,
            });
        }
    }
    let segment = Segment {
        start: 0.0,
        end: request.audio.len() as f64 / 16_000.0,
        text: String::new(),
        tokens: vec![],
        temperature: 0.0,
        avg_logprob: 0.0,
        compression_ratio: 1.0,
        no_speech_prob: 0.0,
        words,
    };
    Ok(Hypothesis {
        language: request.options.language.clone().unwrap_or("en".into()),
        language_probability: 1.0,
        segments: vec![segment],
        no_speech_prob: 0.0,
        temperature: 0.0,
        ended: Ended::EndOfText,
    })
}

/// Whatever is loud is speech; it ends after half a second that is not.
#[derive(Default)]
pub struct Loudness {
    at: u64,
    frame: Vec<f32>,
    until: Option<u64>,
}

impl VoiceActivity for Loudness {
    fn reset(&mut self, at: u64) {
        *self = Loudness {
            at,
            ..Loudness::default()
        };
    }

    fn push(&mut self, samples: &[f32], events: &mut Vec<VadEvent>) {
        for sample in samples {
            self.frame.push(*sample);
            self.at += 1;
            if self.frame.len() < 256 {
                continue;
            }
            let loud = self.frame.drain(..).any(|sample| sample.abs() > 0.05);
            match self.until {
                None if loud => {
                    self.until = Some(self.at);
                    events.push(VadEvent::SpeechStart {
                        sample: self.at.saturating_sub(1_800),
                    });
                }
                Some(_) if loud => self.until = Some(self.at),
                Some(until) if self.at >= until + 8_000 => {
                    self.until = None;
                    events.push(VadEvent::SpeechEnd { sample: until + 1_600 });
                }
                _ => {}
            }
        }
    }
}

/// The topic of the sessions' state.
pub const STATE: &str = "transcripts.0.state";
/// The consumer group.
pub const GROUP: &str = "transcripts.0";

/// Gives the same model whatever is asked for.
struct One(LoadedModel);

impl Models for One {
    fn open(&self, _: &str, _: Precision) -> std::result::Result<LoadedModel, String> {
        Ok(self.0.clone())
    }
}

pub fn script(model: &Arc<Script>) -> LoadedModel {
    LoadedModel {
        version: "000000000000".into(),
        model: model.clone(),
        live: live::Config::new(8.0),
    }
}

pub fn speech() -> Speech {
    Speech {
        detector: Arc::new(|| Box::new(Loudness::default())),
        ..Speech::default()
    }
}

/// The pipeline of live captions.
pub fn captions(log: &dyn Log) -> Pipeline {
    let text = include_str!("../../../../pipelines/captions.sql");
    Pipeline::read(text, "".as_ref(), &Outside::new("").over(log).unwrap()).unwrap()
}

/// To recognise with this model.
pub fn options(model: LoadedModel, speech: Speech) -> RunOptions {
    RunOptions {
        speech: Speech {
            models: Arc::new(One(model)),
            ..speech
        },
        ..RunOptions::default()
    }
}

/// Starts what recognises: the pipeline of live captions with this model.
pub fn start(log: &Arc<dyn Log>, model: LoadedModel, speech: Speech) -> rechka_engine::Result<RunningQuery> {
    let query = captions(&**log).running.remove(0).query;
    rechka_engine::run(log.clone(), query, options(model, speech))
}

/// Starts a recogniser that follows the script.
pub fn start_script(log: &Arc<dyn Log>, speech: Speech) -> RunningQuery {
    start(log, script(&Arc::default()), speech).unwrap()
}

/// A record of audio.
#[derive(Clone, Debug)]
pub struct Record {
    pub key: Option<String>,
    pub value: Vec<u8>,
    pub headers: Vec<(&'static str, String)>,
    pub timestamp: i64,
}

impl Record {
    pub fn partition(&self, partitions: Partition) -> Partition {
        partition_for_key(self.key.clone().unwrap_or_default().as_bytes(), partitions)
    }
}

/// Bursts of noise with pauses, as s16le: a function of `seed`. `seconds` of it at `rate`.
pub fn noise(seed: u64, seconds: f64, rate: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let mut bytes = Vec::new();
    let wanted = (seconds * f64::from(rate)) as usize * 2;
    while bytes.len() < wanted {
        // Mostly words and short pauses, sometimes a long speech or a long silence.
        let (speech, pause) = match next() % 10 {
            0 => (12.0, 1.0),
            1 => (0.5, 35.0),
            _ => (0.3 + (next() % 20) as f64 / 8.0, 0.1 + (next() % 10) as f64 / 6.0),
        };
        for _ in 0..(speech * f64::from(rate)) as usize {
            bytes.extend_from_slice(&((next() % 20_000) as i16 - 10_000).to_le_bytes());
        }
        bytes.resize(bytes.len() + (pause * f64::from(rate)) as usize * 2, 0);
    }
    bytes.truncate(wanted);
    bytes
}

/// The records of a session: audio of `bytes` in pieces of `frames` frames, and the end.
pub fn session(name: &str, bytes: &[u8], rate: u32, frames: usize) -> Vec<Record> {
    let mut records: Vec<Record> = bytes
        .chunks(frames * 2)
        .enumerate()
        .map(|(index, chunk)| audio(name, rate, index * frames, chunk))
        .collect();
    let end = Record {
        value: vec![],
        headers: vec![(headers::CONTROL, headers::END.into())],
        ..records[0].clone()
    };
    let timestamp = records.last().map_or(0, |record| record.timestamp);
    records.push(Record { timestamp, ..end });
    records
}

pub fn audio(name: &str, rate: u32, frame: usize, bytes: &[u8]) -> Record {
    Record {
        key: Some(name.to_owned()),
        value: bytes.to_vec(),
        headers: vec![
            (headers::ENCODING, "pcm_s16le".into()),
            (headers::RATE, rate.to_string()),
            (headers::CHANNELS, "1".into()),
            (headers::FRAME, frame.to_string()),
        ],
        timestamp: 1_700_000_000_000 + (frame as u64 * 1_000 / u64::from(rate)) as i64,
    }
}

/// What a program writes that knows no sessions: two stretches of sound with a pause between them that ends the first, then silence.
pub fn keyless() -> Vec<Record> {
    let stretch = |seed, began: i64| {
        let records = session("nobody", &noise(seed, 40.0, 16_000), 16_000, 1_600);
        let bare = records.into_iter().filter(|record| !record.value.is_empty());
        bare.map(move |mut record| {
            record.key = None;
            record.headers.retain(|(name, _)| *name != headers::FRAME);
            record.timestamp += began;
            record
        })
    };
    stretch(1, 0).chain(stretch(2, 60_000)).collect()
}

/// The records of several sessions, by turns.
pub fn interleave(sessions: Vec<Vec<Record>>) -> Vec<Record> {
    let longest = sessions.iter().map(Vec::len).max().unwrap_or(0);
    (0..longest)
        .flat_map(|i| sessions.iter().filter_map(move |session| session.get(i).cloned()))
        .collect()
}

/// Three sessions at three rates.
pub fn sessions() -> Vec<Record> {
    interleave(vec![
        session("anna", &noise(1, 70.0, 16_000), 16_000, 3_200),
        session("boris", &noise(2, 45.0, 8_000), 8_000, 800),
        session("vera", &noise(3, 30.0, 44_100), 44_100, 5_000),
    ])
}

pub fn create_audio_topic(log: &dyn Log) {
    log.create_topic(&TopicSpec::new(topics::AUDIO, PARTITIONS)).unwrap();
}

fn partitions(log: &dyn Log, topic: &str) -> Partition {
    let topics = log.topics().unwrap();
    topics.iter().find(|spec| &*spec.name == topic).unwrap().partitions
}

pub fn append(log: &dyn Log, records: &[Record]) {
    let partitions = partitions(log, topics::AUDIO);
    for records in records.chunks(16) {
        for partition in 0..partitions {
            let mut batch = BatchBuilder::new();
            for record in records
                .iter()
                .filter(|record| record.partition(partitions) == partition)
            {
                let headers: Vec<_> = record
                    .headers
                    .iter()
                    .map(|(name, value)| (*name, value.as_bytes()))
                    .collect();
                let key = record.key.as_ref().map(|key| key.as_bytes());
                batch.push(key, &record.value, record.timestamp, &headers).unwrap();
            }
            if !batch.is_empty() {
                let to = TopicPartition::new(topics::AUDIO, partition);
                log.append(vec![Append {
                    to,
                    batch: batch.finish(),
                }])
                .unwrap()
                .wait()
                .unwrap();
            }
        }
    }
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Read {
    pub key: String,
    pub partition: Partition,
    pub value: String,
    pub timestamp: i64,
    pub headers: Vec<(String, String)>,
}

/// All records of a topic, those of each key in order.
pub fn read(log: &dyn Log, topic: &str) -> Vec<Read> {
    let mut found = Vec::new();
    for partition in 0..partitions(log, topic) {
        let name = TopicPartition::new(topic, partition);
        let offsets = log.offsets(&name).unwrap();
        let mut reader = log.read(vec![(name, offsets.start)]).unwrap();
        let mut next = offsets.start;
        while next < offsets.end {
            let fetched = reader
                .poll(Duration::from_secs(5))
                .unwrap()
                .expect("what is committed can be read");
            next = fetched.next_offset();
            found.extend(fetched.batch.iter().map(|record| {
                Read {
                    key: String::from_utf8_lossy(record.key.unwrap_or_default()).into(),
                    partition,
                    value: String::from_utf8_lossy(record.value).into(),
                    timestamp: record.timestamp,
                    headers: record
                        .headers()
                        .map(|(name, value)| (name.to_owned(), String::from_utf8_lossy(value).into()))
                        .collect(),
                }
            }));
        }
    }
    found.sort_by(|a, b| a.key.cmp(&b.key));
    found
}

pub fn transcripts(log: &dyn Log) -> Vec<Transcript> {
    read(log, topics::TRANSCRIPTS)
        .iter()
        .map(|read| serde_json::from_str(&read.value).unwrap())
        .collect()
}

pub fn complete(log: &dyn Log) -> usize {
    let exists = log
        .topics()
        .unwrap()
        .iter()
        .any(|spec| &*spec.name == topics::TRANSCRIPTS);
    if exists {
        transcripts(log)
            .iter()
            .filter(|transcript| transcript.kind == Kind::End)
            .count()
    } else {
        0
    }
}

/// Waits until so many sessions are complete.
pub fn wait_for(log: &dyn Log, sessions: usize) {
    wait_until("the sessions are complete", || complete(log) >= sessions);
}

pub fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let since = Instant::now();
    while !happened() {
        assert!(since.elapsed() < Duration::from_secs(60), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What the sessions' transcripts are when nothing goes wrong.
pub fn undisturbed(records: &[Record], sessions: usize, partitions: Partition) -> Vec<Read> {
    let directory = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(SqliteLog::open(directory.path()).unwrap());
    log.create_topic(&TopicSpec::new(topics::AUDIO, partitions)).unwrap();
    append(&*log, records);
    let recogniser = start_script(&log, speech());
    wait_for(&*log, sessions);
    recogniser.stop().unwrap();
    read(&*log, topics::TRANSCRIPTS)
}

/// What happens to a member.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// The process dies at this step: everything fails from then on.
    Dies(usize),
    /// The process dies at this commit, right after it.
    DiesAfterCommit(usize),
    /// This commit fails, and nothing else.
    CommitFails(usize),
}

/// A log whose members have faults.
pub struct Faulty {
    pub log: Arc<dyn Log>,
    pub fault: Mutex<Option<Fault>>,
    pub steps: Arc<AtomicUsize>,
    /// Which questions for a group's offset fail, counted from 0.
    pub failing_lookups: std::ops::Range<usize>,
    pub lookups: AtomicUsize,
}

impl Faulty {
    pub fn new(log: Arc<dyn Log>, fault: Fault) -> Arc<Self> {
        Arc::new(Faulty {
            log,
            fault: Mutex::new(Some(fault)),
            steps: Arc::default(),
            failing_lookups: 0..0,
            lookups: AtomicUsize::default(),
        })
    }

    /// Members without faults of their own, in a log that sometimes can't say what is committed.
    pub fn with_failing_lookups(log: Arc<dyn Log>, failing_lookups: std::ops::Range<usize>) -> Arc<Self> {
        Arc::new(Faulty {
            log,
            fault: Mutex::new(None),
            steps: Arc::default(),
            failing_lookups,
            lookups: AtomicUsize::default(),
        })
    }
}

struct FaultyMember {
    member: Box<dyn Member>,
    fault: Option<Fault>,
    steps: Arc<AtomicUsize>,
    commits: usize,
    dead: bool,
}

impl FaultyMember {
    fn step(&mut self) -> Result<()> {
        let step = self.steps.fetch_add(1, SeqCst);
        self.dead |= self.fault == Some(Fault::Dies(step));
        if self.dead { Err(LogError::Closed) } else { Ok(()) }
    }
}

impl Member for FaultyMember {
    fn poll(&mut self, wait: Duration) -> Result<Event> {
        self.step()?;
        self.member.poll(wait)
    }

    fn commit(&mut self, epoch: Epoch) -> std::result::Result<(), CommitError> {
        self.step()?;
        let commit = self.commits;
        self.commits += 1;
        match self.fault {
            Some(Fault::CommitFails(at)) if at == commit => Err(LogError::Storage("the disk is full".into()).into()),
            Some(Fault::DiesAfterCommit(at)) if at == commit => {
                self.member.commit(epoch)?;
                self.dead = true;
                Err(LogError::Closed.into())
            }
            _ => self.member.commit(epoch),
        }
    }

    fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<()> {
        self.member.seek(partition, offset)
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.member.pause(partitions)
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.member.resume(partitions)
    }
}

/// A reader whose first answer does not come in time, as over a network.
struct SlowReader {
    reader: Box<dyn Reader>,
    polls: usize,
}

impl Reader for SlowReader {
    fn poll(&mut self, wait: Duration) -> Result<Option<Fetched>> {
        self.polls += 1;
        match self.polls {
            1 => Ok(None),
            _ => self.reader.poll(wait),
        }
    }

    fn is_at_end(&self) -> bool {
        self.polls > 1 && self.reader.is_at_end()
    }
}

impl Log for Faulty {
    fn create_topic(&self, spec: &TopicSpec) -> Result<()> {
        self.log.create_topic(spec)
    }
    fn delete_topic(&self, topic: &str) -> Result<()> {
        self.log.delete_topic(topic)
    }
    fn topics(&self) -> Result<Vec<TopicSpec>> {
        self.log.topics()
    }
    fn offsets(&self, partition: &TopicPartition) -> Result<OffsetRange> {
        self.log.offsets(partition)
    }
    fn offset_at(&self, partition: &TopicPartition, timestamp: i64) -> Result<Offset> {
        self.log.offset_at(partition, timestamp)
    }
    fn delete_before(&self, partition: &TopicPartition, offset: Offset) -> Result<()> {
        self.log.delete_before(partition, offset)
    }
    fn committed(&self, group: &str, partition: &TopicPartition) -> Result<Option<Offset>> {
        match self.failing_lookups.contains(&self.lookups.fetch_add(1, SeqCst)) {
            true => Err(LogError::Storage("too many open files".into())),
            false => self.log.committed(group, partition),
        }
    }
    fn append(&self, appends: Vec<Append>) -> Result<Ack> {
        self.log.append(appends)
    }
    fn read(&self, from: Vec<(TopicPartition, Offset)>) -> Result<Box<dyn Reader>> {
        Ok(Box::new(SlowReader {
            reader: self.log.read(from)?,
            polls: 0,
        }))
    }
    fn join(&self, membership: Membership) -> Result<Box<dyn Member>> {
        Ok(Box::new(FaultyMember {
            member: self.log.join(membership)?,
            fault: self.fault.lock().unwrap().take(),
            steps: self.steps.clone(),
            commits: 0,
            dead: false,
        }))
    }
}
