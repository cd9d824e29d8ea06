//! A private Open vSwitch, and network namespaces as pods.
//!
//! What this crate is: what a DPU has and a laptop lacks, made of the real thing. Each [`Sandbox`] runs an own
//! `ovsdb-server` and `ovs-vswitchd` with the userspace datapath inside a network namespace of its own; [`Namespace`] is a
//! pod, and [`Sandbox::attach`] does what the OVS CNI does on a DPU.
//!
//! What it is not: it touches neither the system's own Open vSwitch nor the machine's network, and it needs no kernel
//! module. It needs root.
//!
//! ```text
//!   namespace of a pod          namespace of the sandbox
//!   ┌───────────────┐           ┌───────────────────────────────┐
//!   │ app-iface  ───┼── veth ───┼─ v3f2a ── br-sfc (ovs-vswitchd)│   db.sock, br-sfc.mgmt in the directory
//!   └───────────────┘           └───────────────────────────────┘
//! ```
//!
//! ```no_run
//! # fn main() -> Result<(), dpf_ovs_sandbox::SandboxError> {
//! if let Some(reason) = dpf_ovs_sandbox::missing() {
//!     println!("skipped: {reason}");
//! } else {
//!     let sandbox = dpf_ovs_sandbox::Sandbox::start("/tmp/dpu1".as_ref(), "dpu1")?;
//!     println!("{}", sandbox.vsctl(&["show"])?);
//! }
//! # Ok(())
//! # }
//! ```

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Programs that must be installed, and the Debian package of each.
const PROGRAMS: [(&str, &str); 7] = [
    ("ovsdb-tool", "openvswitch-common"),
    ("ovsdb-server", "openvswitch-switch"),
    ("ovs-vswitchd", "openvswitch-switch"),
    ("ovs-vsctl", "openvswitch-switch"),
    ("ovs-ofctl", "openvswitch-common"),
    ("ip", "iproute2"),
    ("ping", "iputils-ping"),
];
/// Where Debian keeps the schema of the database.
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
/// A daemon that does not listen by then will not.
const START: Duration = Duration::from_secs(10);
/// Between two looks whether a daemon listens.
const LOOK: Duration = Duration::from_millis(10);
/// Who the CNI says it is.
const CNI: &str = "ovs-cni.network.kubevirt.io";

/// The sandbox does not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A program could not be started.
    #[error("failed to start {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// Cause.
        source: std::io::Error,
    },
    /// A program failed.
    #[error("{command} failed: {message}")]
    Failed {
        /// The command.
        command: String,
        /// What it wrote to stderr.
        message: String,
    },
    /// A file could not be written.
    #[error("failed to prepare {path}: {source}")]
    Prepare {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// A daemon does not listen.
    #[error("{program} does not listen; its log is in {directory}")]
    NotListening {
        /// The daemon.
        program: &'static str,
        /// Where its log is.
        directory: PathBuf,
    },
}

