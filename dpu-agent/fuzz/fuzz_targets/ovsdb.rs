//! From bytes of the database to bridges and ports: whatever they are, no panic and no endless loop.
#![no_main]

use dpu_agent::io::ovsdb::frame::Splitter;
use dpu_agent::io::ovsdb::mirror::Mirror;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut splitter = Splitter::default();
    let mut mirror = Mirror::default();
    for chunk in bytes.chunks(61) {
        splitter.push(chunk);
        while let Ok(Some(message)) = splitter.message() {
            let Ok(message) = serde_json::from_slice::<serde_json::Value>(&message) else {
                return;
            };
            let update = message.pointer("/params/1").or_else(|| message.get("result"));
            if mirror.update(update.unwrap_or(&message)).is_err() {
                return;
            }
            let _ = mirror.snapshot();
        }
    }
});
