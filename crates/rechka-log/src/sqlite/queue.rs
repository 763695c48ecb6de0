//! What waits for the writer thread: bounded in bytes, taken in groups.
use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::{blob::Blob, catalog::PartitionState, group::Commit};
use crate::{Batch, CommitError, LogError, Offset, OffsetRange, Result, TopicSpec};

/// Bytes of one transaction, from which on no more requests are added to it.
const GROUP_BYTES: usize = 32 << 20;

/// Records for one partition, compressed and ready to be written.
#[derive(Debug)]
pub(super) struct Part {
    pub partition: Arc<PartitionState>,
    pub max_timestamp: i64,
    pub blob: Blob,
    /// The same, decoded: for the readers' cache.
    pub batch: Batch,
}

/// Parts, and a group's offsets, to be committed together.
#[derive(Debug)]
pub(super) struct Transaction {
    pub parts: Vec<Part>,
    pub commit: Option<Commit>,
    pub answer: Answer,
}

/// Who waits for the transaction.
#[derive(Debug)]
pub(super) enum Answer {
    Append(oneshot::Sender<Result<Vec<Offset>>>),
    Epoch(oneshot::Sender<std::result::Result<(), CommitError>>),
}

impl Answer {
    /// Tells the waiting side; it may have gone.
    pub(super) fn send(self, result: std::result::Result<Vec<Offset>, CommitError>) {
        match self {
            Self::Append(sender) => {
                let _ = sender.send(result.map_err(|error| match error {
                    CommitError::Log(error) => error,
                    fenced @ CommitError::Fenced(_) => LogError::Invalid(fenced.to_string()),
                }));
            }
            Self::Epoch(sender) => {
                let _ = sender.send(result.map(drop));
            }
        }
    }
}

impl Transaction {
    fn bytes(&self) -> usize {
        let bytes = |part: &Part| part.blob.data.len() + part.batch.bytes();
        self.parts.iter().map(bytes).sum()
    }
}

/// A change of the catalog or the past; done alone.
#[derive(Debug)]
pub(super) enum Change {
    CreateTopic(TopicSpec),
    DeleteTopic(String),
    DeleteBefore(Arc<PartitionState>, Offset),
    Replace(Arc<PartitionState>, Replacement),
    /// Deletes now what the retention says, and frees all space that is due.
    Maintain,
}

/// What compaction makes of some batches that follow each other.
#[derive(Debug)]
pub(super) struct Replacement {
    /// The batches to replace: base and next offset.
    pub old: Vec<OffsetRange>,
    /// What stands in their place; `None` if none of their records is kept.
    pub new: Option<CompactedBatch>,
}

/// A batch in which records are missing.
#[derive(Debug)]
pub(super) struct CompactedBatch {
    pub offsets: OffsetRange,
    /// See [`super::store::StoredBatch::deltas`].
    pub deltas: Vec<u32>,
    pub max_timestamp: i64,
    pub blob: Blob,
}

/// What the writer does next.
#[derive(Debug)]
pub(super) enum Work {
    Commit(Vec<Transaction>),
    Change(Change, oneshot::Sender<Result<()>>),
    /// Nothing came until the deadline.
    Idle,
    /// The log is closed, and everything that waited is done.
    Closed,
}

/// The queue. `push` blocks while more than the bound waits or is being written.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    bound: usize,
    not_empty: Condvar,
    not_full: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Entry>,
    bytes: usize,
    /// Producers are let in in the order in which they came: how many have come, and have been let in.
    came: u64,
    let_in: u64,
    closed: bool,
}

#[derive(Debug)]
enum Entry {
    Transaction(Transaction),
    Change(Change, oneshot::Sender<Result<()>>),
}

impl Queue {
    pub(super) fn new(bound: usize) -> Self {
        Self {
            state: Mutex::default(),
            bound,
            not_empty: Condvar::new(),
            not_full: Condvar::new(),
        }
    }

    /// Adds a transaction once there is room. One that is larger than the bound waits until it is alone; who comes after it
    /// waits behind it, so that many small ones cannot keep it out for ever.
    pub(super) fn push(&self, transaction: Transaction) -> Result<()> {
        let bytes = transaction.bytes();
        let mut state = self.lock();
        let turn = state.came;
        state.came += 1;
        while !state.closed && (state.let_in < turn || (state.bytes > 0 && state.bytes + bytes > self.bound)) {
            state = self.not_full.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return Err(LogError::Closed);
        }
        state.bytes += bytes;
        state.waiting.push_back(Entry::Transaction(transaction));
        state.let_in += 1;
        if state.let_in < state.came {
            self.not_full.notify_all();
        }
        self.not_empty.notify_one();
        Ok(())
    }

