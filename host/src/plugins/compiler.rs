//! Examines and compiles a component in a process of its own, with little memory and time.
//!
//! Compiling a component is the one thing an attacker can do to a host before any limit of a call counts: the compiler may use
//! much memory, run long or crash. So it happens in a child: this program with a hidden command. The child leaves machine
//! code in the cache of the engine, where the host finds it, and says on its standard output what it found.
//!
//! ```text
//!   host ──header line, component──> child: limits, check, compile, describe, schema, settings ──> cache
//!    ^──────────── one line of JSON ───────────────────────────┘
//! ```

use dpf_engine::{Engine, EngineOptions, Limits, LoadError, Stage, check_settings};
use rustix::process::{Resource, Rlimit, nice, setrlimit};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

/// Name of the hidden command.
pub const COMMAND: &str = "compile-plugin";
/// Address space of the child. Components of dynamic languages need about one GiB.
const ADDRESS_SPACE_BYTES: u64 = 4 << 30;
/// Processor time of the child. Those components take ten seconds, a debug build some times that.
const PROCESSOR_SECONDS: u64 = 120;
/// Time on the wall.
const PATIENCE: Duration = Duration::from_secs(300);
/// Longest report that is read.
const REPORT_SIZE_MAX: u64 = 1 << 20;

/// Why a component is not admitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfit {
    /// One CamelCase word.
    pub reason: String,
    /// What is wrong and what to do.
    pub message: String,
    /// Whether the same component may fit another time: the machine is to blame, not the component.
    pub transient: bool,
}

impl From<LoadError> for Unfit {
    fn from(error: LoadError) -> Self {
        let mut message = error.to_string();
        if let LoadError::Faulted(fault) = &error {
            message = format!("{message}: {fault}");
        }
        Self {
            reason: error.reason().to_owned(),
            message,
            transient: false,
        }
    }
}

/// What the child is told before the component.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    stage: Stage,
    settings: String,
    memory_bytes: usize,
    output_bytes: usize,
    component_bytes: usize,
    deadline_milliseconds: u64,
}

#[derive(Debug, Serialize, Deserialize)]
enum Report {
    Fit,
    Unfit(Unfit),
}

/// Everything that is checked of a component, its schema and its settings.
pub(super) fn examine(
    engine: &Engine,
    stage: Stage,
    component: &[u8],
    settings: &str,
) -> Result<(), Unfit> {
    let plugin = engine.load(stage, component, settings)?;
    let schema = plugin
        .settings_schema()
        .map_err(|fault| Unfit::from(LoadError::Faulted(fault)))?;
    check_settings(&schema, settings).map_err(Unfit::from)
}

/// Examines a component in a child process, `program`; machine code is in `cache_dir` afterwards.
///
/// If cancelled, the child is killed.
///
/// # Errors
/// [`Unfit`].
pub async fn examine_in_child(
    program: &Path,
    cache_dir: &Path,
    limits: &Limits,
    stage: Stage,
    component: &[u8],
    settings: &str,
) -> Result<(), Unfit> {
    let header = Header {
        stage,
        settings: settings.to_owned(),
        memory_bytes: limits.memory_bytes,
        output_bytes: limits.output_bytes,
        component_bytes: limits.component_bytes,
        deadline_milliseconds: u64::try_from(limits.deadline.as_millis()).unwrap_or(u64::MAX),
    };
    let conversation = converse(program, cache_dir, &header, component);
    let (report, status) = match tokio::time::timeout(PATIENCE, conversation).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(broken(format!("the compiler cannot run: {error}"))),
        Err(_) => {
            return Err(Unfit {
                reason: "CompileFailed".to_owned(),
                message: format!("compiling took more than {} s", PATIENCE.as_secs()),
                transient: false,
            });
        }
    };
    match serde_json::from_slice(&report) {
        Ok(Report::Fit) if status.success() => Ok(()),
        Ok(Report::Unfit(unfit)) => Err(unfit),
        // It died: of its limits, or of a fault in the compiler. Both are because of the component.
        _ => Err(Unfit {
            reason: "CompileFailed".to_owned(),
            message: format!(
                "the compiler ended with {status}; it has {} GiB of address space and {PROCESSOR_SECONDS} s of processor time",
                ADDRESS_SPACE_BYTES >> 30
            ),
            transient: false,
        }),
    }
}

