//! Word error: how far a transcript is from what was said.
use super::normalise;
use std::iter::Sum;
use std::ops::AddAssign;

/// Words that differ between a reference and a transcript, aligned so that they are as few as possible (Levenshtein
/// distance on words). Sums over files weigh every word alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WordErrors {
    /// Words of the reference.
    pub words: usize,
    /// Words that were heard as others.
    pub substitutions: usize,
    /// Words that were never said.
    pub insertions: usize,
    /// Words that were not heard.
    pub deletions: usize,
}

impl WordErrors {
    /// Compares a transcript with what was said, after [`normalise`]: case, punctuation and the way to write numbers don't
    /// count. Takes time of the product, and memory of the sum, of the lengths.
    pub fn compare(reference: &str, transcript: &str) -> Self {
        let (reference, transcript) = (normalise(reference), normalise(transcript));
        let words = |text: &'_ str| {
            text.split(' ')
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        Self::align(&words(&reference), &words(&transcript))
    }

    /// All errors.
    pub fn errors(&self) -> usize {
        self.substitutions + self.insertions + self.deletions
    }

    /// Errors per word of the reference; above 1 when more was invented than said. Of an empty reference, every invented
    /// word counts as one.
    pub fn rate(&self) -> f64 {
        self.errors() as f64 / self.words.max(1) as f64
    }

    fn align(reference: &[String], transcript: &[String]) -> Self {
        // Row by row: the best alignment of the reference so far with each beginning of the transcript.
        let mut row: Vec<WordErrors> = (0..=transcript.len())
            .map(|insertions| WordErrors {
                insertions,
                ..Self::default()
            })
            .collect();
        for (said, word) in reference.iter().enumerate() {
            let mut diagonal = row[0];
            row[0] = WordErrors {
                deletions: said + 1,
                ..Self::default()
            };
            for (index, heard) in transcript.iter().enumerate() {
                let (left, above) = (row[index], row[index + 1]);
                let same = diagonal.plus(usize::from(word != heard), 0, 0);
                let best = [same, above.plus(0, 0, 1), left.plus(0, 1, 0)];
                row[index + 1] = best.into_iter().min_by_key(WordErrors::errors).unwrap_or(same);
                diagonal = above;
            }
        }
        let best = row.last().copied().unwrap_or_default();
        WordErrors {
            words: reference.len(),
            ..best
        }
    }

    fn plus(self, substitutions: usize, insertions: usize, deletions: usize) -> Self {
        WordErrors {
            words: self.words,
            substitutions: self.substitutions + substitutions,
            insertions: self.insertions + insertions,
            deletions: self.deletions + deletions,
        }
    }
}

impl AddAssign for WordErrors {
    fn add_assign(&mut self, other: Self) {
        *self = WordErrors {
            words: self.words + other.words,
            ..self.plus(other.substitutions, other.insertions, other.deletions)
        };
    }
}

impl Sum for WordErrors {
    fn sum<I: Iterator<Item = Self>>(files: I) -> Self {
        files.fold(Self::default(), |mut sum, file| {
            sum += file;
            sum
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(reference: &str, transcript: &str) -> [usize; 4] {
        let errors = WordErrors::compare(reference, transcript);
        [errors.words, errors.substitutions, errors.insertions, errors.deletions]
    }

    #[test]
    fn each_kind_of_error_is_counted() {
        assert_eq!(counts("one two three", "one two three"), [3, 0, 0, 0]);
        assert_eq!(counts("one two three", "one too three"), [3, 1, 0, 0]);
        assert_eq!(counts("one two three", "one three"), [3, 0, 0, 1]);
        assert_eq!(counts("one two three", "one two two three"), [3, 0, 1, 0]);
        assert_eq!(counts("a b c d", "x b d e"), [4, 3, 0, 0]);
        assert_eq!(counts("one two", ""), [2, 0, 0, 2]);
        assert_eq!(counts("", "one two"), [0, 0, 2, 0]);
    }

    #[test]
    fn the_way_of_writing_does_not_count() {
        assert_eq!(
            WordErrors::compare("seven three oh five", "Seven, 3 — oh 5.").errors(),
            0
        );
    }

    #[test]
    fn files_add_up_by_words() {
        let files = [
            WordErrors::compare("a b c d e f g h i", "a b c d e f g h i"),
            WordErrors::compare("a", "b"),
        ];
        let sum: WordErrors = files.into_iter().sum();
        assert_eq!((sum.words, sum.errors()), (10, 1));
        assert_eq!(sum.rate(), 0.1);
        assert_eq!(WordErrors::compare("", "two words").rate(), 2.0);
    }

    proptest! {
        #[test]
        fn errors_explain_the_difference_in_length_and_never_exceed_the_longer(
            reference in "([a-c] ){0,12}",
            transcript in "([a-c] ){0,12}",
        ) {
            let errors = WordErrors::compare(&reference, &transcript);
            let (said, heard) = (reference.len() / 2, transcript.len() / 2);
            prop_assert_eq!(errors.words, said);
            prop_assert_eq!(said + errors.insertions, heard + errors.deletions);
            prop_assert!(errors.errors() <= said.max(heard));
            prop_assert_eq!(errors.errors(), WordErrors::compare(&transcript, &reference).errors());
        }
    }
}
