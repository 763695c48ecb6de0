//! What a caller asks of the decoder, and what it gets.
use crate::transcript::Segment;

/// One window of audio to recognise.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// 16 kHz mono samples, at most the model's window (30 s for OpenAI's checkpoints).
    pub audio: &'a [f32],
    /// Text that came before, as context; the tail that fits is used. Empty for none.
    pub prompt: &'a str,
    /// Text that the transcript begins with: what earlier requests committed of this same audio. The hypothesis holds
    /// what comes after it. Empty for none; not together with timestamps.
    pub prefix: &'a str,
    /// How to decode.
    pub options: &'a Options,
}

/// What the model is asked to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Task {
    /// The words in the language spoken.
    #[default]
    Transcribe,
    /// The meaning in English.
    Translate,
}

/// How much the encoder gets to see.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Context {
    /// The whole window, padded with silence, as Whisper was trained.
    Padded,
    /// The audio and this many seconds of silence after it. Much cheaper for short audio; when the result looks like a
    /// loop, the request is decoded again with [`Context::Padded`].
    Unpadded {
        /// Seconds of silence after the audio.
        margin: f32,
    },
}

/// AlignAtt (Papi et al. 2023): decode only as far as the attention stays clear of the end of the audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlignAtt {
    /// Stop at the first token that attends to the last `threshold` encoder frames (20 ms each).
    pub threshold: usize,
    /// Discard everything after the prefix when the attention jumps back by more than this many frames.
    pub rewind: usize,
    /// Whether the audio ends here: the last word is then kept, otherwise it may be unfinished and is dropped.
    pub last: bool,
}

impl AlignAtt {
    /// The usual setting: half a second while speech goes on, four frames at its end.
    pub fn new(last: bool) -> Self {
        let threshold = if last { 4 } else { 25 };
        AlignAtt {
            threshold,
            rewind: 200,
            last,
        }
    }
}

/// How to decode. [`Options::default`] is what suits live speech: greedy, unpadded, with fallback.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The language spoken, as a code (`en`) or an English name (`english`); `None` detects it. Ignored by models of one
    /// language.
    pub language: Option<String>,
    /// Transcribe or translate. Models of one language only transcribe.
    pub task: Task,
    /// Beams kept at temperature 0; 1 is greedy search.
    pub beam_size: usize,
    /// Finished beams compare by log probability over length to this power.
    pub length_penalty: f32,
    /// Tried in order until a result passes the thresholds below; 0 is a search, above it a token is sampled. Empty
    /// means 0 only.
    pub temperatures: Vec<f32>,
    /// Whether the model predicts segment times; without, the hypothesis is one segment.
    pub timestamps: bool,
    /// Whether words with times are wanted.
    pub word_times: bool,
    /// Decode under the AlignAtt policy: one greedy attempt.
    pub align_att: Option<AlignAtt>,
    /// How much the encoder sees.
    pub context: Context,
    /// Bound on the text's tokens; the default follows from the audio's length: `max(50, 22.5 per second)`.
    pub max_tokens: Option<usize>,
    /// A result whose text compresses better than this repeats itself and is tried again.
    pub compression_ratio_threshold: f32,
    /// A result whose mean log probability is lower than this is tried again.
    pub log_prob_threshold: f32,
    /// A window is silent when its no-speech probability is above this and the mean log probability too low.
    pub no_speech_threshold: f32,
    /// Drop segments of anomalous words with silence around them; silence is what lasts longer than this, in
    /// seconds. Needs `word_times`.
    pub hallucination_silence: Option<f32>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            language: None,
            task: Task::Transcribe,
            beam_size: 1,
            length_penalty: 1.0,
            temperatures: vec![0.0, 0.2, 0.4, 0.6, 0.8, 1.0],
            timestamps: false,
            word_times: false,
            align_att: None,
            context: Context::Unpadded { margin: 1.0 },
            max_tokens: None,
            compression_ratio_threshold: 2.4,
            log_prob_threshold: -1.0,
            no_speech_threshold: 0.6,
            hallucination_silence: None,
        }
    }
}

/// Why a decoder stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The model said that the text is complete.
    EndOfText,
    /// AlignAtt: the attention reached the end of the audio.
    Attention,
    /// AlignAtt: the attention jumped back; nothing but the prefix is kept.
    Rewind,
    /// The token budget was spent.
    Budget,
    /// The text went round in a loop, which was cut.
    Loop,
    /// The window holds no speech.
    Silence,
}

/// What was recognised in one window.
#[derive(Clone, Debug, PartialEq)]
pub struct Hypothesis {
    /// The language's code, `en` for models of one language.
    pub language: String,
    /// Its probability; 1 when the caller chose it.
    pub language_probability: f32,
    /// The text in segments, in order; times are seconds from the window's start. No segment without text.
    pub segments: Vec<Segment>,
    /// Probability that the window holds no speech.
    pub no_speech_prob: f32,
    /// The temperature that gave the text.
    pub temperature: f32,
    /// Why decoding stopped.
    pub ended: Ended,
}

impl Hypothesis {
    /// The whole text, trimmed.
    pub fn text(&self) -> String {
        let text: String = self.segments.iter().map(|segment| segment.text.as_str()).collect();
        text.trim().to_owned()
    }

    /// Whether the text may be the next window's prompt: text sampled at a high temperature misleads more than it helps.
    pub fn may_prompt(&self) -> bool {
        self.temperature <= 0.5
    }
}
