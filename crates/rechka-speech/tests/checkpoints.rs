//! Broken and hostile checkpoints are refused with an error that names the file and the tensor; nothing panics.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::path::Path;

use rechka_speech::whisper::{Model, Precision};
use tempfile::TempDir;

/// A copy of a good checkpoint.
fn checkpoint(name: &str) -> TempDir {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity").join(name);
    let copy = TempDir::new().unwrap();
    for entry in std::fs::read_dir(source).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

fn refusal(checkpoint: &TempDir) -> String {
    let loaded = Model::load(checkpoint.path(), Precision::Int8);
    loaded.err().expect("the checkpoint is broken").to_string()
}

/// Replaces `from` in a text file, which must hold it.
fn edit(checkpoint: &TempDir, file: &str, from: &str, to: &str) {
    let path = checkpoint.path().join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} has no {from}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn a_configuration_that_disagrees_with_the_weights_names_the_tensor() {
    let changed = checkpoint("english");
    edit(&changed, "config.json", "\"d_model\": 36", "\"d_model\": 40");
    let refusal = refusal(&changed);
    assert!(
        refusal.contains("model.encoder.") && refusal.contains("model.safetensors"),
        "{refusal}"
    );
}

#[test]
fn absurd_sizes_are_refused_before_memory_is_asked_for() {
    for (from, to) in [
        ("\"d_model\": 36", "\"d_model\": 4000000000"),
        ("\"d_model\": 36", "\"d_model\": 37"),
        ("\"d_model\": 36", "\"d_model\": 0"),
        ("\"encoder_layers\": 2", "\"encoder_layers\": 100000"),
        ("\"decoder_attention_heads\": 2", "\"decoder_attention_heads\": 0"),
        ("\"num_mel_bins\": 80", "\"num_mel_bins\": -80"),
        ("\"activation_function\": \"gelu\"", "\"activation_function\": \"relu\""),
    ] {
        let changed = checkpoint("english");
        edit(&changed, "config.json", from, to);
        let refusal = refusal(&changed);
        assert!(refusal.contains("config.json"), "{to}: {refusal}");
    }
}

#[test]
fn a_truncated_or_lying_weight_file_is_refused() {
    let whole = checkpoint("english");
    let path = whole.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    for length in [0, 7, 8, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let refusal = refusal(&whole);
        assert!(refusal.contains("model.safetensors"), "{length} bytes: {refusal}");
    }
    let mut lying = bytes;
    lying[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    std::fs::write(&path, lying).unwrap();
    assert!(refusal(&whole).contains("header"));
}

#[test]
fn a_missing_shard_and_one_outside_the_folder_are_refused() {
    let missing = checkpoint("large");
    std::fs::remove_file(missing.path().join("model-00002-of-00004.safetensors")).unwrap();
    assert!(refusal(&missing).contains("model-00002-of-00004"));
    let outside = checkpoint("large");
    edit(
        &outside,
        "model.safetensors.index.json",
        "model-00002-of-00004",
        "../elsewhere",
    );
    assert!(refusal(&outside).contains("not a plain file name"));
}

#[test]
fn a_folder_without_a_model_says_which_file_is_missing() {
    assert!(refusal(&TempDir::new().unwrap()).contains("config.json"));
    let bare = checkpoint("english");
    std::fs::remove_file(bare.path().join("model.safetensors")).unwrap();
    assert!(refusal(&bare).contains("model.safetensors"));
}
