//! What one can type.
use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{location::LogLocation, position::Position};

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
    /// Append lines from standard input to a topic
    Produce(Produce),
    /// Print the records of a topic
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
    /// Address of the page
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR")]
    pub listen: String,
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
#[command(
    after_help = "Examples:\n  rechka serve\n  rechka serve --listen 127.0.0.1:9000 --log embedded:/var/lib/rechka --model openai/whisper-small"
)]
pub struct Serve {
    /// Address of the page and the WebSocket; other machines reach it only when this says so
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR")]
    pub listen: String,
    #[command(flatten)]
    pub log: LogArgs,
    #[command(flatten)]
    pub model: ModelArgs,
}

#[derive(Args)]
#[command(after_help = "Examples:
  rechka run pipelines/shop.sql
  rechka run pipelines/words.sql                 what people say: captions, words a minute, mentions
  rechka run shop.sql --epoch 1s --delivery at-least-once
  rechka run shop.sql --once                     work off what is stored, and end")]
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
    /// Address of views, metrics and the page
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR")]
    pub listen: String,
    /// Read to where the streams end now, close every window for good, and end
    #[arg(long)]
    pub once: bool,
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
    #[arg(long, default_value = "embedded:rechka-data", value_name = "LOG")]
    pub log: LogLocation,
}

#[derive(Args)]
#[command(after_help = "Examples:\n  rechka topics --log embedded:/var/lib/rechka")]
pub struct Topics {
    #[command(flatten)]
    pub log: LogArgs,
}

#[derive(Args)]
#[command(after_help = "Examples:
  echo '{\"user\":1}' | rechka produce user-events
  rechka produce purchases --key-separator : --partitions 4 < purchases.txt")]
pub struct Produce {
    /// The topic; it is created when it does not exist
    pub topic: String,
    #[command(flatten)]
    pub log: LogArgs,
    /// What stands before this in a line is the record's key
    #[arg(long, value_name = "S")]
    pub key_separator: Option<String>,
    /// Partitions of a topic that is created
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub partitions: u32,
}

#[derive(Args)]
#[command(after_help = "Examples:
  rechka consume transcripts
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
    /// How records are printed
    #[arg(long, value_enum, default_value_t = RecordFormat::Value)]
    pub format: RecordFormat,
}

/// How records are printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RecordFormat {
    /// The value, one a line
    Value,
    /// Partition, offset, time, key, headers and value as JSON; bytes that are not text in base64
    Json,
}
