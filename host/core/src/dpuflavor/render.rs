//! bf.cfg: what the installer on a DPU sources, and the cloud-init data in it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use dpf_api::keys::annotations;
use dpf_api::provisioning::{DpuFlavor, FileOperation, FlavorMode};
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, context};
use serde::Serialize;

/// Largest bf.cfg that the installer reads, in bytes.
pub const SIZE_LIMIT_BYTES: usize = 128 * 1024;

const BF_CFG: &str = include_str!("bf.cfg.j2");
const USER_DATA: &str = include_str!("user-data.j2");

/// How a DPU joins its cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Join {
    /// URL of the API server.
    pub api_server: String,
    /// `sha256:<hexadecimal>` of the public key of each CA.
    pub ca_cert_hashes: Vec<String>,
    /// Bootstrap token, `<id>.<secret>`.
    pub token: String,
}

/// Everything a bf.cfg depends on.
#[derive(Clone, Copy, Debug)]
pub struct BfCfg<'a> {
    /// The flavor.
    pub flavor: &'a DpuFlavor,
    /// Namespace of the DPU.
    pub dpu_namespace: &'a str,
    /// Name of the DPU and of its node.
    pub dpu_name: &'a str,
    /// Uid of the DPU.
    pub dpu_uid: &'a str,
    /// How it joins.
    pub join: &'a Join,
    /// MTU of the control plane in bytes.
    pub control_plane_mtu: i32,
    /// Physical functions of the card.
    pub number_of_pfs: i32,
}

/// A bf.cfg that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The template and its data do not fit together.
    #[error("failed to render bf.cfg")]
    Render(#[from] minijinja::Error),
    /// The installer would not read it.
    #[error(
        "bf.cfg for DPUFlavor {flavor} has {size_bytes} bytes, the installer reads at most {SIZE_LIMIT_BYTES}: shorten configFiles or the ovs script"
    )]
    TooLarge {
        /// Name of the flavor.
        flavor: String,
        /// Size of the result.
        size_bytes: usize,
    },
    /// The API server has no address that a DPU can use.
    #[error("the API server of the DPU cluster is {0:?}, which is not an http:// or https:// URL")]
    ApiServer(String),
}

/// A file that cloud-init writes.
#[derive(Serialize)]
struct File {
    path: String,
    permissions: String,
    append: bool,
    content: String,
}

impl File {
    fn new(path: &str, permissions: &str, content: impl AsRef<[u8]>) -> Self {
        Self {
            path: quoted(path),
            permissions: quoted(permissions),
            append: false,
            content: BASE64.encode(content),
        }
    }
}

/// A JSON string, which is also a YAML string, on one line.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The bf.cfg of one DPU.
///
/// # Errors
/// [`RenderError`] when the result is too large for the installer or the cluster has no usable address.
pub fn render(input: BfCfg<'_>) -> Result<String, RenderError> {
    let BfCfg {
        flavor,
        dpu_namespace,
        dpu_name,
        dpu_uid,
        join,
        control_plane_mtu,
        number_of_pfs,
    } = input;
    let flavor_name = flavor.metadata.name.as_deref().unwrap_or_default();
    let (password, parameters) = parameters(flavor);
    let restart = flavor.spec.grub.is_some() || flavor.spec.sysctl.is_some();
    let files = files(flavor, dpu_name, join, control_plane_mtu, number_of_pfs)?;
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let user_data = environment.render_str(
        USER_DATA,
        context! {
            password => password.as_deref().map(quoted),
            files => Serde(files),
            hostname => quoted(dpu_name),
            has_ovs => ovs_script(flavor).is_some(),
            has_nvconfig => flavor.spec.nvconfig.as_ref().is_some_and(|n| !n.is_empty()),
            has_containerd => registry(flavor).is_some(),
            mode => mode(flavor),
            restart => restart,
        },
    )?;
    let mut bf_cfg = environment.render_str(
        BF_CFG,
        context! {
            node_name => dpu_name.to_owned(),
            namespace => dpu_namespace.to_owned(),
            name => dpu_name.to_owned(),
            uid => dpu_uid.to_owned(),
            api_server => join.api_server.clone(),
            ca_cert_hashes => join.ca_cert_hashes.clone(),
            token => join.token.clone(),
            flavor => flavor_name.to_owned(),
            parameters => Serde(parameters),
            user_data => user_data.trim_end().to_owned(),
        },
    )?;
    bf_cfg.push('\n');
    if bf_cfg.len() > SIZE_LIMIT_BYTES {
        return Err(RenderError::TooLarge {
            flavor: flavor_name.to_owned(),
            size_bytes: bf_cfg.len(),
        });
    }
    Ok(bf_cfg)
}

