//! What one can type.
use std::{path::PathBuf, time::Duration};

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

use rechka_log::Worker;

use crate::{
    bare_audio::BareAudio,
    location::{LocationParser, LogLocation},
    position::Position,
};

/// Live sound in, text out, exactly once.
#[derive(Parser)]
#[command(name = "rechka", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "Examples:
  rechka demo                                    see it work: no arguments, no network
  rechka demo shop                               the same for streaming SQL
  rechka transcribe talk.mp3 --format srt -o .   subtitles beside the sound
  rechka run shop.sql                            a pipeline of SQL, for ever, exactly once
  rechka sql -e \"SELECT * FROM revenue\"          ask what it has made
  rechka serve                                   the page, with your microphone: http://127.0.0.1:8080
  rechka consume transcripts --follow            what it heard, as it is heard";

#[derive(Subcommand)]
pub enum Command {
    /// See it work: a story of digits with live captions, or a shop with live figures
    Demo(Demo),
    /// Turn sound files into text or subtitles
    Transcribe(Transcribe),
    /// Serve the page and the live WebSocket, and recognise what comes in
    Serve(Serve),
    /// Run a pipeline: a file of SQL, for ever
    Run(Run),
    /// Ask what is stored: SQL over streams, tables and views
    Sql(Sql),
    /// Show how the running queries go
    Status(Status),
    /// List the topics of the log
    Topics(Topics),
    /// Append sound, or lines from standard input, to a topic
    Produce(Produce),
    /// Print the records of a topic; transcripts also as text or subtitles
    Consume(Consume),
}

#[derive(Args)]
#[command(after_help = "Examples:
  rechka demo
  rechka demo shop
  rechka demo shop --once --rate 1000
  rechka demo --listen 127.0.0.1:9000")]
pub struct Demo {
    /// What to see
    #[arg(value_enum, default_value_t = Show::Story)]
    pub show: Show,
    /// End when the story is told, or the shop's past worked off, instead of going on
    #[arg(long)]
    pub once: bool,
    /// Records a second that the shop's visitors leave
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: u32,
    #[command(flatten)]
    pub listen: ListenArgs,
}

/// What there is to see.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Show {
    /// A story of digits is spoken into the log; captions in the terminal and on the page
    Story,
    /// Visitors of a shop click and buy; a pipeline of SQL makes figures of it, in the terminal and on the page
    Shop,
}

/// Which model recognises.
#[derive(Args)]
pub struct ModelArgs {
    /// `digits` (bundled), a folder in the Hugging Face layout, or a name on the hub such as openai/whisper-base
    #[arg(long, default_value = "digits", value_name = "M")]
    pub model: String,
    /// Arithmetic of the linear layers
    #[arg(long, value_enum, default_value_t = PrecisionArg::Int8)]
    pub precision: PrecisionArg,
    /// Language of the speech, such as en, or auto
    #[arg(long, default_value = "auto", value_name = "L")]
    pub language: String,
}

impl Default for ModelArgs {
    fn default() -> Self {
        Self {
            model: "digits".into(),
            precision: PrecisionArg::Int8,
            language: "auto".into(),
        }
    }
}

/// Arithmetic of the linear layers.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PrecisionArg {
    /// 8-bit integers: the fastest
    Int8,
    /// 32-bit floats
    F32,
}

/// What is made of the speech.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TaskArg {
    /// Text in the language spoken
    Transcribe,
    /// English text
    Translate,
}

/// How text is written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TextFormat {
    /// Plain text
    Txt,
    /// OpenAI's verbose_json, with words
    Json,
    /// SubRip subtitles
    Srt,
    /// WebVTT subtitles
    Vtt,
    /// One segment a line
    Jsonl,
}

#[derive(Args)]
#[command(after_help = "Examples:
  rechka transcribe call.wav
  rechka transcribe --model openai/whisper-base --format srt -o subtitles *.mp3
  ffmpeg -i film.mkv -f wav - | rechka transcribe -")]
