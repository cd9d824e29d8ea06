//! Numbers as Go's strconv writes them.

/// Decimal digits of a number without sign, without trailing zeros, and where the point is: 0.`digits` times 10^`point`.
struct Digits {
    digits: String,
    point: i32,
}

impl Digits {
    fn count(&self) -> i32 {
        i32::try_from(self.digits.len()).unwrap_or(i32::MAX)
    }
}

/// `precision` significant digits, or as many as make the number unique.
fn digits(value: f64, precision: Option<usize>) -> Digits {
    let text = match precision {
        Some(precision) => format!("{:.*e}", precision.saturating_sub(1), value.abs()),
        None => format!("{:e}", value.abs()),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_end_matches('0').to_owned();
    let point = if digits.is_empty() {
        0
    } else {
        exponent.parse::<i32>().unwrap_or(0) + 1
    };
    Digits { digits, point }
}

/// The number without sign, in the form of verb `e`, `f`, `g` (or their capitals).
pub(crate) fn float(value: f64, verb: char, precision: Option<usize>) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return "Inf".to_owned();
    }
    let text = match verb.to_ascii_lowercase() {
        'e' => exponential(value, precision),
        'f' => match precision {
            Some(precision) => format!("{:.*}", precision, value.abs()),
            None => format!("{}", value.abs()),
        },
        _ => general(value, precision),
    };
    if verb.is_ascii_uppercase() {
        text.to_uppercase()
    } else {
        text
    }
}

fn exponential(value: f64, precision: Option<usize>) -> String {
    let text = match precision {
        Some(precision) => format!("{:.*e}", precision, value.abs()),
        None => format!("{:e}", value.abs()),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    // Go writes at least two digits.
    format!("{mantissa}e{sign}{exponent:0>2}")
}

/// Verb `g`: exponential for a large or small exponent, plain otherwise.
fn general(value: f64, precision: Option<usize>) -> String {
    let precision = precision.map(|precision| precision.max(1));
    let digits = digits(value, precision);
    let mut threshold = match precision {
        Some(precision) => i32::try_from(precision).unwrap_or(i32::MAX),
        None => 6,
    };
    if threshold > digits.count() && digits.count() >= digits.point {
        threshold = digits.count();
    }
    if precision.is_none() {
        threshold = 6;
    }
    let exponent = digits.point - 1;
    if value != 0.0 && (exponent < -4 || exponent >= threshold) {
        return exponential(value, Some(digits.digits.len().saturating_sub(1)));
    }
    let decimals = usize::try_from(digits.count() - digits.point).unwrap_or(0);
    format!("{:.*}", decimals, value.abs())
}

/// Verb `b`: the mantissa and a power of two.
pub(crate) fn binary(value: f64) -> String {
    let (mantissa, exponent) = parts(value);
    format!(
        "{mantissa}p{}{}",
        if exponent < 0 { '-' } else { '+' },
        exponent.abs()
    )
}

/// Verb `x`: hexadecimal with a power of two.
pub(crate) fn hexadecimal(value: f64) -> String {
    if value == 0.0 {
        return "0x0p+00".to_owned();
    }
    let (mantissa, exponent) = parts(value);
    let shift = mantissa.leading_zeros().saturating_sub(11);
    let normalised = mantissa << shift;
    let exponent = exponent + 52 - i64::from(shift);
    let fraction = format!("{:013x}", normalised & ((1 << 52) - 1));
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!(
        "0x1{point}{fraction}p{}{:02}",
        if exponent < 0 { '-' } else { '+' },
        exponent.abs()
    )
}

fn parts(value: f64) -> (u64, i64) {
    let bits = value.abs().to_bits();
    let fraction = bits & ((1 << 52) - 1);
    match i64::try_from(bits >> 52).unwrap_or(0) {
        0 => (fraction, -1074),
        exponent => (fraction | (1 << 52), exponent - 1075),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn general_form_is_gos() {
        let table = [
            (0.0, None, "0"),
            (100_000.0, None, "100000"),
            (1_234_567.0, None, "1.234567e+06"),
            (1e20, None, "1e+20"),
            (1e21, None, "1e+21"),
            (0.0001, None, "0.0001"),
            (0.00001, None, "1e-05"),
            (1234.5678, Some(3), "1.23e+03"),
            (1234.5678, Some(6), "1234.57"),
            (100.0, Some(3), "100"),
            (100.0, Some(2), "1e+02"),
        ];
        for (value, precision, expected) in table {
            assert_eq!(
                float(value, 'g', precision),
                expected,
                "{value} {precision:?}"
            );
        }
    }

    #[test]
    fn powers_of_two() {
        assert_eq!(hexadecimal(1.5), "0x1.8p+00");
        assert_eq!(hexadecimal(0.25), "0x1p-02");
        assert_eq!(binary(1.0), "4503599627370496p-52");
    }
}
