//! From bytes of the switch to ports and flows; what is understood is written in the same bytes again.
#![no_main]

use dpu_agent::io::openflow::wire;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = wire::head(bytes);
    let _ = wire::ports(bytes);
    let _ = wire::error(bytes);
    let _ = wire::bundle_state(bytes);
    if let Ok((_, _, items)) = wire::part(bytes) {
        let _ = wire::flows(items);
    }
    let _ = wire::flows(bytes);
});
