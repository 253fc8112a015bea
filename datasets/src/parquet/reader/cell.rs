//! What the cells of a column say, as text.

use std::fmt::{self, Debug, Display, Write as _};

use arrow_array::Array;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    ArrowPrimitiveType, ArrowTemporalType, Date32Type, Date64Type, Decimal32Type, Decimal64Type,
    Decimal128Type, Decimal256Type, DecimalType, Float16Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_schema::{DataType, TimeUnit};

/// Writes the cell of a column at a place.
pub(super) type WriteCell = fn(&dyn Array, usize, &mut String);

/// Returns how to write the cells of a column of this type: numbers so that they are the same when
/// they are read, days and times as in `2024-02-29 12:30:00`. There is none for cells that are
/// neither these nor texts or truths.
pub(super) fn writer(of: &DataType) -> Option<WriteCell> {
    Some(match of {
        DataType::Null => |_, _, _| {},
        DataType::Boolean => truth,
        DataType::Int8 => number::<Int8Type>,
        DataType::Int16 => number::<Int16Type>,
        DataType::Int32 => number::<Int32Type>,
        DataType::Int64 => number::<Int64Type>,
        DataType::UInt8 => number::<UInt8Type>,
        DataType::UInt16 => number::<UInt16Type>,
        DataType::UInt32 => number::<UInt32Type>,
        DataType::UInt64 => number::<UInt64Type>,
        DataType::Float16 => float::<Float16Type>,
        DataType::Float32 => float::<Float32Type>,
        DataType::Float64 => float::<Float64Type>,
        DataType::Decimal32(..) => decimal::<Decimal32Type>,
        DataType::Decimal64(..) => decimal::<Decimal64Type>,
        DataType::Decimal128(..) => decimal::<Decimal128Type>,
        DataType::Decimal256(..) => decimal::<Decimal256Type>,
        DataType::Utf8View => text,
        DataType::Date32 => day::<Date32Type>,
        DataType::Date64 => day::<Date64Type>,
        DataType::Timestamp(TimeUnit::Second, _) => time::<TimestampSecondType>,
        DataType::Timestamp(TimeUnit::Millisecond, _) => time::<TimestampMillisecondType>,
        DataType::Timestamp(TimeUnit::Microsecond, _) => time::<TimestampMicrosecondType>,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => time::<TimestampNanosecondType>,
        _ => return None,
    })
}

fn put(out: &mut String, text: fmt::Arguments<'_>) {
    // A string takes all.
    let _ = out.write_fmt(text);
}

fn truth(column: &dyn Array, at: usize, out: &mut String) {
    if let Some(column) = column.as_boolean_opt() {
        put(out, format_args!("{}", column.value(at)));
    }
}

fn number<T: ArrowPrimitiveType<Native: Display>>(column: &dyn Array, at: usize, out: &mut String) {
    if let Some(column) = column.as_primitive_opt::<T>() {
        put(out, format_args!("{}", column.value(at)));
    }
}

/// The fewest digits that give the same float.
fn float<T: ArrowPrimitiveType<Native: Debug>>(column: &dyn Array, at: usize, out: &mut String) {
    if let Some(column) = column.as_primitive_opt::<T>() {
        put(out, format_args!("{:?}", column.value(at)));
    }
}

fn decimal<T: DecimalType + ArrowPrimitiveType>(column: &dyn Array, at: usize, out: &mut String) {
    if let Some(column) = column.as_primitive_opt::<T>() {
        out.push_str(&column.value_as_string(at));
    }
}

fn text(column: &dyn Array, at: usize, out: &mut String) {
    if let Some(column) = column.as_string_view_opt() {
        out.push_str(column.value(at).trim());
    }
}

fn day<T: ArrowTemporalType>(column: &dyn Array, at: usize, out: &mut String)
where
    i64: From<T::Native>,
{
    if let Some(column) = column.as_primitive_opt::<T>() {
        match column.value_as_date(at) {
            Some(day) => put(out, format_args!("{day}")),
            None => put(out, format_args!("{}", i64::from(column.value(at)))),
        }
    }
}

fn time<T: ArrowTemporalType>(column: &dyn Array, at: usize, out: &mut String)
where
    i64: From<T::Native>,
{
    if let Some(column) = column.as_primitive_opt::<T>() {
        match column.value_as_datetime(at) {
            Some(time) => put(out, format_args!("{time}")),
            None => put(out, format_args!("{}", i64::from(column.value(at)))),
        }
    }
}
