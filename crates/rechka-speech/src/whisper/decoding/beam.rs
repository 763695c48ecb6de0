//! Beam search with the bookkeeping of transformers' `_beam_search` (`early_stopping=False`), so that results can be
//! compared token by token: log probabilities are taken before the rules forbid tokens, finished beams compare by log
//! probability over length to the power of the penalty, and the search ends when the best running beam would not displace the
//! worst finished one.
use super::rules::{Rules, log_sum_exp};
use super::search::{Continuation, Decoded};
use crate::whisper::decoding::Ended;

/// Hypotheses side by side.
#[derive(Debug)]
pub(super) struct BeamSearch<'a> {
    rules: Rules<'a>,
    width: usize,
    length_penalty: f32,
    max_tokens: usize,
    running: Vec<Beam>,
    finished: Vec<Finished>,
}

#[derive(Clone, Debug, Default)]
struct Beam {
    text: Vec<u32>,
    log_probabilities: Vec<f32>,
    score: f32,
}

#[derive(Clone, Debug)]
struct Finished {
    beam: Beam,
    score: f32,
}

struct Candidate {
    parent: usize,
    token: u32,
    score: f32,
    log_probability: f32,
}

impl<'a> BeamSearch<'a> {
    pub(super) fn new(rules: Rules<'a>, width: usize, length_penalty: f32, max_tokens: usize) -> Self {
        let running = vec![Beam::default()];
        BeamSearch {
            rules,
            width,
            length_penalty,
            max_tokens,
            running,
            finished: Vec::new(),
        }
    }

    /// Continues the running beams, `logits[i]` being what the model says after beam `i`. `None` when the search is over.
    pub(super) fn step(&mut self, logits: &mut [&mut [f32]]) -> Option<Vec<Continuation>> {
        let candidates = self.best_candidates(logits);
        let mut running = Vec::with_capacity(self.width);
        let mut continuations = Vec::with_capacity(self.width);
        for (rank, candidate) in candidates.into_iter().enumerate() {
            let beam = self.running[candidate.parent].followed_by(&candidate);
            let ends = candidate.token == self.rules.vocabulary.end_of_text;
            if ends || beam.text.len() >= self.max_tokens {
                if rank < self.width {
                    self.finish(beam);
                }
            } else if running.len() < self.width {
                continuations.push(Continuation {
                    parent: candidate.parent,
                    token: candidate.token,
                });
                running.push(beam);
            }
        }
        self.running = running;
        self.may_improve().then_some(continuations)
    }

    /// Twice as many candidates as beams, best first: enough to go on when every best one ends its text.
    fn best_candidates(&self, logits: &mut [&mut [f32]]) -> Vec<Candidate> {
        let keep = 2 * self.width;
        let mut best: Vec<Candidate> = Vec::with_capacity(keep + 1);
        for (parent, (beam, logits)) in self.running.iter().zip(logits).enumerate() {
            let normalizer = log_sum_exp(logits);
            logits.iter_mut().for_each(|logit| *logit -= normalizer);
            self.rules.apply(&beam.text, logits);
            for (token, &log_probability) in (0..).zip(logits.iter()) {
                let score = beam.score + log_probability;
                let enough = best.len() == keep && best.last().is_some_and(|worst| score <= worst.score);
                if enough || score == f32::NEG_INFINITY {
                    continue;
                }
                let place = best.partition_point(|other| other.score >= score);
                best.insert(
                    place,
                    Candidate {
                        parent,
                        token,
                        score,
                        log_probability,
                    },
                );
                best.truncate(keep);
            }
        }
        best
    }

    fn finish(&mut self, beam: Beam) {
        let score = self.penalized(beam.score, beam.text.len());
        let place = self.finished.partition_point(|other| other.score >= score);
        self.finished.insert(place, Finished { beam, score });
        self.finished.truncate(self.width);
    }

    fn may_improve(&self) -> bool {
        let Some(best) = self.running.first() else {
            return false;
        };
        match self.finished.last() {
            Some(worst) if self.finished.len() == self.width => {
                self.penalized(best.score, best.text.len()) > worst.score
            }
            _ => true,
        }
    }

    fn penalized(&self, score: f32, length: usize) -> f32 {
        score / (length as f32).powf(self.length_penalty)
    }

    /// The best text once [`BeamSearch::step`] gave `None`.
    pub(super) fn result(mut self) -> Decoded {
        let best = if self.finished.is_empty() {
            self.running.pop()
        } else {
            Some(self.finished.swap_remove(0).beam)
        };
        let Beam {
            mut text,
            log_probabilities,
            score,
        } = best.unwrap_or_default();
        let avg_logprob = score / text.len().max(1) as f32;
        let ended = if text.last() == Some(&self.rules.vocabulary.end_of_text) {
            Ended::EndOfText
        } else {
            Ended::Budget
        };
        text.pop_if(|token| *token == self.rules.vocabulary.end_of_text);
        Decoded {
            tokens: text,
            log_probabilities,
            avg_logprob,
            ended,
        }
    }
}

