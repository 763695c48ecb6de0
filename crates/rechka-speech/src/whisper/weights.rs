//! Tensors out of safetensors files: one file or several with an index, f32, f16 or bf16.
//!
//! Tensors are read one at a time, straight to where they are needed: a checkpoint is never in memory twice. Everything
//! in the files is checked against the file's real length and the shape that the caller expects, so a hostile header
//! can ask for no more memory than the file has bytes.
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::Metadata;

use super::WhisperError;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The tensors of a checkpoint, by name.
pub(super) struct Weights {
    files: Vec<WeightFile>,
    /// Where tensors are looked for, for errors.
    source: PathBuf,
}

struct WeightFile {
    path: PathBuf,
    metadata: Metadata,
    data_start: u64,
    data_len: u64,
}

impl Weights {
    /// Opens `model.safetensors` in `dir`, or the shards that `model.safetensors.index.json` lists.
    pub(super) fn open(dir: &Path) -> Result<Weights, WhisperError> {
        let single = dir.join(SINGLE);
        let index = dir.join(INDEX);
        if !single.exists() && index.exists() {
            let files = shards(dir, &index)?
                .into_iter()
                .map(WeightFile::open)
                .collect::<Result<_, _>>()?;
            return Ok(Weights { files, source: index });
        }
        Ok(Weights {
            files: vec![WeightFile::open(single.clone())?],
            source: single,
        })
    }

    /// Reads tensor `name` of exactly `shape`, as f32.
    pub(super) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, WhisperError> {
        // Checkpoints saved from the model without its head lack the prefix.
        let bare = name.strip_prefix("model.").unwrap_or(name);
        for name in [name, bare] {
            for file in &self.files {
                if file.metadata.info(name).is_some() {
                    return file.read(name, shape);
                }
            }
        }
        Err(WhisperError::tensor(name, &self.source, "it is missing"))
    }
}

/// The files that an index names, each once, all of them beside it.
fn shards(dir: &Path, index: &Path) -> Result<Vec<PathBuf>, WhisperError> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: HashMap<String, String>,
    }
    let text = std::fs::read(index).map_err(|error| WhisperError::read(index, error))?;
    let parsed: Index = serde_json::from_slice(&text).map_err(|error| WhisperError::invalid(index, error))?;
    let names: BTreeSet<String> = parsed.weight_map.into_values().collect();
    names
        .into_iter()
        .map(|name| {
            let plain = Path::new(&name).file_name().is_some_and(|file| file == name.as_str());
            if plain {
                Ok(dir.join(name))
            } else {
                let reason = format!("{name:?} is not a plain file name");
                Err(WhisperError::invalid(index, reason))
            }
        })
        .collect()
}

impl WeightFile {
    fn open(path: PathBuf) -> Result<WeightFile, WhisperError> {
        let read = |error| WhisperError::read(&path, error);
        let mut file = File::open(&path).map_err(read)?;
        let file_len = file.metadata().map_err(read)?.len();
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(read)?;
        let header_len = u64::from_le_bytes(length);
        if header_len > file_len.saturating_sub(8) {
            let reason = format!("its header claims {header_len} bytes, the file has {file_len}");
            return Err(WhisperError::invalid(&path, reason));
        }
        let mut header = Vec::new();
        file.take(header_len).read_to_end(&mut header).map_err(read)?;
        let metadata: Metadata = serde_json::from_slice(&header)
            .map_err(|error| WhisperError::invalid(&path, format!("broken header: {error}")))?;
        Ok(WeightFile {
            metadata,
            data_start: 8 + header_len,
            data_len: file_len - 8 - header_len,
            path,
        })
    }

    fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, WhisperError> {
        let wrong = |reason: String| WhisperError::tensor(name, &self.path, reason);
        let info = self
            .metadata
            .info(name)
            .ok_or_else(|| wrong("it is missing".to_owned()))?;
        if info.shape != shape {
            return Err(wrong(format!(
                "its shape is {:?}, the configuration asks for {shape:?}",
                info.shape
            )));
        }
        let width = match info.dtype {
            Dtype::F32 => 4,
            Dtype::F16 | Dtype::BF16 => 2,
            other => {
                return Err(wrong(format!("its type is {other:?}, readable are F32, F16 and BF16")));
            }
        };
        let elements = shape
            .iter()
            .try_fold(1_usize, |product, &size| product.checked_mul(size));
        let (start, end) = info.data_offsets;
        let bytes = end.saturating_sub(start);
        if end as u64 > self.data_len || elements.and_then(|n| n.checked_mul(width)) != Some(bytes) {
            return Err(wrong(format!(
                "its bytes {start}..{end} do not fit its shape and the file"
            )));
        }
        let mut file = File::open(&self.path).map_err(|e| WhisperError::read(&self.path, e))?;
        let mut data = vec![0; bytes];
        file.seek(SeekFrom::Start(self.data_start + start as u64))
            .and_then(|_| file.read_exact(&mut data))
            .map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => wrong("the file ends within it".to_owned()),
                _ => WhisperError::read(&self.path, error),
            })?;
        let values: Vec<f32> = match info.dtype {
            Dtype::F32 => data.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
            Dtype::F16 => halves(&data, |b| f16::from_le_bytes(b).to_f32()),
            _ => halves(&data, |b| bf16::from_le_bytes(b).to_f32()),
        };
        if values.iter().any(|value| !value.is_finite()) {
            return Err(wrong("it holds values that are not finite".to_owned()));
        }
        Ok(values)
    }
}

fn halves(data: &[u8], convert: impl Fn([u8; 2]) -> f32) -> Vec<f32> {
    data.as_chunks::<2>().0.iter().map(|&b| convert(b)).collect()
}