    /// Adds a change and waits until it is done.
    pub(super) fn change(&self, change: Change) -> Result<()> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.lock();
            if state.closed {
                return Err(LogError::Closed);
            }
            state.waiting.push_back(Entry::Change(change, sender));
        }
        self.not_empty.notify_one();
        receiver.recv().unwrap_or(Err(LogError::Closed))
    }

    /// The next change, or all transactions before it that fit into a group, waiting until the deadline.
    pub(super) fn take(&self, deadline: Option<Instant>) -> Work {
        let mut state = self.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return Work::Closed;
            }
            let Some(deadline) = deadline else {
                state = self.not_empty.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Work::Idle;
            }
            state = self
                .not_empty
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        let mut group = Vec::new();
        let mut bytes = 0;
        while bytes < GROUP_BYTES {
            match state.waiting.pop_front() {
                Some(Entry::Transaction(transaction)) => {
                    bytes += transaction.bytes();
                    group.push(transaction);
                }
                Some(Entry::Change(change, answer)) if group.is_empty() => {
                    return Work::Change(change, answer);
                }
                Some(change) => {
                    state.waiting.push_front(change);
                    break;
                }
                None => break,
            }
        }
        Work::Commit(group)
    }

    /// The bytes of these transactions no longer wait. Call it before they are taken apart.
    pub(super) fn bytes_of(group: &[Transaction]) -> usize {
        group.iter().map(Transaction::bytes).sum()
    }

    /// So many bytes have been written, or failed.
    pub(super) fn release(&self, bytes: usize) {
        self.lock().bytes -= bytes;
        self.not_full.notify_all();
    }

    /// Refuses everything new; what waits is still done.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.not_empty.notify_all();
        self.not_full.notify_all();
    }

    /// Closes the queue, and drops what waits: its owners learn that the log is closed.
    pub(super) fn abandon(&self) {
        self.close();
        let waiting = std::mem::take(&mut self.lock().waiting);
        drop(waiting);
    }

    pub(super) fn closed(&self) -> bool {
        self.lock().closed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc::{self, RecvTimeoutError},
        thread,
        time::Duration,
    };

    use super::*;
    use crate::{BatchBuilder, Cleanup, TopicPartition};

    fn transaction(bytes: usize) -> Transaction {
        let mut builder = BatchBuilder::new();
        builder.push(None, &vec![1; bytes], 0, &[]).unwrap();
        let batch = builder.finish();
        let part = Part {
            partition: Arc::new(PartitionState::new(
                1,
                TopicPartition::new("t", 0),
                Cleanup::Delete,
                0..0,
            )),
            max_timestamp: 0,
            blob: Blob::compress(&batch).unwrap(),
            batch,
        };
        Transaction {
            parts: vec![part],
            commit: None,
            answer: Answer::Append(oneshot::channel().0),
        }
    }

    #[test]
    fn a_producer_waits_until_there_is_room() {
        let queue = Queue::new(10_000);
        // Larger than the bound, but alone.
        queue.push(transaction(20_000)).unwrap();
        thread::scope(|scope| {
            let (sender, pushed) = mpsc::channel();
            let queue = &queue;
            scope.spawn(move || {
                queue.push(transaction(100)).unwrap();
                sender.send(()).unwrap();
            });
            assert_eq!(
                pushed.recv_timeout(Duration::from_millis(50)),
                Err(RecvTimeoutError::Timeout)
            );
            let Work::Commit(group) = queue.take(None) else {
                panic!("no transaction");
            };
            assert!(pushed.try_recv().is_err(), "what is being written still counts");
            queue.release(Queue::bytes_of(&group));
            pushed.recv().unwrap();
        });
    }

    #[test]
    fn small_transactions_do_not_overtake_a_large_one() {
        let queue = Queue::new(10_000);
        queue.push(transaction(100)).unwrap();
        thread::scope(|scope| {
            let queue = &queue;
            for (came, bytes) in [(2, 20_000), (3, 100)] {
                scope.spawn(move || queue.push(transaction(bytes)).unwrap());
                while queue.lock().came < came {
                    thread::yield_now();
                }
            }
            let mut sizes = Vec::new();
            while sizes.len() < 3 {
                let Work::Commit(group) = queue.take(None) else {
                    continue;
                };
                queue.release(Queue::bytes_of(&group));
                sizes.extend(group.iter().map(|transaction| transaction.parts[0].batch.bytes()));
            }
            assert!(sizes[1] > 20_000, "{sizes:?}");
        });
    }

    #[test]
    fn a_closed_queue_refuses_and_wakes_those_who_wait() {
        let queue = Queue::new(10);
        queue.push(transaction(100)).unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| queue.push(transaction(100)));
            thread::sleep(Duration::from_millis(20));
            queue.close();
            assert!(matches!(waiting.join().unwrap(), Err(LogError::Closed)));
        });
        assert!(matches!(queue.take(None), Work::Commit(group) if group.len() == 1));
        assert!(matches!(queue.take(None), Work::Closed));
        assert!(matches!(queue.change(Change::Maintain), Err(LogError::Closed)));
    }

    #[test]
    fn changes_and_transactions_keep_their_order() {
        let queue = Queue::new(1 << 20);
        thread::scope(|scope| {
            queue.push(transaction(1)).unwrap();
            queue.push(transaction(2)).unwrap();
            let change = scope.spawn(|| queue.change(Change::Maintain));
            while queue.lock().waiting.len() < 3 {
                thread::yield_now();
            }
            queue.push(transaction(3)).unwrap();
            assert!(matches!(queue.take(None), Work::Commit(group) if group.len() == 2));
            let Work::Change(Change::Maintain, answer) = queue.take(None) else {
                panic!("no change");
            };
            answer.send(Ok(())).unwrap();
            change.join().unwrap().unwrap();
            assert!(matches!(queue.take(None), Work::Commit(group) if group.len() == 1));
            assert!(matches!(queue.take(Some(Instant::now())), Work::Idle));
        });
    }
}