/// The password hash of user ubuntu, and the other lines.
fn parameters(flavor: &DpuFlavor) -> (Option<String>, Vec<&str>) {
    let mut password = None;
    let mut lines = Vec::new();
    for line in flavor.spec.bfcfg_parameters.iter().flatten() {
        match line.split_once('=') {
            Some(("ubuntu_PASSWORD", hash)) => {
                password = Some(hash.trim_matches(['\'', '"']).to_owned());
            }
            _ => lines.push(line.as_str()),
        }
    }
    (password, lines)
}

fn ovs_script(flavor: &DpuFlavor) -> Option<&str> {
    flavor.spec.ovs.as_ref()?.raw_config_script.as_deref()
}

fn registry(flavor: &DpuFlavor) -> Option<&str> {
    let endpoint = flavor
        .spec
        .containerd_config
        .as_ref()?
        .registry_endpoint
        .as_deref()?;
    Some(endpoint).filter(|e| !e.is_empty())
}

fn mode(flavor: &DpuFlavor) -> &'static str {
    flavor
        .spec
        .dpu_mode
        .unwrap_or(FlavorMode::ZeroTrust)
        .as_str()
}

/// The number of scalable functions: the first `PF_TOTAL_SF=` of the firmware parameters.
fn scalable_functions(flavor: &DpuFlavor) -> u32 {
    flavor
        .spec
        .nvconfig
        .iter()
        .flatten()
        .flat_map(|config| config.parameters.iter().flatten())
        .find_map(|parameter| parameter.strip_prefix("PF_TOTAL_SF="))
        .and_then(|count| count.parse().ok())
        .unwrap_or(0)
}

fn trusted_functions(flavor: &DpuFlavor) -> u32 {
    flavor
        .metadata
        .annotations
        .as_ref()
        .and_then(|a| a.get(annotations::TRUSTED_SFS))
        .and_then(|count| count.parse().ok())
        .filter(|count| (1..=10).contains(count))
        .unwrap_or(0)
}

fn files(
    flavor: &DpuFlavor,
    node_name: &str,
    join: &Join,
    mtu: i32,
    number_of_pfs: i32,
) -> Result<Vec<File>, RenderError> {
    let spec = &flavor.spec;
    let mut files = vec![
        File::new("/etc/netplan/98-oob-tmfifo.yaml", "0600", netplan(mtu)),
        File::new(
            "/opt/dpf/join_k8s_cluster.sh",
            "0700",
            join_script(node_name, join)?,
        ),
        File::new(
            "/etc/systemd/system/kubeadm-join.service",
            "0644",
            unit(
                "Join the DPU cluster",
                "/opt/dpf/join_k8s_cluster.sh",
                "network-online.target",
            ),
        ),
        File::new(
            "/opt/dpf/configure-sfs.sh",
            "0700",
            functions_script(flavor, number_of_pfs),
        ),
        File::new(
            "/etc/systemd/system/bootstrap-dpf.service",
            "0644",
            unit(
                "Create scalable functions",
                "/opt/dpf/configure-sfs.sh",
                "openvswitch-switch.service",
            ),
        ),
    ];
    if let Some(parameters) = spec.sysctl.as_ref().and_then(|s| s.parameters.as_ref()) {
        files.push(File::new(
            "/etc/sysctl.d/99-dpf.conf",
            "0644",
            lines(parameters),
        ));
    }
    if let Some(parameters) = spec
        .grub
        .as_ref()
        .and_then(|g| g.kernel_parameters.as_ref())
    {
        let line = format!(
            "GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX {}\"\n",
            parameters.join(" ")
        );
        files.push(File::new("/etc/default/grub.d/99-dpf.cfg", "0644", line));
    }
    if spec.nvconfig.as_ref().is_some_and(|n| !n.is_empty()) {
        files.push(File::new(
            "/opt/dpf/set-nvconfig-params.sh",
            "0700",
            nvconfig_script(flavor),
        ));
    }
    if let Some(script) = ovs_script(flavor) {
        let script = format!("#!/bin/bash\nset -e\n{}\n", script.trim_end());
        files.push(File::new("/opt/dpf/ovs.sh", "0700", script));
        files.push(File::new(
            "/etc/systemd/system/ovs-config.service",
            "0644",
            unit(
                "Configure Open vSwitch",
                "/opt/dpf/ovs.sh",
                "openvswitch-switch.service",
            ),
        ));
    }
    if let Some(endpoint) = registry(flavor) {
        let hosts = format!(
            "server = \"https://nvcr.io\"\n\n[host.{}]\n  capabilities = [\"pull\", \"resolve\"]\n",
            quoted(endpoint)
        );
        files.push(File::new(
            "/etc/containerd/certs.d/nvcr.io/hosts.toml",
            "0644",
            hosts,
        ));
    }
    for file in spec.config_files.iter().flatten() {
        let mut written = File::new(
            file.path.as_deref().unwrap_or_default(),
            file.permissions.as_deref().unwrap_or("0644"),
            file.raw.as_deref().unwrap_or_default(),
        );
        written.append = file.operation == Some(FileOperation::Append);
        files.push(written);
    }
    Ok(files)
}

