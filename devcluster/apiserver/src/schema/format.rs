//! The string formats a schema can ask for.

use jiff::Timestamp;
use jiff::civil::Date;

/// True when the text has the format; unknown formats accept everything.
pub fn matches(format: &str, text: &str) -> bool {
    match format {
        "date-time" => text.parse::<Timestamp>().is_ok(),
        "date" => text.parse::<Date>().is_ok(),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "uuid" | "uuid3" | "uuid4" | "uuid5" => is_uuid(text),
        "email" => is_email(text),
        "hostname" => is_hostname(text),
        "byte" => is_base64(text),
        "duration" => is_duration(text),
        "uri" => text.contains(':'),
        "mac" => text
            .split([':', '-'])
            .all(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit())),
        _ => true,
    }
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else {
        return false;
    };
    match (address.parse::<std::net::IpAddr>(), bits.parse::<u8>()) {
        (Ok(address), Ok(bits)) => bits <= if address.is_ipv4() { 32 } else { 128 },
        _ => false,
    }
}

fn is_hostname(text: &str) -> bool {
    let label = |l: &str| {
        let inner = l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        !l.is_empty() && l.len() <= 63 && inner && !l.starts_with('-') && !l.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

fn is_email(text: &str) -> bool {
    text.rsplit_once('@').is_some_and(|(local, host)| {
        let plain = local
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"@()<>[],;:\\\"".contains(&b));
        !local.is_empty() && plain && host.contains('.') && is_hostname(host)
    })
}

fn is_uuid(text: &str) -> bool {
    let digits: Vec<u8> = text.bytes().filter(|b| *b != b'-').collect();
    digits.len() == 32 && digits.iter().all(u8::is_ascii_hexdigit)
}

fn is_base64(text: &str) -> bool {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .is_ok()
}

/// Go's duration text: `1h30m`, `1.5s`, `-2ms`.
fn is_duration(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    if text == "0" {
        return true;
    }
    let mut rest = text;
    while !rest.is_empty() {
        let number = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (digits, tail) = rest.split_at(number);
        if !digits.bytes().any(|b| b.is_ascii_digit()) {
            return false;
        }
        let units = ["ns", "us", "µs", "ms", "s", "m", "h", "d", "w"];
        let Some(unit) = units
            .iter()
            .filter(|u| tail.starts_with(**u))
            .max_by_key(|u| u.len())
        else {
            return false;
        };
        rest = tail.strip_prefix(*unit).unwrap_or_default();
    }
    !text.is_empty()
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn formats() {
        let good = [
            ("duration", "1h30m"),
            ("cidr", "10.0.0.0/8"),
            ("date-time", "2026-01-01T00:00:00Z"),
            ("x", "y"),
            ("email", "a@example.com"),
            ("hostname", "a-b.example"),
        ];
        let bad = [
            ("duration", "1x"),
            ("duration", ""),
            ("cidr", "10.0.0.0/33"),
            ("date-time", "now"),
            ("ipv4", "::"),
            ("email", "a@b"),
            ("hostname", "-a"),
        ];
        for (format, text) in good {
            assert!(matches(format, text), "{format} {text}");
        }
        for (format, text) in bad {
            assert!(!matches(format, text), "{format} {text}");
        }
    }
}
