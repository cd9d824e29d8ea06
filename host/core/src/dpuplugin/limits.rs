//! What a call may use: what the DPUPlugin asks for, capped by what the host allows.

use dpf_api::Quantity;
use dpf_api::plugin::PluginLimits;
use dpf_quantity::Quantity as Amount;

/// Limits of one plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// Linear memory in bytes.
    pub memory_bytes: usize,
    /// Time in milliseconds.
    pub deadline_milliseconds: u64,
    /// Size of a result in bytes.
    pub output_bytes: usize,
    /// Calls at the same time.
    pub concurrency: u32,
    /// Lines of log in a minute.
    pub log_lines_per_minute: u32,
}

impl Default for CallLimits {
    /// What the host allows when its operator says nothing.
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            deadline_milliseconds: 5000,
            output_bytes: 8 << 20,
            concurrency: 2,
            log_lines_per_minute: 600,
        }
    }
}

/// A limit that is no amount. The schema refuses most of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("spec.limits.{field} {text:?} is not an amount of bytes such as 32Mi")]
pub struct LimitError {
    field: &'static str,
    text: String,
}

impl CallLimits {
    /// The limits of a plugin: as asked for, but not above `caps`; what is not asked for is the cap.
    ///
    /// # Errors
    /// An amount that cannot be read.
    pub fn of(asked: Option<&PluginLimits>, caps: CallLimits) -> Result<Self, LimitError> {
        let Some(asked) = asked else { return Ok(caps) };
        let number = |asked: Option<i32>, cap: u32| {
            asked
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or(cap)
                .min(cap)
        };
        Ok(Self {
            memory_bytes: bytes("memory", asked.memory.as_ref(), caps.memory_bytes)?,
            deadline_milliseconds: asked
                .deadline_milliseconds
                .and_then(|ms| u64::try_from(ms).ok())
                .unwrap_or(caps.deadline_milliseconds)
                .clamp(1, caps.deadline_milliseconds),
            output_bytes: bytes("output", asked.output.as_ref(), caps.output_bytes)?,
            concurrency: number(asked.concurrency, caps.concurrency).max(1),
            log_lines_per_minute: number(asked.log_lines_per_minute, caps.log_lines_per_minute),
        })
    }
}

fn bytes(field: &'static str, asked: Option<&Quantity>, cap: usize) -> Result<usize, LimitError> {
    let Some(Quantity(text)) = asked else {
        return Ok(cap);
    };
    let wrong = || LimitError {
        field,
        text: text.clone(),
    };
    let amount = Amount::parse(text.trim()).map_err(|_| wrong())?;
    if amount.value() <= 0 {
        return Err(wrong());
    }
    Ok(usize::try_from(amount.value()).map_or(cap, |bytes| bytes.min(cap)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPS: CallLimits = CallLimits {
        memory_bytes: 64 << 20,
        deadline_milliseconds: 5000,
        output_bytes: 8 << 20,
        concurrency: 2,
        log_lines_per_minute: 600,
    };

    #[test]
    fn what_is_asked_for_is_capped() {
        let asked = PluginLimits {
            memory: Some(Quantity("16Mi".to_owned())),
            deadline_milliseconds: Some(60_000),
            output: Some(Quantity("1Gi".to_owned())),
            concurrency: Some(1),
            log_lines_per_minute: Some(0),
        };
        let limits = CallLimits::of(Some(&asked), CAPS).unwrap();
        assert_eq!(
            limits,
            CallLimits {
                memory_bytes: 16 << 20,
                concurrency: 1,
                log_lines_per_minute: 0,
                ..CAPS
            }
        );
        assert_eq!(CallLimits::of(None, CAPS), Ok(CAPS));
        assert_eq!(
            CallLimits::of(Some(&PluginLimits::default()), CAPS),
            Ok(CAPS)
        );
    }

    #[test]
    fn what_is_no_amount_is_said() {
        for text in ["much", "-1", "0"] {
            let asked = PluginLimits {
                memory: Some(Quantity(text.to_owned())),
                ..PluginLimits::default()
            };
            let error = CallLimits::of(Some(&asked), CAPS).unwrap_err();
            assert!(error.to_string().contains("spec.limits.memory"), "{error}");
        }
    }
}
