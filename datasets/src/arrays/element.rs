//! The numbers that arrays hold.

/// The type of an array's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    Bf16,
    F32,
    F64,
}

/// The order of a number's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Big,
    Little,
}

impl Element {
    /// Returns the bytes of one number.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 | Self::F16 | Self::Bf16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// Returns the name as NumPy has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::U8 => "uint8",
            Self::I8 => "int8",
            Self::U16 => "uint16",
            Self::I16 => "int16",
            Self::U32 => "uint32",
            Self::I32 => "int32",
            Self::U64 => "uint64",
            Self::I64 => "int64",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
            Self::F32 => "float32",
            Self::F64 => "float64",
        }
    }

    /// Returns the smallest and the largest number, or nothing for floats.
    pub(crate) fn range(self) -> Option<(f64, f64)> {
        Some(match self {
            Self::U8 => (0.0, u8::MAX.into()),
            Self::I8 => (i8::MIN.into(), i8::MAX.into()),
            Self::U16 => (0.0, u16::MAX.into()),
            Self::I16 => (i16::MIN.into(), i16::MAX.into()),
            Self::U32 => (0.0, u32::MAX.into()),
            Self::I32 => (i32::MIN.into(), i32::MAX.into()),
            Self::U64 => (0.0, u64::MAX as f64),
            Self::I64 => (i64::MIN as f64, i64::MAX as f64),
            Self::F16 | Self::Bf16 | Self::F32 | Self::F64 => return None,
        })
    }

    /// Calls `take` with each number in turn. Integers of 64 bits are rounded.
    pub(crate) fn numbers(self, order: Order, bytes: &[u8], mut take: impl FnMut(f64)) {
        match self {
            Self::U8 => bytes.iter().for_each(|&byte| take(byte.into())),
            Self::I8 => words(order, bytes).for_each(|word| take(i8::from_le_bytes(word).into())),
            Self::U16 => words(order, bytes).for_each(|word| take(u16::from_le_bytes(word).into())),
            Self::I16 => words(order, bytes).for_each(|word| take(i16::from_le_bytes(word).into())),
            Self::U32 => words(order, bytes).for_each(|word| take(u32::from_le_bytes(word).into())),
            Self::I32 => words(order, bytes).for_each(|word| take(i32::from_le_bytes(word).into())),
            Self::U64 => words(order, bytes).for_each(|word| take(u64::from_le_bytes(word) as f64)),
            Self::I64 => words(order, bytes).for_each(|word| take(i64::from_le_bytes(word) as f64)),
            Self::F16 => words(order, bytes).for_each(|word| take(half(u16::from_le_bytes(word)))),
            Self::Bf16 => words(order, bytes).for_each(|word| {
                // The upper half of a 32-bit float.
                take(f32::from_bits(u32::from(u16::from_le_bytes(word)) << 16).into());
            }),
            Self::F32 => words(order, bytes).for_each(|word| take(f32::from_le_bytes(word).into())),
            Self::F64 => words(order, bytes).for_each(|word| take(f64::from_le_bytes(word))),
        }
    }

    /// Returns the numbers exactly, or nothing if they are floats.
    pub(crate) fn integers(self, order: Order, bytes: &[u8]) -> Option<Vec<i128>> {
        Some(match self {
            Self::U8 => bytes.iter().map(|&byte| byte.into()).collect(),
            Self::I8 => each(order, bytes, i8::from_le_bytes),
            Self::U16 => each(order, bytes, u16::from_le_bytes),
            Self::I16 => each(order, bytes, i16::from_le_bytes),
            Self::U32 => each(order, bytes, u32::from_le_bytes),
            Self::I32 => each(order, bytes, i32::from_le_bytes),
            Self::U64 => each(order, bytes, u64::from_le_bytes),
            Self::I64 => each(order, bytes, i64::from_le_bytes),
            Self::F16 | Self::Bf16 | Self::F32 | Self::F64 => return None,
        })
    }
}

fn each<T: Into<i128>, const N: usize>(
    order: Order,
    bytes: &[u8],
    number: impl Fn([u8; N]) -> T,
) -> Vec<i128> {
    words(order, bytes)
        .map(|word| number(word).into())
        .collect()
}

/// The words of `N` bytes, in little-endian order.
fn words<const N: usize>(order: Order, bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks().0.iter().map(move |word| {
        let mut word = *word;
        if order == Order::Big {
            word.reverse();
        }
        word
    })
}

/// The number that the bits of an IEEE 754 `binary16` stand for.
fn half(bits: u16) -> f64 {
    let fraction = f64::from(bits & 0x3ff) / 1024.0;
    let magnitude = match i32::from(bits >> 10 & 0x1f) {
        0 => fraction * 2_f64.powi(-14),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => (1.0 + fraction) * 2_f64.powi(exponent - 15),
    };
    match bits >> 15 {
        0 => magnitude,
        _ => -magnitude,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Element; 12] = [
        Element::U8,
        Element::I8,
        Element::U16,
        Element::I16,
        Element::U32,
        Element::I32,
        Element::U64,
        Element::I64,
        Element::F16,
        Element::Bf16,
        Element::F32,
        Element::F64,
    ];

    fn numbers(element: Element, order: Order, bytes: &[u8]) -> Vec<f64> {
        let mut numbers = vec![];
        element.numbers(order, bytes, |number| numbers.push(number));
        numbers
    }

    #[test]
    fn numbers_are_read_in_both_orders() {
        use Order::{Big, Little};
        assert_eq!(numbers(Element::I8, Big, &[0x80, 1]), [-128.0, 1.0]);
        assert_eq!(
            numbers(Element::I16, Big, &[0xff, 0xfe, 1, 0]),
            [-2.0, 256.0]
        );
        assert_eq!(numbers(Element::U16, Little, &[0xfe, 0xff]), [65534.0]);
        assert_eq!(numbers(Element::I32, Big, &[0, 0, 1, 1]), [257.0]);
        assert_eq!(
            numbers(Element::F32, Big, &0.1_f32.to_be_bytes()),
            [f64::from(0.1_f32)]
        );
        assert_eq!(numbers(Element::F64, Little, &0.1_f64.to_le_bytes()), [0.1]);
        assert_eq!(numbers(Element::Bf16, Little, &[0xc0, 0xbf]), [-1.5]);
        let labels = Element::U64.integers(Little, &u64::MAX.to_le_bytes());
        assert_eq!(labels, Some(vec![u64::MAX.into()]));
        let labels = Element::I64.integers(Little, &i64::MIN.to_le_bytes());
        assert_eq!(labels, Some(vec![i64::MIN.into()]));
    }

    #[test]
    fn each_element_has_the_size_of_its_numbers_and_integers_a_range() {
        for element in ALL {
            let bytes = [0; 16];
            let count = 16 / element.size();
            assert_eq!(numbers(element, Order::Big, &bytes).len(), count);
            let integers = element.integers(Order::Big, &bytes);
            assert_eq!(
                integers.map(|integers| integers.len()),
                element.range().map(|_| count)
            );
        }
    }

    #[test]
    fn halves_are_those_of_ieee_754() {
        for (bits, number) in [
            (0x0000, 0.0),
            (0x0001, 2_f64.powi(-24)),
            (0x03ff, 1023.0 * 2_f64.powi(-24)),
            (0x0400, 2_f64.powi(-14)),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_953_125),
            (0x7bff, 65504.0),
            (0xfc00, f64::NEG_INFINITY),
        ] {
            assert_eq!(half(bits), number, "{bits:#06x}");
        }
        assert!(half(0x7c01).is_nan());
    }
}
