//! All views.
use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use rechka_log::Log;
use rechka_sql::Relation;

use super::{columns::Columns, follower::Follower, table::Memory, to_json::ToJson, view::View};
use crate::{Result, StoreError};

/// Bounds of memory.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of all views together; the view that reaches it is given up.
    pub bytes: usize,
    /// Bytes of changes that may wait for one subscriber; a slower one begins anew.
    pub queue_bytes: usize,
    /// Bytes of past changes that each view keeps for subscribers who come back.
    pub history_bytes: usize,
    /// Rows that one subscription may begin with.
    pub snapshot_rows: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 2 << 30,
            queue_bytes: 8 << 20,
            history_bytes: 4 << 20,
            snapshot_rows: 100_000,
        }
    }
}

/// The views that are followed, by name. Shared by all threads; dropped, their threads end.
pub struct Views {
    log: Arc<dyn Log>,
    limits: Limits,
    memory: Arc<Memory>,
    lives: AtomicU64,
    followed: RwLock<BTreeMap<Arc<str>, Followed>>,
}

struct Followed {
    view: Arc<View>,
    follower: Follower,
}

impl Views {
    /// No views yet.
    pub fn new(log: Arc<dyn Log>, limits: Limits) -> Self {
        // Another process begins at another time: positions of an earlier one are not taken for ours.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            memory: Arc::new(Memory::new(limits.bytes)),
            lives: AtomicU64::new(now.as_micros() as u64),
            log,
            limits,
            followed: RwLock::default(),
        }
    }

    /// Follows exactly these relations from now on: new ones are begun, those that are gone or have become others are dropped, and those
    /// that had been given up are tried again. Call it after every change of the catalogue, between a DROP and a CREATE of the same name
    /// too. Their topics must exist.
    ///
    /// One that can't be followed does not keep the others from it: the first error comes at the end.
    pub fn follow(&self, relations: Vec<Relation>) -> Result<()> {
        let mut result = Ok(());
        let mut gone = Vec::new();
        {
            let mut followed = self.write();
            let mut before = std::mem::take(&mut *followed);
            for relation in relations {
                let name = relation.name.clone();
                let begun = match before.remove(&name) {
                    Some(known) if is_same(known.view.relation(), &relation) && !known.view.has_ended() => Ok(known),
                    other => {
                        gone.extend(other);
                        self.begin(relation)
                    }
                };
                match begun {
                    Ok(view) => gone.extend(followed.insert(name, view)),
                    Err(error) => result = result.and(Err(error)),
                }
            }
            gone.extend(before.into_values());
        }
        for Followed { view, follower } in &gone {
            view.end(&StoreError::Dropped(view.relation().name.to_string()));
            follower.stop();
        }
        result
    }

    /// Whether a relation can be followed at all.
    ///
    /// Fails with [`StoreError::Relation`], which says why not.
    pub fn check(relation: &Relation) -> Result<()> {
        Columns::of(relation)?;
        ToJson::of(relation).map(drop)
    }

    fn begin(&self, relation: Relation) -> Result<Followed> {
        let life = self.lives.fetch_add(1, Ordering::Relaxed);
        let view = View::new(
            relation,
            self.log.clone(),
            self.limits.clone(),
            self.memory.clone(),
            life,
        )?;
        let view = Arc::new(view);
        let follower = Follower::start(self.log.clone(), view.clone())?;
        Ok(Followed { view, follower })
    }

    /// The view of a name.
    ///
    /// Fails with [`StoreError::UnknownView`], which names those there are.
    pub fn get(&self, name: &str) -> Result<Arc<View>> {
        let followed = self.read();
        match followed.get(name) {
            Some(found) => Ok(found.view.clone()),
            None => Err(StoreError::UnknownView {
                name: name.to_owned(),
                known: followed.keys().map(|name| name.to_string()).collect(),
            }),
        }
    }

    /// All views, by name.
    pub fn list(&self) -> Vec<Arc<View>> {
        self.read().values().map(|followed| followed.view.clone()).collect()
    }

    /// Memory of all views together, about, and its bound, in bytes.
    pub fn memory(&self) -> (usize, usize) {
        (self.memory.used(), self.memory.limit())
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Arc<str>, Followed>> {
        self.followed.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<Arc<str>, Followed>> {
        self.followed.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Views {
    fn drop(&mut self) {
        // All are told before the first is waited for.
        self.read().values().for_each(|followed| followed.follower.stop());
    }
}

fn is_same(a: &Relation, b: &Relation) -> bool {
    a.kind == b.kind
        && a.schema == b.schema
        && a.key == b.key
        && a.topic == b.topic
        && a.partitions == b.partitions
        && a.format == b.format
        && a.event_time == b.event_time
}
