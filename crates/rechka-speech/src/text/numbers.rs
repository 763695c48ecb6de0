//! Numbers as English words.

const UNITS: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 10] = [
    "", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
];
const THOUSANDS: [&str; 4] = ["", "thousand", "million", "billion"];

/// The words of a number written in digits. What starts with a zero or is longer than anyone says as one number, such as a
/// telephone number, is spelled digit by digit.
pub(super) fn cardinal(digits: &str) -> Vec<&'static str> {
    let spelled = digits.len() > 12 || (digits.len() > 1 && digits.starts_with('0'));
    match digits.parse() {
        Ok(number) if !spelled => cardinal_of(number),
        _ => spell(digits),
    }
}

/// The digits, one by one.
pub(super) fn spell(digits: &str) -> Vec<&'static str> {
    digits
        .chars()
        .filter_map(|digit| Some(UNITS[digit.to_digit(10)? as usize]))
        .collect()
}

/// The words of an ordinal written in digits, `21` of "21st".
pub(super) fn ordinal(digits: &str) -> Vec<String> {
    let mut words: Vec<String> = cardinal(digits).into_iter().map(str::to_owned).collect();
    if let Some(last) = words.last_mut() {
        *last = match last.as_str() {
            "one" => "first".into(),
            "two" => "second".into(),
            "three" => "third".into(),
            "five" => "fifth".into(),
            "eight" => "eighth".into(),
            "nine" => "ninth".into(),
            "twelve" => "twelfth".into(),
            tens if tens.ends_with('y') => format!("{}ieth", &tens[..tens.len() - 1]),
            other => format!("{other}th"),
        };
    }
    words
}

/// Whether a word is part of a spoken number.
pub(super) fn is_number_word(word: &str) -> bool {
    word == "hundred" || UNITS.contains(&word) || TENS[2..].contains(&word) || THOUSANDS[1..].contains(&word)
}

/// Whether "and" may follow a word inside a number: "one hundred and five".
pub(super) fn takes_and(word: &str) -> bool {
    word == "hundred" || THOUSANDS[1..].contains(&word)
}

fn cardinal_of(number: u64) -> Vec<&'static str> {
    if number == 0 {
        return vec![UNITS[0]];
    }
    let mut words = Vec::new();
    for (power, thousand) in THOUSANDS.iter().enumerate().rev() {
        let group = (number / 1_000_u64.pow(power as u32) % 1_000) as usize;
        if group == 0 {
            continue;
        }
        if group >= 100 {
            words.extend([UNITS[group / 100], "hundred"]);
        }
        match group % 100 {
            0 => {}
            below_twenty @ 1..20 => words.push(UNITS[below_twenty]),
            rest => {
                words.push(TENS[rest / 10]);
                if rest % 10 > 0 {
                    words.push(UNITS[rest % 10]);
                }
            }
        }
        if power > 0 {
            words.push(thousand);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cardinals_are_said_as_one_says_them() {
        for (digits, words) in [
            ("0", "zero"),
            ("13", "thirteen"),
            ("40", "forty"),
            ("105", "one hundred five"),
            ("2024", "two thousand twenty four"),
            ("1000000", "one million"),
            (
                "999999999999",
                "nine hundred ninety nine billion nine hundred ninety nine million nine hundred ninety nine thousand nine hundred ninety nine",
            ),
            ("007", "zero zero seven"),
        ] {
            assert_eq!(cardinal(digits).join(" "), words);
        }
        assert_eq!(cardinal("5551234567890").len(), 13);
    }

    #[test]
    fn ordinals_end_as_they_should() {
        for (digits, words) in [
            ("1", "first"),
            ("12", "twelfth"),
            ("20", "twentieth"),
            ("23", "twenty third"),
            ("100", "one hundredth"),
        ] {
            assert_eq!(ordinal(digits).join(" "), words);
        }
    }
}
