//! Times as text and as numbers.
use arrow::{
    array::timezone::Tz,
    compute::kernels::cast_utils::string_to_datetime,
    datatypes::{DataType, TimeUnit},
};

/// How many of the unit a second has.
pub(crate) fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// How instants of one column are read.
#[derive(Clone, Debug)]
pub(crate) struct Instants {
    unit: TimeUnit,
    /// The zone of text that names none; UTC if `None`.
    zone: Option<Tz>,
}

impl Instants {
    /// For a column of this type; `None` if it is no timestamp, or its zone is unknown.
    pub(crate) fn of(data_type: &DataType) -> Option<Self> {
        let DataType::Timestamp(unit, zone) = data_type else {
            return None;
        };
        let zone = match zone.as_deref() {
            None | Some("UTC" | "+00:00" | "Z") => None,
            Some(zone) => Some(zone.parse().ok()?),
        };
        Some(Self { unit: *unit, zone })
    }

    /// ISO 8601 text, in units since 1970.
    #[inline]
    pub(crate) fn parse(&self, text: &[u8]) -> Option<i64> {
        let (seconds, nanos) = match plain(text) {
            Some((seconds, nanos, zulu)) if zulu || self.zone.is_none() => (seconds, nanos),
            _ => self.parse_any(text)?,
        };
        self.scaled(seconds, nanos)
    }

    /// Milliseconds since 1970, in units.
    #[inline]
    pub(crate) fn of_millis(&self, millis: i64) -> Option<i64> {
        match self.unit {
            TimeUnit::Millisecond => Some(millis),
            _ => self.scaled(millis.div_euclid(1_000), millis.rem_euclid(1_000) as u32 * 1_000_000),
        }
    }

    /// In units of which a second has so many, in units of the column.
    pub(crate) fn of_units(&self, value: i64, per_second: i64) -> Option<i64> {
        let nanos = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
        self.scaled(value.div_euclid(per_second), nanos as u32)
    }

    /// Seconds since 1970 and what is more, in units.
    pub(crate) fn scaled(&self, seconds: i64, nanos: u32) -> Option<i64> {
        let per_second = per_second(self.unit);
        let nanos_each = (1_000_000_000 / per_second) as u32;
        // Before 1970 the seconds are negative and the fraction still counts upwards.
        let whole = i128::from(seconds) * i128::from(per_second) + i128::from(nanos / nanos_each);
        i64::try_from(whole).ok()
    }

    /// With offsets, names of zones, and all else that Arrow reads.
    #[cold]
    fn parse_any(&self, text: &[u8]) -> Option<(i64, u32)> {
        let text = std::str::from_utf8(text).ok()?;
        let zone = match self.zone {
            Some(zone) => zone,
            None => "+00:00".parse().ok()?,
        };
        let time = string_to_datetime(&zone, text).ok()?;
        Some((time.timestamp(), time.timestamp_subsec_nanos()))
    }
}

/// `YYYY-MM-DD HH:MM:SS` with `T` for the space, with a fraction, with `Z`: seconds since 1970, nanoseconds, whether it said `Z`.
/// Anything else is `None`, also what only a calendar can refuse or explain (a leap second).
#[inline]
fn plain(text: &[u8]) -> Option<(i64, u32, bool)> {
    let (clock, rest) = text.split_first_chunk::<19>()?;
    let digit = |at: usize| match clock[at].wrapping_sub(b'0') {
        digit @ 0..=9 => Some(u32::from(digit)),
        _ => None,
    };
    let two = |at: usize| Some(digit(at)? * 10 + digit(at + 1)?);
    let marks = [clock[4], clock[7], clock[13], clock[16]] == *b"--::" && matches!(clock[10], b' ' | b'T');
    let (year, month, day) = (two(0)? * 100 + two(2)?, two(5)?, two(8)?);
    let (hour, minute, second) = (two(11)?, two(14)?, two(17)?);
    if !marks
        || month == 0
        || month > 12
        || day == 0
        || day > days_in(year, month)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    let (rest, zulu) = match rest {
        [rest @ .., b'Z'] => (rest, true),
        rest => (rest, false),
    };
    let nanos = match rest {
        [] => 0,
        [b'.', fraction @ ..] if (1..=9).contains(&fraction.len()) => {
            let mut nanos = 0;
            for &byte in fraction {
                let digit = byte.wrapping_sub(b'0');
                if digit > 9 {
                    return None;
                }
                nanos = nanos * 10 + u32::from(digit);
            }
            nanos * 10_u32.pow(9 - fraction.len() as u32)
        }
        _ => return None,
    };
    let of_day = hour * 3_600 + minute * 60 + second;
    Some((
        days_since_1970(year, month, day) * 86_400 + i64::from(of_day),
        nanos,
        zulu,
    ))
}

/// A time to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instant {
    /// Since 1970.
    seconds: i64,
    nanos: u32,
    /// Digits of the fraction that the unit has.
    digits: u32,
    /// Whether it is a point in time (then it is written in UTC) or what a clock somewhere shows.
    zoned: bool,
}

