//! The forward pass beside the reference implementation: random checkpoints and golden outputs made by
//! `parity/make_golden.py`.
//!
//! `PARITY_DIR=dir cargo test --test parity` takes the cases of another folder: full-size checkpoints, for instance.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::path::{Path, PathBuf};

use rechka_speech::whisper::{Cache, Lane, Mel, Model, Precision};
use safetensors::SafeTensors;
use serde_json::Value;

/// A golden checkpoint with what the reference made of it.
struct Case {
    path: PathBuf,
    golden: Value,
    tensors: Vec<u8>,
    clips: Vec<Vec<f32>>,
}

impl Case {
    fn all() -> Vec<Case> {
        let root = std::env::var_os("PARITY_DIR").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity"),
            PathBuf::from,
        );
        let clips = read_clips(&root.join("audio.safetensors"));
        let mut cases: Vec<Case> = std::fs::read_dir(&root)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.join("golden.json").exists())
            .map(|path| Case {
                golden: serde_json::from_slice(&std::fs::read(path.join("golden.json")).unwrap()).unwrap(),
                tensors: std::fs::read(path.join("golden.safetensors")).unwrap(),
                clips: clips.clone(),
                path,
            })
            .collect();
        assert!(!cases.is_empty(), "no cases in {}", root.display());
        cases.sort_by(|a, b| a.path.cmp(&b.path));
        cases
    }

    fn load(&self, precision: Precision) -> Model {
        Model::load(&self.path, precision).unwrap()
    }

    fn name(&self, clip: usize) -> String {
        format!("{}, clip {clip}", self.path.file_name().unwrap().display())
    }

    fn tensor(&self, name: &str) -> Vec<f32> {
        let tensors = SafeTensors::deserialize(&self.tensors).unwrap();
        let tensor = tensors.tensor(name).unwrap();
        tensor
            .data()
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&b| f32::from_le_bytes(b))
            .collect()
    }

    fn tokens(&self, clip: usize) -> Vec<u32> {
        serde_json::from_value(self.golden["clips"][clip]["teacher_tokens"].clone()).unwrap()
    }

    /// Every how many encoder positions are kept.
    fn stride(&self) -> usize {
        self.golden["stride"].as_u64().unwrap() as usize
    }
}

fn read_clips(path: &Path) -> Vec<Vec<f32>> {
    let bytes = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    (0..tensors.len())
        .map(|clip| {
            let tensor = tensors.tensor(&clip.to_string()).unwrap();
            let samples = tensor.data().as_chunks::<2>().0.iter();
            samples.map(|&b| f32::from(i16::from_le_bytes(b)) / 32768.0).collect()
        })
        .collect()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn every(rows: &[f32], width: usize, stride: usize) -> Vec<f32> {
    rows.chunks_exact(width).step_by(stride).flatten().copied().collect()
}

/// The windows of all clips, padded to the full window or as they are.
fn windows(case: &Case, model: &Model, padded: bool) -> Vec<Mel> {
    let windows = case.clips.iter().map(|clip| model.mel(clip));
    windows
        .map(|mel| if padded { mel.padded(model.full_window()) } else { mel })
        .collect()
}

/// Teacher-forced logits of all clips, each `[tokens, vocab]`, and the alignment heads' attention.
fn teacher_forced(case: &Case, model: &Model) -> Vec<(Vec<f32>, Vec<f32>)> {
    let encoded = model.encode(&windows(case, model, true)).unwrap();
    let tokens: Vec<Vec<u32>> = (0..encoded.len()).map(|clip| case.tokens(clip)).collect();
    let mut caches = vec![Cache::new(); encoded.len()];
    let mut lanes: Vec<Lane<'_>> = encoded
        .iter()
        .zip(&mut caches)
        .zip(&tokens)
        .map(|((audio, cache), tokens)| Lane {
            logits_from: 0,
            attention: true,
            ..Lane::new(audio, cache, tokens)
        })
        .collect();
    let steps = model.decode(&mut lanes).unwrap();
    steps.into_iter().map(|step| (step.logits, step.attention)).collect()
}

#[test]
fn the_spectrogram_is_the_reference_s() {
    for case in Case::all() {
        let model = case.load(Precision::F32);
        for (clip, mel) in windows(&case, &model, false).iter().enumerate() {
            let frames = every(mel.data(), mel.bins(), case.stride());
            let difference = largest_difference(&frames, &case.tensor(&format!("mel.{clip}")));
            assert!(difference < 1e-4, "{}: {difference}", case.name(clip));
            let silence = case.golden["clips"][clip]["silence"].as_f64().unwrap() as f32;
            assert!((mel.silence() - silence).abs() < 1e-4, "{}", case.name(clip));
            let positions = case.golden["clips"][clip]["audio_positions"].as_u64().unwrap() as usize;
            assert!(
                mel.audio_frames().div_ceil(2).abs_diff(positions) <= 1,
                "{}",
                case.name(clip)
            );
        }
    }
}

#[test]
fn the_encoder_s_output_is_the_reference_s_padded_and_unpadded() {
    for case in Case::all() {
        let model = case.load(Precision::F32);
        let width = model.config().d_model;
        for (name, padded) in [("encoder", true), ("encoder_short", false)] {
            for (clip, mel) in windows(&case, &model, padded).into_iter().enumerate() {
                let output = model.encoder_output(&mel).unwrap();
                let golden = case.tensor(&format!("{name}.{clip}"));
                let difference = largest_difference(&every(&output, width, case.stride()), &golden);
                assert!(difference < 1e-3, "{} of {}: {difference}", name, case.name(clip));
            }
        }
    }
}

#[test]
fn logits_and_cross_attention_are_the_reference_s() {
    for case in Case::all() {
        let model = case.load(Precision::F32);
        for (clip, (logits, attention)) in teacher_forced(&case, &model).into_iter().enumerate() {
            let difference = largest_difference(&logits, &case.tensor(&format!("logits.{clip}")));
            assert!(difference < 2e-3, "{}: {difference}", case.name(clip));
            let positions = case.golden["clips"][clip]["audio_positions"].as_u64().unwrap() as usize;
            let seen: Vec<f32> = attention
                .chunks_exact(model.config().max_source_positions)
                .flat_map(|row| &row[..positions])
                .copied()
                .collect();
            let difference = largest_difference(&seen, &case.tensor(&format!("alignment.{clip}")));
            assert!(difference < 1e-4, "attention of {}: {difference}", case.name(clip));
        }
    }
}

#[test]
fn eight_bit_logits_stay_close_to_the_reference_s() {
    for case in Case::all() {
        let model = case.load(Precision::Int8);
        for (clip, (logits, _)) in teacher_forced(&case, &model).into_iter().enumerate() {
            let golden = case.tensor(&format!("logits.{clip}"));
            let norm = |values: &[f32]| values.iter().map(|value| value * value).sum::<f32>().sqrt();
            let error: Vec<f32> = logits.iter().zip(&golden).map(|(a, b)| a - b).collect();
            let relative = norm(&error) / norm(&golden);
            assert!(relative < 0.1, "{}: {relative}", case.name(clip));
        }
    }
}
