//! Subtitles: segments to captions of at most two lines of 42 characters, the width that broadcasters and streaming
//! services agree on.
//!
//! A long segment is split by its words, at a pause where there is one, after a sentence or a clause where the caption is
//! full enough, anywhere else otherwise. Times never go back, so that no two captions overlap.
use crate::{Segment, Word};
use std::{collections::HashMap, fmt::Write};

/// Characters of a line.
const LINE: usize = 42;
/// Lines of a caption.
const LINES: usize = 2;
/// A silence of this many seconds between words ends a caption.
const PAUSE: f64 = 1.0;
/// A caption stays no longer than this many seconds, if it can be split.
const LONGEST: f64 = 7.0;

/// What is shown at once.
struct Caption {
    start: f64,
    end: f64,
    lines: Vec<String>,
}

/// A word with what stands before it.
#[derive(Clone)]
struct Piece {
    text: String,
    space_before: bool,
    start: f64,
    end: f64,
}

/// Subtitles of one or more speakers, written segment by segment as they come.
#[derive(Clone, Debug)]
pub struct Subtitles {
    format: Format,
    /// How many captions there were.
    count: usize,
    /// Where the last caption of each speaker ended, in seconds.
    ends: HashMap<String, f64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Format {
    Srt,
    Vtt,
}

impl Subtitles {
    /// SubRip.
    pub fn srt() -> Self {
        Self::new(Format::Srt)
    }

    /// WebVTT (W3C, 2019).
    pub fn vtt() -> Self {
        Self::new(Format::Vtt)
    }

    fn new(format: Format) -> Self {
        Self {
            format,
            count: 0,
            ends: HashMap::new(),
        }
    }

    /// What stands before the first caption.
    pub fn head(&self) -> &'static str {
        match self.format {
            Format::Srt => "",
            Format::Vtt => "WEBVTT\n\n",
        }
    }

    /// The captions of the next segment of a speaker; a name that is not empty is written before each. Times count from the
    /// speaker's start.
    pub fn add(&mut self, speaker: &str, segment: &Segment) -> String {
        let earliest = self.ends.get(speaker).copied().unwrap_or(0.0);
        let captions = captions(segment, earliest);
        if let Some(last) = captions.last() {
            self.ends.insert(speaker.to_owned(), last.end);
        }
        let mut text = String::new();
        for caption in captions {
            self.count += 1;
            match self.format {
                Format::Srt => caption.write_srt(self.count, speaker, &mut text),
                Format::Vtt => caption.write_vtt(speaker, &mut text),
            }
        }
        text
    }

    /// A speaker says nothing more.
    pub fn end(&mut self, speaker: &str) {
        self.ends.remove(speaker);
    }

    /// A whole file of one speaker.
    pub(super) fn whole(mut self, segments: &[Segment]) -> String {
        let captions = segments.iter().map(|segment| self.add("", segment));
        let captions: String = captions.collect();
        self.head().to_owned() + &captions
    }
}

impl Caption {
    /// There is nothing to escape with; an arrow in the text, which would read as a time, is drawn otherwise.
    fn write_srt(&self, number: usize, speaker: &str, srt: &mut String) {
        let (start, end) = (clock(self.start, ','), clock(self.end, ','));
        let colon = if speaker.is_empty() { "" } else { ": " };
        let text = format!("{speaker}{colon}{}", self.lines.join("\n")).replace("-->", "→");
        // Writing to a string can't fail.
        let _ = write!(srt, "{number}\n{start} --> {end}\n{text}\n\n");
    }

    fn write_vtt(&self, speaker: &str, vtt: &mut String) {
        let (start, end) = (clock(self.start, '.'), clock(self.end, '.'));
        let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let voice = match speaker {
            "" => String::new(),
            _ => format!("<v {}>", escaped(speaker)),
        };
        let text = escaped(&self.lines.join("\n"));
        let _ = write!(vtt, "{start} --> {end}\n{voice}{text}\n\n");
    }
}

