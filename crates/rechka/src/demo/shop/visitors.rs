//! The people in the shop, simulated: what they look at and buy, and what of that arrives when.
//!
//! Visitors come, click for a while at their own pace, and leave; some buy. How many come goes up and down every ten minutes. Now and
//! then something unusual happens for a minute: everybody wants one product, or the till is broken. What they do arrives a little later and
//! not in order; a few records minutes later, a few broken.
use std::{cmp::Reverse, collections::BinaryHeap};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::products::Product;

/// Where clicks go.
pub const EVENTS: &str = "user-events";
/// Where purchases go.
pub const PURCHASES: &str = "purchases";
/// Both.
pub const TOPICS: [&str; 2] = [EVENTS, PURCHASES];

/// Milliseconds from one ebb to the next.
const SEASON: f64 = 600_000.0;
/// Milliseconds from the start of something unusual to the next.
const UNUSUAL_EVERY: i64 = 420_000;
/// How long it lasts.
const UNUSUAL_FOR: i64 = 60_000;
/// Records that one visitor leaves, on average, as measured: sets how many come for a rate.
const RECORDS_PER_VISIT: f64 = 9.0;
const USERS: u32 = 5_000;

/// A record on its way to the log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival {
    /// When it arrives, in milliseconds since 1970.
    pub at: i64,
    /// When it happened.
    pub happened: i64,
    /// Its topic.
    pub topic: &'static str,
    /// Who did it: the key.
    pub user: u32,
    /// JSON, mostly.
    pub value: String,
}

/// Somebody who is about to do something at a time.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Visit {
    next: i64,
    user: u32,
    number: u64,
    clicks_left: u32,
    /// What is looked at, as an index.
    product: usize,
    bought: bool,
}

/// All arrivals for ever, in the order in which they arrive.
#[derive(Debug)]
pub struct Visitors {
    random: StdRng,
    products: Vec<Product>,
    rate: f64,
    start: i64,
    next_visit: i64,
    visits: BinaryHeap<Reverse<Visit>>,
    on_the_way: BinaryHeap<Reverse<Arrival>>,
    visit_count: u64,
    order_count: u64,
}

/// Something unusual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unusual {
    /// Everybody wants this product.
    Rush(usize),
    /// Nobody can buy.
    BrokenTill,
}

impl Visitors {
    /// From `start` (milliseconds since 1970) on, about `rate` records a second. The same seed makes the same visitors.
    pub fn new(products: Vec<Product>, seed: u64, start: i64, rate: f64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            products,
            rate,
            start,
            next_visit: start,
            visits: BinaryHeap::new(),
            on_the_way: BinaryHeap::new(),
            visit_count: 0,
            order_count: 0,
        }
    }

    fn unusual(&self, at: i64) -> Option<Unusual> {
        let since = at - self.start;
        let number = since / UNUSUAL_EVERY;
        if number == 0 || since % UNUSUAL_EVERY >= UNUSUAL_FOR {
            return None;
        }
        Some(match number % 2 {
            1 => Unusual::Rush(number as usize * 17 % self.products.len()),
            _ => Unusual::BrokenTill,
        })
    }

    fn arrive_visitor(&mut self) {
        let at = self.next_visit;
        // Few people come often.
        let user = (f64::from(USERS) * self.random.random::<f64>().powi(3)) as u32 + 1;
        let visit = Visit {
            next: at,
            user,
            number: self.visit_count,
            clicks_left: self.random.random_range(1..=15),
            product: self.choose_product(at),
            bought: false,
        };
        self.visits.push(Reverse(visit));
        self.visit_count += 1;
        let season = 1.0 + 0.5 * ((at - self.start) as f64 / SEASON * std::f64::consts::TAU).sin();
        let per_milli = self.rate / RECORDS_PER_VISIT / 1_000.0 * season;
        // Arrivals that do not know of each other are exponentially far apart.
        let gap = -(1.0 - self.random.random::<f64>()).ln() / per_milli;
        self.next_visit += gap.round() as i64;
    }

    fn choose_product(&mut self, at: i64) -> usize {
        match self.unusual(at) {
            Some(Unusual::Rush(product)) if self.random.random_bool(0.6) => product,
            // Some products are liked more than others.
            _ => (self.products.len() as f64 * self.random.random::<f64>().powi(2)) as usize,
        }
    }

    /// Lets the next visitor do the next thing.
    fn act(&mut self, mut visit: Visit) {
        let at = visit.next;
        let item = self.products[visit.product].item_id;
        let kind = match self.random.random_range(0..100) {
            0..10 => "search",
            10..25 => "cart",
            _ => "view",
        };
        let item_id = match kind {
            "search" => "null".to_owned(),
            _ => item.to_string(),
        };
        let value = format!(
            r#"{{"user_id":{},"session":"s{}","item_id":{item_id},"kind":"{kind}","ts":"{}"}}"#,
            visit.user,
            visit.number,
            timestamp(at)
        );
        self.send(EVENTS, visit.user, at, value);
        if kind == "cart" && !visit.bought && self.random.random_bool(0.6) {
            visit.bought = true;
            self.buy(&visit);
        }
        visit.clicks_left -= 1;
        if visit.clicks_left > 0 {
            visit.next += self.random.random_range(500..20_000);
            if kind != "cart" && self.random.random_bool(0.7) {
                visit.product = self.choose_product(visit.next);
            }
            self.visits.push(Reverse(visit));
        }
    }

    fn buy(&mut self, visit: &Visit) {
        let at = visit.next + self.random.random_range(3_000..60_000);
        if self.unusual(at) == Some(Unusual::BrokenTill) {
            return;
        }
        let Product { item_id, cents } = self.products[visit.product];
        self.order_count += 1;
        let value = format!(
            r#"{{"order_id":{},"user_id":{},"item_id":{item_id},"quantity":{},"price":{}.{:02},"ts":"{}"}}"#,
            self.order_count,
            visit.user,
            [1, 1, 1, 2, 3][self.random.random_range(0..5)],
            cents / 100,
            cents % 100,
            timestamp(at)
        );
        self.send(PURCHASES, visit.user, at, value);
    }

    fn send(&mut self, topic: &'static str, user: u32, happened: i64, mut value: String) {
        if self.random.random_bool(0.001) {
            value = match self.random.random_range(0..3) {
                0 => value[..value.len() / 2].to_owned(),
                1 => value.replace(":1", r#":"one"#),
                _ => "<html>502 Bad Gateway</html>".to_owned(),
            };
        }
        let delay = match self.random.random_bool(0.005) {
            true => self.random.random_range(60_000..180_000),
            false => self.random.random_range(0..3_000),
        };
        self.on_the_way.push(Reverse(Arrival {
            at: happened + delay,
            happened,
            topic,
            user,
            value,
        }));
    }
}