fn lines(of: &[String]) -> String {
    of.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

fn netplan(mtu: i32) -> String {
    format!(
        "network:\n  version: 2\n  renderer: networkd\n  ethernets:\n    oob_net0:\n      dhcp4: true\n      mtu: {mtu}\n    tmfifo_net0:\n      dhcp4: false\n      addresses: [192.168.100.2/30]\n"
    )
}

fn unit(description: &str, script: &str, after: &str) -> String {
    format!(
        "[Unit]\nDescription={description}\nAfter={after}\nWants={after}\n\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart={script}\n\n[Install]\nWantedBy=multi-user.target\n"
    )
}

fn join_script(node_name: &str, join: &Join) -> Result<String, RenderError> {
    let endpoint = join
        .api_server
        .strip_prefix("https://")
        .or_else(|| join.api_server.strip_prefix("http://"))
        .map(|rest| rest.split('/').next().unwrap_or_default())
        .filter(|host| !host.is_empty())
        .ok_or_else(|| RenderError::ApiServer(join.api_server.clone()))?;
    let mut command = format!(
        "kubeadm join {endpoint} --node-name {node_name} --token {}",
        join.token
    );
    for hash in &join.ca_cert_hashes {
        command.push_str(" --discovery-token-ca-cert-hash ");
        command.push_str(hash);
    }
    Ok(format!(
        "#!/bin/bash\n# Joins once; the marker survives restarts.\nmarker=/opt/dpf/joined_cluster_successfully\n[ -e \"$marker\" ] && exit 0\nuntil {command}; do sleep 5; done\ntouch \"$marker\"\n"
    ))
}

fn functions_script(flavor: &DpuFlavor, number_of_pfs: i32) -> String {
    let total = scalable_functions(flavor);
    let trusted = trusted_functions(flavor).min(total);
    let plain = total.saturating_sub(trusted);
    let mut script = String::from("#!/bin/bash\nset -e\n");
    if plain > 0 {
        script.push_str(&format!(
            "for n in $(seq 0 {}); do\n  /opt/mellanox/iproute2/sbin/mlxdevm port add pci/0000:03:00.0 flavour pcisf pfnum 0 sfnum \"$n\" || true\ndone\n",
            plain - 1
        ));
    }
    if trusted > 0 {
        script.push_str(&format!(
            "for n in $(seq 101 {}); do\n  /opt/mellanox/iproute2/sbin/mlxdevm port add pci/0000:03:00.0 flavour pcisf pfnum 0 sfnum \"$n\" || true\n  /opt/mellanox/iproute2/sbin/mlxdevm port function set \"pci/0000:03:00.0/$n\" trust on || true\ndone\n",
            100 + trusted
        ));
    }
    for pf in 0..number_of_pfs.max(1) {
        script.push_str(&format!(
            "ip link set p{pf} mtu 9216 || true\nip link set pf{pf}hpf mtu 9216 || true\n"
        ));
    }
    script
}

fn nvconfig_script(flavor: &DpuFlavor) -> String {
    let mut script = String::from(
        "#!/bin/bash\nset -e\nmst start\nfor device in /dev/mst/*; do\n  mlxconfig -d \"$device\" -y reset\ndone\n",
    );
    for config in flavor.spec.nvconfig.iter().flatten() {
        let parameters: Vec<&str> = config
            .parameters
            .iter()
            .flatten()
            .map(String::as_str)
            .collect();
        if parameters.is_empty() {
            continue;
        }
        let port = config.device.as_deref().unwrap_or("*").to_ascii_lowercase();
        let devices = match port.as_str() {
            "p0" => "/dev/mst/*_pciconf0",
            "p1" => "/dev/mst/*_pciconf0.1",
            _ => "/dev/mst/*",
        };
        script.push_str(&format!(
            "for device in {devices}; do\n  mlxconfig -d \"$device\" -y set {}\ndone\n",
            parameters.join(" ")
        ));
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;
    use dpf_api::provisioning::{ConfigFile, ContainerdConfig, Grub, NvConfig, Ovs, Sysctl};

    fn flavor() -> DpuFlavor {
        let mut flavor = DpuFlavor::default();
        flavor.metadata.name = Some("hbn".to_owned());
        flavor.spec.bfcfg_parameters = Some(vec![
            "UPDATE_ATF_UEFI=yes".to_owned(),
            "ubuntu_PASSWORD='$1$abc$def'".to_owned(),
        ]);
        flavor.spec.grub = Some(Grub {
            kernel_parameters: Some(vec!["console=hvc0".to_owned(), "hugepages=5120".to_owned()]),
        });
        flavor.spec.sysctl = Some(Sysctl {
            parameters: Some(vec!["net.ipv4.ip_forward=1".to_owned()]),
        });
        flavor.spec.nvconfig = Some(vec![NvConfig {
            device: Some("*".to_owned()),
            parameters: Some(vec![
                "PF_TOTAL_SF=20".to_owned(),
                "PF_BAR2_ENABLE=0".to_owned(),
            ]),
            ..NvConfig::default()
        }]);
        flavor.spec.ovs = Some(Ovs {
            raw_config_script: Some(
                "ovs-vsctl set Open_vSwitch . other_config:doca-init=true\n".to_owned(),
            ),
        });
        flavor.spec.config_files = Some(vec![ConfigFile {
            path: Some("/etc/evil\nname".to_owned()),
            operation: Some(FileOperation::Append),
            raw: Some("EOF\nDPF_USER_DATA\n# dpf:begin 1\n".to_owned()),
            permissions: Some("0600".to_owned()),
            ..ConfigFile::default()
        }]);
        flavor.spec.containerd_config = Some(ContainerdConfig {
            registry_endpoint: Some("https://mirror.example.com".to_owned()),
        });
        flavor
    }

    fn join() -> Join {
        Join {
            api_server: "https://10.0.0.1:6443".to_owned(),
            ca_cert_hashes: vec![format!("sha256:{}", "0a".repeat(32))],
            token: "abcdef.0123456789abcdef".to_owned(),
        }
    }

    fn of(flavor: &DpuFlavor) -> Result<String, RenderError> {
        render(BfCfg {
            flavor,
            dpu_namespace: "dpf",
            dpu_name: "worker1-mt2334xz0abc",
            dpu_uid: "uid",
            join: &join(),
            control_plane_mtu: 1500,
            number_of_pfs: 2,
        })
    }

    #[test]
    fn golden_file() {
        insta::assert_snapshot!("bf_cfg", of(&flavor()).unwrap());
    }

    #[test]
    fn an_empty_flavor_still_joins() {
        let text = of(&DpuFlavor::default()).unwrap();
        assert!(text.starts_with("# dpf:begin 1\n# dpf:node-name=worker1-mt2334xz0abc\n"));
        assert!(!text.contains("ovs-config"));
    }

    #[test]
    fn no_content_escapes_its_place() {
        let text = of(&flavor()).unwrap();
        assert_eq!(text.matches("# dpf:begin").count(), 1);
        assert_eq!(text.lines().filter(|l| *l == "DPF_USER_DATA").count(), 1);
        assert!(text.contains(r#"path: "/etc/evil\nname""#));
    }

    #[test]
    fn the_files_say_what_the_flavor_says() {
        let files = files(&flavor(), "node", &join(), 1500, 1).unwrap();
        let content = |path: &str| {
            let file = files.iter().find(|f| f.path == quoted(path)).unwrap();
            String::from_utf8(BASE64.decode(&file.content).unwrap()).unwrap()
        };
        assert_eq!(
            content("/etc/sysctl.d/99-dpf.conf"),
            "net.ipv4.ip_forward=1\n"
        );
        assert!(content("/etc/default/grub.d/99-dpf.cfg").contains("console=hvc0 hugepages=5120"));
        assert!(
            content("/opt/dpf/set-nvconfig-params.sh")
                .contains("set PF_TOTAL_SF=20 PF_BAR2_ENABLE=0")
        );
        assert!(content("/opt/dpf/configure-sfs.sh").contains("seq 0 19"));
        assert!(content("/opt/dpf/ovs.sh").starts_with("#!/bin/bash\nset -e\novs-vsctl"));
        assert!(content("/opt/dpf/join_k8s_cluster.sh").contains(
            "kubeadm join 10.0.0.1:6443 --node-name node --token abcdef.0123456789abcdef --discovery-token-ca-cert-hash sha256:"
        ));
    }

    #[test]
    fn a_bf_cfg_that_the_installer_cannot_read_is_refused() {
        let mut large = flavor();
        large.spec.ovs = Some(Ovs {
            raw_config_script: Some("x".repeat(SIZE_LIMIT_BYTES)),
        });
        let error = of(&large).unwrap_err();
        assert!(matches!(error, RenderError::TooLarge { .. }), "{error}");
    }
}
