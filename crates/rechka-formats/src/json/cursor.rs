//! Walking over JSON text.
use super::text::{Text, string_end};
use crate::column::Number;

/// Objects and lists inside each other, at most.
pub(super) const MAX_DEPTH: u32 = 128;

/// A place in the bytes of one record.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

pub(super) type Walked<T> = Result<T, String>;

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next byte that is not white space, without passing it; 0, which is never in its place in JSON, at the end.
    #[inline]
    pub(super) fn peek(&mut self) -> u8 {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(&byte) => return byte,
                None => return 0,
            }
        }
    }

    /// Passes the byte that was peeked.
    #[inline]
    pub(super) fn pass(&mut self) {
        self.at += 1;
    }

    /// Passes `byte`, which must come next.
    #[inline]
    pub(super) fn expect(&mut self, byte: u8) -> Walked<()> {
        if self.peek() != byte {
            return self.fail(&format!("expected '{}'", byte as char));
        }
        self.at += 1;
        Ok(())
    }

    /// There must be nothing more.
    pub(super) fn end(&mut self) -> Walked<()> {
        self.peek();
        match self.at == self.bytes.len() {
            true => Ok(()),
            false => self.fail("expected the end of the record"),
        }
    }

    /// A string, which must come next.
    #[inline]
    pub(super) fn string(&mut self) -> Walked<Text<'a>> {
        if self.peek() != b'"' {
            return self.fail("expected '\"'");
        }
        let start = self.at + 1;
        match string_end(self.bytes, start) {
            Ok((end, escaped)) => {
                self.at = end + 1;
                Ok(Text {
                    raw: &self.bytes[start..end],
                    escaped,
                })
            }
            Err((at, reason)) => {
                self.at = at;
                self.fail(reason)
            }
        }
    }

    /// Passes a string if it is this one, which needs no escapes.
    #[inline]
    pub(super) fn passes(&mut self, expected: &[u8]) -> bool {
        let there = self.peek() == b'"'
            && self.bytes[self.at + 1..]
                .strip_prefix(expected)
                .is_some_and(|rest| rest.first() == Some(&b'"'));
        if there {
            self.at += expected.len() + 2;
        }
        there
    }

    /// A number, the first byte of which was peeked.
    #[inline]
    pub(super) fn number(&mut self) -> Walked<Number<'a>> {
        let start = self.at;
        let negative = self.bytes[start] == b'-';
        self.at += usize::from(negative);
        let digits = self.at;
        // Up to 18 digits can't overflow.
        let mut value: i64 = 0;
        while let Some(digit @ 0..=9) = self.bytes.get(self.at).map(|byte| byte.wrapping_sub(b'0')) {
            value = value.wrapping_mul(10).wrapping_add(digit.into());
            self.at += 1;
        }
        let count = self.at - digits;
        if count == 0 || count > 1 && self.bytes[digits] == b'0' {
            return self.fail("not a number");
        }
        let whole = !matches!(self.bytes.get(self.at), Some(b'.' | b'e' | b'E'));
        if !whole {
            self.fraction()?;
        }
        let text = &self.bytes[start..self.at];
        let whole = match whole {
            true if count <= 18 => Some(if negative { -value } else { value }),
            true => std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()),
            false => None,
        };
        Ok(Number { text, whole })
    }

    #[cold]
    fn fraction(&mut self) -> Walked<()> {
        let digits = |cursor: &mut Self| {
            let rest = &cursor.bytes[cursor.at..];
            let count = rest
                .iter()
                .position(|byte| !byte.is_ascii_digit())
                .unwrap_or(rest.len());
            cursor.at += count;
            match count {
                0 => cursor.fail("not a number"),
                _ => Ok(()),
            }
        };
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            digits(self)?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            digits(self)?;
        }
        Ok(())
    }

    /// `true`, `false` or `null`, which must come next.
    #[inline]
    pub(super) fn literal(&mut self, literal: &'static str) -> Walked<()> {
        match self.bytes[self.at..].starts_with(literal.as_bytes()) {
            true => {
                self.at += literal.len();
                Ok(())
            }
            false => self.fail(&format!("expected {literal}")),
        }
    }

    /// Passes a whole value, whatever it is.
    #[inline]
    pub(super) fn skip(&mut self) -> Walked<()> {
        match self.peek() {
            b'"' => self.string().map(drop),
            b'-' | b'0'..=b'9' => self.number().map(drop),
            b'{' | b'[' => self.skip_nested(),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            _ => self.fail("expected a value"),
        }
    }

    /// Passes an object or a list. One bit says for each level whether it is an object.
    fn skip_nested(&mut self) -> Walked<()> {
        let (mut objects, mut depth) = (0_u128, 0);
        loop {
            let opening = self.peek();
            if matches!(opening, b'{' | b'[') {
                if depth == MAX_DEPTH {
                    return self.too_deep();
                }
                let object = opening == b'{';
                (objects, depth) = (objects << 1 | u128::from(object), depth + 1);
                self.pass();
                if self.peek() != if object { b'}' } else { b']' } {
                    if object {
                        self.string()?;
                        self.expect(b':')?;
                    }
                    continue;
                }
            } else {
                self.skip()?;
            }
            loop {
                if depth == 0 {
                    return Ok(());
                }
                match (self.peek(), objects & 1 == 1) {
                    (b',', object) => {
                        self.pass();
                        if object {
                            self.string()?;
                            self.expect(b':')?;
                        }
                        break;
                    }
                    (b'}', true) | (b']', false) => {
                        self.pass();
                        (objects, depth) = (objects >> 1, depth - 1);
                    }
                    _ => return self.fail("expected ',' or an end"),
                }
            }
        }
    }

    pub(super) fn too_deep<T>(&self) -> Walked<T> {
        self.fail(&format!("more than {MAX_DEPTH} objects and lists inside each other"))
    }

    #[cold]
    pub(super) fn fail<T>(&self, reason: &str) -> Walked<T> {
        match self.bytes.get(self.at) {
            Some(_) => Err(format!("{reason} at byte {}", self.at)),
            None => Err(format!("{reason}, but the record ends")),
        }
    }
}