pub struct Transcribe {
    /// Sound files (WAV, FLAC, MP3, M4A, Ogg, Opus, WebM, Matroska); - is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub model: ModelArgs,
    /// What is made of the speech
    #[arg(long, value_enum, default_value_t = TaskArg::Transcribe)]
    pub task: TaskArg,
    /// How the text is written
    #[arg(long, value_enum, default_value_t = TextFormat::Txt)]
    pub format: TextFormat,
    /// Write one file per input into this folder, named after its stem; without it, one input goes to standard output
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

#[derive(Args)]
#[command(after_help = "Examples:
  rechka serve
  rechka serve --listen 127.0.0.1:9000 --log embedded:/var/lib/rechka --model openai/whisper-small
  rechka serve --log kafka://localhost:9092 --audio s16le:44100     sound that others write into audio-stream, bare
  rechka serve --log kafka://localhost:9092 --no-recognition        the page alone; workers recognise (rechka run captions.sql)")]
pub struct Serve {
    #[command(flatten)]
    pub listen: ListenArgs,
    #[command(flatten)]
    pub log: LogArgs,
    #[command(flatten)]
    pub model: ModelArgs,
    /// What records of audio-stream are that don't say it by headers: s16le, s24le, f32le, mulaw or alaw, and frames a second;
    /// with :2 behind it, of two channels. A topic that is made then has one partition, so that records without key stay in order
    #[arg(long, value_name = "ENCODING:RATE")]
    pub audio: Option<BareAudio>,
    /// Only take in what is spoken, and show what others recognise
    #[arg(long, conflicts_with_all = ["model", "precision", "language", "audio"])]
    pub no_recognition: bool,
    #[command(flatten)]
    pub worker: WorkerArgs,
}

/// Where the page is.
#[derive(Args)]
pub struct ListenArgs {
    /// Address of the page, the API and the metrics; other machines reach it only when this says so (0.0.0.0:8080)
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR")]
    pub listen: String,
    /// A name under which it answers, beside localhost and plain addresses; may be said several times
    #[arg(long, value_name = "NAME", value_parser = host_name)]
    pub allow_host: Vec<String>,
}

/// A name without scheme, port and path.
fn host_name(text: &str) -> Result<String, String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
    match !text.is_empty() && text.chars().all(is_name) {
        true => Ok(text.to_owned()),
        false => Err("write the name alone, such as captions.example.org".to_owned()),
    }
}

#[derive(Args)]
#[command(after_help = "Examples:
  rechka run pipelines/shop.sql
  rechka run pipelines/words.sql                 what people say: captions, words a minute, mentions
  rechka run shop.sql --epoch 1s --delivery at-least-once
  rechka run shop.sql --once                     work off what is stored, and end
  rechka run shop.sql --log kafka://one:9092     on each of several machines: they share the work")]
pub struct Run {
    /// The pipeline
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub log: LogArgs,
    /// What a crash may do to results, where the pipeline does not say it itself
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub delivery: Option<DeliveryArg>,
    /// How often results are committed
    #[arg(long, default_value = "100ms", value_name = "TIME", value_parser = duration)]
    pub epoch: Duration,
    #[command(flatten)]
    pub listen: ListenArgs,
    /// Read to where the streams end now, close every window for good, and end
    #[arg(long)]
    pub once: bool,
    #[command(flatten)]
    pub worker: WorkerArgs,
    /// Copies of each partition's state that other workers keep in memory, to go on at once when one dies [default: 1 on Kafka, else 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1))]
    pub standbys: Option<u32>,
}

/// Which of several workers this process is.
#[derive(Args)]
pub struct WorkerArgs {
    /// Name of this process among those that share the work: restarted under it within the session time-out (3 s), it gets its
    /// partitions back without a rebalance. Without one it is a new worker each time, and hands its partitions over when it stops
    #[arg(long, env = "RECHKA_WORKER", value_name = "NAME")]
    pub worker: Option<Worker>,
}

impl WorkerArgs {
    /// The worker, of this name or of none.
    pub fn worker(&self) -> Worker {
        self.worker.clone().unwrap_or_else(Worker::unnamed)
    }
}

/// What a crash may do to results.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeliveryArg {
    /// Nothing
    #[value(name = "exactly-once")]
    Exactly,
    /// Repeat some
    #[value(name = "at-least-once")]
    AtLeast,
    /// Lose some
    #[value(name = "at-most-once")]
    AtMost,
}

#[derive(Args)]
#[command(after_help = "Examples:
  rechka sql -e \"SELECT * FROM revenue ORDER BY window_end DESC LIMIT 5\"
  rechka sql -e \"SHOW RELATIONS\"
  rechka sql -e \"SELECT * FROM clicks\"          rows as they come, until Ctrl-C; or with a LIMIT, until so many have come
  rechka sql --batch -e \"SELECT count(*) FROM clicks\"
  rechka sql --batch pipelines/shop.sql          the whole pipeline over what is stored")]
pub struct Sql {
    /// A file of statements
    #[arg(value_name = "FILE", required_unless_present = "execute", conflicts_with = "execute")]
    pub file: Option<PathBuf>,
    /// Statements
    #[arg(short, long, value_name = "SQL")]
    pub execute: Option<String>,
    #[command(flatten)]
    pub log: LogArgs,
    /// Read streams too, as far as they are stored: what a running query would give, computed now
    #[arg(long)]
    pub batch: bool,
    /// Watch a stream from what is stored of it on, not only what comes from now on
    #[arg(long, conflicts_with = "batch")]
    pub from_start: bool,
    /// How rows are printed
    #[arg(long, value_enum, default_value_t = RowFormat::Table)]
    pub format: RowFormat,
}

/// How rows are printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RowFormat {
    /// A table for people
    Table,
    /// One JSON object a line
    Json,
    /// Comma-separated, with a header
    Csv,
}

#[derive(Args)]
#[command(after_help = "Examples:\n  rechka status\n  rechka status --follow")]
pub struct Status {
    #[command(flatten)]
    pub log: LogArgs,
    /// Show it again every second
    #[arg(long)]
    pub follow: bool,
}

