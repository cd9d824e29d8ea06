//! The host's log.

use crate::Level;

/// Writes a line to the host's log; in native tests to stderr. Hosts drop what is above 64 lines of 1024 characters in a call.
pub fn log(level: Level, message: &str) {
    #[cfg(target_arch = "wasm32")]
    crate::bindings::base::dpf::plugin::log::write(level, message);
    #[cfg(not(target_arch = "wasm32"))]
    #[expect(clippy::print_stderr, reason = "there is no host to take it")]
    {
        eprintln!("{level:?}: {message}");
    }
}

/// Writes a formatted line to the host's log: `log!(Info, "{count} lists merged")`.
#[macro_export]
macro_rules! log {
    ($level:ident, $($message:tt)+) => {
        $crate::log($crate::Level::$level, &::std::format!($($message)+))
    };
}
