//! The rows on a page of a SQLite file. Nothing is believed of a page: whatever does not fit is passed over.

use std::io;

use super::pages::{Pages, SIZE};

/// The kinds of pages that have rows.
const TABLE_LEAF: u8 = 0x0d;
const INDEX_LEAF: u8 = 0x0a;
const INDEX_INTERIOR: u8 = 0x02;

/// Longer rows are none of ours: a frame has a bound, and so has a record.
const MAX_PAYLOAD: u64 = 256 * 1024 * 1024;

/// A row as it is stored.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    /// Its key; none in a table without one.
    pub(super) key: Option<i64>,
    pub(super) values: Vec<Value>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Integer(i64),
    Text(String),
    /// Of a type that no table of ours has.
    Other,
}

/// How many cells a page says it has; none where it is no page with rows.
pub(super) fn count(page: &[u8]) -> Option<u16> {
    match page.first()? {
        &TABLE_LEAF | &INDEX_LEAF | &INDEX_INTERIOR => {
            Some(u16::from_be_bytes([*page.get(3)?, *page.get(4)?]))
        }
        _ => None,
    }
}

/// The row of a cell; none where it makes no sense.
pub(super) fn row(pages: &mut Pages, page: &[u8], cell: u16) -> io::Result<Option<Row>> {
    match locate(page, cell) {
        Some(cell) => {
            let payload = cell.payload(pages)?;
            Ok(payload.and_then(|payload| {
                let values = values(&payload)?;
                Some(Row {
                    key: cell.key,
                    values,
                })
            }))
        }
        None => Ok(None),
    }
}

/// Where the payload of a cell is.
struct Cell<'a> {
    key: Option<i64>,
    length: usize,
    local: &'a [u8],
    /// The page that it goes on; none where all of it is here.
    overflow: Option<u32>,
}

fn locate(page: &[u8], cell: u16) -> Option<Cell<'_>> {
    let kind = *page.first()?;
    let header = if kind == INDEX_INTERIOR { 12 } else { 8 };
    let pointer = header + 2 * usize::from(cell);
    let start = usize::from(u16::from_be_bytes([*page.get(pointer)?, *page.get(pointer + 1)?]));
    let mut rest = page.get(start..)?;
    if kind == INDEX_INTERIOR {
        // The child comes first.
        rest = rest.get(4..)?;
    }
    let length = take_varint(&mut rest)?;
    if MAX_PAYLOAD < length {
        return None;
    }
    let length = usize::try_from(length).ok()?;
    let key = match kind {
        TABLE_LEAF => Some(take_varint(&mut rest)?.cast_signed()),
        _ => None,
    };
    let most = match kind {
        TABLE_LEAF => SIZE - 35,
        _ => (SIZE - 12) * 64 / 255 - 23,
    };
    let least = (SIZE - 12) * 32 / 255 - 23;
    if length <= most {
        return Some(Cell {
            key,
            length,
            local: rest.get(..length)?,
            overflow: None,
        });
    }
    let fitting = least + (length - least) % (SIZE - 4);
    let local = if fitting <= most { fitting } else { least };
    let next = rest.get(local..local + 4)?;
    Some(Cell {
        key,
        length,
        local: &rest[..local],
        overflow: Some(u32::from_be_bytes(next.try_into().ok()?)),
    })
}

/// The pages that the row of a cell goes on, for tests.
#[cfg(test)]
pub(super) fn overflow(pages: &mut Pages, page: &[u8], cell: u16) -> Vec<u32> {
    let cell = locate(page, cell).expect("a sound page");
    let mut numbers: Vec<u32> = cell.overflow.into_iter().collect();
    let mut left = (cell.length - cell.local.len()).div_ceil(SIZE - 4);
    while let Some(number) = numbers.last().filter(|_| 1 < left) {
        let link = pages.read(*number).expect("a sound file").expect("a sound page");
        numbers.push(u32::from_be_bytes(link[..4].try_into().expect("four bytes")));
        left -= 1;
    }
    numbers
}

