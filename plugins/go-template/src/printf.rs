//! Go's fmt: `print`, `println`, `printf` and how a value looks in the output.

use std::fmt::Write as _;

use serde_json::Value as Json;

use crate::number;
use crate::value::Value;

/// The largest width and precision, as in Go.
const MAX_WIDTH: i64 = 1_000_000;

/// A value as the output of an action.
pub(crate) fn display(value: &Value<'_>) -> String {
    match value {
        Value::Nil => "<no value>".to_owned(),
        value => plain(value),
    }
}

/// A value as an argument of `%v`.
fn plain(value: &Value<'_>) -> String {
    Spec::new('v').value(value, true)
}

/// `print`: blanks only between operands when neither is a string.
pub(crate) fn print(values: &[Value<'_>]) -> String {
    let mut text = String::new();
    let mut after_text = true;
    for (index, value) in values.iter().enumerate() {
        let is_text = matches!(value, Value::Text(_));
        if index > 0 && !is_text && !after_text {
            text.push(' ');
        }
        text.push_str(&plain(value));
        after_text = is_text;
    }
    text
}

/// `println`: blanks between all operands.
pub(crate) fn println(values: &[Value<'_>]) -> String {
    let mut text = values.iter().map(plain).collect::<Vec<_>>().join(" ");
    text.push('\n');
    text
}

/// A verb with its flags.
#[derive(Debug, Clone, Default)]
struct Spec {
    verb: char,
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

struct Printf<'f, 'v, 'd> {
    format: std::iter::Peekable<std::str::Chars<'f>>,
    values: &'v [Value<'d>],
    next: usize,
    /// An index `[n]` was used: superfluous operands are then no mistake.
    reordered: bool,
    good_index: bool,
    output: String,
    limit: usize,
}

/// `printf`. None when the result has more than `limit` bytes.
pub(crate) fn printf(format: &str, values: &[Value<'_>], limit: usize) -> Option<String> {
    let mut printf = Printf {
        format: format.chars().peekable(),
        values,
        next: 0,
        reordered: false,
        good_index: true,
        output: String::new(),
        limit,
    };
    while let Some(character) = printf.format.next() {
        if character == '%' {
            printf.verb();
        } else {
            printf.output.push(character);
        }
        if printf.output.len() > printf.limit {
            return None;
        }
    }
    printf.superfluous();
    (printf.output.len() <= limit).then_some(printf.output)
}

impl<'d> Printf<'_, '_, 'd> {
    fn verb(&mut self) {
        let mut spec = Spec::default();
        self.good_index = true;
        self.flags(&mut spec);
        let mut after_index = self.index();
        if self.format.next_if_eq(&'*').is_some() {
            self.star_width(&mut spec);
            after_index = false;
        } else if let Some(width) = self.digits() {
            spec.width = usize::try_from(width).ok();
            // "%[3]2d" is a mistake.
            self.good_index &= !after_index;
        }
        if self.format.next_if_eq(&'.').is_some() {
            self.good_index &= !after_index;
            after_index = self.index();
            if self.format.next_if_eq(&'*').is_some() {
                self.star_precision(&mut spec);
                after_index = false;
            } else {
                spec.precision = Some(
                    self.digits()
                        .and_then(|value| usize::try_from(value).ok())
                        .unwrap_or(0),
                );
            }
        }
        if !after_index {
            self.index();
        }
        let Some(verb) = self.format.next() else {
            self.output.push_str("%!(NOVERB)");
            return;
        };
        spec.verb = verb;
        if verb == '%' {
            self.output.push('%');
        } else if !self.good_index {
            let _ = write!(self.output, "%!{verb}(BADINDEX)");
        } else if let Some(value) = self.values.get(self.next) {
            self.next += 1;
            self.output.push_str(&spec.argument(value));
        } else {
            let _ = write!(self.output, "%!{verb}(MISSING)");
        }
    }

    fn flags(&mut self, spec: &mut Spec) {
        while let Some(flag) = self.format.next_if(|c| "+-# 0".contains(*c)) {
            match flag {
                '+' => spec.plus = true,
                '-' => spec.minus = true,
                '#' => spec.sharp = true,
                ' ' => spec.space = true,
                _ => spec.zero = true,
            }
        }
        // Zeros on the right would change a number.
        spec.zero &= !spec.minus;
    }

    /// `[n]`: the next operand is the n-th.
    fn index(&mut self) -> bool {
        if self.format.peek() != Some(&'[') {
            return false;
        }
        self.reordered = true;
        self.format.next();
        let mut inner = String::new();
        let closed = loop {
            match self.format.next() {
                Some(']') => break true,
                Some(character) => inner.push(character),
                None => break false,
            }
        };
        let index = inner
            .parse::<usize>()
            .ok()
            .and_then(|index| index.checked_sub(1));
        match index.filter(|index| closed && *index < self.values.len()) {
            Some(index) => self.next = index,
            None => self.good_index = false,
        }
        true
    }

    fn digits(&mut self) -> Option<i64> {
        let mut value: Option<i64> = None;
        while let Some(digit) = self.format.next_if(char::is_ascii_digit) {
            let digit = i64::from(digit.to_digit(10).unwrap_or(0));
            value = Some((value.unwrap_or(0) * 10 + digit).min(MAX_WIDTH));
        }
        value
    }

    fn star(&mut self) -> Option<i64> {
        let value = self.values.get(self.next).and_then(Value::as_int);
        self.next += 1;
        value.filter(|value| value.abs() <= MAX_WIDTH)
    }

    fn star_width(&mut self, spec: &mut Spec) {
        match self.star() {
            Some(width) => {
                if width < 0 {
                    spec.minus = true;
                    spec.zero = false;
                }
                spec.width = usize::try_from(width.abs()).ok();
            }
            None => self.output.push_str("%!(BADWIDTH)"),
        }
    }

    fn star_precision(&mut self, spec: &mut Spec) {
        match self.star() {
            // A negative precision means none.
            Some(precision) => spec.precision = usize::try_from(precision).ok(),
            None => self.output.push_str("%!(BADPREC)"),
        }
    }

    fn superfluous(&mut self) {
        let Some(rest) = self
            .values
            .get(self.next..)
            .filter(|rest| !rest.is_empty() && !self.reordered)
        else {
            return;
        };
        let described: Vec<String> = rest
            .iter()
            .map(|value| match value {
                Value::Nil => "<nil>".to_owned(),
                value => format!("{}={}", value.type_name(), plain(value)),
            })
            .collect();
        let _ = write!(self.output, "%!(EXTRA {})", described.join(", "));
    }
}

impl Spec {
    fn new(verb: char) -> Self {
        Self {
            verb,
            ..Self::default()
        }
    }

    fn argument(&self, value: &Value<'_>) -> String {
        if self.verb == 'v' && self.plus {
            // Asks for the names of struct fields, which JSON data does not have; not for a sign.
            return Spec {
                plus: false,
                ..self.clone()
            }
            .argument(value);
        }
        match self.verb {
            'T' => self.pad(value.type_name().to_owned()),
            'p' => self.bad(value),
            _ => self.value(value, true),
        }
    }

    fn value(&self, value: &Value<'_>, top: bool) -> String {
        let sharp_v = self.sharp && self.verb == 'v';
        match value {
            Value::Nil if sharp_v && !top => "interface {}(nil)".to_owned(),
            Value::Nil if self.verb == 'v' => self.pad("<nil>".to_owned()),
            Value::Nil => self.bad(value),
            Value::Bool(value_) => match self.verb {
                't' | 'v' => self.pad(value_.to_string()),
                _ => self.bad(value),
            },
            Value::Int(number) => self.integer(*number).unwrap_or_else(|| self.bad(value)),
            Value::Byte(number) if sharp_v => format!("{number:#x}"),
            Value::Byte(number) => self
                .integer(i64::from(*number))
                .unwrap_or_else(|| self.bad(value)),
            Value::Float(number) => self.float(*number).unwrap_or_else(|| self.bad(value)),
            Value::Complex(real, imaginary) => {
                let imaginary = Spec {
                    plus: true,
                    ..self.clone()
                }
                .float(*imaginary);
                match (self.float(*real), imaginary) {
                    (Some(real), Some(imaginary)) => format!("({real}{imaginary}i)"),
                    _ => self.bad(value),
                }
            }
            Value::Text(text) => self.text(text).unwrap_or_else(|| self.bad(value)),
            Value::List(items) => self.list(items),
            Value::Map(map) => self.map(map),
        }
    }

    fn list(&self, items: &[Json]) -> String {
        let parts: Vec<String> = items
            .iter()
            .map(|item| self.value(&Value::of(item), false))
            .collect();
        if self.sharp && self.verb == 'v' {
            format!("[]interface {{}}{{{}}}", parts.join(", "))
        } else {
            format!("[{}]", parts.join(" "))
        }
    }

    fn map(&self, map: &serde_json::Map<String, Json>) -> String {
        let mut entries: Vec<(&String, &Json)> = map.iter().collect();
        entries.sort_by_key(|(key, _)| *key);
        let parts: Vec<String> = entries
            .into_iter()
            .map(|(key, item)| {
                let key = Value::text(key);
                format!(
                    "{}:{}",
                    self.value(&key, false),
                    self.value(&Value::of(item), false)
                )
            })
            .collect();
        if self.sharp && self.verb == 'v' {
            format!("map[string]interface {{}}{{{}}}", parts.join(", "))
        } else {
            format!("map[{}]", parts.join(" "))
        }
    }

    /// A verb that does not fit its operand.
    fn bad(&self, value: &Value<'_>) -> String {
        match value {
            Value::Nil => format!("%!{}(<nil>)", self.verb),
            value => format!("%!{}({}={})", self.verb, value.type_name(), plain(value)),
        }
    }

    fn integer(&self, value: i64) -> Option<String> {
        let magnitude = value.unsigned_abs();
        let (prefix, mut digits) = match self.verb {
            'v' | 'd' => ("", magnitude.to_string()),
            'b' => (if self.sharp { "0b" } else { "" }, format!("{magnitude:b}")),
            'o' => (if self.sharp { "0" } else { "" }, format!("{magnitude:o}")),
            'O' => ("0o", format!("{magnitude:o}")),
            'x' => (if self.sharp { "0x" } else { "" }, format!("{magnitude:x}")),
            'X' => (if self.sharp { "0X" } else { "" }, format!("{magnitude:X}")),
            'c' => return Some(self.pad(character(value).to_string())),
            'q' => return Some(self.pad(quoted(&character(value).to_string(), '\'', self.plus))),
            'U' if self.sharp => {
                return Some(self.pad(format!("U+{magnitude:04X} '{}'", character(value))));
            }
            'U' => return Some(self.pad(format!("U+{magnitude:04X}"))),
            'e' | 'E' | 'f' | 'F' | 'g' | 'G' | 's' | 't' => return None,
            _ => return None,
        };
        let sign = self.sign(value < 0);
        if let Some(precision) = self.precision {
            if precision == 0 && value == 0 {
                return Some(self.pad_spaces(String::new()));
            }
            digits = format!(
                "{}{digits}",
                "0".repeat(precision.saturating_sub(digits.len()))
            );
            return Some(self.pad_spaces(format!("{sign}{prefix}{digits}")));
        }
        Some(self.pad_number(sign, prefix, digits))
    }

    fn float(&self, value: f64) -> Option<String> {
        let digits = match self.verb {
            'v' => number::float(value, 'g', self.precision),
            'g' | 'G' => number::float(value, self.verb, self.precision),
            'e' | 'E' => number::float(value, self.verb, Some(self.precision.unwrap_or(6))),
            'f' | 'F' => number::float(value, 'f', Some(self.precision.unwrap_or(6))),
            'x' => number::hexadecimal(value),
            'X' => number::hexadecimal(value).to_uppercase(),
            'b' => number::binary(value),
            _ => return None,
        };
        let sign = self.sign(value.is_sign_negative() && !value.is_nan());
        if value.is_finite() {
            Some(self.pad_number(sign, "", digits))
        } else {
            Some(self.pad_spaces(format!("{sign}{digits}")))
        }
    }

    fn sign(&self, negative: bool) -> &'static str {
        match (negative, self.plus, self.space) {
            (true, ..) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            (false, false, false) => "",
        }
    }

    fn text(&self, text: &str) -> Option<String> {
        let cut: String = match self.precision {
            Some(precision) => text.chars().take(precision).collect(),
            None => text.to_owned(),
        };
        match self.verb {
            'v' if self.sharp => Some(self.pad(quoted(text, '"', false))),
            'v' | 's' => Some(self.pad(cut)),
            'q' if self.sharp && !text.contains(['`', '\n', '\r']) => {
                Some(self.pad(format!("`{cut}`")))
            }
            'q' => Some(self.pad(quoted(&cut, '"', self.plus))),
            'x' | 'X' => Some(self.pad(self.hexadecimal(text))),
            _ => None,
        }
    }

    fn hexadecimal(&self, text: &str) -> String {
        let mut output = String::new();
        let count = self.precision.unwrap_or(usize::MAX);
        for (index, byte) in text.bytes().take(count).enumerate() {
            if self.space && index > 0 {
                output.push(' ');
            }
            if self.sharp && (self.space || index == 0) {
                output.push_str(if self.verb == 'x' { "0x" } else { "0X" });
            }
            let _ = if self.verb == 'x' {
                write!(output, "{byte:02x}")
            } else {
                write!(output, "{byte:02X}")
            };
        }
        output
    }

    fn missing(&self, text: &str) -> usize {
        self.width.unwrap_or(0).saturating_sub(text.chars().count())
    }

    fn pad(&self, text: String) -> String {
        if self.zero && self.missing(&text) > 0 {
            return format!("{}{text}", "0".repeat(self.missing(&text)));
        }
        self.pad_spaces(text)
    }

    fn pad_spaces(&self, text: String) -> String {
        let blanks = " ".repeat(self.missing(&text));
        if self.minus {
            format!("{text}{blanks}")
        } else {
            format!("{blanks}{text}")
        }
    }

    fn pad_number(&self, sign: &str, prefix: &str, digits: String) -> String {
        let text = format!("{sign}{prefix}{digits}");
        if self.zero {
            return format!("{sign}{prefix}{}{digits}", "0".repeat(self.missing(&text)));
        }
        self.pad_spaces(text)
    }
}

fn character(code: i64) -> char {
    u32::try_from(code)
        .ok()
        .and_then(char::from_u32)
        .unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// A string as a Go constant.
fn quoted(text: &str, quote: char, ascii: bool) -> String {
    let mut output = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => output.push_str("\\\\"),
            c if c == quote => {
                output.push('\\');
                output.push(c);
            }
            '\u{7}' => output.push_str("\\a"),
            '\u{8}' => output.push_str("\\b"),
            '\u{c}' => output.push_str("\\f"),
            '\n' => output.push_str("\\n"),
            '\r' => output.push_str("\\r"),
            '\t' => output.push_str("\\t"),
            '\u{b}' => output.push_str("\\v"),
            c if is_printable(c) && (c.is_ascii() || !ascii) => output.push(c),
            c if u32::from(c) < 0x80 => {
                let _ = write!(output, "\\x{:02x}", u32::from(c));
            }
            c if u32::from(c) < 0x1_0000 => {
                let _ = write!(output, "\\u{:04x}", u32::from(c));
            }
            c => {
                let _ = write!(output, "\\U{:08x}", u32::from(c));
            }
        }
    }
    output.push(quote);
    output
}

/// Close to Go's `unicode.IsPrint`: what is neither a control nor a space other than the blank.
pub(crate) fn is_printable(c: char) -> bool {
    c == ' '
        || !(c.is_control()
            || c.is_whitespace()
            || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{feff}'))
}
