//! How long ago something was, in the short form kubectl uses.

use jiff::Timestamp;
use serde_json::Value;

/// The time since a timestamp in text form.
pub fn since(value: Option<&Value>, now: Timestamp) -> String {
    match value {
        None | Some(Value::Null) => "<unknown>".to_owned(),
        Some(value) => match value.as_str().and_then(|t| t.parse::<Timestamp>().ok()) {
            Some(then) => human(now.as_second() - then.as_second()),
            None => "<invalid>".to_owned(),
        },
    }
}

/// A number of seconds as `45s`, `3m20s`, `5h`, `2d3h`, `400d`, `3y`.
pub fn human(seconds: i64) -> String {
    if seconds < -1 {
        return "<invalid>".to_owned();
    }
    let seconds = seconds.max(0);
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let two = |big: i64, unit: char, small: i64, small_unit: char| match small {
        0 => format!("{big}{unit}"),
        _ => format!("{big}{unit}{small}{small_unit}"),
    };
    if seconds < 120 {
        format!("{seconds}s")
    } else if minutes < 10 {
        two(minutes, 'm', seconds % 60, 's')
    } else if minutes < 180 {
        format!("{minutes}m")
    } else if hours < 8 {
        two(hours, 'h', minutes % 60, 'm')
    } else if hours < 48 {
        format!("{hours}h")
    } else if hours < 24 * 8 {
        two(hours / 24, 'd', hours % 24, 'h')
    } else if hours < 24 * 365 * 2 {
        format!("{}d", hours / 24)
    } else if hours < 24 * 365 * 8 {
        two(hours / 24 / 365, 'y', (hours / 24) % 365, 'd')
    } else {
        format!("{}y", hours / 24 / 365)
    }
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn durations() {
        let cases = [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (200, "3m20s"),
            (3600, "60m"),
            (4 * 3600, "4h"),
            (50 * 3600, "2d2h"),
            (86400 * 30, "30d"),
            (-5, "<invalid>"),
        ];
        for (seconds, text) in cases {
            assert_eq!(human(seconds), text);
        }
    }
}
