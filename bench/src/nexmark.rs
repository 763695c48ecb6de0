//! Nexmark's events: the auction house that the field measures itself with.
//!
//! Ids, ratios, hot keys, prices and lengths of fields are those of the published generator (nexmark/nexmark: `GeneratorConfig`,
//! `PersonGenerator`, `AuctionGenerator`, `BidGenerator`). Two deliberate differences: [`COLD_CHANNELS`] (its own: 10,000), so that a
//! query per channel has few groups, and [`ACTIVE_PEOPLE`] (its own: 1,000), so that a query per bidder has many.
//!
//! Event `n` happens `n` / [`EVENTS_PER_SECOND`] seconds after 2026-01-01, so a window of 10 s holds 100,000 events, 92,000 of them bids.
//! One in ten is up to 2 s older than that: watermarks of 4 s leave nothing out.
use std::io::Write;

use anyhow::Result;
use rechka_log::{Append, BatchBuilder, Log, TopicPartition, TopicSpec};

use crate::Random;

/// Of event time.
pub const EVENTS_PER_SECOND: u64 = 10_000;
/// Channels that the half of the bids come from which is not on a hot one.
pub const COLD_CHANNELS: u64 = 100;
/// People who bid and sell at a time.
pub const ACTIVE_PEOPLE: u64 = 10_000;

/// 2026-01-01 00:00:00 UTC, in milliseconds since 1970.
const START: i64 = 1_767_225_600_000;
const FIRST_PERSON: u64 = 1_000;
const FIRST_AUCTION: u64 = 1_000;
const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];
const CITIES: [&str; 10] = [
    "Phoenix",
    "Los Angeles",
    "San Francisco",
    "Boise",
    "Portland",
    "Bend",
    "Redmond",
    "Seattle",
    "Kent",
    "Cheyenne",
];
const FIRST_NAMES: [&str; 11] = [
    "Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter",
];
const LAST_NAMES: [&str; 9] = [
    "Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris",
];
const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];

/// What an event is about; of 50, one is a person, three are auctions, 46 are bids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Somebody registered.
    Person,
    /// Something is for sale.
    Auction,
    /// Somebody offers a price.
    Bid,
}

impl Stream {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Person, Self::Auction, Self::Bid];

    /// Its topic.
    pub fn topic(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Auction => "auction",
            Self::Bid => "bid",
        }
    }
}

/// Makes the events, always the same for a seed.
#[derive(Clone, Debug)]
pub struct Nexmark {
    random: Random,
    /// Name and URL.
    channels: Vec<(String, String)>,
    event: u64,
}

