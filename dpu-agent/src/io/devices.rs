//! Network devices of the DPU, as sysfs has them.

use crate::core::observed::Device;
use std::fs;
use std::path::Path;

/// Devices that stand for a function; others have nothing to say about which one they are.
///
/// What cannot be read is left out: devices come and go while this runs.
#[must_use]
pub fn read(sysfs: &Path) -> Vec<Device> {
    let Ok(entries) = fs::read_dir(sysfs.join("class/net")) else {
        return Vec::new();
    };
    let mut devices: Vec<Device> = entries
        .flatten()
        .filter_map(|entry| device(&entry.path()))
        .collect();
    devices.sort_by(|a, b| a.name.cmp(&b.name));
    devices
}

fn device(path: &Path) -> Option<Device> {
    let function = fs::read_to_string(path.join("phys_port_name")).ok()?;
    let function = function.trim();
    let name = path.file_name()?.to_str()?.to_owned();
    let address = fs::canonicalize(path.join("device")).ok();
    let address = address.and_then(|p| p.file_name().and_then(|n| n.to_str()).map(str::to_owned));
    (!function.is_empty()).then(|| Device {
        name,
        function: function.to_owned(),
        address,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_with_a_function_are_found_with_their_address() {
        let root = tempfile::tempdir().unwrap();
        let net = root.path().join("class/net");
        let pci = root.path().join("devices/0000:03:00.0");
        fs::create_dir_all(&pci).unwrap();
        for (name, function) in [("pf0hpf", "c1pf0\n"), ("eth0", ""), ("p0", "p0\n")] {
            fs::create_dir_all(net.join(name)).unwrap();
            fs::write(net.join(name).join("phys_port_name"), function).unwrap();
        }
        fs::create_dir_all(net.join("lo")).unwrap();
        std::os::unix::fs::symlink(&pci, net.join("pf0hpf/device")).unwrap();
        let found = read(root.path());
        let names: Vec<_> = found
            .iter()
            .map(|d| (d.name.as_str(), d.function.as_str()))
            .collect();
        assert_eq!(names, [("p0", "p0"), ("pf0hpf", "c1pf0")]);
        assert_eq!(found[1].address.as_deref(), Some("0000:03:00.0"));
        assert!(read(&root.path().join("nowhere")).is_empty());
    }
}
