use arrow::datatypes::SchemaRef;
use rechka_log::Batch;

use super::cursor::{Cursor, MAX_DEPTH, Walked};
use crate::{
    Bad, Decoded, Decoder, Result,
    column::{Column, Data, Group, Rows},
};

/// Reads objects.
#[derive(Debug)]
pub(crate) struct JsonDecoder {
    rows: Rows,
    /// Strings with escapes, without them.
    scratch: Vec<u8>,
}

impl JsonDecoder {
    pub(crate) fn new(schema: SchemaRef) -> Result<Self> {
        Ok(Self {
            rows: Rows::new(schema, "json")?,
            scratch: Vec::new(),
        })
    }
}

impl Decoder for JsonDecoder {
    fn decode(&mut self, batch: &Batch) -> Result<Decoded> {
        // One check for all; only if it fails is each record asked.
        let all_text = std::str::from_utf8(&batch.values()).is_ok();
        self.rows.reserve(batch.len());
        let mut bad = Vec::new();
        for (number, record) in batch.iter().enumerate() {
            let taken = match all_text || std::str::from_utf8(record.value).is_ok() {
                true => self.rows.push(|group, rows| {
                    let mut walk = Walk {
                        cursor: Cursor::new(record.value),
                        scratch: &mut self.scratch,
                    };
                    walk.object(group, rows, 1)?;
                    walk.cursor.end()
                }),
                false => Err("not UTF-8".to_owned()),
            };
            if let Err(reason) = taken {
                bad.push(Bad { record: number, reason });
            }
        }
        Ok(Decoded {
            rows: self.rows.finish(),
            bad,
        })
    }
}

/// On the way through a record.
struct Walk<'a, 's> {
    cursor: Cursor<'a>,
    scratch: &'s mut Vec<u8>,
}

impl Walk<'_, '_> {
    /// An object, into the columns of a struct that has `rows` values.
    #[inline]
    fn object(&mut self, group: &mut Group, rows: usize, depth: u32) -> Walked<()> {
        self.cursor.expect(b'{')?;
        if self.cursor.peek() == b'}' {
            self.cursor.pass();
            return group.complete(rows);
        }
        for place in 0.. {
            let position = match group.remembered(place) {
                Some((name, position)) if self.cursor.passes(name) => position,
                _ => group.position(place, self.cursor.string()?.unescaped(self.scratch)?),
            };
            self.cursor.expect(b':')?;
            match position {
                None => self.cursor.skip()?,
                Some(position) => {
                    let column = &mut group.columns[position];
                    // The name came before: the last one counts.
                    if column.len() > rows {
                        column.truncate(rows);
                    }
                    if let Err(reason) = self.value(column, depth) {
                        return Err(format!("{:?}: {reason}", group.fields[position].name()));
                    }
                }
            }
            match self.cursor.peek() {
                b',' => self.cursor.pass(),
                b'}' => break,
                _ => return self.cursor.fail("expected ',' or '}'"),
            }
        }
        self.cursor.pass();
        group.complete(rows)
    }

    /// A value, into its column.
    #[inline]
    fn value(&mut self, column: &mut Column, depth: u32) -> Walked<()> {
        match self.cursor.peek() {
            b'"' => column.push_text(self.cursor.string()?.unescaped(self.scratch)?),
            b'-' | b'0'..=b'9' => column.push_number(self.cursor.number()?),
            b'n' => {
                self.cursor.literal("null")?;
                column.push_null()
            }
            b't' => {
                self.cursor.literal("true")?;
                column.push_bool(true)
            }
            b'f' => {
                self.cursor.literal("false")?;
                column.push_bool(false)
            }
            b'{' | b'[' if depth == MAX_DEPTH => self.cursor.too_deep(),
            b'{' => self.nested_object(column, depth + 1),
            b'[' => self.list(column, depth + 1),
            _ => self.cursor.fail("expected a value"),
        }
    }

    fn nested_object(&mut self, column: &mut Column, depth: u32) -> Walked<()> {
        let rows = column.len();
        let Data::Struct(group) = column.data() else {
            return column.misfit("an object");
        };
        self.object(group, rows, depth)?;
        column.filled();
        Ok(())
    }

    fn list(&mut self, column: &mut Column, depth: u32) -> Walked<()> {
        let Data::List { ends, element } = column.data() else {
            return column.misfit("a list");
        };
        self.cursor.pass();
        if self.cursor.peek() != b']' {
            loop {
                self.value(element, depth)?;
                match self.cursor.peek() {
                    b',' => self.cursor.pass(),
                    b']' => break,
                    _ => return self.cursor.fail("expected ',' or ']'"),
                }
            }
        }
        self.cursor.pass();
        ends.push(element.len() as i32);
        column.filled();
        Ok(())
    }
}