impl Nexmark {
    /// From the first event on.
    pub fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let channels = (0..HOT_CHANNELS.len() as u64 + COLD_CHANNELS).map(|index| {
            let mut url = b"https://www.nexmark.com/".to_vec();
            for _ in 0..3 {
                random.letters(5, &mut url);
                url.push(b'/');
            }
            let url = String::from_utf8_lossy(&url).into_owned() + "item.htm?query=1";
            match HOT_CHANNELS.get(index as usize) {
                Some(hot) => ((*hot).to_owned(), url),
                None => {
                    let id = random.below(1 << 31);
                    (format!("channel-{}", index - 4), format!("{url}&channel_id={id}"))
                }
            }
        });
        Self {
            channels: channels.collect(),
            random,
            event: 0,
        }
    }

    /// Appends the next event to `out` as JSON; says of which stream it is, and when it happened in milliseconds since 1970.
    pub fn next_event(&mut self, out: &mut Vec<u8>) -> (Stream, i64) {
        let mut at = START + (self.event * 1_000 / EVENTS_PER_SECOND) as i64;
        if self.random.below(10) == 0 {
            at = START.max(at - self.random.below(2_000) as i64);
        }
        let stream = match self.event % 50 {
            0 => Stream::Person,
            1..=3 => Stream::Auction,
            _ => Stream::Bid,
        };
        // Writing to a vector does not fail.
        let _ = match stream {
            Stream::Person => self.person(out, at),
            Stream::Auction => self.auction(out, at),
            Stream::Bid => self.bid(out, at),
        };
        self.event += 1;
        (stream, at)
    }

    fn last_person(&self) -> u64 {
        self.event / 50
    }

    fn last_auction(&self) -> u64 {
        let (round, place) = (self.event / 50, self.event % 50);
        match place {
            0 => (round * 3).saturating_sub(1),
            _ => round * 3 + (place - 1).min(2),
        }
    }

    fn active_person(&mut self) -> u64 {
        let people = self.last_person() + 1;
        let active = people.min(ACTIVE_PEOPLE);
        people - active + self.random.below(active + 10)
    }

    fn open_auction(&mut self) -> u64 {
        let last = self.last_auction();
        let first = last.saturating_sub(100);
        first + self.random.below(last - first + 1 + 10)
    }

    fn price(&mut self) -> u64 {
        let unit = (self.random.bits() >> 11) as f64 / (1_u64 << 53) as f64;
        (10_f64.powf(unit * 6.0) * 100.0).round() as u64
    }

    /// Text that brings a record of `have` bytes to about `want`, by the generator's own way of counting.
    fn extra(&mut self, out: &mut Vec<u8>, have: u64, want: u64) {
        let base = want - have;
        let spread = base / 5;
        let length = base - spread + self.random.below(2 * spread);
        self.random.letters(length, out);
    }

    fn one_of(&mut self, names: &[&'static str]) -> &'static str {
        names[self.random.below(names.len() as u64) as usize]
    }

    fn person(&mut self, out: &mut Vec<u8>, at: i64) -> std::io::Result<()> {
        let id = FIRST_PERSON + self.last_person();
        let (first, last) = (self.one_of(&FIRST_NAMES), self.one_of(&LAST_NAMES));
        write!(out, r#"{{"id":{id},"name":"{first} {last}","emailAddress":""#)?;
        self.random.letters(7, out);
        out.push(b'@');
        self.random.letters(5, out);
        let mut digits = || self.random.below(10_000);
        let card = [digits(), digits(), digits(), digits()];
        let card = card.map(|digits| format!("{digits:04}")).join(" ");
        let (city, state) = (self.one_of(&CITIES), self.one_of(&STATES));
        write!(
            out,
            r#".com","creditCard":"{card}","city":"{city}","state":"{state}","dateTime":"#
        )?;
        time(at, out)?;
        write!(out, r#","extra":""#)?;
        self.extra(out, 74, 200);
        out.extend_from_slice(b"\"}");
        Ok(())
    }

    fn auction(&mut self, out: &mut Vec<u8>, at: i64) -> std::io::Result<()> {
        let id = FIRST_AUCTION + self.last_auction();
        // Three of four are by the newest hot seller.
        let seller = FIRST_PERSON
            + match self.random.below(4) {
                0 => self.active_person(),
                _ => self.last_person() / 100 * 100,
            };
        write!(out, r#"{{"id":{id},"itemName":""#)?;
        self.random.letters(20, out);
        write!(out, r#"","description":""#)?;
        self.random.letters(100, out);
        let first = self.price();
        let reserve = first + self.price();
        // As long as about 100 auctions at a time need, uniform up to twice that.
        let horizon = (100 * 50 / 3 * 1_000 / EVENTS_PER_SECOND).max(1);
        let expires = at + 1 + self.random.below(2 * horizon) as i64;
        write!(out, r#"","initialBid":{first},"reserve":{reserve},"dateTime":"#)?;
        time(at, out)?;
        write!(out, r#","expires":"#)?;
        time(expires, out)?;
        let category = 10 + self.random.below(5);
        write!(out, r#","seller":{seller},"category":{category},"extra":""#)?;
        self.extra(out, 176, 500);
        out.extend_from_slice(b"\"}");
        Ok(())
    }

    fn bid(&mut self, out: &mut Vec<u8>, at: i64) -> std::io::Result<()> {
        // One of two is on the newest hot auction, three of four are by the newest hot bidder.
        let auction = FIRST_AUCTION
            + match self.random.below(2) {
                0 => self.open_auction(),
                _ => self.last_auction() / 100 * 100,
            };
        let bidder = FIRST_PERSON
            + match self.random.below(4) {
                0 => self.active_person(),
                _ => self.last_person() / 100 * 100 + 1,
            };
        let price = self.price();
        let channel = match self.random.below(2) {
            0 => HOT_CHANNELS.len() as u64 + self.random.below(COLD_CHANNELS),
            _ => self.random.below(HOT_CHANNELS.len() as u64),
        };
        let (channel, url) = &self.channels[channel as usize];
        write!(
            out,
            r#"{{"auction":{auction},"bidder":{bidder},"price":{price},"channel":"{channel}","url":"{url}","dateTime":"#
        )?;
        time(at, out)?;
        write!(out, r#","extra":""#)?;
        self.extra(out, 32, 100);
        out.extend_from_slice(b"\"}");
        Ok(())
    }
}

/// `"YYYY-MM-DD HH:MM:SS.mmm"`, for the days of January 2026.
fn time(at: i64, out: &mut Vec<u8>) -> std::io::Result<()> {
    let millis = at - START;
    let (day, hour) = (millis / 86_400_000 + 1, millis / 3_600_000 % 24);
    let (minute, second, millis) = (millis / 60_000 % 60, millis / 1_000 % 60, millis % 1_000);
    write!(
        out,
        "\"2026-01-{day:02} {hour:02}:{minute:02}:{second:02}.{millis:03}\""
    )
}

/// Bytes of values in one batch.
const BATCH_BYTES: usize = 512 << 10;
/// Appends under way at a time.
const UNDER_WAY: usize = 8;

/// Writes so many events to the topics `person`, `auction` and `bid`, of one partition each, which it creates.
/// Returns how many events went to each.
pub fn fill(log: &dyn Log, events: u64, seed: u64) -> Result<[u64; 3]> {
    for stream in Stream::ALL {
        log.create_topic(&TopicSpec::new(stream.topic(), 1))?;
    }
    let mut nexmark = Nexmark::new(seed);
    let mut builders = Stream::ALL.map(|_| (BatchBuilder::new(), 0));
    let mut counts = [0; 3];
    let mut under_way = std::collections::VecDeque::new();
    let mut value = Vec::new();
    let mut append = |stream: Stream, builder: &mut BatchBuilder| -> Result<()> {
        let batch = std::mem::take(builder).finish();
        let to = TopicPartition::new(stream.topic(), 0);
        under_way.push_back(log.append(vec![Append { to, batch }])?);
        if under_way.len() > UNDER_WAY
            && let Some(ack) = under_way.pop_front()
        {
            ack.wait()?;
        }
        Ok(())
    };
    for _ in 0..events {
        value.clear();
        let (stream, at) = nexmark.next_event(&mut value);
        let (builder, bytes) = &mut builders[stream as usize];
        builder.push(None, &value, at, &[])?;
        *bytes += value.len();
        counts[stream as usize] += 1;
        if *bytes > BATCH_BYTES {
            *bytes = 0;
            append(stream, builder)?;
        }
    }
    for (stream, (mut builder, bytes)) in Stream::ALL.into_iter().zip(builders) {
        if bytes > 0 {
            append(stream, &mut builder)?;
        }
    }
    for ack in under_way {
        ack.wait()?;
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn events_are_objects_in_the_published_ratio_with_times_near_their_place() {
        let (mut nexmark, mut counts) = (Nexmark::new(42), [0; 3]);
        for event in 0..5_000 {
            let mut json = Vec::new();
            let (stream, at) = nexmark.next_event(&mut json);
            let fields = serde_json::from_slice::<Value>(&json)
                .unwrap()
                .as_object()
                .unwrap()
                .len();
            assert_eq!(fields, [8, 10, 7][stream as usize]);
            counts[stream as usize] += 1;
            let due = START + event * 1_000 / EVENTS_PER_SECOND as i64;
            assert!((0..=2_000).contains(&(due - at)));
        }
        assert_eq!(counts, [100, 300, 4_600]);
    }

    #[test]
    fn a_seed_always_makes_the_same_events() {
        let events = |seed| {
            let (mut nexmark, mut json) = (Nexmark::new(seed), Vec::new());
            for _ in 0..1_000 {
                nexmark.next_event(&mut json);
            }
            json
        };
        assert_eq!(events(1), events(1));
        assert_ne!(events(1), events(2));
    }
}
