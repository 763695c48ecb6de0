//! What bare sound is: the value of `--audio`.
use std::str::FromStr;

use rechka_speech::audio::{Encoding, PcmFormat};

/// The value of `--audio`: `ENCODING:RATE`, or `ENCODING:RATE:CHANNELS`.
#[derive(Clone, Debug, PartialEq)]
pub struct BareAudio(PcmFormat);

impl FromStr for BareAudio {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form =
            || format!("{text:?} says no format: write one such as s16le:44100, or s16le:48000:2 for two channels");
        let (encoding, rest) = text.split_once(':').ok_or_else(form)?;
        let (rate, channels) = rest.split_once(':').unwrap_or((rest, "1"));
        let (Ok(rate), Ok(channels)) = (rate.parse(), channels.parse()) else {
            return Err(form());
        };
        let encoding = encoding.parse::<Encoding>();
        let format = encoding.and_then(|encoding| PcmFormat::new(encoding, rate, channels));
        format.map(Self).map_err(|error| error.to_string())
    }
}

impl BareAudio {
    /// The same as options of `CREATE STREAM`.
    pub fn options(&self) -> String {
        let Self(format) = self;
        let encoding = format.encoding().to_string();
        format!(
            "format = '{}', rate = {}, channels = {}",
            encoding.trim_start_matches("pcm_"),
            format.rate(),
            format.channels()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_read_and_what_is_none_is_answered_with_the_right_form() {
        let options = |text: &str| text.parse::<BareAudio>().map(|audio| audio.options());
        assert_eq!(
            options("s16le:44100"),
            Ok("format = 's16le', rate = 44100, channels = 1".to_owned())
        );
        assert_eq!(
            options("pcm_f32le:48000:2"),
            Ok("format = 'f32le', rate = 48000, channels = 2".to_owned())
        );
        for wrong in ["", "s16le", "s16le:fast", "s16le:1:2:3"] {
            assert!(options(wrong).unwrap_err().contains("s16le:44100"), "{wrong}");
        }
        assert!(options("mp3:44100").unwrap_err().contains("mp3"));
        assert!(options("s16le:7").unwrap_err().contains("7 Hz"));
    }
}
