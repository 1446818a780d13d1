//! Numbers as bytes: short where they are small, or all of one width to be found by their index.

use crate::database;

/// What was read is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damage;

impl From<Damage> for rusqlite::Error {
    fn from(_: Damage) -> Self {
        database::unreadable(0, "a block is not in its format")
    }
}

/// Writes a number, seven bits a byte, the lowest first.
pub(crate) fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while 0x80 <= number {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

/// Takes a number that [`put`] wrote.
pub(crate) fn take(bytes: &mut &[u8]) -> Result<u64, Damage> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(Damage)?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Ok(number);
        }
    }
    Err(Damage)
}

/// Takes a number that counts something in memory.
pub(crate) fn take_size(bytes: &mut &[u8]) -> Result<usize, Damage> {
    usize::try_from(take(bytes)?).map_err(|_| Damage)
}

/// Takes so many bytes.
pub(crate) fn take_slice<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], Damage> {
    let (slice, rest) = bytes.split_at_checked(length).ok_or(Damage)?;
    *bytes = rest;
    Ok(slice)
}

/// Numbers of one width, each found by its index.
#[derive(Debug)]
pub(crate) struct Column(Vec<u8>);

impl Column {
    /// Writes numbers in as many bytes as the largest needs; the first byte tells the width.
    pub(crate) fn write(numbers: &[u64]) -> Vec<u8> {
        let largest = numbers.iter().copied().max().unwrap_or(0);
        let width = (8 - largest.leading_zeros() as usize / 8).max(1);
        let mut bytes = Vec::with_capacity(1 + numbers.len() * width);
        bytes.push(u8::try_from(width).expect("at most 8"));
        for number in numbers {
            bytes.extend_from_slice(&number.to_le_bytes()[..width]);
        }
        bytes
    }

    /// The numbers that were written.
    pub(crate) fn read(bytes: Vec<u8>) -> Result<Self, Damage> {
        match bytes.split_first() {
            Some((width @ 1..=8, numbers)) if numbers.len() % usize::from(*width) == 0 => Ok(Self(bytes)),
            _ => Err(Damage),
        }
    }

    fn width(&self) -> usize {
        usize::from(self.0[0])
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        (self.0.len() - 1) / self.width()
    }

    /// The number at an index.
    pub(crate) fn get(&self, index: usize) -> Result<u64, Damage> {
        let (width, mut number) = (self.width(), [0; 8]);
        let start = 1 + index * width;
        let bytes = self.0.get(start..start + width).ok_or(Damage)?;
        number[..width].copy_from_slice(bytes);
        Ok(u64::from_le_bytes(number))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Result<u64, Damage>> + '_ {
        (0..self.len()).map(|index| self.get(index))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_are_read_as_they_were_written(numbers in prop::collection::vec(any::<u64>().prop_map(|n| n >> (n % 64)), 0..20)) {
            let mut bytes = Vec::new();
            for number in &numbers {
                put(&mut bytes, *number);
            }
            let mut rest = &bytes[..];
            for number in &numbers {
                prop_assert_eq!(take(&mut rest), Ok(*number));
            }
            prop_assert_eq!(take(&mut rest), Err(Damage));
            let column = Column::read(Column::write(&numbers)).unwrap();
            prop_assert_eq!(column.iter().collect::<Result<Vec<_>, _>>(), Ok(numbers));
        }

        #[test]
        fn damage_is_told_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..40), index in 0..50usize) {
            let mut rest = &bytes[..];
            while take(&mut rest).is_ok() {}
            if let Ok(column) = Column::read(bytes) {
                prop_assert_eq!(column.get(index).is_ok(), index < column.len());
                prop_assert!(column.iter().all(|number| number.is_ok()));
            }
        }
    }
}
