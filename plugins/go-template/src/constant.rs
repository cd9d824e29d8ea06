//! Constants of a template: numbers, characters and strings in Go's notation.

use crate::error::At;
use crate::lex::{Item, Kind};
use crate::node::OperandKind;
use crate::value::Value;

/// The string of a quoted or raw item.
pub(crate) fn unquote(item: Item<'_>) -> Result<String, At> {
    let quote = if item.kind == Kind::RawText { '`' } else { '"' };
    let inner = item
        .text
        .strip_prefix(quote)
        .and_then(|text| text.strip_suffix(quote))
        .unwrap_or(item.text);
    if item.kind == Kind::RawText {
        return Ok(inner.replace('\r', ""));
    }
    let bad = || {
        At::new(
            item.offset,
            format!("invalid string constant {}", item.text),
        )
    };
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while !rest.is_empty() {
        let (unit, after) = unit(rest, '"').ok_or_else(bad)?;
        match unit {
            Unit::Character(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Unit::Byte(byte) => bytes.push(byte),
        }
        rest = after;
    }
    // Unlike Go's, our strings are always UTF-8: what is rendered becomes YAML, which has to be.
    String::from_utf8(bytes).map_err(|_| bad())
}

enum Unit {
    Character(char),
    Byte(u8),
}

/// The first character or escape of `text`, and what follows it.
fn unit(text: &str, quote: char) -> Option<(Unit, &str)> {
    let mut characters = text.chars();
    let first = characters.next()?;
    if first != '\\' {
        return Some((Unit::Character(first), characters.as_str()));
    }
    let escape = characters.next()?;
    let rest = characters.as_str();
    let simple = match escape {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\\' => '\\',
        c if c == quote => c,
        'x' => return coded(rest, 2, 16, |code| u8::try_from(code).ok().map(Unit::Byte)),
        'u' => {
            return coded(rest, 4, 16, |code| {
                char::from_u32(code).map(Unit::Character)
            });
        }
        'U' => {
            return coded(rest, 8, 16, |code| {
                char::from_u32(code).map(Unit::Character)
            });
        }
        '0'..='7' => {
            let octal = text.get(1..)?;
            return coded(octal, 3, 8, |code| u8::try_from(code).ok().map(Unit::Byte));
        }
        _ => return None,
    };
    Some((Unit::Character(simple), rest))
}

fn coded(
    text: &str,
    digits: usize,
    radix: u32,
    unit: impl Fn(u32) -> Option<Unit>,
) -> Option<(Unit, &str)> {
    let (code, rest) = text.split_at_checked(digits)?;
    if !code.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    Some((unit(u32::from_str_radix(code, radix).ok()?)?, rest))
}

/// The constant of a number or character item.
pub(crate) fn number(item: Item<'_>) -> Result<OperandKind, At> {
    let value = if item.kind == Kind::CharConstant {
        character(item.text)
    } else {
        numeric(item.text)
    };
    match value {
        Some(Number::Value(value)) => Ok(OperandKind::Constant(value)),
        Some(Number::TooLarge) => Ok(OperandKind::TooLarge(item.text.to_owned())),
        None => Err(At::new(
            item.offset,
            format!("illegal number syntax: {:?}", item.text),
        )),
    }
}

enum Number {
    Value(Value<'static>),
    /// Fits 64 bits without sign only.
    TooLarge,
}

fn character(text: &str) -> Option<Number> {
    let inner = text.strip_prefix('\'')?.strip_suffix('\'')?;
    let (unit, rest) = unit(inner, '\'')?;
    let code = match unit {
        Unit::Character(c) => i64::from(u32::from(c)),
        Unit::Byte(byte) => i64::from(byte),
    };
    rest.is_empty().then_some(Number::Value(Value::Int(code)))
}

fn numeric(text: &str) -> Option<Number> {
    if let Some(imaginary) = text.strip_suffix('i') {
        // A second sign behind the first digit separates the two parts, unless it belongs to an exponent.
        let split = imaginary
            .char_indices()
            .skip(1)
            .filter(|(_, c)| matches!(c, '+' | '-'))
            .find(|(at, _)| {
                !imaginary
                    .get(..*at)
                    .is_some_and(|before| before.ends_with(['e', 'E', 'p', 'P']))
            })
            .map_or(0, |(at, _)| at);
        let (real, imaginary) = imaginary.split_at_checked(split)?;
        let real = if real.is_empty() { 0.0 } else { float(real)? };
        return Some(Number::Value(Value::Complex(real, float(imaginary)?)));
    }
    if !underscores_separate_digits(text) {
        return None;
    }
    match integer(text) {
        Some(value) => Some(
            i64::try_from(value).map_or(Number::TooLarge, |value| Number::Value(Value::Int(value))),
        ),
        // A huge number that only looks like an integer is an error, not a float.
        None if !text.contains(['.', 'e', 'E', 'p', 'P']) => None,
        None => Some(Number::Value(Value::Float(float(text)?))),
    }
}

/// An integer as Go's `ParseInt` or `ParseUint` with base 0 reads it.
fn integer(text: &str) -> Option<i128> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let lower = unsigned.to_ascii_lowercase().replace('_', "");
    let (digits, radix) = if let Some(digits) = lower.strip_prefix("0x") {
        (digits, 16)
    } else if let Some(digits) = lower.strip_prefix("0b") {
        (digits, 2)
    } else if let Some(digits) = lower.strip_prefix("0o") {
        (digits, 8)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (lower.get(1..)?, 8)
    } else {
        (lower.as_str(), 10)
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = i128::from(u64::from_str_radix(digits, radix).ok()?);
    match text.strip_prefix('-') {
        Some(_) => i64::try_from(-value).ok().map(i128::from),
        None => Some(value),
    }
}

fn float(text: &str) -> Option<f64> {
    let clean = text.replace('_', "").to_ascii_lowercase();
    let unsigned = clean.strip_prefix(['+', '-']).unwrap_or(&clean);
    let value = match unsigned.strip_prefix("0x") {
        Some(hexadecimal) => hexadecimal_float(hexadecimal)?,
        None if unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
            unsigned.parse().ok()?
        }
        None => return None,
    };
    value.is_finite().then_some(if clean.starts_with('-') {
        -value
    } else {
        value
    })
}

fn hexadecimal_float(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once('p')?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut value = 0.0_f64;
    for digit in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let scale = i32::try_from(fraction.len()).ok()?.checked_mul(4)?;
    Some(value * 2.0_f64.powi(exponent.parse::<i32>().ok()?.checked_sub(scale)?))
}

fn underscores_separate_digits(text: &str) -> bool {
    let characters: Vec<char> = text.chars().collect();
    characters.windows(2).all(|pair| match pair {
        [before, '_'] => before.is_ascii_alphanumeric(),
        ['_', after] => after.is_ascii_hexdigit(),
        _ => true,
    }) && !text.ends_with('_')
}
