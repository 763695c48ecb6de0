//! The topics that a recognition reads and writes. A session has the same partition number in all of them.
use std::{sync::Arc, time::Duration};

use rechka_log::{Cleanup, Partition, Retention, TopicSpec};
use rechka_types::topics;

/// Their names.
#[derive(Clone, Debug)]
pub(crate) struct Topics {
    pub audio: Arc<str>,
    pub transcripts: Arc<str>,
    /// Captions that may still change; `None`: nobody wants to see them.
    pub partials: Option<Arc<str>>,
    /// The sessions' state. Key: the session.
    pub state: Arc<str>,
}

impl Topics {
    /// Of a recognition that goes on for ever.
    pub fn new(audio: Arc<str>, transcripts: Arc<str>, state: Arc<str>) -> Self {
        Topics {
            partials: Some(topics::partial(&transcripts).into()),
            audio,
            transcripts,
            state,
        }
    }

    /// Of the letters that can't be used.
    pub fn dead(&self) -> String {
        topics::dead(&self.audio)
    }

    /// How those are made that are the recognition's own.
    pub fn own(&self, partitions: Partition) -> Vec<TopicSpec> {
        let state = TopicSpec {
            cleanup: Cleanup::Compact,
            ..TopicSpec::new(Arc::clone(&self.state), partitions)
        };
        let partials = self.partials.iter().map(|partials| TopicSpec {
            retention: Retention {
                age: Some(Duration::from_secs(600)),
                bytes: Some(64 << 20),
            },
            ..TopicSpec::new(Arc::clone(partials), partitions)
        });
        partials.chain([state]).collect()
    }
}
