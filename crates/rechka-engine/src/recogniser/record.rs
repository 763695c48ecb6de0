//! Records of the audio topic, checked.
use rechka_log::RecordRef;
use rechka_speech::audio::{Encoding, PcmFormat};
use rechka_types::{headers, topics::MAX_RECORD_SECONDS};

/// The longest name of a session, in bytes.
const LONGEST_NAME: usize = 256;
/// The longest name of a language, in bytes.
const LONGEST_LANGUAGE: usize = 32;

/// What a record says.
pub(super) enum Content<'a> {
    Audio(Audio<'a>),
    End(End),
}

/// The session is complete.
pub(super) struct End {
    /// The format of its audio, if it is said.
    pub format: Option<PcmFormat>,
    /// How many frames it has, if it is said.
    pub frames: Option<u64>,
}

/// Audio of a session.
pub(super) struct Audio<'a> {
    pub format: PcmFormat,
    /// Number of the first frame; absent: the one that comes next.
    pub frame: Option<u64>,
    /// Whole frames.
    pub bytes: &'a [u8],
    pub settings: Settings,
}

/// What the session asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Settings {
    /// A language's code; none: the recogniser's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub translate: bool,
}

/// The session that a record names, if it names one, and its content; or why it has none.
pub(super) fn parse<'a>(
    record: &RecordRef<'a>,
    default: Option<PcmFormat>,
) -> Result<(Option<&'a str>, Content<'a>), String> {
    let session = session(record)?;
    match text(record, headers::CONTROL)? {
        Some(headers::END) => {
            let end = End {
                format: format(record)?.or(default),
                frames: number(record, headers::FRAME)?,
            };
            return Ok((session, Content::End(end)));
        }
        Some(other) => return Err(format!("header control is {other:?}; only {:?} is known", headers::END)),
        None => {}
    }
    let format = format(record)?
        .or(default)
        .ok_or(
            "no format: give the headers encoding, rate and channels with every record, or say what records without them are \
             (rechka serve --audio s16le:44100; in SQL format = 's16le', rate = 44100)",
        )?;
    let bytes = record.value;
    if bytes.is_empty() || !bytes.len().is_multiple_of(format.frame_bytes()) {
        return Err(format!(
            "a value of {} bytes is no whole number of frames of {} bytes",
            bytes.len(),
            format.frame_bytes()
        ));
    }
    if bytes.len() / format.frame_bytes() > MAX_RECORD_SECONDS * format.rate() as usize {
        return Err(format!(
            "more than {MAX_RECORD_SECONDS} s of audio in one record: split it"
        ));
    }
    let translate = match text(record, headers::TASK)? {
        None | Some("transcribe") => false,
        Some("translate") => true,
        Some(other) => return Err(format!("header task is {other:?}; give transcribe or translate")),
    };
    let language = text(record, headers::LANGUAGE)?.filter(|language| *language != "auto");
    if language.is_some_and(|language| language.len() > LONGEST_LANGUAGE) {
        return Err("header language is too long; give a code such as en, or auto".into());
    }
    let language = language.map(str::to_owned);
    let audio = Audio {
        format,
        frame: number(record, headers::FRAME)?,
        bytes,
        settings: Settings { language, translate },
    };
    Ok((session, Content::Audio(audio)))
}

fn session<'a>(record: &RecordRef<'a>) -> Result<Option<&'a str>, String> {
    let Some(key) = record.key else { return Ok(None) };
    if key.is_empty() || key.len() > LONGEST_NAME {
        return Err(format!(
            "a key of {} bytes; a session's name has 1 to {LONGEST_NAME}",
            key.len()
        ));
    }
    std::str::from_utf8(key)
        .map(Some)
        .map_err(|_| "the key is not UTF-8: give the session's name as text".into())
}

fn format(record: &RecordRef<'_>) -> Result<Option<PcmFormat>, String> {
    let Some(encoding) = text(record, headers::ENCODING)? else {
        return Ok(None);
    };
    let encoding: Encoding = encoding
        .parse()
        .map_err(|error: rechka_speech::audio::AudioError| error.to_string())?;
    let rate = number(record, headers::RATE)?.ok_or("no header rate: give the frames per second")?;
    let channels = number(record, headers::CHANNELS)?.unwrap_or(1);
    let rate = u32::try_from(rate).unwrap_or(u32::MAX);
    let channels = u16::try_from(channels).unwrap_or(u16::MAX);
    PcmFormat::new(encoding, rate, channels)
        .map(Some)
        .map_err(|error| error.to_string())
}

fn number(record: &RecordRef<'_>, name: &str) -> Result<Option<u64>, String> {
    let Some(text) = text(record, name)? else {
        return Ok(None);
    };
    match text.parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => Err(format!("header {name} is {text:.40?}; give a decimal number")),
    }
}

fn text<'a>(record: &RecordRef<'a>, name: &str) -> Result<Option<&'a str>, String> {
    let Some(value) = record.header(name) else {
        return Ok(None);
    };
    std::str::from_utf8(value)
        .map(Some)
        .map_err(|_| format!("header {name} is not text"))
}