fn broken(message: String) -> Unfit {
    Unfit {
        reason: "CompilerUnavailable".to_owned(),
        message,
        transient: true,
    }
}

/// If cancelled, the child is killed.
async fn converse(
    program: &Path,
    cache_dir: &Path,
    header: &Header,
    component: &[u8],
) -> io::Result<(Vec<u8>, std::process::ExitStatus)> {
    let mut child = Command::new(program)
        .arg(COMMAND)
        .arg(cache_dir)
        .env_clear()
        // Two threads, and two arenas of the allocator: each reserves address space.
        .env("RAYON_NUM_THREADS", "2")
        .env("MALLOC_ARENA_MAX", "2")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("no pipes"));
    };
    let mut line = serde_json::to_vec(header).map_err(io::Error::other)?;
    line.push(b'\n');
    let tell = async {
        // A child that died early does not listen; what it said then matters more.
        let _ = stdin.write_all(&line).await;
        let _ = stdin.write_all(component).await;
        drop(stdin);
    };
    let hear = async {
        let mut report = Vec::new();
        stdout
            .take(REPORT_SIZE_MAX)
            .read_to_end(&mut report)
            .await
            .map(|_| report)
    };
    let ((), report) = tokio::join!(tell, hear);
    Ok((report?, child.wait().await?))
}

/// The child.
#[must_use]
pub fn child_main(cache_dir: PathBuf) -> ExitCode {
    let report = match confine().and_then(|()| read_task(&mut io::stdin().lock())) {
        Ok((header, component)) => match work(cache_dir, &header, &component) {
            Ok(()) => Report::Fit,
            Err(unfit) => Report::Unfit(unfit),
        },
        Err(error) => Report::Unfit(broken(format!("the compiler cannot run: {error}"))),
    };
    let text = serde_json::to_vec(&report).unwrap_or_default();
    match io::stdout().lock().write_all(&text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Before anything of the component is read.
fn confine() -> io::Result<()> {
    let limit = |value| Rlimit {
        current: Some(value),
        maximum: Some(value),
    };
    setrlimit(Resource::As, limit(ADDRESS_SPACE_BYTES))?;
    setrlimit(Resource::Cpu, limit(PROCESSOR_SECONDS))?;
    setrlimit(Resource::Core, limit(0))?;
    // Whatever rolls out meanwhile is more urgent.
    let _ = nice(10);
    Ok(())
}

fn read_task(input: &mut impl BufRead) -> io::Result<(Header, Vec<u8>)> {
    let mut line = Vec::new();
    input.take(REPORT_SIZE_MAX).read_until(b'\n', &mut line)?;
    let header: Header = serde_json::from_slice(&line).map_err(io::Error::other)?;
    let limit = u64::try_from(header.component_bytes).unwrap_or(u64::MAX);
    let mut component = Vec::new();
    input
        .take(limit.saturating_add(1))
        .read_to_end(&mut component)?;
    Ok((header, component))
}

fn work(cache_dir: PathBuf, header: &Header, component: &[u8]) -> Result<(), Unfit> {
    let options = EngineOptions {
        cache_dir: Some(cache_dir),
        limits: Limits {
            memory_bytes: header.memory_bytes,
            output_bytes: header.output_bytes,
            component_bytes: header.component_bytes,
            deadline: Duration::from_millis(header.deadline_milliseconds),
            concurrency: 1,
            ..Limits::default()
        },
        ..EngineOptions::default()
    };
    let engine = Engine::new(options).map_err(|error| broken(error.to_string()))?;
    examine(&engine, header.stage, component, &header.settings)
}