impl Iterator for Visitors {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        loop {
            let acts = self.visits.peek().map_or(i64::MAX, |Reverse(visit)| visit.next);
            let now = acts.min(self.next_visit);
            // Nothing that happens from now on arrives before this does.
            if self.on_the_way.peek().is_some_and(|Reverse(arrival)| arrival.at <= now) {
                return self.on_the_way.pop().map(|Reverse(arrival)| arrival);
            }
            match self.visits.pop() {
                Some(Reverse(visit)) if acts < self.next_visit => self.act(visit),
                visit => {
                    self.visits.extend(visit);
                    self.arrive_visitor();
                }
            }
        }
    }
}

/// `YYYY-MM-DD HH:MM:SS.mmm` in UTC (Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
fn timestamp(millis: i64) -> String {
    let days = millis.div_euclid(86_400_000) + 719_468;
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
    let year = year + era * 400 + i64::from(month <= 2);
    let of_day = millis.rem_euclid(86_400_000);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}.{:03}",
        of_day / 3_600_000,
        of_day / 60_000 % 60,
        of_day / 1_000 % 60,
        of_day % 1_000
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::{super::products::products, *};

    const START: i64 = 1_795_179_600_000;

    fn visitors(seed: u64) -> Visitors {
        Visitors::new(products().unwrap(), seed, START, 100.0)
    }

    #[test]
    fn a_seed_always_makes_the_same_visitors() {
        let arrivals = |seed| visitors(seed).take(2_000).collect::<Vec<_>>();
        assert_eq!(arrivals(1), arrivals(1));
        assert_ne!(arrivals(1), arrivals(2));
    }

    #[test]
    fn records_arrive_at_the_rate_and_in_order_of_arrival_but_not_of_time() {
        let arrivals: Vec<_> = visitors(1).take(120_000).collect();
        assert!(arrivals.is_sorted_by_key(|arrival| arrival.at));
        assert!(!arrivals.is_sorted_by_key(|arrival| arrival.happened));
        let seconds = (arrivals[119_999].at - START) as f64 / 1_000.0;
        let rate = 120_000.0 / seconds;
        assert!((80.0..120.0).contains(&rate), "{rate} records a second");
        let late = arrivals
            .iter()
            .filter(|arrival| arrival.at - arrival.happened >= 60_000)
            .count();
        assert!((300..900).contains(&late), "{late} late records");
    }

    #[test]
    fn few_records_are_broken_and_the_others_have_their_fields() {
        let mut broken = 0;
        for arrival in visitors(3).take(20_000) {
            let Ok(Value::Object(value)) = serde_json::from_str(&arrival.value) else {
                broken += 1;
                continue;
            };
            assert_eq!(timestamp(arrival.happened), value["ts"].as_str().unwrap());
            let fields = value.len();
            assert_eq!(fields, if arrival.topic == EVENTS { 5 } else { 6 });
        }
        assert!((5..60).contains(&broken), "{broken} broken records");
    }

    #[test]
    fn a_rush_and_a_broken_till_can_be_seen_in_the_figures() {
        let mut by_minute = BTreeMap::<i64, (u32, u32)>::new();
        for arrival in visitors(4).take_while(|arrival| arrival.at < START + 3 * UNUSUAL_EVERY) {
            let (clicks, purchases) = by_minute.entry((arrival.happened - START) / 60_000).or_default();
            let rush = arrival.topic == EVENTS && arrival.value.contains("\"item_id\":18,");
            *clicks += u32::from(rush);
            *purchases += u32::from(arrival.topic == PURCHASES);
        }
        let minute = |at: i64| by_minute[&(at / 60_000)];
        assert!(
            minute(UNUSUAL_EVERY).0 > 5 * minute(UNUSUAL_EVERY - 120_000).0,
            "{by_minute:?}"
        );
        assert_eq!(minute(2 * UNUSUAL_EVERY).1, 0, "{by_minute:?}");
        assert!(minute(2 * UNUSUAL_EVERY - 120_000).1 > 100, "{by_minute:?}");
    }
}
