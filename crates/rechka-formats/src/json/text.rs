//! Strings of JSON.

/// What stands between the quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    pub(super) raw: &'a [u8],
    /// Whether it has escapes; they are well-formed, except that surrogates may lack their other half.
    pub(super) escaped: bool,
}

impl<'a> Text<'a> {
    /// The text itself, in `scratch` if it has escapes.
    #[inline]
    pub(super) fn unescaped<'s>(self, scratch: &'s mut Vec<u8>) -> Result<&'s [u8], String>
    where
        'a: 's,
    {
        match self.escaped {
            false => Ok(self.raw),
            true => {
                scratch.clear();
                unescape(self.raw, scratch).ok_or("half of a surrogate pair (\\u) without the other")?;
                Ok(scratch)
            }
        }
    }
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The high bit of every byte that ends a run of plain text: a quote, a backslash, a control character. Bits above the lowest one
/// may be wrong ("Determine if a word has a byte less than n", Anderson, Bit Twiddling Hacks).
#[inline]
fn special(word: u64) -> u64 {
    let quote = (word ^ (ONES * b'"' as u64)).wrapping_sub(ONES);
    let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    let control = word.wrapping_sub(ONES * 0x20);
    // Bytes that are not ASCII have their high bit from the start, and are none of these.
    (quote | backslash | control) & !word & HIGH
}

/// Where the string that starts at `at` (behind its quote) ends, and whether it has escapes; or where it is wrong, and why.
#[inline]
pub(super) fn string_end(bytes: &[u8], mut at: usize) -> Result<(usize, bool), (usize, &'static str)> {
    let mut escaped = false;
    loop {
        while let Some((word, _)) = bytes[at..].split_first_chunk() {
            let special = special(u64::from_le_bytes(*word));
            if special != 0 {
                at += special.trailing_zeros() as usize / 8;
                break;
            }
            at += 8;
        }
        match bytes.get(at) {
            Some(b'"') => return Ok((at, escaped)),
            Some(b'\\') => {
                escaped = true;
                at = escape_end(bytes, at)?;
            }
            Some(0..0x20) => return Err((at, "a control character in a string")),
            Some(_) => at += 1,
            None => return Err((at, "expected the end of a string")),
        }
    }
}

/// Writes a string with its quotes.
#[inline]
pub(super) fn write_string(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    out.push(b'"');
    let (mut written, mut at) = (0, 0);
    while at < bytes.len() {
        if let Some((word, _)) = bytes[at..].split_first_chunk() {
            let special = special(u64::from_le_bytes(*word));
            if special == 0 {
                at += 8;
                continue;
            }
            at += special.trailing_zeros() as usize / 8;
        }
        if matches!(bytes[at], b'"' | b'\\' | 0..0x20) {
            out.extend_from_slice(&bytes[written..at]);
            escape(bytes[at], out);
            written = at + 1;
        }
        at += 1;
    }
    out.extend_from_slice(&bytes[written..]);
    out.push(b'"');
}

#[cold]
fn escape(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => {
            let digit = |nibble: u8| char::from_digit(nibble.into(), 16).map_or(b'0', |digit| digit as u8);
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

#[cold]
fn escape_end(bytes: &[u8], at: usize) -> Result<usize, (usize, &'static str)> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u')
            if bytes
                .get(at + 2..at + 6)
                .is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) =>
        {
            Ok(at + 6)
        }
        _ => Err((at, "not an escape")),
    }
}

/// Writes the text of a string with well-formed escapes; `None` if a surrogate stands alone.
#[cold]
fn unescape(mut raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
    while let Some(at) = raw.iter().position(|&byte| byte == b'\\') {
        out.extend_from_slice(&raw[..at]);
        let (escape, rest) = raw[at + 1..].split_first()?;
        raw = rest;
        let byte = match escape {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (mut units, mut length) = (vec![unit(raw)?], 4);
                if char::decode_utf16(units.iter().copied()).any(|c| c.is_err()) && raw[4..].starts_with(b"\\u") {
                    units.push(unit(&raw[6..])?);
                    length = 10;
                }
                for c in char::decode_utf16(units) {
                    out.extend_from_slice(c.ok()?.encode_utf8(&mut [0; 4]).as_bytes());
                }
                raw = &raw[length..];
                continue;
            }
            &other => other,
        };
        out.push(byte);
    }
    out.extend_from_slice(raw);
    Some(())
}

/// The four hexadecimal digits that come first.
fn unit(raw: &[u8]) -> Option<u16> {
    let digits = std::str::from_utf8(raw.get(..4)?).ok()?;
    u16::from_str_radix(digits, 16).ok()
}
