//! Builds the three default plugins into components, which the crate embeds.

fn main() -> Result<(), dpf_plugin_build::BuildError> {
    for plugin in ["template-merge", "version-check", "chain-builder"] {
        dpf_plugin_build::embed(format!("../../plugins/{plugin}"))?;
    }
    Ok(())
}
