//! Kubernetes quantities: exact decimal numbers with a unit, counted in billionths.
//!
//! Who adds resources up and who writes them as Kubernetes writes them use the same numbers.
//!
//! ```
//! use dpf_quantity::Quantity;
//! let memory = Quantity::parse("1Gi")?.plus(&Quantity::parse("1024Mi")?);
//! assert_eq!(memory.to_string(), "2Gi");
//! # Ok::<(), dpf_quantity::QuantityError>(())
//! ```

use std::fmt;

/// Billionths in one.
const NANO: i128 = 1_000_000_000;
/// What Kubernetes caps binary quantities at.
const MAX_BINARY: i128 = i64::MAX as i128 * NANO;

/// How a quantity is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// `1500m`, `2k`.
    Decimal,
    /// `2e3`.
    Exponent,
    /// `1Gi`.
    Binary,
}

/// An amount of a resource.
#[derive(Debug, Clone)]
pub struct Quantity {
    nano: i128,
    format: Format,
    /// As it was written, where Kubernetes repeats that.
    written: Option<String>,
}

/// A text is not a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuantityError {
    /// Neither number nor unit can be told.
    Format,
    /// The unit is unknown.
    Suffix,
    /// More than this program can count, and than any machine has.
    TooLarge,
}

impl fmt::Display for QuantityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            QuantityError::Format => "it is not a number with a unit; write it like 500m, 2 or 4Gi",
            QuantityError::Suffix => {
                "its unit is unknown; use one of n, u, m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei"
            }
            QuantityError::TooLarge => "it is too large",
        })
    }
}

impl std::error::Error for QuantityError {}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.nano.cmp(&other.nano)
    }
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Quantity = Quantity {
        nano: 0,
        format: Format::Decimal,
        written: None,
    };

    /// Reads a quantity.
    ///
    /// # Errors
    /// The text is not one, or it is too large.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let number_end = unsigned
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(unsigned.len());
        let (number, suffix) = unsigned
            .split_at_checked(number_end)
            .ok_or(QuantityError::Format)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if number.is_empty() || fraction.contains('.') || !is_suffix(suffix) {
            return Err(QuantityError::Format);
        }
        let (base, exponent, format) = unit(suffix).ok_or(QuantityError::Suffix)?;
        let digits = format!("0{whole}{fraction}")
            .parse::<i128>()
            .map_err(|_| QuantityError::TooLarge)?;
        let decimals = i32::try_from(fraction.len()).map_err(|_| QuantityError::TooLarge)?;
        let (nano, format, capped) = match base {
            10 => {
                let exponent = exponent
                    .checked_add(9 - decimals)
                    .ok_or(QuantityError::TooLarge)?;
                (
                    scale(digits, exponent).ok_or(QuantityError::TooLarge)?,
                    format,
                    false,
                )
            }
            _ => binary(digits, exponent, decimals),
        };
        let nano = if text.starts_with('-') { -nano } else { nano };
        let written = (fraction.is_empty() && !capped).then(|| text.to_owned());
        Ok(Self {
            nano,
            format,
            written,
        })
    }

    /// The sum.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let format = if self.nano == 0 {
            other.format
        } else {
            self.format
        };
        Self {
            nano: self.nano.saturating_add(other.nano),
            format,
            written: None,
        }
    }

    /// The difference.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        self.plus(&Self {
            nano: -other.nano,
            format: other.format,
            written: None,
        })
    }

    /// Whether it is below zero.
    pub fn is_negative(&self) -> bool {
        self.nano < 0
    }

    /// Without its sign.
    #[must_use]
    pub fn absolute(&self) -> Self {
        Self {
            nano: self.nano.abs(),
            format: self.format,
            written: None,
        }
    }

    /// Rounded up to whole units.
    pub fn value(&self) -> i128 {
        round_up(self.nano, NANO)
    }

    /// Rounded up to thousandths.
    pub fn milli(&self) -> i128 {
        round_up(self.nano, NANO / 1000)
    }
}

fn is_suffix(text: &str) -> bool {
    let rest = text.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    rest.chars().all(|c| c.is_ascii_digit())
}

/// Base, exponent and format of a unit.
fn unit(suffix: &str) -> Option<(u8, i32, Format)> {
    let decimal = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
    if let Some(exponent) = (-3..)
        .zip(decimal)
        .find(|(_, known)| *known == suffix)
        .map(|(index, _)| index * 3)
    {
        return Some((10, exponent, Format::Decimal));
    }
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    if let Some(exponent) = (1..)
        .zip(binary)
        .find(|(_, known)| *known == suffix)
        .map(|(index, _)| index * 10)
    {
        return Some((2, exponent, Format::Binary));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    Some((10, exponent, Format::Exponent))
}

/// `digits` times a power of ten; what is lost rounds up, so that something never becomes nothing.
fn scale(digits: i128, exponent: i32) -> Option<i128> {
    if digits == 0 {
        return Some(0);
    }
    match u32::try_from(exponent) {
        Ok(exponent) => digits.checked_mul(10_i128.checked_pow(exponent)?),
        Err(_) => Some(match 10_i128.checked_pow(exponent.unsigned_abs()) {
            Some(divisor) => round_up(digits, divisor),
            None => 1,
        }),
    }
}

/// Nano, format and whether the value was cut to the largest there is.
fn binary(digits: i128, exponent: i32, decimals: i32) -> (i128, Format, bool) {
    let factor = 1_i128 << exponent.clamp(0, 60);
    let scaled = digits
        .checked_mul(factor)
        .and_then(|units| scale(units, 9 - decimals));
    match scaled {
        Some(nano) if nano <= MAX_BINARY => {
            let small = 0 < nano && nano < NANO;
            (
                nano,
                if small {
                    Format::Decimal
                } else {
                    Format::Binary
                },
                false,
            )
        }
        _ => (MAX_BINARY, Format::Binary, true),
    }
}

/// Divides and rounds away from zero.
fn round_up(number: i128, divisor: i128) -> i128 {
    let quotient = number / divisor;
    if number % divisor == 0 {
        quotient
    } else {
        quotient + number.signum()
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(written) = &self.written {
            return f.write_str(written);
        }
        let whole = self.nano % NANO == 0;
        if self.format == Format::Binary && whole && self.nano.abs() >= 1024 * NANO {
            let mut number = self.nano / NANO;
            let mut units = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].into_iter();
            let mut unit = units.next().unwrap_or_default();
            while number % 1024 == 0
                && let Some(next) = units.next()
            {
                number /= 1024;
                unit = next;
            }
            return write!(f, "{number}{unit}");
        }
        let mut number = self.nano;
        let mut exponent = -9;
        while number != 0 && number % 1000 == 0 && exponent < 18 {
            number /= 1000;
            exponent += 3;
        }
        match (number, self.format, exponent) {
            (0, ..) => f.write_str("0"),
            (_, _, 0) => write!(f, "{number}"),
            (_, Format::Exponent, _) => write!(f, "{number}e{exponent}"),
            _ => {
                let units = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
                let unit = usize::try_from(exponent / 3 + 3)
                    .ok()
                    .and_then(|index| units.get(index));
                write!(f, "{number}{}", unit.copied().unwrap_or_default())
            }
        }
    }
}