impl Cell<'_> {
    /// The whole payload, followed over its pages; none where it ends too early.
    fn payload(&self, pages: &mut Pages) -> io::Result<Option<Vec<u8>>> {
        let mut payload = self.local.to_vec();
        let mut next = self.overflow;
        while payload.len() < self.length {
            let Some(page) = next.map(|number| pages.read(number)).transpose()?.flatten() else {
                return Ok(None);
            };
            let (link, content) = page.split_at(4);
            next = Some(u32::from_be_bytes(link.try_into().expect("four bytes")));
            payload.extend_from_slice(&content[..content.len().min(self.length - payload.len())]);
        }
        Ok(Some(payload))
    }
}

/// The values of a row: first their types, then the values themselves, and nothing else.
fn values(payload: &[u8]) -> Option<Vec<Value>> {
    let mut types = payload;
    let header = usize::try_from(take_varint(&mut types)?).ok()?;
    let read = payload.len() - types.len();
    types = types.get(..header.checked_sub(read)?)?;
    let mut content = payload.get(header..)?;
    let mut values = Vec::new();
    while !types.is_empty() {
        let kind = take_varint(&mut types)?;
        let length = usize::try_from(match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => return None,
            _ => (kind - 12) / 2,
        })
        .ok()?;
        let bytes = content.split_off(..length)?;
        values.push(match kind {
            0 => Value::Null,
            1..=6 => Value::Integer(integer(bytes)),
            8 => Value::Integer(0),
            9 => Value::Integer(1),
            kind if 13 <= kind && kind % 2 == 1 => Value::Text(String::from_utf8(bytes.to_vec()).ok()?),
            _ => Value::Other,
        });
    }
    content.is_empty().then_some(values)
}

fn integer(bytes: &[u8]) -> i64 {
    let negative = bytes.first().is_some_and(|byte| 0x80 <= *byte);
    let start = if negative { -1 } else { 0 };
    bytes
        .iter()
        .fold(start, |number, byte| (number << 8) | i64::from(*byte))
}

/// A number of one to nine bytes: seven bits each, the ninth has eight.
fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for count in 1..=9 {
        let byte = *bytes.split_off_first()?;
        if count == 9 {
            return Some((number << 8) | u64::from(byte));
        }
        number = (number << 7) | u64::from(byte & 0x7f);
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length_are_read() {
        let read = |mut bytes: &[u8]| take_varint(&mut bytes).map(|number| (number, bytes.len()));
        assert_eq!(read(&[0x7f, 9]), Some((127, 1)));
        assert_eq!(read(&[0x81, 0x00]), Some((128, 0)));
        assert_eq!(read(&[0xff; 9]), Some((u64::MAX, 0)));
        assert_eq!(read(&[0x81]), None);
        assert_eq!(integer(&[0xff, 0xfe]), -2);
        assert_eq!(integer(&[0x00, 0x80]), 128);
    }

    #[test]
    fn a_row_is_exactly_what_its_header_says() {
        let text = |text: &str| Value::Text(text.to_owned());
        // Four types: null, text of two bytes, text of none, an integer of one byte.
        assert_eq!(
            values(&[5, 0, 17, 13, 1, b'h', b'i', 0xff]),
            Some(vec![Value::Null, text("hi"), text(""), Value::Integer(-1)])
        );
        assert_eq!(values(&[5, 0, 17, 13, 1, b'h', b'i']), None, "too short");
        assert_eq!(values(&[5, 0, 17, 13, 1, b'h', b'i', 1, 1]), None, "too long");
        assert_eq!(values(&[9, 0]), None);
        assert_eq!(values(&[3, 17, 8, 0xff, 0xff]), None, "no text");
        assert_eq!(values(&[]), None);
    }

    #[test]
    fn a_page_of_anything_is_no_reason_to_panic() {
        let mut seed = 7_u32;
        let mut page = vec![0; 4096];
        for _ in 0..2_000 {
            for byte in &mut page {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *byte = (seed >> 24).to_le_bytes()[0];
            }
            page[0] = TABLE_LEAF;
            for cell in 0..64 {
                drop(locate(&page, cell).and_then(|cell| values(cell.local)));
            }
            assert!(locate(&page, u16::MAX).is_none());
        }
    }
}
