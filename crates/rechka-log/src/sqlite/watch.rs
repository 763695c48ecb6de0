//! Waking the readers of other processes.
//!
//! After every commit the writer writes a counter to the small file `log.wake`. It is not synced and nobody reads it: the
//! write itself is the message, because the kernel reports it (inotify) to every process that watches the file. The WAL
//! would not do: it is written before its commit is visible.
use std::{
    fs::{File, OpenOptions},
    io::{Seek, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use super::signal::Signal;
use crate::{LogError, Result};

fn path(directory: &Path) -> PathBuf {
    directory.join("log.wake")
}

/// The writer's side.
#[derive(Debug)]
pub(super) struct Bell {
    file: File,
    rung: u64,
}

impl Bell {
    pub(super) fn new(directory: &Path) -> Result<Self> {
        let path = path(directory);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| LogError::Storage(format!("cannot open {}: {error}", path.display())))?;
        Ok(Self { file, rung: 0 })
    }

    /// Wakes the readers of other processes. A failure costs only latency: they look again by themselves.
    pub(super) fn ring(&mut self) {
        self.rung += 1;
        let _ = self.file.rewind();
        let _ = self.file.write_all(&self.rung.to_le_bytes());
    }
}

/// The readers to wake.
#[derive(Debug, Default)]
pub(super) struct Sleepers(Mutex<Vec<Weak<Signal>>>);

impl Sleepers {
    pub(super) fn add(&self, signal: &Arc<Signal>) {
        let mut sleepers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sleepers.retain(|sleeper| sleeper.strong_count() > 0);
        sleepers.push(Arc::downgrade(signal));
    }

    pub(super) fn wake(&self) {
        let sleepers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for sleeper in sleepers.iter().filter_map(Weak::upgrade) {
            sleeper.raise();
        }
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        mem::MaybeUninit,
        os::fd::OwnedFd,
        path::Path,
        sync::Arc,
        thread::{self, JoinHandle},
    };

    use rustix::{
        event::{EventfdFlags, PollFd, PollFlags, eventfd, poll},
        fs::inotify,
    };

    use super::Sleepers;

    /// A thread that waits for the bell and wakes the sleepers. Dropping it ends the thread.
    #[derive(Debug)]
    pub(in crate::sqlite) struct Watcher {
        stop: Arc<OwnedFd>,
        thread: Option<JoinHandle<()>>,
    }

    impl Watcher {
        pub(in crate::sqlite) fn start(directory: &Path, sleepers: Arc<Sleepers>) -> std::io::Result<Self> {
            let events = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
            inotify::add_watch(&events, super::path(directory), inotify::WatchFlags::MODIFY)?;
            let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
            let stopped = Arc::clone(&stop);
            let thread = thread::Builder::new()
                .name("log-watch".to_owned())
                .spawn(move || watch(&events, &stopped, &sleepers))?;
            Ok(Self {
                stop,
                thread: Some(thread),
            })
        }
    }

    fn watch(events: &OwnedFd, stop: &OwnedFd, sleepers: &Sleepers) {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        loop {
            let mut ready = [PollFd::new(events, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
            match poll(&mut ready, None) {
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => return,
                Ok(_) => {}
            }
            if !ready[1].revents().is_empty() {
                return;
            }
            let mut reader = inotify::Reader::new(events, &mut buffer);
            while reader.next().is_ok() {}
            sleepers.wake();
        }
    }

    impl Drop for Watcher {
        fn drop(&mut self) {
            let _ = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
            if let Some(thread) = self.thread.take() {
                let _ = thread.join();
            }
        }
    }
}

#[cfg(target_os = "linux")]
pub(super) use linux::Watcher;

/// Elsewhere there is no such watch: readers of other processes look again after a bounded time.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub(super) struct Watcher;

#[cfg(not(target_os = "linux"))]
impl Watcher {
    pub(super) fn start(_: &Path, _: Arc<Sleepers>) -> std::io::Result<Self> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn the_kernel_carries_the_bell_to_the_sleepers() {
        let directory = tempfile::tempdir().unwrap();
        let mut bell = Bell::new(directory.path()).unwrap();
        let sleepers = Arc::new(Sleepers::default());
        let signal = Arc::new(Signal::default());
        sleepers.add(&signal);
        let watcher = Watcher::start(directory.path(), Arc::clone(&sleepers)).unwrap();
        assert!(!signal.wait(Some(Instant::now())), "nothing has rung yet");
        for _ in 0..3 {
            signal.clear();
            bell.ring();
            // Nothing else raises it: without the kernel's message this waits in vain.
            assert!(signal.wait(Some(Instant::now() + Duration::from_secs(60))));
        }
        drop(watcher);
    }
}
