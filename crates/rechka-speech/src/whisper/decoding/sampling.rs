//! Choosing one token.
use super::rules::log_sum_exp;

/// The likeliest token; the first of equals.
pub(super) fn argmax(scores: &[f32]) -> u32 {
    let mut best = (0, f32::NEG_INFINITY);
    for (token, &score) in (0..).zip(scores) {
        if score > best.1 {
            best = (token, score);
        }
    }
    best.0
}

/// A token drawn from the softmax of `logits / temperature`.
pub(super) fn sample(logits: &[f32], temperature: f32, random: &mut Random) -> u32 {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |logit: f32| f64::from((logit - highest) / temperature).exp();
    let total: f64 = logits.iter().map(|&logit| weight(logit)).sum();
    let mut left = random.uniform() * total;
    for (token, &logit) in (0..).zip(logits) {
        left -= weight(logit);
        if left < 0.0 {
            return token;
        }
    }
    argmax(logits)
}

/// The log probability of `token`.
pub(super) fn log_probability(logits: &[f32], token: u32) -> f32 {
    logits[token as usize] - log_sum_exp(logits)
}

/// SplitMix64 (Steele et al. 2014): a few lines that give the same draws on every machine, for ever.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// Draws that depend on the audio and the temperature alone: the same request gives the same text, whatever ran before it
    /// or beside it.
    pub(super) fn for_audio(audio: &[f32], temperature: f32) -> Self {
        let bytes = audio
            .iter()
            .chain([&temperature])
            .flat_map(|sample| sample.to_le_bytes());
        // FNV-1a.
        Random(bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        }))
    }

    /// A number from 0 up to but not including 1.
    pub(super) fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_token_is_the_first_of_equals() {
        assert_eq!(argmax(&[0.0, 2.0, 2.0, f32::NEG_INFINITY]), 1);
    }

    #[test]
    fn draws_follow_the_probabilities_and_never_take_what_is_forbidden() {
        let logits = [0.0, f32::NEG_INFINITY, 3f32.ln()];
        let mut random = Random::for_audio(&[0.5], 1.0);
        let mut counts = [0; 3];
        for _ in 0..10_000 {
            counts[sample(&logits, 1.0, &mut random) as usize] += 1;
        }
        assert_eq!(counts[1], 0);
        assert!((counts[2] as f64 / 10_000.0 - 0.75).abs() < 0.02, "{counts:?}");
    }

    #[test]
    fn a_low_temperature_takes_the_likeliest() {
        let mut random = Random::for_audio(&[], 0.01);
        assert!((0..100).all(|_| sample(&[0.0, 1.0, 0.5], 0.01, &mut random) == 1));
    }

    #[test]
    fn draws_depend_on_audio_and_temperature() {
        let first = |audio: &[f32], temperature| Random::for_audio(audio, temperature).uniform();
        assert_eq!(first(&[0.1, 0.2], 0.4), first(&[0.1, 0.2], 0.4));
        assert_ne!(first(&[0.1, 0.2], 0.4), first(&[0.2, 0.1], 0.4));
        assert_ne!(first(&[0.1, 0.2], 0.4), first(&[0.1, 0.2], 0.6));
    }
}
