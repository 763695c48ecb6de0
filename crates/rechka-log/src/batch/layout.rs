//! Where the columns of an encoded batch lie, and the one check that they are sound.
use super::{MAX_BATCH_BYTES, header};

/// Bytes of the footer.
pub(super) const FOOTER: usize = 20;
/// Flag of the footer: the batch has keys.
pub(super) const HAS_KEYS: u32 = 1;
/// Flag of the footer: the batch has headers.
pub(super) const HAS_HEADERS: u32 = 2;

/// Positions in an encoded batch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Layout {
    /// Number of records.
    pub records: usize,
    /// Length of the values, which start at 0.
    pub values: usize,
    pub timestamps: usize,
    pub value_offsets: usize,
    pub keys: Option<Keys>,
    pub headers: Option<HeaderColumn>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Keys {
    pub offsets: usize,
    pub validity: usize,
    pub bytes: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct HeaderColumn {
    pub offsets: usize,
    pub bytes: usize,
}

/// What the footer says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Footer {
    pub records: usize,
    pub values: usize,
    pub keys: usize,
    pub headers: usize,
    pub flags: u32,
}

/// The little-endian number at `at`, which is in bounds.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> usize {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number) as usize
}

impl Layout {
    /// Positions as the footer implies them, and the length of the whole batch.
    pub(super) fn of(footer: Footer) -> (Self, usize) {
        let offsets = 4 * (footer.records + 1);
        let timestamps = footer.values.next_multiple_of(8);
        let value_offsets = timestamps + 8 * footer.records;
        let mut at = value_offsets + offsets;
        let keys = (footer.flags & HAS_KEYS != 0).then(|| {
            let validity = at + offsets;
            let bytes = validity + footer.records.div_ceil(8);
            let keys = Keys {
                offsets: at,
                validity,
                bytes,
            };
            at = bytes + footer.keys;
            keys
        });
        let headers = (footer.flags & HAS_HEADERS != 0).then(|| {
            let bytes = at + offsets;
            let headers = HeaderColumn { offsets: at, bytes };
            at = bytes + footer.headers;
            headers
        });
        let layout = Self {
            records: footer.records,
            values: footer.values,
            timestamps,
            value_offsets,
            keys,
            headers,
        };
        (layout, at + FOOTER)
    }

    /// Reads the footer and checks that every position that it and the columns imply is in bounds.
    pub(super) fn parse(encoded: &[u8]) -> Result<Self, &'static str> {
        if encoded.len() > MAX_BATCH_BYTES {
            return Err("larger than a batch may be");
        }
        let Some(at) = encoded.len().checked_sub(FOOTER) else {
            return Err("shorter than its footer");
        };
        let footer = Footer {
            records: u32_at(encoded, at),
            values: u32_at(encoded, at + 4),
            keys: u32_at(encoded, at + 8),
            headers: u32_at(encoded, at + 12),
            flags: u32_at(encoded, at + 16) as u32,
        };
        if footer.flags & !(HAS_KEYS | HAS_HEADERS) != 0
            || (footer.flags & HAS_KEYS == 0 && footer.keys != 0)
            || (footer.flags & HAS_HEADERS == 0 && footer.headers != 0)
        {
            return Err("unknown flags");
        }
        let (layout, length) = Self::of(footer);
        if length != encoded.len() {
            return Err("its length is not what its footer says");
        }
        let sound = |at: usize, end: usize| {
            let mut last = 0;
            let offsets = encoded[at..at + 4 * (footer.records + 1)].chunks_exact(4);
            let mut monotone = u32_at(encoded, at) == 0;
            for offset in offsets {
                let offset = u32_at(offset, 0);
                monotone &= last <= offset;
                last = offset;
            }
            monotone && last == end
        };
        if !sound(layout.value_offsets, footer.values) {
            return Err("value offsets out of order");
        }
        if let Some(keys) = layout.keys
            && !sound(keys.offsets, footer.keys)
        {
            return Err("key offsets out of order");
        }
        if let Some(headers) = layout.headers {
            if !sound(headers.offsets, footer.headers) {
                return Err("header offsets out of order");
            }
            for record in 0..footer.records {
                let at = headers.offsets + 4 * record;
                let span = u32_at(encoded, at)..u32_at(encoded, at + 4);
                if !header::valid(&encoded[headers.bytes..][span]) {
                    return Err("malformed headers");
                }
            }
        }
        Ok(layout)
    }
}