impl Instant {
    #[inline]
    pub(crate) fn new(value: i64, unit: TimeUnit, zoned: bool) -> Self {
        let per_second = per_second(unit);
        let nanos = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
        Self {
            seconds: value.div_euclid(per_second),
            nanos: nanos as u32,
            digits: per_second.ilog10(),
            zoned,
        }
    }

    /// Seconds since 1970 and nanoseconds.
    pub(crate) fn point(self) -> (i64, u32) {
        (self.seconds, self.nanos)
    }

    /// Since 1970, in units of which a second has so many.
    pub(crate) fn in_units(self, per_second: i64) -> i128 {
        i128::from(self.seconds) * i128::from(per_second)
            + i128::from(self.nanos) / (1_000_000_000 / i128::from(per_second))
    }

    /// Whether ISO 8601 can say it without further agreement: the years 0 to 9999.
    pub(crate) fn in_years_of_four_digits(self) -> bool {
        (-62_167_219_200..253_402_300_800).contains(&self.seconds)
    }

    /// Writes `YYYY-MM-DDTHH:MM:SS`, the fraction if there is one, `Z` if it has a zone. Only for years of four digits.
    #[inline]
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        let (year, month, day) = date(self.seconds.div_euclid(86_400));
        let of_day = self.seconds.rem_euclid(86_400) as u32;
        let mut text = *b"0000-00-00T00:00:00.000000000Z";
        let mut put = |at: usize, count: usize, mut number: u32| {
            for place in text[at..at + count].iter_mut().rev() {
                *place = b'0' + (number % 10) as u8;
                number /= 10;
            }
        };
        put(0, 4, year);
        put(5, 2, month);
        put(8, 2, day);
        put(11, 2, of_day / 3_600);
        put(14, 2, of_day / 60 % 60);
        put(17, 2, of_day % 60);
        let mut length = 19;
        if self.nanos > 0 {
            put(20, self.digits as usize, self.nanos / 10_u32.pow(9 - self.digits));
            length += 1 + self.digits as usize;
        }
        if self.zoned {
            text[length] = b'Z';
            length += 1;
        }
        out.extend_from_slice(&text[..length]);
    }
}

fn days_in(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of the Gregorian calendar (Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`).
fn days_since_1970(year: u32, month: u32, day: u32) -> i64 {
    let year = i64::from(year) - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * (i64::from(month) + if month > 2 { -3 } else { 9 }) + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day (the same source, `civil_from_days`).
fn date(days_since_1970: i64) -> (u32, u32, u32) {
    let days = days_since_1970 + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_based = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_based + 2) / 5 + 1;
    let month = if march_based < 10 {
        march_based + 3
    } else {
        march_based - 9
    };
    (
        (year + era * 400 + i64::from(month <= 2)) as u32,
        month as u32,
        day as u32,
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn millis(zone: Option<&str>) -> Instants {
        Instants::of(&DataType::Timestamp(TimeUnit::Millisecond, zone.map(Into::into))).unwrap()
    }

    #[test]
    fn all_spellings_of_a_time_are_the_same_time() {
        for text in [
            "2026-11-20 13:00:00.250",
            "2026-11-20T13:00:00.250",
            "2026-11-20T13:00:00.25Z",
            "2026-11-20T13:00:00.250000999Z",
            "2026-11-20T15:00:00.250+02:00",
        ] {
            assert_eq!(millis(None).parse(text.as_bytes()), Some(1_795_179_600_250), "{text}");
        }
    }

    #[test]
    fn text_without_zone_is_in_the_zone_of_the_column() {
        let moscow = millis(Some("+03:00"));
        assert_eq!(moscow.parse(b"2026-11-20 13:00:00"), Some(1_795_168_800_000));
        assert_eq!(moscow.parse(b"2026-11-20T13:00:00Z"), Some(1_795_179_600_000));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "2026-02-29 00:00:00",
            "2026-11-20 24:00:00",
            "2026-11-20 13:00:00.",
            "2026-11-20 13:00:00.x",
        ] {
            assert_eq!(millis(None).parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_time_that_the_unit_cannot_count_is_refused() {
        let nanos = Instants::of(&DataType::Timestamp(TimeUnit::Nanosecond, None)).unwrap();
        assert_eq!(nanos.parse(b"9999-01-01 00:00:00"), None);
        assert_eq!(nanos.of_millis(i64::MAX), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same_time(value in any::<i64>(), unit in 0_usize..4, zoned: bool) {
            let unit = [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond][unit];
            let instant = Instant::new(value, unit, zoned);
            prop_assume!(instant.in_years_of_four_digits());
            let mut text = Vec::new();
            instant.write(&mut text);
            let instants = Instants::of(&DataType::Timestamp(unit, None)).unwrap();
            prop_assert_eq!(instants.parse(&text), Some(value));
        }

        #[test]
        fn the_short_way_agrees_with_arrow(text in "[12][0-9]{3}-[01][0-9]-[0-3][0-9][ T][0-2][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?Z?") {
            let instants = millis(None);
            let other = instants.parse_any(text.as_bytes()).and_then(|(seconds, nanos)| instants.scaled(seconds, nanos));
            prop_assert_eq!(instants.parse(text.as_bytes()), other);
        }
    }
}
