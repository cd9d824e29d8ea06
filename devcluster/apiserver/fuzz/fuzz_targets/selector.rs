#![no_main]

use std::sync::{LazyLock, Mutex};

use dpf_apiserver::fuzz::{Target, Victim};
use libfuzzer_sys::fuzz_target;

static VICTIM: LazyLock<Mutex<Victim>> = LazyLock::new(Mutex::default);

fuzz_target!(|input: &[u8]| {
    let mut victim = VICTIM.lock().expect("an earlier input did not panic");
    victim.attack(Target::Selector, input);
});