/// What this machine lacks to run a sandbox, as a sentence; none when it can.
#[must_use]
pub fn missing() -> Option<String> {
    let user = Command::new("id").arg("-u").output().ok();
    if user.is_none_or(|user| user.stdout.trim_ascii() != b"0") {
        return Some("network namespaces need root".to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = |program: &str| {
        let mut directories = std::env::split_paths(&path);
        directories.any(|directory| directory.join(program).is_file())
    };
    let lacking = PROGRAMS.iter().find(|(program, _)| !installed(program));
    if let Some((program, package)) = lacking {
        return Some(format!(
            "{program} is not installed; Debian has it in the package {package}"
        ));
    }
    if !Path::new("/dev/net/tun").exists() {
        return Some("there is no /dev/net/tun for the local ports of bridges".to_owned());
    }
    None
}

/// Runs a command and returns what it wrote.
///
/// # Errors
/// [`SandboxError`] when it does not start or does not succeed.
pub fn run<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Result<String, SandboxError> {
    let mut command = Command::new(program);
    command.args(arguments);
    finish(program, command)
}

fn finish(program: &str, mut command: Command) -> Result<String, SandboxError> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|source| SandboxError::Start {
        program: program.to_owned(),
        source,
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(SandboxError::Failed {
        command: format!("{command:?}"),
        message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// A network namespace; it goes with the value.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace with a loopback device; one of this name that a killed process left behind is replaced.
    ///
    /// # Errors
    /// [`SandboxError`] when the kernel refuses.
    pub fn new(name: &str) -> Result<Self, SandboxError> {
        // Fails when there is none, which is what is wanted.
        let _ = run("ip", &["netns", "del", name]);
        run("ip", &["netns", "add", name])?;
        let namespace = Self {
            name: name.to_owned(),
        };
        run("ip", &["-n", name, "link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that runs inside.
    #[must_use]
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name, program])
            .args(arguments);
        command
    }

    /// Runs a command inside, whatever its exit code.
    ///
    /// # Errors
    /// [`SandboxError`] when it does not start.
    pub fn output(&self, program: &str, arguments: &[&str]) -> Result<Output, SandboxError> {
        let output = self
            .command(program, arguments)
            .stdin(Stdio::null())
            .output();
        output.map_err(|source| SandboxError::Start {
            program: program.to_owned(),
            source,
        })
    }

    /// Runs a command inside that must succeed.
    ///
    /// # Errors
    /// [`SandboxError`] when it does not.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String, SandboxError> {
        finish(program, self.command(program, arguments))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = run("ip", &["netns", "del", &self.name]);
    }
}

/// What a pod's interface is plugged in with.
#[derive(Clone, Debug)]
pub struct PodPort<'a> {
    /// Namespace of the pod in the API.
    pub namespace: &'a str,
    /// Name of the pod.
    pub pod: &'a str,
    /// Name of the interface inside the pod.
    pub interface: &'a str,
    /// Bridge: `br-sfc`, or `br-hbn` with a patch pair to it.
    pub bridge: &'a str,
    /// Address with prefix length, for example `10.0.0.1/24`.
    pub address: Option<&'a str>,
    /// MTU in bytes.
    pub mtu: u32,
    /// Name of the device on the side of the switch, at most 15 bytes.
    pub representor: &'a str,
}

/// A private Open vSwitch; its processes and its namespace go with the value.
#[derive(Debug)]
pub struct Sandbox {
    directory: PathBuf,
    namespace: Namespace,
    database: Child,
    switch: Child,
}

impl Sandbox {
    /// Starts an empty Open vSwitch with its files in `directory`, in a network namespace of that name.
    ///
    /// # Errors
    /// [`SandboxError`]; nothing keeps running then.
    pub fn start(directory: &Path, name: &str) -> Result<Self, SandboxError> {
        std::fs::create_dir_all(directory).map_err(|source| SandboxError::Prepare {
            path: directory.to_owned(),
            source,
        })?;
        // A killed process could not end its daemons.
        for (daemon, file) in [
            ("ovs-vswitchd", "switch.pid"),
            ("ovsdb-server", "database.pid"),
        ] {
            end_left_behind(daemon, &directory.join(file));
        }
        for left in ["conf.db", "db.sock", "switch.ctl"] {
            let _ = std::fs::remove_file(directory.join(left));
        }
        let file = directory.join("conf.db");
        run(
            "ovsdb-tool",
            &["create".as_ref(), file.as_os_str(), SCHEMA.as_ref()],
        )?;
        let namespace = Namespace::new(name)?;
        let mut database = start_database(directory)?;
        let listening = await_socket("ovsdb-server", directory, "db.sock");
        let prepared = listening.and_then(|()| vsctl(directory, &["--no-wait", "init"]));
        let switch = prepared.and_then(|_| start_switch(directory, &namespace));
        match switch {
            Ok(switch) => Ok(Self {
                directory: directory.to_owned(),
                namespace,
                database,
                switch,
            }),
            Err(error) => {
                end(&mut database);
                Err(error)
            }
        }
    }

    /// Directory of its sockets.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The namespace of its devices.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Runs `ovs-vsctl` on its database.
    ///
    /// # Errors
    /// [`SandboxError`] when it fails.
    pub fn vsctl(&self, arguments: &[&str]) -> Result<String, SandboxError> {
        vsctl(&self.directory, arguments)
    }

    /// Runs `ovs-ofctl` with OpenFlow 1.4 on a bridge: the words of `command`, the bridge, the words of `rest`.
    ///
    /// # Errors
    /// [`SandboxError`] when it fails.
    pub fn ofctl(
        &self,
        command: &[&str],
        bridge: &str,
        rest: &[&str],
    ) -> Result<String, SandboxError> {
        let socket = format!("unix:{}/{bridge}.mgmt", self.directory.display());
        let mut words = vec!["-O", "OpenFlow14"];
        words.extend(command);
        words.push(&socket);
        words.extend(rest);
        run("ovs-ofctl", &words)
    }

    /// Kills the switch and starts it again; returns when the new one takes commands.
    ///
    /// # Errors
    /// [`SandboxError`] when it does not start.
    pub fn restart_switch(&mut self) -> Result<(), SandboxError> {
        end(&mut self.switch);
        let _ = std::fs::remove_file(self.directory.join("switch.ctl"));
        self.switch = start_switch(&self.directory, &self.namespace)?;
        Ok(())
    }

    /// Kills the database and starts it again; returns when the new one takes connections.
    ///
    /// # Errors
    /// [`SandboxError`] when it does not start.
    pub fn restart_database(&mut self) -> Result<(), SandboxError> {
        end(&mut self.database);
        let _ = std::fs::remove_file(self.directory.join("db.sock"));
        self.database = start_database(&self.directory)?;
        await_socket("ovsdb-server", &self.directory, "db.sock")
    }

    /// Makes a pair of devices, one named `here` in the namespace of the sandbox, one in that of a pod.
    ///
    /// # Errors
    /// [`SandboxError`] when the kernel refuses.
    pub fn wire(&self, here: &str, pod: &Namespace, there: &str) -> Result<(), SandboxError> {
        let own = self.namespace.name();
        let pair = ["link", "add", here, "netns", own, "type", "veth"];
        let peer = ["peer", "name", there, "netns", pod.name()];
        run("ip", &[&pair[..], &peer[..]].concat())?;
        // Without router solicitations and the like a silent network stays silent.
        for (namespace, device) in [(own, here), (pod.name(), there)] {
            run(
                "ip",
                &[
                    "-n",
                    namespace,
                    "link",
                    "set",
                    device,
                    "addrgenmode",
                    "none",
                    "up",
                ],
            )?;
        }
        Ok(())
    }

    /// Plugs a pod in, as the OVS CNI does.
    ///
    /// # Errors
    /// [`SandboxError`] when the kernel or the switch refuses.
    pub fn attach(&self, pod: &Namespace, port: &PodPort<'_>) -> Result<(), SandboxError> {
        self.wire(port.representor, pod, port.interface)?;
        let mtu = port.mtu.to_string();
        for (namespace, device) in [
            (self.namespace.name(), port.representor),
            (pod.name(), port.interface),
        ] {
            run("ip", &["-n", namespace, "link", "set", device, "mtu", &mtu])?;
        }
        if let Some(address) = port.address {
            run(
                "ip",
                &[
                    "-n",
                    pod.name(),
                    "addr",
                    "add",
                    address,
                    "dev",
                    port.interface,
                ],
            )?;
        }
        let id = format!(
            "external_ids:dpf-id={}/{}/{}",
            port.namespace, port.pod, port.interface
        );
        let owner = format!("external_ids:owner={CNI}");
        let interface = format!("external_ids:contIface={}", port.interface);
        let representor = port.representor;
        let mut words = vec![
            "--",
            "add-port",
            port.bridge,
            representor,
            "--",
            "set",
            "Interface",
            representor,
            &id,
            "--",
            "set",
            "Port",
            representor,
            &owner,
            &interface,
        ];
        if port.bridge != "br-hbn" {
            self.vsctl(&words)?;
            return Ok(());
        }
        let (near, far) = (
            format!("p{representor}brhbn"),
            format!("p{representor}brsfc"),
        );
        let (to_far, to_near) = (
            format!("options:peer={far}"),
            format!("options:peer={near}"),
        );
        let id = format!("external_ids:dpf-id={}", port.interface);
        for (bridge, name, peer) in [("br-hbn", &near, &to_far), ("br-sfc", &far, &to_near)] {
            words.extend([
                "--",
                "add-port",
                bridge,
                name,
                "--",
                "set",
                "Interface",
                name,
                "type=patch",
                peer,
            ]);
            words.extend(["--", "set", "Port", name, &owner]);
        }
        words.extend(["--", "set", "Interface", &far, &id]);
        self.vsctl(&words)?;
        Ok(())
    }

    /// Unplugs a pod, as the OVS CNI does.
    ///
    /// # Errors
    /// [`SandboxError`] when the switch refuses.
    pub fn detach(&self, representor: &str) -> Result<(), SandboxError> {
        let (near, far) = (
            format!("p{representor}brhbn"),
            format!("p{representor}brsfc"),
        );
        let mut words = Vec::new();
        for name in [representor, &near, &far] {
            words.extend(["--", "--if-exists", "del-port", name]);
        }
        self.vsctl(&words)?;
        Ok(())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        end(&mut self.switch);
        end(&mut self.database);
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Ends a daemon that an earlier sandbox of the same directory left behind, if the process is still that daemon.
fn end_left_behind(daemon: &str, pid_file: &Path) {
    let Ok(text) = std::fs::read_to_string(pid_file) else {
        return;
    };
    let Ok(pid) = text.trim().parse::<u32>() else {
        return;
    };
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
    if name.is_ok_and(|name| name.trim() == daemon) {
        let _ = run("kill", &["-KILL", &pid.to_string()]);
    }
    let _ = std::fs::remove_file(pid_file);
}

fn vsctl(directory: &Path, arguments: &[&str]) -> Result<String, SandboxError> {
    let database = format!("--db=unix:{}/db.sock", directory.display());
    let mut words = vec![database.as_str(), "--timeout=10"];
    words.extend(arguments);
    run("ovs-vsctl", &words)
}

/// Options that keep a daemon to its directory.
fn daemon(
    program: &'static str,
    mut command: Command,
    directory: &Path,
    name: &str,
) -> Result<Child, SandboxError> {
    let file = |suffix: &str| {
        directory
            .join(format!("{name}.{suffix}"))
            .display()
            .to_string()
    };
    command
        .arg(format!("--pidfile={}", file("pid")))
        .arg(format!("--unixctl={}", file("ctl")))
        .arg(format!("--log-file={}", file("log")))
        .args(["--no-chdir", "-vconsole:off"])
        .envs(["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"].map(|variable| (variable, directory)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().map_err(|source| SandboxError::Start {
        program: program.to_owned(),
        source,
    })
}

fn start_database(directory: &Path) -> Result<Child, SandboxError> {
    let mut command = Command::new("ovsdb-server");
    command.arg(directory.join("conf.db"));
    command.arg(format!("--remote=punix:{}/db.sock", directory.display()));
    daemon("ovsdb-server", command, directory, "database")
}

fn start_switch(directory: &Path, namespace: &Namespace) -> Result<Child, SandboxError> {
    let database = format!("unix:{}/db.sock", directory.display());
    let command = namespace.command("ovs-vswitchd", &[&database]);
    let mut child = daemon("ovs-vswitchd", command, directory, "switch")?;
    if let Err(error) = await_socket("ovs-vswitchd", directory, "switch.ctl") {
        end(&mut child);
        return Err(error);
    }
    Ok(child)
}

fn await_socket(program: &'static str, directory: &Path, name: &str) -> Result<(), SandboxError> {
    let deadline = Instant::now() + START;
    while !directory.join(name).exists() {
        if Instant::now() > deadline {
            return Err(SandboxError::NotListening {
                program,
                directory: directory.to_owned(),
            });
        }
        sleep(LOOK);
    }
    Ok(())
}
