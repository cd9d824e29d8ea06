//! What people type after `dpfctl plugin`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use dpf_engine::Limits;

/// What to do with a plugin.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Start a plugin: a project that builds and passes its test.
    #[command(after_help = NEW_EXAMPLES)]
    New(NewArgs),
    /// Make the component of a project.
    #[command(after_help = BUILD_EXAMPLES)]
    Build(BuildArgs),
    /// Show what a host sees of a component: world, imports, size, digest, descriptor, settings.
    #[command(after_help = INSPECT_EXAMPLES)]
    Inspect(InspectArgs),
    /// Ask a component one request, as a host does.
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Run the golden cases of a component, every one in several fresh instances.
    #[command(after_help = TEST_EXAMPLES)]
    Test(TestArgs),
    /// Publish a component in an OCI registry.
    #[command(after_help = PUSH_EXAMPLES)]
    Push(PushArgs),
    /// Time a component.
    #[command(after_help = BENCH_EXAMPLES)]
    Bench(BenchArgs),
}

/// A stage, as a word on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StageName {
    /// Merges and renders helm values.
    TemplateMerge,
    /// Checks versions and resources.
    VersionCheck,
    /// Builds service chains.
    ChainBuilder,
}

impl From<StageName> for dpf_engine::Stage {
    fn from(name: StageName) -> Self {
        match name {
            StageName::TemplateMerge => Self::TemplateMerge,
            StageName::VersionCheck => Self::VersionCheck,
            StageName::ChainBuilder => Self::ChainBuilder,
        }
    }
}

/// A language plugins can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Rust, with dpf-plugin-sdk.
    Rust,
    /// Python, with componentize-py.
    Python,
    /// JavaScript, with componentize-js.
    Js,
}

const NEW_EXAMPLES: &str = "\
Examples:
  dpfctl plugin new doca-required --stage version-check
  dpfctl plugin new site-values --stage template-merge --lang python
  dpfctl plugin new doca-required --stage version-check --sdk ../dpf/plugins/sdk

Without --sdk a Rust project gets a copy of the SDK this dpfctl was built with, so that it needs nothing but the crate registry.";

/// Arguments of `new`.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// Name of the plugin, a DNS label; also the directory that is made.
    pub name: String,
    /// Which step of a reconcile it serves.
    #[arg(long, value_enum)]
    pub stage: StageName,
    /// The language it is written in.
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    pub lang: Language,
    /// Make it here instead of in ./NAME.
    #[arg(long, value_name = "PATH")]
    pub dir: Option<PathBuf>,
    /// Directory or git URL of dpf-plugin-sdk, for Rust.
    #[arg(long, value_name = "PATH|URL")]
    pub sdk: Option<String>,
}

const BUILD_EXAMPLES: &str = "\
Rust is compiled for wasm32-unknown-unknown, with the target of rustup or with Debian's rustc-web, rust-web-src and lld-19.
Python needs python3 with venv: componentize-py is installed into .venv, as requirements.txt says, unless it is there.
JavaScript needs node and npm: componentize-js is installed into node_modules, as package.json says, unless it is there.

Examples:
  dpfctl plugin build
  dpfctl plugin build plugins/doca-required -o /tmp/doca.wasm";

/// Arguments of `build`.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// Directory of the project.
    #[arg(default_value = ".")]
    pub project: PathBuf,
    /// Write the component here instead of to NAME.wasm in the project.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Refuse to change Cargo.lock.
    #[arg(long)]
    pub locked: bool,
    /// Do not show what compilers say, unless they fail.
    #[arg(short, long)]
    pub quiet: bool,
}

/// Which component, and what it may use.
#[derive(Debug, Args)]
pub struct ComponentArgs {
    /// A .wasm file, the directory of a built project, or default:STAGE for a plugin hosts bring along.
    #[arg(default_value = ".", value_name = "COMPONENT")]
    pub component: String,
    /// The stage to load it for, when it serves several.
    #[arg(long, value_enum)]
    pub stage: Option<StageName>,
    /// Linear memory of a call, for example 64Mi.
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "64Mi")]
    pub memory: usize,
    /// Time for a call, for example 5s or 200ms.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "5s")]
    pub deadline: Duration,
    /// Where compiled code is kept; by default in the user's cache directory.
    #[arg(long, value_name = "PATH", env = "DPFCTL_PLUGIN_CACHE")]
    pub cache_dir: Option<PathBuf>,
    /// Compile it anew.
    #[arg(long, conflicts_with = "cache_dir")]
    pub no_cache: bool,
}

impl ComponentArgs {
    /// The limits of a host, but for what was said.
    pub fn limits(&self) -> Limits {
        Limits {
            memory_bytes: self.memory,
            deadline: self.deadline,
            // One call at a time: the memory pool is small then.
            concurrency: 2,
            ..Limits::default()
        }
    }
}

const INSPECT_EXAMPLES: &str = "\
Examples:
  dpfctl plugin inspect
  dpfctl plugin inspect doca-required.wasm --output json | jq -r .digest
  dpfctl plugin inspect default:template-merge

Exit code 1 when a host would not admit it.";

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Which component.
    #[command(flatten)]
    pub component: ComponentArgs,
    /// How to write it.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

/// How to write something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

const RUN_EXAMPLES: &str = "\
The answer is printed as JSON: {\"response\": ...}, {\"failure\": ...} when the input is wrong, {\"refused\": ...} when the
settings are. Log lines of the plugin go to stderr.

Examples:
  dpfctl plugin run --request cases/accepted/request.yaml --settings cases/accepted/settings.yaml
  dpfctl plugin run default:version-check --request - < request.json
  dpfctl plugin run doca-required.wasm --call settings-schema

