//! What end-to-end tests share: the real binary, and speakers that resume.
mod server;
mod speaker;

pub use server::Server;
pub use speaker::Speaker;

/// Samples of the demo's story: 16 kHz mono.
pub fn story() -> Vec<f32> {
    let bytes: &'static [u8] = include_bytes!("../../crates/rechka/story/story.flac");
    let file = rechka_speech::audio::AudioFile::from_bytes(bytes).expect("the story is a sound file");
    file.flat_map(|chunk| chunk.expect("the story is whole")).collect()
}
