//! Listeners.
use std::{
    collections::VecDeque,
    ops::Range,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rechka_log::{Offset, Result};
use rechka_types::{Kind, Partial, Transcript};
use tokio::sync::Notify;

use super::{Catalog, segments::page};
use crate::reading::Library;

/// What a listener hears.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    /// The open segment as it is understood now.
    Partial(Arc<Partial>),
    /// A segment that will not change.
    Final(Arc<Transcript>),
    /// All segments are out; the session's seconds.
    End(f64),
}

/// What waits for a listener.
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Notify,
    room: usize,
}

#[derive(Default)]
struct Waiting {
    finals: VecDeque<Arc<Transcript>>,
    partial: Option<Arc<Partial>>,
    /// Finals from this offset on found no room.
    missed_from: Option<Offset>,
}

impl Queue {
    /// An empty queue with room for so many finals.
    pub fn new(room: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            arrived: Notify::new(),
            room,
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A segment is out.
    pub fn segment(&self, offset: Offset, segment: &Arc<Transcript>) {
        let mut waiting = self.waiting();
        waiting.partial = None;
        if waiting.missed_from.is_none() {
            if waiting.finals.len() < self.room {
                waiting.finals.push_back(segment.clone());
            } else {
                waiting.missed_from = Some(offset);
            }
        }
        self.arrived.notify_one();
    }

    /// The open segment has changed.
    pub fn partial(&self, partial: &Arc<Partial>) {
        self.waiting().partial = Some(partial.clone());
        self.arrived.notify_one();
    }

    /// Where the finals begin that found no room, once those that did are heard.
    pub fn take_missed(&self) -> Option<Offset> {
        let mut waiting = self.waiting();
        if waiting.finals.is_empty() {
            waiting.missed_from.take()
        } else {
            None
        }
    }
}

type Reading = Pin<Box<dyn Future<Output = Result<(Vec<Transcript>, Offset)>> + Send>>;

/// A listener of one session. Finals come once each, in order; partials as far as the listener keeps up.
pub(crate) struct Subscription {
    session: String,
    queue: Arc<Queue>,
    catalog: Arc<Catalog>,
    library: Library,
    /// What must be read from the log before the queue is heard.
    unread: Range<Offset>,
    /// A page that is being read: kept, so that a listener which is often interrupted gets on all the same.
    reading: Option<Reading>,
    read: VecDeque<Arc<Transcript>>,
    /// Segments before this one are known to the listener.
    next_segment: u64,
}

impl Subscription {
    /// Listens to a session; segments up to `after_segment` are known already.
    pub fn new(
        session: &str,
        after_segment: Option<u64>,
        room: usize,
        catalog: Arc<Catalog>,
        library: Library,
    ) -> Self {
        let queue = Arc::new(Queue::new(room));
        Self {
            session: session.to_owned(),
            unread: catalog.listen(session, after_segment, &queue),
            queue,
            catalog,
            library,
            reading: None,
            read: VecDeque::new(),
            next_segment: after_segment.map_or(0, |segment| segment.saturating_add(1)),
        }
    }

    /// The next thing to hear. May be dropped while it waits without losing anything.
    pub async fn next(&mut self) -> Result<Heard> {
        loop {
            while let Some(segment) = self.read.pop_front() {
                if let Some(heard) = self.accept(segment) {
                    return Ok(heard);
                }
            }
            if !self.unread.is_empty() {
                self.read_page().await?;
                continue;
            }
            let (segment, partial) = {
                let mut waiting = self.queue.waiting();
                match waiting.finals.pop_front() {
                    Some(segment) => (Some(segment), None),
                    None if waiting.missed_from.is_some() => (None, None),
                    None => (None, waiting.partial.take()),
                }
            };
            if let Some(segment) = segment {
                self.read.push_back(segment);
            } else if let Some(partial) = partial {
                return Ok(Heard::Partial(partial));
            } else if let Some(missed) = self.catalog.missed(&self.session, &self.queue) {
                self.unread = missed;
            } else {
                self.queue.arrived.notified().await;
            }
        }
    }

    async fn read_page(&mut self) -> Result<()> {
        let reading = self.reading.get_or_insert_with(|| {
            let (session, range) = (self.session.clone(), self.unread.clone());
            let partition = self.catalog.partition(&session);
            let library = self.library.clone();
            Box::pin(async move { library.read(move |log| page(log, partition, &session, range)).await })
        });
        let result = reading.await;
        self.reading = None;
        let (segments, next) = result?;
        self.read.extend(segments.into_iter().map(Arc::new));
        self.unread.start = next;
        Ok(())
    }

    fn accept(&mut self, segment: Arc<Transcript>) -> Option<Heard> {
        if segment.kind == Kind::End {
            return Some(Heard::End(segment.end));
        }
        if segment.revision == 0 {
            if segment.segment < self.next_segment {
                return None;
            }
            self.next_segment = segment.segment.saturating_add(1);
        }
        Some(Heard::Final(segment))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.catalog.leave(&self.session, &self.queue);
    }
}
