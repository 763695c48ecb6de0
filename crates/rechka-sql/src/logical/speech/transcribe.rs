use std::{sync::Arc, time::Duration};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::{
    common::{Result, plan_err},
    logical_expr::{LogicalPlan, LogicalPlanBuilder, TableSource, planner::RelationPlannerContext},
    sql::sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, Value},
};
use rechka_formats::Format;

use crate::{
    EventTime, Kind, Metadata, Relation,
    logical::{RelationSource, relation::table_factor},
    nearest::nearest,
    plan::{Precision, SpeechTask, Transcribe},
};

const USAGE: &str =
    "TRANSCRIBE(audio, model => 'digits' [, language => 'en'] [, task => 'translate'] [, precision => 'f32'])";
const OPTIONS: [&str; 4] = ["model", "language", "task", "precision"];
/// The longest code of a language, in bytes.
const LONGEST_LANGUAGE: usize = 32;
/// How late a segment, or a word in it, may be: a segment is at most half a minute long, and is written when it is over.
const DELAY: Duration = Duration::from_secs(30);
/// A partition in which nobody speaks holds nobody up.
const IDLE: Duration = Duration::from_secs(10);
/// How far ahead of the wall clock the audio's clock may be.
const AHEAD: Duration = Duration::from_secs(3600);

/// What `TRANSCRIBE` reads, and how: a scan of the transcripts that it makes.
#[derive(Clone, Debug, PartialEq)]
pub struct Transcription {
    /// The stream of audio.
    pub audio: Arc<Relation>,
    /// How it is recognised.
    pub transcribe: Transcribe,
    schema: SchemaRef,
}

impl Transcription {
    fn new(audio: Arc<Relation>, transcribe: Transcribe) -> Self {
        Self {
            audio,
            transcribe,
            schema: Arc::new(Schema::new(columns())),
        }
    }

    /// The transcripts as a stream under a name, in a topic. A session is in the same partition as its audio.
    pub fn relation(&self, name: Arc<str>, topic: Arc<str>) -> Relation {
        let time = self.schema.fields().len() - 1;
        Relation {
            name,
            kind: Kind::Stream,
            schema: Arc::clone(&self.schema),
            event_time: Some(EventTime {
                column: time,
                delay: DELAY,
                idle: Some(IDLE),
                ahead: AHEAD,
                announced: false,
            }),
            related_times: vec![],
            key: vec![0],
            topic,
            partitions: self.audio.partitions,
            format: Format::Json,
            metadata: vec![(time, Metadata::Timestamp)],
            file: None,
        }
    }
}

impl TableSource for Transcription {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// The columns of a transcript: the fields of its record, and last its timestamp, which is that of the audio it ends with.
fn columns() -> Vec<Field> {
    let field = |name: &str, kind| Field::new(name, kind, true);
    let word = [
        field("word", DataType::Utf8),
        field("start", DataType::Float64),
        field("end", DataType::Float64),
        field("probability", DataType::Float32),
    ];
    let provenance = ["model", "version", "parameters"].map(|name| field(name, DataType::Utf8));
    vec![
        field("session", DataType::Utf8),
        field("segment", DataType::Int64),
        field("revision", DataType::Int32),
        field("kind", DataType::Utf8),
        field("start", DataType::Float64),
        field("end", DataType::Float64),
        field("text", DataType::Utf8),
        field("language", DataType::Utf8),
        field(
            "words",
            DataType::new_list(DataType::Struct(word.to_vec().into()), true),
        ),
        field("reason", DataType::Utf8),
        field("provenance", DataType::Struct(provenance.to_vec().into())),
        field("ts", DataType::Timestamp(TimeUnit::Millisecond, None)),
    ]
}

pub(super) fn plan(args: &[FunctionArg], context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(audio)), options @ ..] = args else {
        return plan_err!("the audio is missing: write {USAGE}");
    };
    let audio = audio_stream(&context.plan(table_factor(audio.clone(), USAGE)?)?)?;
    let transcription = Transcription::new(audio, transcribe(options)?);
    LogicalPlanBuilder::scan("transcribe", Arc::new(transcription), None)?.build()
}

