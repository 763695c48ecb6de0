//! Whisper: checkpoints, forward pass, decoding.
