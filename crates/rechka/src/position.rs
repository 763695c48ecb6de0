//! Where reading begins: the value of `--from`.
use std::str::FromStr;

use rechka_log::{Offset, OffsetRange};

/// The value of `--from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// The earliest record kept.
    Earliest,
    /// After the last record.
    Latest,
    /// This offset.
    At(Offset),
}

impl FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            number => number
                .parse()
                .map(Self::At)
                .map_err(|_| "write earliest, latest or an offset such as 42".into()),
        }
    }
}

impl Position {
    /// The offset in a partition that holds `range`.
    pub fn offset(self, range: &OffsetRange) -> Offset {
        match self {
            Self::Earliest => range.start,
            Self::Latest => range.end,
            Self::At(offset) => offset.max(range.start),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_and_placed() {
        let range = 5..9;
        assert_eq!("earliest".parse::<Position>().unwrap().offset(&range), 5);
        assert_eq!("latest".parse::<Position>().unwrap().offset(&range), 9);
        assert_eq!("7".parse::<Position>().unwrap().offset(&range), 7);
        assert_eq!(
            "2".parse::<Position>().unwrap().offset(&range),
            5,
            "what is deleted can't be read"
        );
        assert!("yesterday".parse::<Position>().is_err());
    }
}
