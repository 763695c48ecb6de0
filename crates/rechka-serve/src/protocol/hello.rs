//! The first message of a client.
use rechka_speech::audio::{Encoding, PcmFormat};
use serde::{Deserialize, Serialize};

use super::{Refusal, SessionId};

/// Longest hello in bytes.
const LONGEST_HELLO: usize = 4096;
/// Longest title of a session in characters.
const LONGEST_NAME: usize = 200;

/// What a client says first: the format of its audio, and the session that it continues.
#[derive(Clone, Debug, PartialEq)]
pub struct Hello {
    /// Format of the samples.
    pub format: PcmFormat,
    /// The session to continue, or to begin under this name; `None`: a new one.
    pub session: Option<SessionId>,
    /// The last final segment the client has seen; later ones are sent again. `None`: it has seen none.
    pub after_segment: Option<u64>,
    /// Language of the speech, or `auto`; `None`: the recogniser's default.
    pub language: Option<String>,
    /// What to make of the speech; `None`: the recogniser's default.
    pub task: Option<Task>,
    /// Title for people, such as a file's name.
    pub name: Option<String>,
    /// Whether the audio comes as it is spoken.
    pub pace: Pace,
}

/// What to make of the speech.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Text in the language spoken.
    Transcribe,
    /// Text in English.
    Translate,
}

impl Task {
    /// As in [`rechka_types::headers::TASK`].
    pub fn as_str(self) -> &'static str {
        match self {
            Task::Transcribe => "transcribe",
            Task::Translate => "translate",
        }
    }
}

/// How fast a session's audio may come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// As it is spoken: much faster is refused.
    #[default]
    Live,
    /// A recording: as fast as it is acknowledged.
    File,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    encoding: String,
    rate: u32,
    channels: u16,
    #[serde(default)]
    session: Option<String>,
    #[serde(default)]
    after_segment: Option<u64>,
    #[serde(default)]
    language: Option<String>,
    #[serde(default)]
    task: Option<Task>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    pace: Pace,
}

impl Hello {
    /// Reads and checks a hello.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        if text.len() > LONGEST_HELLO {
            return Err(Refusal::Hello(format!("it has more than {LONGEST_HELLO} bytes")));
        }
        let said: Said = serde_json::from_str(text).map_err(|error| Refusal::Hello(error.to_string()))?;
        if said.kind.is_some_and(|kind| kind != "hello") {
            return Err(Refusal::Hello("its type must be \"hello\", or left out".into()));
        }
        let format = said
            .encoding
            .parse::<Encoding>()
            .and_then(|encoding| PcmFormat::new(encoding, said.rate, said.channels))
            .map_err(|error| Refusal::Format(error.to_string()))?;
        Ok(Self {
            format,
            session: said.session.as_deref().map(SessionId::parse).transpose()?,
            after_segment: said.after_segment,
            language: said.language.map(language).transpose()?,
            task: said.task,
            name: said.name.map(title).filter(|name| !name.is_empty()),
            pace: said.pace,
        })
    }
}

/// Languages become a header of every record: a short code, nothing else.
fn language(code: String) -> Result<String, Refusal> {
    let valid = (2..=16).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-');
    if valid {
        Ok(code.to_ascii_lowercase())
    } else {
        Err(Refusal::Hello(
            "the language must be a code such as \"en\", or \"auto\"".into(),
        ))
    }
}

/// Titles are shown on pages and in file names: no control characters, not endless.
fn title(name: String) -> String {
    let printable = name.chars().filter(|c| !c.is_control());
    printable.take(LONGEST_NAME).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_least_hello_is_enough() {
        let hello = Hello::parse(r#"{"encoding":"pcm_s16le","rate":48000,"channels":2,"session":null}"#).unwrap();
        assert_eq!(hello.format.frame_bytes(), 4);
        assert_eq!((hello.session, hello.pace), (None, Pace::Live));
    }

    #[test]
    fn a_refused_hello_says_what_would_do() {
        let say = |text: &str| Hello::parse(text).unwrap_err();
        for text in [
            "",
            "hi",
            "[]",
            "{}",
            r#"{"encoding":"pcm_s16le","rate":-1,"channels":1}"#,
        ] {
            let refusal = say(text);
            assert_eq!(refusal.code(), "malformed_hello", "{text}");
            assert!(refusal.to_string().contains(r#""encoding":"pcm_s16le""#), "{refusal}");
        }
        let unknown = say(r#"{"encoding":"mp3","rate":48000,"channels":1}"#);
        assert_eq!(unknown.code(), "unsupported_format");
        assert!(unknown.to_string().contains("pcm_s16le"), "{unknown}");
        let rate = say(r#"{"encoding":"alaw","rate":1,"channels":1}"#);
        assert!(rate.to_string().contains("1000 to 384000"), "{rate}");
        let misspelt = say(r#"{"encoding":"alaw","rate":8000,"channels":1,"sesion":"x"}"#);
        assert!(misspelt.to_string().contains("sesion"), "{misspelt}");
        assert_eq!(
            say(r#"{"encoding":"alaw","rate":8000,"channels":1,"session":"../x"}"#),
            Refusal::SessionName
        );
        assert_eq!(say(&" ".repeat(5000)).code(), "malformed_hello");
    }

    #[test]
    fn titles_lose_what_can_not_be_printed() {
        let hello = Hello::parse("{\"encoding\":\"alaw\",\"rate\":8000,\"channels\":1,\"name\":\" a\\r\\nb\\u0000 \"}")
            .unwrap();
        assert_eq!(hello.name.as_deref(), Some("ab"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = Hello::parse(&text);
        }

        #[test]
        fn no_json_of_the_right_shape_makes_it_panic(
            encoding in ".{0,12}", rate in any::<i64>(), channels in any::<i32>(), session in ".{0,80}", language in ".{0,20}",
        ) {
            let text = serde_json::json!({
                "encoding": encoding, "rate": rate, "channels": channels, "session": session, "language": language,
            });
            let _ = Hello::parse(&text.to_string());
        }
    }
}
