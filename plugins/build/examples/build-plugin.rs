//! Builds the plugin crate in the directory of the first argument into the file of the second.

use dpf_plugin_build::{Guest, Toolchain, build};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [crate_dir, output] = arguments.as_slice() else {
        return Err("usage: build-plugin CRATE_DIR OUTPUT".into());
    };
    let guest = Guest {
        crate_dir: crate_dir.into(),
        target_dir: "target/plugins".into(),
    };
    std::fs::write(output, build(&guest, &Toolchain::find()?)?.component)?;
    Ok(())
}