impl Beam {
    fn followed_by(&self, candidate: &Candidate) -> Beam {
        let mut beam = self.clone();
        beam.text.push(candidate.token);
        beam.log_probabilities.push(candidate.log_probability);
        beam.score = candidate.score;
        beam
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::tests::vocabulary;
    use super::*;
    use proptest::prelude::*;

    /// A model whose next token depends on the last one only: row `t` of `table` is what follows `t`, row 0 also the start.
    fn search(table: &[Vec<f32>], width: usize, penalty: f32, max_tokens: usize) -> Decoded {
        let vocabulary = vocabulary();
        let rules = Rules {
            vocabulary: &vocabulary,
            timestamps: false,
            from_begin: false,
        };
        let mut search = BeamSearch::new(rules, width, penalty, max_tokens);
        let mut last = vec![0];
        loop {
            let mut rows: Vec<Vec<f32>> = last.iter().map(|&token| table[token as usize].clone()).collect();
            let mut rows: Vec<&mut [f32]> = rows.iter_mut().map(Vec::as_mut_slice).collect();
            match search.step(&mut rows) {
                Some(continuations) => last = continuations.iter().map(|next| next.token).collect(),
                None => return search.result(),
            }
        }
    }

    /// Probabilities of a few next tokens per last token; the rest is (nearly) impossible.
    fn table(rows: &[(usize, &[(usize, f32)])]) -> Vec<Vec<f32>> {
        let mut table = vec![vec![-1e4; 23]; 23];
        for &(last, nexts) in rows {
            for &(next, probability) in nexts {
                table[last][next] = probability.ln();
            }
        }
        table
    }

    #[test]
    fn a_wider_beam_finds_the_better_text_that_greed_misses() {
        let table = table(&[
            (0, &[(1, 0.6), (2, 0.4)]),
            (1, &[(3, 0.5), (4, 0.5)]),
            (2, &[(10, 1.0)]),
            (3, &[(10, 1.0)]),
            (4, &[(10, 1.0)]),
        ]);
        assert_eq!(search(&table, 1, 0.0, 9).tokens, [1, 3]);
        assert_eq!(search(&table, 2, 0.0, 9).tokens, [2]);
    }

    #[test]
    fn a_larger_length_penalty_prefers_longer_text() {
        let table = table(&[
            (0, &[(10, 0.5), (1, 0.5)]),
            (1, &[(2, 0.7), (3, 0.3)]),
            (2, &[(10, 1.0)]),
            (3, &[(10, 1.0)]),
        ]);
        assert_eq!(search(&table, 2, 0.0, 9).tokens, [0u32; 0]);
        assert_eq!(search(&table, 2, 2.0, 9).tokens, [1, 2]);
    }

    #[test]
    fn the_token_budget_ends_the_search() {
        let table = table(&[(0, &[(1, 1.0)]), (1, &[(1, 1.0)])]);
        let decoded = search(&table, 2, 1.0, 5);
        assert_eq!((decoded.tokens.len(), decoded.ended), (5, Ended::Budget));
    }

    proptest! {
        #[test]
        fn a_beam_of_one_is_greedy(seed in prop::collection::vec(prop::collection::vec(-4f32..4.0, 23), 23)) {
            let vocabulary = vocabulary();
            let mut greedy: Vec<u32> = Vec::new();
            while greedy.len() < 12 {
                let mut scores = seed[greedy.last().copied().unwrap_or(0) as usize].clone();
                Rules { vocabulary: &vocabulary, timestamps: false, from_begin: false }.apply(&greedy, &mut scores);
                let token = super::super::sampling::argmax(&scores);
                if token == vocabulary.end_of_text { break; }
                greedy.push(token);
            }
            let beam = search(&seed, 1, 1.0, 12);
            // A beam of one goes on past a finished text while a longer one might still score better per token.
            if beam.tokens.len() == greedy.len() { prop_assert_eq!(beam.tokens, greedy); }
        }

        #[test]
        fn log_probabilities_add_up(seed in prop::collection::vec(prop::collection::vec(-4f32..4.0, 23), 23), width in 1usize..4) {
            let decoded = search(&seed, width, 1.0, 8);
            let sum: f32 = decoded.log_probabilities.iter().sum();
            let mean = sum / decoded.log_probabilities.len() as f32;
            prop_assert!((mean - decoded.avg_logprob).abs() < 1e-4);
        }
    }
}
