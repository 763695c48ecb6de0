//! English text as it is compared: the ways to write the same words made one, after the normaliser of Radford et al.
//! 2022 (appendix C), with numbers as words in place of digits, so that each spoken word counts.
use super::numbers;

/// Sounds that are no words.
const FILLERS: [&str; 9] = ["hmm", "hm", "mm", "mmm", "mhm", "uh", "um", "er", "erm"];
/// Contractions that are words of their own.
const CONTRACTIONS: [(&str, &str); 10] = [
    ("won't", "will not"),
    ("can't", "can not"),
    ("cannot", "can not"),
    ("shan't", "shall not"),
    ("let's", "let us"),
    ("ain't", "is not"),
    ("y'all", "you all"),
    ("gonna", "going to"),
    ("wanna", "want to"),
    ("gotta", "got to"),
];
/// Contracted endings.
const ENDINGS: [(&str, &str); 7] = [
    ("n't", " not"),
    ("'re", " are"),
    ("'s", " is"),
    ("'d", " would"),
    ("'ll", " will"),
    ("'ve", " have"),
    ("'m", " am"),
];
const TITLES: [(&str, &str); 5] = [
    ("mr", "mister"),
    ("mrs", "missus"),
    ("dr", "doctor"),
    ("st", "saint"),
    ("prof", "professor"),
];

/// The words of `text` in lower case, one space between: without punctuation, remarks in brackets, hesitations and
/// accents; contractions written out; numbers as words ("25 %" is "twenty five percent").
///
/// ```
/// use rechka_speech::text::normalise;
///
/// assert_eq!(normalise("Um, it's 7:30 — [laughs] Mr. Brown won't come."),
///     "it is seven thirty mister brown will not come");
/// ```
pub fn normalise(text: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in without_brackets(&text.to_lowercase())
        .replace('’', "'")
        .split_whitespace()
    {
        for part in expanded(word.trim_matches(|c: char| !c.is_alphanumeric() && !"$£€%".contains(c))).split(' ') {
            words.extend(parts(part));
        }
    }
    words.retain(|word| !FILLERS.contains(&word.as_str()));
    without_and_in_numbers(words).join(" ")
}

/// Drops what stands in brackets: remarks such as "[music]". An open bracket without its pair stays.
fn without_brackets(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(open) = rest.find(['[', '(', '<']) {
        let close = match rest.as_bytes()[open] {
            b'[' => ']',
            b'(' => ')',
            _ => '>',
        };
        kept.push_str(&rest[..open]);
        kept.push(' ');
        rest = match rest[open..].find(close) {
            Some(length) => &rest[open + length + 1..],
            None => &rest[open + 1..],
        };
    }
    kept + rest
}

/// A word with its contraction written out.
fn expanded(word: &str) -> String {
    let replaced = |pairs: &[(&str, &str)], word: &str| {
        pairs
            .iter()
            .find(|(short, _)| *short == word)
            .map(|(_, long)| (*long).to_owned())
    };
    if let Some(whole) = replaced(&CONTRACTIONS, word).or_else(|| replaced(&TITLES, word)) {
        return whole;
    }
    let ending = ENDINGS
        .iter()
        .find_map(|(short, long)| Some((word.strip_suffix(short)?, long)));
    match ending {
        Some((stem, long)) if !stem.is_empty() => format!("{stem}{long}"),
        _ => word.to_owned(),
    }
}

/// The words of what stands between spaces: letters without accents, numbers in words.
fn parts(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut currency = None;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first.is_ascii_digit() {
            rest = number(rest, &mut words);
            words.extend(currency.take().map(str::to_owned));
        } else if first.is_alphabetic() {
            let end = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
            words.push(rest[..end].chars().map(without_accent).collect());
            rest = &rest[end..];
        } else {
            match first {
                '$' => currency = Some("dollars"),
                '£' => currency = Some("pounds"),
                '€' => currency = Some("euros"),
                '%' => words.push("percent".into()),
                _ => {}
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    words
}

/// Reads the number at the start of `text` into `words`; gives what follows.
fn number<'a>(text: &'a str, words: &mut Vec<String>) -> &'a str {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let mut whole = text[..digits(text)].to_owned();
    let mut rest = &text[whole.len()..];
    // Groups of thousands: 1,234,567.
    while let Some(group) = rest.strip_prefix(',').filter(|group| digits(group) == 3) {
        whole.push_str(&group[..3]);
        rest = &group[3..];
    }
    if let Some(after) = ["st", "nd", "rd", "th"]
        .iter()
        .find_map(|ending| rest.strip_prefix(ending))
        && !after.starts_with(char::is_alphabetic)
    {
        words.extend(numbers::ordinal(&whole));
        return after;
    }
    words.extend(numbers::cardinal(&whole).into_iter().map(str::to_owned));
    match rest.strip_prefix('.') {
        Some(fraction) if digits(fraction) > 0 => {
            let end = digits(fraction);
            words.push("point".into());
            words.extend(numbers::spell(&fraction[..end]).into_iter().map(str::to_owned));
            &fraction[end..]
        }
        _ => rest,
    }
}

/// "one hundred and five" is "one hundred five".
fn without_and_in_numbers(words: Vec<String>) -> Vec<String> {
    let inside = |index: usize| {
        index > 0
            && numbers::takes_and(&words[index - 1])
            && words.get(index + 1).is_some_and(|word| numbers::is_number_word(word))
    };
    let kept = words
        .iter()
        .enumerate()
        .filter(|(index, word)| *word != "and" || !inside(*index));
    kept.map(|(_, word)| word.clone()).collect()
}

/// The letter under the accents of western European languages.
fn without_accent(letter: char) -> char {
    match letter {
        'à'..='å' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'è'..='ë' | 'ē' | 'ė' | 'ę' | 'ě' => 'e',
        'ì'..='ï' | 'ī' | 'į' => 'i',
        'ñ' | 'ń' | 'ň' => 'n',
        'ò'..='ö' | 'ø' | 'ō' | 'ő' => 'o',
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => 'u',
        'ý' | 'ÿ' => 'y',
        'ś' | 'š' | 'ş' => 's',
        'ź' | 'ž' | 'ż' => 'z',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ways_to_write_the_same_become_one() {
        for (text, words) in [
            ("Seven, three. OH five!", "seven three oh five"),
            ("7 3 0 5", "seven three zero five"),
            ("twenty-five", "twenty five"),
            ("25", "twenty five"),
            (
                "1,234 and 3.14",
                "one thousand two hundred thirty four and three point one four",
            ),
            ("one hundred and five", "one hundred five"),
            ("salt and pepper", "salt and pepper"),
            ("the 21st of May", "the twenty first of may"),
            ("$20, 5% and £3", "twenty dollars five percent and three pounds"),
            ("I'm sure they don't; he's late", "i am sure they do not he is late"),
            ("we won’t", "we will not"),
            ("[music] so (laughs) um, café <unk>", "so cafe"),
            ("a ( b", "a b"),
            ("7-3-5", "seven three five"),
            ("B2B", "b two b"),
            (" \n ", ""),
        ] {
            assert_eq!(normalise(text), words, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_words_and_normalised_words_stay(text in ".{0,200}") {
            let once = normalise(&text);
            prop_assert!(!once.contains("  ") && once.trim() == once);
            prop_assert!(once.chars().all(|c| c == ' ' || c.is_alphabetic()), "{once:?}");
        }
    }
}
