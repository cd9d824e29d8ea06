//! `dpfctl dev up`: a cluster on this machine, from nothing to Ready.
//!
//! ```text
//!   devcluster (in this process) ──> host.kubeconfig ──> dpf-host (a child, restarted when it dies)
//!        └── apply ──> progress, line by line ──> Ready: tree │ timeout: what is open
//! ```

mod apply;
mod host;
mod manifests;
mod progress;

use crate::cli::UpArgs;
use crate::describe::{self, Appearance, Scope, ShowConditions};
use anyhow::Context as _;
use dpf_devcluster::DevCluster;
use host::Host;
use jiff::Timestamp;
use kube::Client;
use progress::{Follow, Target};
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Starts everything, applies what was given, and stays up until it is told to end.
///
/// # Errors
/// When a server does not start, the controller manager is not found, or a manifest is refused.
pub async fn up(arguments: UpArgs, colour: bool) -> anyhow::Result<ExitCode> {
    let manifests = manifests::read(&arguments.apply)?;
    let program = if arguments.no_host {
        None
    } else {
        Some(host::find()?)
    };
    let agent = arguments.ovs.then(find_agent).transpose()?;
    let end = CancellationToken::new();
    let signals = tokio::spawn(cancel_on_signal(end.clone()));
    let options = dpf_devcluster::Options {
        dpus: arguments.dpus,
        dir: arguments.dir.clone(),
        audit: arguments.audit,
    };
    let mut cluster = tokio::select! {
        started = dpf_devcluster::start(options) => started?,
        () = end.cancelled() => return Ok(ExitCode::FAILURE),
    };
    if let Some(agent) = agent {
        cluster.run_switches(agent).await?;
    }
    introduce(&arguments, &cluster);
    if arguments.ovs {
        introduce_switches(&arguments);
    }
    let host = match program {
        Some(program) => Some(Host::start(program, &arguments, &cluster).await?),
        None => {
            say(&format!(
                "No controller manager; start one with:\n  dpf-host {}",
                host::arguments(&arguments, &cluster, "127.0.0.1:0").join(" ")
            ));
            None
        }
    };
    let outcome = tokio::select! {
        outcome = run(&arguments, &cluster, manifests, colour) => outcome,
        () = end.cancelled() => Ok(if arguments.exit { ExitCode::FAILURE } else { ExitCode::SUCCESS }),
    };
    if outcome.is_ok() && !arguments.exit && !end.is_cancelled() {
        say("\nThe cluster stays up. Ctrl-C ends it.");
        end.cancelled().await;
    }
    if let Some(host) = host {
        host.end().await;
    }
    cluster.shutdown().await;
    signals.abort();
    outcome
}

/// The agent, if this machine can run it.
fn find_agent() -> anyhow::Result<std::path::PathBuf> {
    if let Some(reason) = dpf_ovs_sandbox::missing() {
        anyhow::bail!("--ovs does not work here: {reason}");
    }
    host::find_program("dpu-agent", "DPF_AGENT_BIN", ", or leave --ovs out")
}

async fn cancel_on_signal(end: CancellationToken) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    end.cancel();
}

/// One line, or several, for the person at the terminal.
fn say(text: &str) {
    // A reader that went away does not end the cluster.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

fn introduce(arguments: &UpArgs, cluster: &DevCluster) {
    let directory = std::path::absolute(&arguments.dir).unwrap_or_else(|_| arguments.dir.clone());
    let directory = directory.display();
    say(&format!(
        "A management cluster with {} hosts, each with a simulated DPU, runs at {}.\n\n  \
         export KUBECONFIG={directory}/host.kubeconfig    # the DPU cluster: {directory}/dpu.kubeconfig\n  \
         kubectl get dpunodes,dpudevices,dpuclusters -A\n  \
         kubectl apply -f examples/producer-consumer\n  \
         kubectl wait --for=condition=Ready dpudeployment/producer-consumer -n customer-namespace\n  \
         dpfctl describe dpudeployments\n\n\
         The log of the controller manager is {directory}/host.log, its process ID is in host.pid; kill it to see it recover.\n",
        arguments.dpus, cluster.host_url,
    ));
}

/// How to look into the switches.
fn introduce_switches(arguments: &UpArgs) {
    let directory = arguments.dir.join("ovs");
    let example = dpf_devcluster::switches::namespace_of(&directory, "POD");
    say(&format!(
        "Each DPU has its own Open vSwitch and agent under {}, each pod its network namespace:\n\n  \
         ip netns exec {example} ip addr\n  \
         ovs-ofctl -O OpenFlow14 dump-flows unix:{}/NODE/br-sfc.mgmt\n",
        directory.display(),
        directory.display(),
    ));
}

/// Applies, follows until Ready, shows the tree.
async fn run(
    arguments: &UpArgs,
    cluster: &DevCluster,
    manifests: Vec<manifests::Manifest>,
    colour: bool,
) -> anyhow::Result<ExitCode> {
    if manifests.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let started = Timestamp::now();
    for manifest in &manifests {
        let line = apply::apply(&cluster.host, manifest).await?;
        say(&line);
    }
    let targets = Target::of(&manifests);
    if targets.is_empty() {
        say("Nothing to wait for: no DPUDeployment was applied.");
        return Ok(ExitCode::SUCCESS);
    }
    say("");
    let mut follow = Follow::new(targets.clone());
    let followed = follow.until_ready(&cluster.host, |line| say(&stamp(started, line)));
    let in_time = tokio::time::timeout(arguments.timeout, followed).await;
    let ready = match in_time {
        Ok(result) => result.map(|()| true)?,
        Err(_) => false,
    };
    say("");
    tree(&cluster.host, &targets, colour, ready).await?;
    if ready {
        say(&format!("\nReady after {}.", seconds(started)));
        return Ok(ExitCode::SUCCESS);
    }
    say(&format!(
        "\nNot Ready after {}. Open:",
        human(arguments.timeout)
    ));
    for line in follow.open() {
        say(&format!("  {line}"));
    }
    say(&format!(
        "The log of the controller manager is {}.",
        arguments.dir.join("host.log").display()
    ));
    Ok(ExitCode::FAILURE)
}

async fn tree(
    client: &Client,
    targets: &[Target],
    colour: bool,
    ready: bool,
) -> anyhow::Result<()> {
    let mut observed = describe::observe(client, &Scope::default())
        .await
        .context("failed to read what was made")?;
    observed
        .deployments
        .retain(|deployment| targets.iter().any(|t| t.is(deployment)));
    let show = if ready {
        ShowConditions::Open
    } else {
        ShowConditions::Failed
    };
    let text = describe::as_table(&observed, &Appearance { show, colour }, Timestamp::now());
    say(text.trim_end());
    Ok(())
}

fn seconds(since: Timestamp) -> String {
    let elapsed = Timestamp::now().duration_since(since);
    format!("{:.1} s", elapsed.as_secs_f64())
}

fn stamp(since: Timestamp, line: &str) -> String {
    format!("{:>7}  {line}", seconds(since))
}

fn human(duration: Duration) -> String {
    format!("{} s", duration.as_secs())
}
