use super::*;

fn word(text: &str, start: f64, end: f64) -> Word {
    Word {
        word: text.into(),
        start,
        end,
        probability: 1.0,
    }
}

/// Words of 0.4 s every half second from `start`.
fn heard(start: f64, text: &str) -> Heard {
    let words = text.split_whitespace().enumerate();
    let words = words.map(|(i, text)| word(text, start + i as f64 * 0.5, start + i as f64 * 0.5 + 0.4));
    Heard {
        words: words.collect(),
        ..Heard::default()
    }
}

fn text(words: &[Word]) -> String {
    words
        .iter()
        .map(|word| word.word.as_str())
        .collect::<Vec<_>>()
        .join(" ")
}

fn agree(open: &mut OpenWords, start: f64, hypothesis: &str) -> (String, String) {
    open.update(Policy::LocalAgreement, &heard(start, hypothesis), false);
    (text(open.committed()), text(open.tentative()))
}

#[test]
fn what_two_hypotheses_agree_on_is_committed() {
    let mut open = OpenWords::default();
    assert_eq!(
        agree(&mut open, 0.0, "good mourning"),
        ("".into(), "good mourning".into())
    );
    assert_eq!(
        agree(&mut open, 0.0, "Good, morning to"),
        ("Good,".into(), "morning to".into())
    );
    assert_eq!(
        agree(&mut open, 0.0, "good morning to you"),
        ("Good, morning to".into(), "you".into())
    );
    assert_eq!(text(&open.finish()), "Good, morning to you");
}

#[test]
fn a_word_said_twice_is_kept_twice() {
    let mut open = OpenWords::default();
    agree(&mut open, 0.0, "three");
    agree(&mut open, 0.0, "three three");
    assert_eq!(
        agree(&mut open, 0.0, "three three three"),
        ("three three".into(), "three".into())
    );
}

#[test]
fn committed_words_heard_again_are_dropped() {
    let mut open = OpenWords::default();
    agree(&mut open, 0.0, "one two three");
    agree(&mut open, 0.0, "one two three");
    assert_eq!(text(&open.cut(1.4)), "one two three");
    // Too short to have been said again.
    let words = vec![word("three", 1.4, 1.55), word("four", 1.6, 2.0)];
    open.update(
        Policy::LocalAgreement,
        &Heard {
            words,
            ..Heard::default()
        },
        false,
    );
    assert_eq!(text(open.tentative()), "four");
}

#[test]
fn words_said_again_after_a_cut_are_kept() {
    let mut open = OpenWords::default();
    agree(&mut open, 0.0, "one two three");
    agree(&mut open, 0.0, "one two three");
    open.cut(1.4);
    assert_eq!(agree(&mut open, 1.5, "three four"), ("".into(), "three four".into()));
}

#[test]
fn words_that_begin_before_the_last_committed_one_ends_are_dropped() {
    let mut open = OpenWords::default();
    agree(&mut open, 0.0, "one two three");
    agree(&mut open, 0.0, "one two three");
    assert_eq!(
        agree(&mut open, 0.2, "won too free four"),
        ("one two three".into(), "four".into())
    );
}

#[test]
fn a_full_buffer_is_cut_at_a_committed_segment_end() {
    let mut open = OpenWords::default();
    let mut hypothesis = heard(0.0, "a b c d e f g h");
    hypothesis.segment_ends = vec![0.9, 1.9, 3.9];
    open.update(Policy::LocalAgreement, &hypothesis, false);
    hypothesis.words[6].word = "x".into();
    open.update(Policy::LocalAgreement, &hypothesis, false);
    assert_eq!(text(open.committed()), "a b c d e f");
    assert_eq!(open.cut_point(0.0..4.0, 3.0, &hypothesis), 1.9);
    // Not when too much would remain: then at the last committed word.
    assert_eq!(open.cut_point(0.0..4.0, 1.5, &hypothesis), 2.9);
    // Nor there: then half, between words.
    assert_eq!(open.cut_point(0.0..6.0, 3.0, &hypothesis), 2.9 + 0.1 * 1.0);
}

#[test]
fn a_buffer_in_which_nothing_is_committed_is_cut_in_half_between_words() {
    let mut open = OpenWords::default();
    let hypothesis = heard(0.0, "a b c d");
    open.update(Policy::LocalAgreement, &hypothesis, false);
    let at = open.cut_point(0.0..2.0, 1.5, &hypothesis);
    assert_eq!(at, 0.9);
    assert_eq!(text(&open.cut(at)), "a b");
    assert_eq!(text(open.tentative()), "c d");
    assert_eq!(OpenWords::default().cut_point(0.0..2.0, 1.5, &hypothesis), 1.0);
}

#[test]
fn align_att_commits_all_that_follows_what_it_committed() {
    let mut open = OpenWords::default();
    for (start, words) in [(0.0, "no no"), (1.0, ""), (1.0, "no")] {
        open.update(Policy::AlignAtt, &heard(start, words), false);
        assert_eq!(open.tentative(), []);
    }
    assert_eq!(text(open.committed()), "no no no");
}
