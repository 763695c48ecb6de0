//! What the workers run: recognition and what is made of its words; windows behind an exchange, and totals in a view.
use std::path::{Path, PathBuf};

use rechka_log::{Log, Partition, TopicSpec};

/// Of every topic.
pub const PARTITIONS: Partition = 6;

const SPEECH: &str = "
CREATE STREAM audio_TAG WITH (topic = 'TAG.audio', format = 'audio', partitions = 6);
CREATE STREAM transcripts_TAG WITH (topic = 'TAG.transcripts') AS
  SELECT * FROM TRANSCRIBE(audio_TAG, model => 'digits', language => 'en');
CREATE STREAM words_TAG WITH (topic = 'TAG.words') AS SELECT * FROM WORDS(transcripts_TAG);
CREATE MATERIALIZED VIEW vocabulary_TAG WITH (topic = 'TAG.vocabulary') AS
  SELECT lower(word) AS word, count(*) AS times FROM words_TAG GROUP BY lower(word);
";
const EVENTS: &str = "
CREATE STREAM clicks_TAG (id BIGINT, user_id BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '1 second')
  WITH (topic = 'TAG.clicks', partitions = 6);
CREATE STREAM counts_TAG WITH (topic = 'TAG.counts') AS
  SELECT user_id, window_start, count(*) AS n, sum(id) AS total FROM TUMBLE(clicks_TAG, ts, INTERVAL '1 second')
  GROUP BY user_id, window_start, window_end;
CREATE MATERIALIZED VIEW totals_TAG WITH (topic = 'TAG.totals') AS
  SELECT user_id, count(*) AS n, sum(id) AS total FROM clicks_TAG GROUP BY user_id;
";

/// Names of its own for each run: tests share the cluster.
pub struct Pipeline {
    tag: String,
    /// All of it.
    pub whole: PathBuf,
    /// Without the events.
    pub speech: PathBuf,
}

impl Pipeline {
    /// Writes the files into a folder.
    pub fn new(folder: &Path) -> Self {
        let tag = format!("chaos{}", std::process::id());
        let write = |name: &str, text: String| {
            let file = folder.join(name);
            std::fs::write(&file, text.replace("TAG", &tag)).unwrap();
            file
        };
        Self {
            whole: write("whole.sql", format!("{SPEECH}{EVENTS}")),
            speech: write("speech.sql", SPEECH.to_owned()),
            tag,
        }
    }

    fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.tag)
    }

    pub fn audio(&self) -> String {
        self.topic("audio")
    }

    pub fn transcripts(&self) -> String {
        self.topic("transcripts")
    }

    pub fn words(&self) -> String {
        self.topic("words")
    }

    pub fn vocabulary(&self) -> String {
        self.topic("vocabulary")
    }

    pub fn clicks(&self) -> String {
        self.topic("clicks")
    }

    pub fn counts(&self) -> String {
        self.topic("counts")
    }

    pub fn totals(&self) -> String {
        self.topic("totals")
    }

    /// The topics of what could not be used, and of what came too late.
    pub fn refuse(&self, log: &dyn Log) -> Vec<String> {
        let topics = log.topics().unwrap().into_iter().map(|topic| topic.name.to_string());
        let own = topics.filter(|name| name.contains(&self.tag));
        own.filter(|name| name.ends_with(".dead") || name.ends_with(".late"))
            .collect()
    }

    /// The topics that are fed, whoever comes first.
    pub fn create_topics(&self, log: &dyn Log) {
        for name in [self.audio(), self.clicks()] {
            log.create_topic(&TopicSpec::new(name, PARTITIONS)).unwrap();
        }
    }
}
