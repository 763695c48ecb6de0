//! Decoding: windows of audio to text with times (Radford et al. 2022, §4.5; OpenAI's `decoding.py`, `transcribe.py`,
//! `timing.py`).
//!
//! Decisions are pure functions with tests of their own: what may come next ([`rules`]), which beams live ([`beam`]), what
//! to believe ([`quality`]), where words lie ([`align`], [`words`], [`attend`]). [`job`] leads one request through them,
//! [`lanes`] runs many through the model together, [`transcriber`] is the way in.
mod align;
mod attend;
mod beam;
mod hallucination;
mod hypothesis;
mod job;
mod lanes;
mod languages;
mod options;
#[cfg(test)]
mod parity;
mod prompt;
mod quality;
mod rules;
mod sampling;
mod search;
mod segments;
mod timing;
mod transcriber;
mod vocabulary;
mod words;

pub(crate) use languages::{language_name, writes_spaces};
pub use options::{AlignAtt, Context, Ended, Hypothesis, Options, Request, Task};
pub use transcriber::Transcriber;