Exit codes: 0 a response, 1 none, 2 not understood.";

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Which component.
    #[command(flatten)]
    pub component: ComponentArgs,
    /// File with the request, JSON or YAML; - for stdin.
    #[arg(short, long, value_name = "FILE", required_unless_present = "call")]
    pub request: Option<PathBuf>,
    /// File with the settings, JSON or YAML.
    #[arg(short, long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// Ask something else than its stage.
    #[arg(long, value_enum, conflicts_with = "request")]
    pub call: Option<Function>,
    /// Print to stderr what the call cost.
    #[arg(long)]
    pub stats: bool,
}

/// A function of a component beside that of its stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Function {
    /// Who it is.
    Describe,
    /// The JSON Schema of its settings.
    SettingsSchema,
    /// Whether the settings are right.
    ValidateSettings,
}

const TEST_EXAMPLES: &str = "\
A case is a directory with request.yaml, perhaps settings.yaml, and expected.json, which --bless writes. Each runs twice in fresh
instances of the engine hosts use, and once in one that counts fuel; all answers must be the same bytes, and as expected.
Fuel is about one unit per instruction, and the same on every machine.

Examples:
  dpfctl plugin test
  dpfctl plugin test --bless
  dpfctl plugin test doca-required.wasm --cases cases --max-fuel 2000000 --memory 16Mi

Exit codes: 0 all passed, 1 some failed, 2 not understood.";

/// Arguments of `test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Which component.
    #[command(flatten)]
    pub component: ComponentArgs,
    /// Directory of the cases; by default `cases` beside the component.
    #[arg(long, value_name = "PATH")]
    pub cases: Option<PathBuf>,
    /// Make what the plugin answers the expectation.
    #[arg(long)]
    pub bless: bool,
    /// A case that burns more fails.
    #[arg(long, value_name = "FUEL", conflicts_with = "no_fuel")]
    pub max_fuel: Option<u64>,
    /// Do not count fuel: large components compile in half the time.
    #[arg(long)]
    pub no_fuel: bool,
}

const BENCH_EXAMPLES: &str = "\
Every call runs in a fresh instance, as in a host; no result is kept.

Examples:
  dpfctl plugin bench --request cases/accepted/request.yaml --settings cases/accepted/settings.yaml
  dpfctl plugin bench default:template-merge --request request.json --for 5s";

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Which component.
    #[command(flatten)]
    pub component: ComponentArgs,
    /// File with the request, JSON or YAML; - for stdin.
    #[arg(short, long, value_name = "FILE")]
    pub request: PathBuf,
    /// File with the settings, JSON or YAML.
    #[arg(short, long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// How long.
    #[arg(long = "for", value_name = "TIME", value_parser = time, default_value = "2s")]
    pub duration: Duration,
}

const PUSH_EXAMPLES: &str = "\
The component is pushed as a Wasm OCI artifact, and a DPUPlugin that installs it is printed. A key is an ECDSA P-256 or Ed25519 key in
PKCS #8; the signature has cosign's format. Without --username the logins in ~/.docker/config.json are used.

Examples:
  dpfctl plugin push registry.example.com/plugins/doca-required:0.1.0
  dpfctl plugin push doca-required.wasm localhost:5000/doca-required:0.1.0 --sign-key key.pem | kubectl apply -f -";

/// Arguments of `push`.
#[derive(Debug, Args)]
pub struct PushArgs {
    /// A .wasm file or the directory of a built project, by default this one, and then where to push it.
    #[arg(required = true, num_args = 1..=2, value_names = ["COMPONENT", "REFERENCE"])]
    pub positions: Vec<String>,
    /// The stage to push it for, when it serves several.
    #[arg(long, value_enum)]
    pub stage: Option<StageName>,
    /// Private key to sign it with.
    #[arg(long, value_name = "FILE")]
    pub sign_key: Option<PathBuf>,
    /// User of the registry; the password is read from stdin.
    #[arg(long, value_name = "NAME")]
    pub username: Option<String>,
    /// More certificates to trust.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Speak HTTP without TLS; a registry on this machine is spoken to like that anyway.
    #[arg(long)]
    pub plain_http: bool,
}

impl PushArgs {
    /// Component and reference.
    pub fn positions(&self) -> (&str, &str) {
        match self.positions.as_slice() {
            [component, reference] => (component, reference),
            [reference] => (".", reference),
            _ => (".", ""),
        }
    }
}

fn size(text: &str) -> Result<usize, String> {
    let wrong = || format!("{text:?} is not a size; write for example 64Mi or 512Ki");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text.strip_prefix(digits).unwrap_or_default() {
        "" => 0,
        "Ki" => 10,
        "Mi" => 20,
        "Gi" => 30,
        _ => return Err(wrong()),
    };
    let amount: usize = digits.parse().map_err(|_| wrong())?;
    amount.checked_mul(1 << shift).ok_or_else(wrong)
}

fn time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a time; write for example 200ms or 5s");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let amount: u64 = digits.parse().map_err(|_| wrong())?;
    match text.strip_prefix(digits).unwrap_or_default() {
        "ms" => Ok(Duration::from_millis(amount)),
        "s" => Ok(Duration::from_secs(amount)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_have_units() {
        assert_eq!(size("64Mi"), Ok(64 << 20));
        assert_eq!(size("100"), Ok(100));
        assert!(size("64MB").unwrap_err().contains("64Mi"));
        assert!(size("99999999999Gi").is_err());
        assert_eq!(time("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(time("5s"), Ok(Duration::from_secs(5)));
        assert!(time("5").is_err());
    }
}
