//! Text out: subtitles, normalisation, word error.