/// The declared stream that is scanned.
fn audio_stream(plan: &LogicalPlan) -> Result<Arc<Relation>> {
    let found = match plan {
        LogicalPlan::TableScan(scan) => scan.source.downcast_ref::<RelationSource>(),
        _ => None,
    };
    match found {
        Some(source) if matches!(source.relation.format, Format::Audio(_)) => Ok(Arc::clone(&source.relation)),
        Some(source) => plan_err!(
            "{0} is no audio: declare it CREATE STREAM {0} WITH (topic = '{1}', format = 'audio'), or name the encoding (format = \
             's16le', rate = 16000)",
            source.relation.name,
            source.relation.topic
        ),
        None => plan_err!(
            "TRANSCRIBE reads a stream of audio as it is declared (format = 'audio'), no query: write {USAGE}"
        ),
    }
}

fn transcribe(options: &[FunctionArg]) -> Result<Transcribe> {
    let mut values: [Option<String>; OPTIONS.len()] = Default::default();
    for option in options {
        let (name, value) = match option {
            FunctionArg::Named { name, arg, .. } => (name.value.clone(), arg),
            FunctionArg::ExprNamed { name, arg, .. } => (name.to_string(), arg),
            FunctionArg::Unnamed(arg) => return plan_err!("say what {arg} is, as in model => {arg}: write {USAGE}"),
        };
        let Some(place) = OPTIONS.iter().position(|option| option.eq_ignore_ascii_case(&name)) else {
            return match nearest(&name, OPTIONS) {
                Some(near) => plan_err!("TRANSCRIBE has no argument {name}; did you mean {near}?"),
                None => plan_err!("TRANSCRIBE has no argument {name}; there are {}", OPTIONS.join(", ")),
            };
        };
        match text(value) {
            Some(text) if values[place].is_none() => values[place] = Some(text.to_owned()),
            Some(_) => return plan_err!("{} is given twice: write {USAGE}", OPTIONS[place]),
            None => return plan_err!("{name} must be a text, not {value}: write {USAGE}"),
        }
    }
    let [model, language, task, precision] = values;
    let Some(model) = model else {
        return plan_err!(
            "which model recognises? model => 'digits' is bundled and knows English digits; any other is a name on the hub such as \
             'openai/whisper-base', or a folder"
        );
    };
    let language = language.filter(|language| !language.eq_ignore_ascii_case("auto"));
    if language
        .as_ref()
        .is_some_and(|language| language.len() > LONGEST_LANGUAGE)
    {
        return plan_err!("the language is too long: write a code such as 'en', or 'auto'");
    }
    Ok(Transcribe {
        model: model.into(),
        language: language.map(Into::into),
        task: choice(
            "task",
            task,
            &[
                ("transcribe", SpeechTask::Transcribe),
                ("translate", SpeechTask::Translate),
            ],
        )?,
        precision: choice(
            "precision",
            precision,
            &[("int8", Precision::Int8), ("f32", Precision::F32)],
        )?,
    })
}

fn text(value: &FunctionArgExpr) -> Option<&str> {
    match value {
        FunctionArgExpr::Expr(Expr::Value(value)) => match &value.value {
            Value::SingleQuotedString(text) if !text.is_empty() => Some(text),
            _ => None,
        },
        _ => None,
    }
}

fn choice<T: Copy + Default>(name: &str, given: Option<String>, choices: &[(&str, T)]) -> Result<T> {
    let Some(given) = given else { return Ok(T::default()) };
    match choices.iter().find(|(choice, _)| choice.eq_ignore_ascii_case(&given)) {
        Some((_, choice)) => Ok(*choice),
        None => {
            let words: Vec<_> = choices.iter().map(|(choice, _)| *choice).collect();
            match nearest(&given, words.iter().copied()) {
                Some(near) => plan_err!("{name} can't be '{given}': did you mean '{near}'?"),
                None => plan_err!("{name} can't be '{given}': choose from '{}'", words.join("', '")),
            }
        }
    }
}
