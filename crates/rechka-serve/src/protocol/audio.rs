//! Audio messages: a frame number, then samples.
use bytes::Bytes;

use super::Refusal;

/// Bytes of the frame number before the samples.
const NUMBER_BYTES: usize = 8;

/// Samples with their place in the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AudioMessage {
    /// Number of the first frame.
    pub first_frame: u64,
    /// Whole frames, at least one.
    pub samples: Bytes,
}

impl AudioMessage {
    /// Bytes of a message with so many bytes of samples.
    pub fn size(samples: usize) -> usize {
        NUMBER_BYTES + samples
    }

    /// Reads a message of frames of `frame_bytes` bytes each.
    pub fn parse(message: Bytes, frame_bytes: usize, limit: usize) -> Result<Self, Refusal> {
        if message.len() > limit {
            return Err(Refusal::MessageTooLarge {
                bytes: message.len(),
                limit,
            });
        }
        let Some((number, samples)) = message.split_first_chunk::<NUMBER_BYTES>() else {
            return Err(Refusal::Message(format!(
                "an audio message of {} bytes: it begins with the number of its first frame, 8 bytes little endian",
                message.len()
            )));
        };
        if samples.is_empty() || samples.len() % frame_bytes != 0 {
            return Err(Refusal::Message(format!(
                "{} bytes of samples: send whole frames of {frame_bytes} bytes, at least one",
                samples.len()
            )));
        }
        let first_frame = u64::from_le_bytes(*number);
        if first_frame.checked_add((samples.len() / frame_bytes) as u64).is_none() {
            return Err(Refusal::Message(format!("there is no frame {first_frame}")));
        }
        Ok(Self {
            first_frame,
            samples: message.slice(NUMBER_BYTES..),
        })
    }
}

/// How audio fits behind what a session has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// All of it is there already.
    Duplicate,
    /// These samples come next.
    Next(Bytes),
    /// Something is missing before it.
    Gap,
}

/// Fits audio behind a session that goes on at `next_frame`: what is there already is cut off, to the frame.
pub(crate) fn fit(message: &AudioMessage, next_frame: u64, frame_bytes: usize) -> Fit {
    let Some(overlap) = next_frame.checked_sub(message.first_frame) else {
        return Fit::Gap;
    };
    let frames = (message.samples.len() / frame_bytes) as u64;
    if overlap >= frames {
        Fit::Duplicate
    } else {
        Fit::Next(message.samples.slice(overlap as usize * frame_bytes..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(first_frame: u64, samples: &[u8]) -> Bytes {
        [&first_frame.to_le_bytes()[..], samples].concat().into()
    }

    #[test]
    fn a_message_is_a_number_and_whole_frames() {
        let parsed = AudioMessage::parse(message(3, &[1, 2, 3, 4]), 2, 100).unwrap();
        assert_eq!((parsed.first_frame, &parsed.samples[..]), (3, &[1, 2, 3, 4][..]));
        let refuse = |bytes: Bytes| AudioMessage::parse(bytes, 2, 100).unwrap_err().code();
        assert_eq!(refuse(Bytes::new()), "malformed_message");
        assert_eq!(refuse(Bytes::from_static(&[0; 7])), "malformed_message");
        assert_eq!(refuse(message(0, &[])), "malformed_message");
        assert_eq!(refuse(message(0, &[1, 2, 3])), "malformed_message");
        assert_eq!(refuse(message(u64::MAX, &[1, 2])), "malformed_message");
        assert_eq!(refuse(message(0, &[0; 94])), "message_too_large");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..64), frame_bytes in 1_usize..9, limit in 0_usize..64,
        ) {
            let total = bytes.len();
            match AudioMessage::parse(bytes.into(), frame_bytes, limit) {
                Ok(parsed) => {
                    prop_assert_eq!(parsed.samples.len() % frame_bytes, 0);
                    prop_assert_eq!(parsed.samples.len() + NUMBER_BYTES, total);
                }
                Err(refusal) => prop_assert!(["malformed_message", "message_too_large"].contains(&refusal.code())),
            }
        }

        /// A client that resends anything it likes, in pieces of any size, never changes what is stored.
        #[test]
        fn what_is_sent_again_is_dropped_to_the_frame(
            audio in prop::collection::vec(any::<u8>(), 2..200),
            sends in prop::collection::vec((0_usize..100, 1_usize..40), 1..60),
        ) {
            let frame_bytes = 2;
            let audio = &audio[..audio.len() / 2 * 2];
            let frames = audio.len() / 2;
            let mut stored = Vec::new();
            for (first, length) in sends {
                let first = first.min(frames - 1);
                let end = (first + length).min(frames);
                let bytes = message(first as u64, &audio[first * 2..end * 2]);
                let parsed = AudioMessage::parse(bytes, frame_bytes, 1000).unwrap();
                let next = stored.len() / 2;
                match fit(&parsed, next as u64, frame_bytes) {
                    Fit::Duplicate => prop_assert!(end <= next),
                    Fit::Next(samples) => stored.extend_from_slice(&samples),
                    Fit::Gap => prop_assert!(first > next),
                }
                prop_assert_eq!(&stored[..], &audio[..stored.len()]);
            }
        }
    }
}
