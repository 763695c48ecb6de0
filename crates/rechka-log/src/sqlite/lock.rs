//! One writer process per log: an advisory lock on a file that tells who holds it.
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    path::Path,
};

use crate::{LogError, Result};

/// The lock, held until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub(super) struct WriterLock {
    _file: File,
}

impl WriterLock {
    /// Takes the lock of the log in `directory`, or fails with [`LogError::InUse`].
    pub(super) fn take(directory: &Path) -> Result<Self> {
        let path = directory.join("log.lock");
        let failed = |error: std::io::Error| LogError::Storage(format!("cannot lock {}: {error}", path.display()));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // Only for the message: the holder may just be writing it.
                let _ = file.take(20).read_to_string(&mut pid);
                let pid = pid.trim();
                return Err(LogError::InUse {
                    path: directory.display().to_string(),
                    pid: if pid.is_empty() { "unknown" } else { pid }.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).map_err(failed)?;
        file.rewind().map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}
