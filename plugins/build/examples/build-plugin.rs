//! Builds the plugin crate in the directory of the first argument into the file of the second.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [crate_dir, output] = arguments.as_slice() else {
        return Err("usage: build-plugin CRATE_DIR OUTPUT".into());
    };
    let guest = dpf_plugin_build::Guest {
        crate_dir: std::path::Path::new(crate_dir).canonicalize()?,
        target_dir: std::path::Path::new("target/plugins").to_owned(),
    };
    std::fs::create_dir_all(&guest.target_dir)?;
    let guest = dpf_plugin_build::Guest {
        target_dir: guest.target_dir.canonicalize()?,
        ..guest
    };
    let built = dpf_plugin_build::build(&guest, &dpf_plugin_build::Toolchain::find()?)?;
    std::fs::write(output, built.component)?;
    Ok(())
}