/// A time such as `100ms`, `2s` or `1m`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return Err("write a number and a unit: 100ms, 2s or 1m".to_owned()),
    };
    let count: u32 = digits
        .parse()
        .map_err(|_| "write a number and a unit: 100ms, 2s or 1m".to_owned())?;
    match u64::from(count) * unit {
        millis @ 1..=60_000 => Ok(Duration::from_millis(millis)),
        _ => Err("an epoch takes between 1ms and 1m".to_owned()),
    }
}

/// Where the log is.
#[derive(Args)]
pub struct LogArgs {
    /// The log: embedded:DIR, or kafka://HOST:PORT,HOST:PORT
    ///
    /// Settings of Kafka follow after "?", such as
    /// 'kafka://b1:9096,b2:9096?sasl.mechanism=SCRAM-SHA-512&sasl.username=me&sasl.password=$PASSWORD&ssl.ca.location=ca.pem'.
    /// Secrets are taken from $VARIABLE or @FILE. docs/kafka.md has the usual cases.
    #[arg(long, default_value = "embedded:rechka-data", value_name = "LOG", value_parser = LocationParser)]
    pub log: LogLocation,
}

#[derive(Args)]
#[command(after_help = "Examples:\n  rechka topics --log embedded:/var/lib/rechka")]
pub struct Topics {
    #[command(flatten)]
    pub log: LogArgs,
}

#[derive(Args)]
#[command(
    group(ArgGroup::new("sound").args(["files", "mic"])),
    override_usage = "rechka produce TOPIC [OPTIONS] < LINES
       rechka produce [TOPIC] --sound FILE… [OPTIONS]
       rechka produce [TOPIC] --mic [OPTIONS]",
    after_help = "Examples:
  echo '{\"user\":1}' | rechka produce user-events
  rechka produce purchases --key-separator : --partitions 4 < purchases.txt
  rechka produce --log kafka://localhost:9092 --sound talk.wav call.mp3     as fast as the log takes it; again: only what is missing
  rechka produce --log kafka://localhost:9092 --sound talk.wav --speed 1    as if it were spoken now
  rechka produce --log kafka://localhost:9092 --mic                         until Ctrl-C"
)]
pub struct Produce {
    /// The topic; it is created when it does not exist. Of sound: audio-stream, if it is not said
    #[arg(required_unless_present = "sound")]
    pub topic: Option<String>,
    #[command(flatten)]
    pub log: LogArgs,
    /// What stands before this in a line is the record's key
    #[arg(long, value_name = "S", conflicts_with = "sound")]
    pub key_separator: Option<String>,
    /// Sound files, of any format that `rechka transcribe` reads: each is a session
    #[arg(long = "sound", value_name = "FILE", num_args = 1..)]
    pub files: Vec<PathBuf>,
    /// The microphone: a session until Ctrl-C. Needs parec, arecord, rec (SoX) or ffmpeg
    #[arg(long)]
    pub mic: bool,
    /// The session's name. A file's is made of its own name and what it holds, the microphone's of the time
    #[arg(long, value_name = "NAME", requires = "sound")]
    pub session: Option<String>,
    /// How fast a file is spoken: 1 is real time; if it is not said, as fast as the log takes it
    #[arg(long, value_name = "N", requires = "files", value_parser = speed)]
    pub speed: Option<f64>,
    /// Partitions of a topic that is created; if it is not said, 1 for lines and 4 for sound
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub partitions: Option<u32>,
}

/// A multiple of real time.
fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().ok();
    speed
        .filter(|speed| (0.01..=1000.0).contains(speed))
        .ok_or_else(|| "write a number between 0.01 and 1000; 1 is real time".to_owned())
}

#[derive(Args)]
#[command(after_help = "Examples:
  rechka consume transcripts
  rechka consume transcripts --format txt --follow          what everybody says, as they say it
  rechka consume transcripts --format srt --session talk    subtitles of one session
  rechka consume user-events --from latest --follow
  rechka consume audio-stream --format json")]
pub struct Consume {
    /// The topic
    pub topic: String,
    #[command(flatten)]
    pub log: LogArgs,
    /// Where to begin in every partition: earliest, latest or an offset
    #[arg(long, default_value = "earliest", value_name = "POSITION")]
    pub from: Position,
    /// Wait for more at the end
    #[arg(long)]
    pub follow: bool,
    /// Only records of this session (of this key); text is then written without its name
    #[arg(long, value_name = "NAME")]
    pub session: Option<String>,
    /// How records are printed
    #[arg(long, value_enum, default_value_t = RecordFormat::Value)]
    pub format: RecordFormat,
}

/// How records are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RecordFormat {
    /// The value, one a line
    Value,
    /// Partition, offset, time, key, headers and value as JSON; bytes that are not text in base64
    Json,
    /// The text of transcripts, one segment a line
    Txt,
    /// Transcripts as SubRip subtitles
    Srt,
    /// Transcripts as WebVTT subtitles
    Vtt,
}
