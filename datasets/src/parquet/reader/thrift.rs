//! The compact encoding of Thrift, as far as it takes to see what a header claims.

/// How deeply structures may lie in each other.
const MAX_DEPTH: usize = 16;

/// The kinds of fields that are told apart here.
pub(super) mod kind {
    pub(in super::super) const INT: u8 = 5;
    pub(in super::super) const LIST: u8 = 9;
    pub(in super::super) const STRUCT: u8 = 12;
}

/// Bytes that are read from the beginning on. What makes no sense is nothing.
pub(super) struct Thrift<'a> {
    rest: &'a [u8],
}

/// Whether a field was read, so that it need not be skipped.
pub(super) type IsRead = bool;

impl<'a> Thrift<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Returns how many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Calls `on` with the number and the kind of each field of a structure, to read it or not.
    ///
    /// Numbers must grow, by 15 at most, as all writers have them. Otherwise a field could be there
    /// twice, and it would be the reader's choice which one counts.
    pub(super) fn fields(
        &mut self,
        mut on: impl FnMut(u8, u8, &mut Self) -> Option<IsRead>,
    ) -> Option<()> {
        self.fields_within(MAX_DEPTH, &mut on)
    }

    fn fields_within(
        &mut self,
        depth: usize,
        on: &mut dyn FnMut(u8, u8, &mut Self) -> Option<IsRead>,
    ) -> Option<()> {
        let mut id: u8 = 0;
        loop {
            let (step, kind) = split(self.byte()?);
            if kind == 0 {
                return (step == 0).then_some(());
            }
            if step == 0 {
                return None;
            }
            id = id.checked_add(step)?;
            if !on(id, kind, self)? {
                self.skip(kind, depth)?;
            }
        }
    }

    /// Returns the number of items in a list, and their kind.
    pub(super) fn list(&mut self) -> Option<(u64, u8)> {
        let (short, kind) = split(self.byte()?);
        let count = match short {
            15 => self.varint()?,
            short => short.into(),
        };
        // Each takes a byte or more.
        (count <= self.rest.len() as u64).then_some((count, kind))
    }

    /// Returns a signed number.
    pub(super) fn int(&mut self) -> Option<i64> {
        let folded = self.varint()?;
        let half = (folded >> 1).cast_signed();
        Some(if folded & 1 == 0 { half } else { !half })
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            // True and false are kinds.
            1 | 2 => Some(()),
            3 => self.byte().map(drop),
            4..=6 => self.varint().map(drop),
            7 => self.take(8),
            8 => {
                let length = self.varint()?;
                self.take(usize::try_from(length).ok()?)
            }
            9 | 10 => {
                let (count, kind) = self.list()?;
                (0..count).try_for_each(|_| match kind {
                    // In a list they are bytes.
                    1 | 2 => self.byte().map(drop),
                    _ => self.skip(kind, depth),
                })
            }
            12 => self.fields_within(depth, &mut |_, _, _| Some(false)),
            _ => None,
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn take(&mut self, count: usize) -> Option<()> {
        self.rest = self.rest.get(count..)?;
        Some(())
    }
}

/// The upper and the lower half of a byte.
fn split(byte: u8) -> (u8, u8) {
    (byte >> 4, byte & 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers among the fields.
    fn ints(bytes: &[u8]) -> Option<Vec<(u8, i64)>> {
        let mut found = vec![];
        let mut thrift = Thrift::new(bytes);
        thrift.fields(|id, kind, thrift| match kind {
            kind::INT => {
                found.push((id, thrift.int()?));
                Some(true)
            }
            _ => Some(false),
        })?;
        (thrift.left() == 0).then_some(found)
    }

    #[test]
    fn numbers_are_found_among_fields_of_all_kinds() {
        let bytes = [
            0x15, 2, // 1: 1
            0x15, 0x83, 0x01, // 2: -66
            0x11, // 3: true
            0x18, 2, b'a', b'b', // 4: text
            0x1c, 0x15, 4, 0, // 5: a structure
            0x19, 0x21, 1, 2, // 6: a list of truths
            0x17, 0, 0, 0, 0, 0, 0, 0, 0, // 7: a float
            0x35, 6, // 10: 3
            0,
        ];
        assert_eq!(ints(&bytes), Some(vec![(1, 1), (2, -66), (10, 3)]));
        for length in 0..bytes.len() {
            assert_eq!(ints(&bytes[..length]), None, "{length}");
        }
    }

    #[test]
    fn what_is_there_twice_or_too_deep_or_too_long_is_nothing() {
        // The second field's number is written out: 1 again.
        assert_eq!(ints(&[0x15, 2, 0x05, 2, 4, 0]), None);
        let nested = |depth: usize| [vec![0x1c; depth], vec![0; depth + 1]].concat();
        assert_eq!(ints(&nested(MAX_DEPTH)), Some(vec![]));
        assert_eq!(ints(&nested(MAX_DEPTH + 1)), None);
        assert_eq!(ints(&[0x19, 0xf5, 0xff, 0xff, 0x7f, 0]), None);
        assert_eq!(
            ints(&[
                0x15, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1
            ]),
            None
        );
    }
}
