//! Event time, as it is known at one place of a stage.
use serde::{Deserialize, Serialize};

/// What a source of rows says about its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Watermark {
    /// No row before this is expected any more: microseconds since 1970. `i64::MIN`: nothing is known; `i64::MAX`: the end.
    pub micros: i64,
    /// Nothing came for so long that nobody should wait for it.
    pub idle: bool,
}

impl Watermark {
    /// The source has never spoken.
    pub const UNKNOWN: Watermark = Watermark {
        micros: i64::MIN,
        idle: false,
    };
    /// The source has ended.
    pub const END: Watermark = Watermark {
        micros: i64::MAX,
        idle: false,
    };

    /// The watermark behind several sources: the least of those that are not idle; if all are, nobody needs to be waited
    /// for, and the greatest counts.
    pub fn combine(sources: impl IntoIterator<Item = Watermark>) -> Watermark {
        let (mut live, mut idle) = (None::<i64>, i64::MIN);
        for source in sources {
            match source.idle {
                true => idle = idle.max(source.micros),
                false => live = Some(live.map_or(source.micros, |least| least.min(source.micros))),
            }
        }
        Watermark {
            micros: live.unwrap_or(idle),
            idle: live.is_none(),
        }
    }

    /// Takes up what the source says now. Its watermark never goes back.
    pub fn advance(&mut self, to: Watermark) {
        self.micros = self.micros.max(to.micros);
        self.idle = to.idle;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(micros: i64) -> Watermark {
        Watermark { micros, idle: false }
    }

    fn idle(micros: i64) -> Watermark {
        Watermark { micros, idle: true }
    }

    #[test]
    fn the_least_source_that_is_not_idle_counts() {
        assert_eq!(Watermark::combine([live(5), live(3)]), live(3));
        assert_eq!(Watermark::combine([live(5), idle(3)]), live(5));
        assert_eq!(Watermark::combine([Watermark::UNKNOWN, live(3)]), Watermark::UNKNOWN);
        assert_eq!(Watermark::combine([idle(5), idle(3)]), idle(5));
        assert_eq!(Watermark::combine([Watermark::END, live(3)]), live(3));
    }

    #[test]
    fn a_source_that_speaks_again_does_not_turn_time_back() {
        let mut watermark = live(10);
        watermark.advance(idle(10));
        watermark.advance(live(4));
        assert_eq!(watermark, live(10));
    }
}