/// `hours:minutes:seconds` with milliseconds; hours take as many digits as they need.
fn clock(seconds: f64, point: char) -> String {
    let milliseconds = (seconds * 1_000.0).round() as u64;
    let (seconds, milliseconds) = (milliseconds / 1_000, milliseconds % 1_000);
    format!(
        "{:02}:{:02}:{:02}{point}{milliseconds:03}",
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// The captions of a segment; none starts before `earliest`.
fn captions(segment: &Segment, mut earliest: f64) -> Vec<Caption> {
    let mut captions: Vec<Caption> = Vec::new();
    let pieces = pieces(segment);
    let mut rest = &pieces[..];
    while !rest.is_empty() {
        let (shown, after) = rest.split_at(caption_length(rest));
        // `max` also keeps what is not a number out.
        let start = shown[0].start.max(earliest);
        let end = shown[shown.len() - 1].end.max(start);
        captions.push(Caption {
            start,
            end,
            lines: lines(shown),
        });
        (rest, earliest) = (after, end);
    }
    captions
}

/// How many of the next pieces make a caption; at least one.
fn caption_length(pieces: &[Piece]) -> usize {
    let fits = |count: usize| lines(&pieces[..count]).len() <= LINES;
    let mut count = 1;
    while count < pieces.len() {
        let (last, next) = (&pieces[count - 1], &pieces[count]);
        if next.start - last.end >= PAUSE {
            return count;
        }
        if !fits(count + 1) || next.end - pieces[0].start > LONGEST {
            return natural_break(&pieces[..count]);
        }
        count += 1;
    }
    count
}

/// The place to cut a full caption: after the last sentence, or else clause, of its second half; or its end.
fn natural_break(pieces: &[Piece]) -> usize {
    let ends_with = |piece: &Piece, marks: &[char]| piece.text.ends_with(marks);
    let after = |marks: &[char]| {
        let place = pieces.iter().rposition(|piece| ends_with(piece, marks))?;
        (place + 1 > pieces.len() / 2).then_some(place + 1)
    };
    after(&['.', '!', '?', '…', '。', '！', '？'])
        .or_else(|| after(&[',', ';', ':', '、', '，']))
        .unwrap_or(pieces.len())
}

/// Lines of at most [`LINE`] characters; two lines are made as even as they can be.
fn lines(pieces: &[Piece]) -> Vec<String> {
    let all = joined(pieces);
    if width(&all) <= LINE {
        return vec![all];
    }
    let even = (1..pieces.len())
        .map(|cut| [joined(&pieces[..cut]), joined(&pieces[cut..])])
        .filter(|halves| halves.iter().all(|half| width(half) <= LINE))
        .min_by_key(|[upper, lower]| width(upper).abs_diff(width(lower)));
    if let Some(halves) = even {
        return halves.into();
    }
    let mut lines: Vec<String> = Vec::new();
    let mut begin = 0;
    for end in 1..=pieces.len() {
        if end == pieces.len() || width(&joined(&pieces[begin..=end])) > LINE {
            lines.push(joined(&pieces[begin..end]));
            begin = end;
        }
    }
    lines
}

fn joined(pieces: &[Piece]) -> String {
    let mut text = String::new();
    for piece in pieces {
        if piece.space_before && !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&piece.text);
    }
    text
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// A segment's words with times, none wider than a line; without words of its own its text's, evenly timed.
fn pieces(segment: &Segment) -> Vec<Piece> {
    let timed = timed_pieces(&segment.text, &segment.words).unwrap_or_else(|| evenly_timed_pieces(segment));
    timed.into_iter().flat_map(chopped).collect()
}

/// The words as they stand in the text, so that languages without spaces get none. None without words, or if
/// the text does not consist of them.
fn timed_pieces(text: &str, words: &[Word]) -> Option<Vec<Piece>> {
    let mut rest = text;
    let mut pieces = Vec::new();
    for word in words {
        let (between, after) = rest.split_once(word.word.trim())?;
        if !between.trim().is_empty() {
            return None;
        }
        let text: String = word.word.split_whitespace().collect();
        if !text.is_empty() {
            pieces.push(Piece {
                text,
                space_before: !between.is_empty(),
                start: word.start,
                end: word.end,
            });
        }
        rest = after;
    }
    (rest.trim().is_empty() && !pieces.is_empty()).then_some(pieces)
}

/// The text's words; each takes the share of the time that it takes of the characters.
fn evenly_timed_pieces(segment: &Segment) -> Vec<Piece> {
    let words: Vec<&str> = segment.text.split_whitespace().collect();
    let characters: usize = words.iter().map(|word| width(word)).sum();
    let per_character = (segment.end - segment.start).max(0.0) / characters.max(1) as f64;
    let mut start = segment.start;
    let timed = words.into_iter().map(|word| {
        let end = start + per_character * width(word) as f64;
        let piece = Piece {
            text: word.to_owned(),
            space_before: true,
            start,
            end,
        };
        start = end;
        piece
    });
    timed.collect()
}

/// A piece in parts that each fit a line.
fn chopped(piece: Piece) -> Vec<Piece> {
    let characters: Vec<char> = piece.text.chars().collect();
    let seconds = (piece.end - piece.start).max(0.0) / characters.len().max(1) as f64;
    let parts = characters.chunks(LINE).enumerate().map(|(index, part)| {
        let start = piece.start + seconds * (index * LINE) as f64;
        let end = start + seconds * part.len() as f64;
        Piece {
            text: part.iter().collect(),
            space_before: index == 0 && piece.space_before,
            start,
            end,
        }
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::super::transcription::test_segment as segment;
    use super::*;
    use proptest::prelude::*;

    fn srt(segments: &[Segment]) -> String {
        Subtitles::srt().whole(segments)
    }

    fn vtt(segments: &[Segment]) -> String {
        Subtitles::vtt().whole(segments)
    }

    fn all_captions(segments: &[Segment]) -> Vec<Caption> {
        let mut earliest = 0.0;
        let captions = segments.iter().flat_map(|segment| {
            let captions = captions(segment, earliest);
            earliest = captions.last().map_or(earliest, |last| last.end);
            captions
        });
        captions.collect()
    }

    #[test]
    fn a_short_segment_is_one_caption() {
        let segments = [segment(" Seven, three.", 1.0, 2.5)];
        assert_eq!(srt(&segments), "1\n00:00:01,000 --> 00:00:02,500\nSeven, three.\n\n");
        assert_eq!(
            vtt(&segments),
            "WEBVTT\n\n00:00:01.000 --> 00:00:02.500\nSeven, three.\n\n"
        );
    }

    #[test]
    fn captions_of_several_speakers_come_as_they_speak() {
        let mut subtitles = Subtitles::srt();
        assert_eq!(
            subtitles.add("anna", &segment("one", 5.0, 6.0)),
            "1\n00:00:05,000 --> 00:00:06,000\nanna: one\n\n"
        );
        assert_eq!(
            subtitles.add("boris", &segment("two", 1.0, 2.0)),
            "2\n00:00:01,000 --> 00:00:02,000\nboris: two\n\n"
        );
        assert_eq!(
            subtitles.add("anna", &segment("three", 5.5, 7.0)),
            "3\n00:00:06,000 --> 00:00:07,000\nanna: three\n\n",
            "one speaker's captions don't overlap"
        );
        assert_eq!(
            Subtitles::vtt().add("a<b", &segment("one", 0.0, 1.0)),
            "00:00:00.000 --> 00:00:01.000\n<v a&lt;b>one\n\n"
        );
    }

    #[test]
    fn a_caption_that_needs_two_lines_gets_even_ones() {
        let srt = srt(&[segment(
            "the quick brown fox jumps over the lazy dog and runs away",
            0.0,
            3.0,
        )]);
        assert!(
            srt.contains("the quick brown fox jumps over\nthe lazy dog and runs away\n"),
            "{srt}"
        );
    }

    #[test]
    fn a_long_segment_is_split_after_a_sentence_at_the_time_of_its_words() {
        let text = "one two three four five six seven eight nine ten eleven. twelve thirteen fourteen fifteen sixteen";
        let words = text.split(' ').enumerate().map(|(index, word)| Word {
            word: word.into(),
            start: index as f64 * 0.3,
            end: index as f64 * 0.3 + 0.2,
            probability: 1.0,
        });
        let segment = Segment {
            words: words.collect(),
            ..segment(text, 0.0, 5.0)
        };
        let captions = captions(&segment, 0.0);
        assert_eq!(captions.len(), 2);
        assert!(captions[0].lines[1].ends_with("eleven."), "{:?}", captions[0].lines);
        assert!((captions[0].end - 3.2).abs() < 1e-9 && (captions[1].start - 3.3).abs() < 1e-9);
    }

    #[test]
    fn a_pause_starts_a_new_caption() {
        let word = |word: &str, start| Word {
            word: word.into(),
            start,
            end: start + 0.5,
            probability: 1.0,
        };
        let words = vec![word("one", 0.0), word("two", 2.0)];
        let segment = Segment {
            words,
            ..segment("one two", 0.0, 2.5)
        };
        let captions = captions(&segment, 0.0);
        assert_eq!(
            captions.iter().map(|caption| caption.start).collect::<Vec<_>>(),
            [0.0, 2.0]
        );
    }

    #[test]
    fn languages_without_spaces_get_none() {
        let word = |word: &str, start| Word {
            word: word.into(),
            start,
            end: start + 0.5,
            probability: 1.0,
        };
        let words = vec![word("今日", 0.0), word("は", 0.5)];
        let srt = srt(&[Segment {
            words,
            ..segment("今日は", 0.0, 1.0)
        }]);
        assert!(srt.contains("\n今日は\n"), "{srt}");
    }

    #[test]
    fn markup_and_arrows_in_the_text_stay_text() {
        let segments = [segment("a <b> & c --> d", 0.0, 1.0)];
        assert!(vtt(&segments).contains("\na &lt;b&gt; &amp; c --&gt; d\n"));
        assert_eq!(srt(&segments).matches("-->").count(), 1);
    }

    #[test]
    fn a_hundred_hours_have_three_digits() {
        assert_eq!(clock(360_000.0 + 61.0015, ','), "100:01:01,002");
    }

    fn any_word() -> impl Strategy<Value = Word> {
        (".{0,60}", any::<f64>(), any::<f64>()).prop_map(|(word, start, end)| Word {
            word,
            start,
            end,
            probability: 1.0,
        })
    }

    proptest! {
        #[test]
        fn captions_are_well_formed_whatever_the_segments(
            texts in prop::collection::vec((".{0,300}", any::<f64>(), any::<f64>()), 0..6),
            words in prop::collection::vec(any_word(), 0..20),
        ) {
            let mut segments: Vec<_> = texts.iter().map(|(text, start, end)| segment(text, *start, *end)).collect();
            let text = words.iter().map(|word| word.word.clone()).collect::<Vec<_>>().join(" ");
            segments.push(Segment { words, ..segment(&text, 0.0, 1.0) });
            let mut time = 0.0;
            for caption in all_captions(&segments) {
                prop_assert!(time <= caption.start && caption.start <= caption.end);
                time = caption.end;
                prop_assert!((1..=LINES).contains(&caption.lines.len()), "{:?}", caption.lines);
                for line in &caption.lines {
                    prop_assert!(!line.trim().is_empty() && width(line) <= LINE && !line.contains('\n'), "{line:?}");
                }
            }
            let (srt, vtt) = (srt(&segments), vtt(&segments));
            prop_assert_eq!(srt.matches("-->").count(), all_captions(&segments).len());
            prop_assert_eq!(vtt.matches("-->").count(), all_captions(&segments).len());
        }
    }
}
