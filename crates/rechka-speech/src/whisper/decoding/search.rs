//! A search for a text, one decoder step at a time.
use super::attend::{Attended, Follower};
use super::beam::BeamSearch;
use super::quality::loop_start;
use super::rules::Rules;
use super::sampling::{Random, argmax, log_probability, sample};
use crate::whisper::decoding::Ended;

/// The token that continues one of a search's lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Continuation {
    /// The lane, by its position in the step that was just made.
    pub(super) parent: usize,
    pub(super) token: u32,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Decoded {
    /// The text's tokens, timestamps included, the end of text not.
    pub(super) tokens: Vec<u32>,
    /// Their log probabilities, and that of the end of text if it came.
    pub(super) log_probabilities: Vec<f32>,
    pub(super) avg_logprob: f32,
    pub(super) ended: Ended,
}

/// A search of either kind.
#[derive(Debug)]
pub(super) enum Search<'a> {
    Greedy(GreedySearch<'a>),
    Beam(BeamSearch<'a>),
}

impl Search<'_> {
    /// Reads what the model says after each lane (`logits`, changed in place) and where it listened (`[heads, tokens, frames]`
    /// of the one lane of a search that [wants](Search::wants_attention) it). Gives the lanes of the next step; `None` when
    /// the search is over.
    pub(super) fn step(&mut self, logits: &mut [&mut [f32]], attention: &[f32]) -> Option<Vec<Continuation>> {
        match self {
            Search::Greedy(search) => search.step(logits.first_mut()?, attention).map(|next| vec![next]),
            Search::Beam(search) => search.step(logits),
        }
    }

    pub(super) fn wants_attention(&self) -> bool {
        matches!(self, Search::Greedy(GreedySearch { follower: Some(_), .. }))
    }

    pub(super) fn result(self) -> Decoded {
        match self {
            Search::Greedy(search) => search.result(),
            Search::Beam(search) => search.result(),
        }
    }
}

/// One lane: the likeliest token, or at a temperature a drawn one.
#[derive(Debug)]
pub(super) struct GreedySearch<'a> {
    pub(super) rules: Rules<'a>,
    pub(super) max_tokens: usize,
    /// Temperature and draws; `None` takes the likeliest.
    pub(super) sampling: Option<(f32, Random)>,
    /// The AlignAtt policy.
    pub(super) follower: Option<Follower>,
    found: Decoded,
}

impl<'a> GreedySearch<'a> {
    pub(super) fn new(
        rules: Rules<'a>,
        max_tokens: usize,
        sampling: Option<(f32, Random)>,
        follower: Option<Follower>,
    ) -> Self {
        let found = Decoded {
            tokens: Vec::new(),
            log_probabilities: Vec::new(),
            avg_logprob: 0.0,
            ended: Ended::Budget,
        };
        GreedySearch {
            rules,
            max_tokens,
            sampling,
            follower,
            found,
        }
    }

    fn step(&mut self, logits: &mut [f32], attention: &[f32]) -> Option<Continuation> {
        self.rules.apply(&self.found.tokens, logits);
        let token = match &mut self.sampling {
            Some((temperature, random)) => sample(logits, *temperature, random),
            None => argmax(logits),
        };
        let log_probability = log_probability(logits, token);
        if token == self.rules.vocabulary.end_of_text {
            self.found.log_probabilities.push(log_probability);
            self.found.ended = Ended::EndOfText;
            return None;
        }
        if let Some(follower) = &mut self.follower {
            match follower.read(attention) {
                Attended::Clear => {}
                Attended::End => {
                    self.found.ended = Ended::Attention;
                    return None;
                }
                Attended::Rewound => {
                    self.forget_from(0);
                    self.found.ended = Ended::Rewind;
                    return None;
                }
            }
        }
        self.found.tokens.push(token);
        self.found.log_probabilities.push(log_probability);
        if let Some(start) = loop_start(&self.found.tokens) {
            self.forget_from(start);
            self.found.ended = Ended::Loop;
            return None;
        }
        (self.found.tokens.len() < self.max_tokens).then_some(Continuation { parent: 0, token })
    }

    fn forget_from(&mut self, length: usize) {
        self.found.tokens.truncate(length);
        self.found.log_probabilities.truncate(length);
    }

    fn result(mut self) -> Decoded {
        let sum: f32 = self.found.log_probabilities.iter().sum();
        self.found.avg_logprob = sum / self.found.log_probabilities.len().max(1) as f32;
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::tests::{SIZE, vocabulary};
    use super::*;

    /// Searches greedily a model whose likeliest tokens are those of `script`, each with probability about one half.
    fn search(script: &[u32], max_tokens: usize) -> Decoded {
        let vocabulary = vocabulary();
        let rules = Rules {
            vocabulary: &vocabulary,
            timestamps: false,
            from_begin: true,
        };
        let mut search = Search::Greedy(GreedySearch::new(rules, max_tokens, None, None));
        for &token in script {
            let mut logits = vec![-1e4; SIZE];
            logits[token as usize] = 0.1;
            logits[(token as usize + 1) % 10] = 0.0;
            let Some(next) = search.step(&mut [&mut logits], &[]) else {
                break;
            };
            assert_eq!(next, [Continuation { parent: 0, token }]);
        }
        search.result()
    }

    #[test]
    fn greedy_search_ends_with_the_text() {
        let decoded = search(&[3, 1, 4, 10], 9);
        assert_eq!(
            (decoded.tokens.as_slice(), decoded.ended),
            (&[3, 1, 4][..], Ended::EndOfText)
        );
        assert_eq!(decoded.log_probabilities.len(), 4, "the end of text counts");
        assert!((decoded.avg_logprob + 0.64).abs() < 0.01, "{}", decoded.avg_logprob);
    }

    #[test]
    fn greedy_search_keeps_to_its_budget() {
        let decoded = search(&[3, 1, 4, 1, 5], 3);
        assert_eq!(
            (decoded.tokens.as_slice(), decoded.ended),
            (&[3, 1, 4][..], Ended::Budget)
        );
    }

    #[test]
    fn a_loop_is_stopped_and_cut_to_its_first_round() {
        let script: Vec<u32> = [7].into_iter().chain((0..100).flat_map(|_| [1, 2, 3])).collect();
        let decoded = search(&script, 400);
        assert_eq!(
            (decoded.tokens.as_slice(), decoded.ended),
            (&[7, 1, 2, 3][..], Ended::Loop)
        );
    }
}
