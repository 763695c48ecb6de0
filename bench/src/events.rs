//! Deterministic input.
use std::io::Write;

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    fn letters(&mut self, count: u64, out: &mut Vec<u8>) {
        out.extend((0..count).map(|_| b'a' + self.below(26) as u8));
    }
}

/// Bids as JSON, 263 bytes on average: fields, ratios and field lengths as in the Nexmark generator's `BidGenerator`
/// (nexmark/nexmark), with 100 cold channels.
pub fn bids(count: u64, seed: u64) -> Vec<Vec<u8>> {
    let mut random = Random(seed);
    let channels: Vec<(String, String)> = (0..104)
        .map(|index| {
            let mut path = Vec::new();
            for _ in 0..3 {
                random.letters(5, &mut path);
                path.push(b'/');
            }
            let path = String::from_utf8_lossy(&path).into_owned();
            let url = format!("https://www.nexmark.com/{path}item.htm?query=1");
            match ["Google", "Facebook", "Baidu", "Apple"].get(index) {
                Some(hot) => ((*hot).to_owned(), url),
                None => {
                    let id = random.below(1 << 31);
                    (format!("channel-{}", index - 4), format!("{url}&channel_id={id}"))
                }
            }
        })
        .collect();
    (0..count)
        .map(|number| {
            let auction = 1000
                + if random.below(2) > 0 {
                    number / 1667 * 100
                } else {
                    (number * 3 / 50).saturating_sub(100) + random.below(110)
                };
            let bidder = 1000
                + if random.below(4) > 0 {
                    number / 5000 * 100 + 1
                } else {
                    random.below(10_000)
                };
            let price = (10_f64.powf(random.below(6_000_000) as f64 / 1e6) * 100.0) as u64;
            let hot = random.below(2) > 0;
            let channel = if hot { random.below(4) } else { 4 + random.below(100) };
            let (channel, url) = &channels[channel as usize];
            let (minute, second, millis) = (number / 600_000 % 60, number / 10_000 % 60, number / 10 % 1000);
            let mut bid = Vec::with_capacity(320);
            // Writing to a vector does not fail.
            let _ = write!(
                bid,
                "{{\"auction\":{auction},\"bidder\":{bidder},\"price\":{price},\"channel\":\"{channel}\",\"url\":\"{url}\",\
                 \"dateTime\":\"2026-01-01T00:{minute:02}:{second:02}.{millis:03}Z\",\"extra\":\""
            );
            let extra = 54 + random.below(28);
            random.letters(extra, &mut bid);
            bid.extend_from_slice(b"\"}");
            bid
        })
        .collect()
}

/// Bytes that do not compress, in records of 1000.
pub fn dense(count: u64, seed: u64) -> Vec<Vec<u8>> {
    let mut random = Random(seed);
    (0..count)
        .map(|_| (0..125).flat_map(|_| random.bits().to_le_bytes()).collect())
        .collect()
}
