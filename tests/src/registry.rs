//! A real registry on loopback: Debian's `docker-registry`, with its data in a directory of the test.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! let registry = dpf_tests::registry::Registry::start().await?;
//! let image = registry.image("plugins/merge:1.0.0");
//! # Ok(()) }
//! ```

use anyhow::{Context, bail};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// It listens after some milliseconds; other builds may share the machine.
const START: Duration = Duration::from_secs(30);
/// Name of the user of a registry that wants one.
pub const USER: &str = "robot";
/// Password of that user.
pub const PASSWORD: &str = "s3cret-for-tests";
/// bcrypt of [`PASSWORD`], as `htpasswd -B` writes it.
const PASSWORD_HASH: &str = "$2b$05$abcdefghijklmnopqrstuuRkBB01eIaA4061m7D0uBxyUwJhIWyme";

/// A registry that runs until it is dropped.
pub struct Registry {
    address: String,
    dir: TempDir,
    process: Child,
}

impl Registry {
    /// Starts one that everybody may use.
    ///
    /// # Errors
    /// `docker-registry` is not installed or does not listen in time.
    pub async fn start() -> anyhow::Result<Self> {
        Self::launch(false).await
    }

    /// Starts one that wants [`USER`] and [`PASSWORD`].
    ///
    /// # Errors
    /// As [`Registry::start`].
    pub async fn start_private() -> anyhow::Result<Self> {
        Self::launch(true).await
    }

    async fn launch(private: bool) -> anyhow::Result<Self> {
        let dir = TempDir::new()?;
        let data = dir.path().join("data");
        let mut config = format!(
            "version: 0.1\nlog: {{level: info, formatter: text}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: \"127.0.0.1:0\", secret: test}}\n",
            data.display()
        );
        if private {
            let users = dir.path().join("users");
            std::fs::write(&users, format!("{USER}:{PASSWORD_HASH}\n"))?;
            config.push_str(&format!(
                "auth: {{htpasswd: {{realm: test, path: {}}}}}\n",
                users.display()
            ));
        }
        let file = dir.path().join("config.yml");
        std::fs::write(&file, config)?;
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start docker-registry (apt-get install docker-registry)")?;
        let stderr = process.stderr.take().context("no stderr")?;
        let address = tokio::time::timeout(START, listening(stderr))
            .await
            .context("docker-registry does not listen in time")??;
        Ok(Self {
            address,
            dir,
            process,
        })
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The reference of an image in this registry.
    #[must_use]
    pub fn image(&self, path: &str) -> String {
        format!("{}/{path}", self.address)
    }

    /// A `.dockerconfigjson` with user and password of a private registry.
    #[must_use]
    pub fn docker_config(&self) -> String {
        serde_json::json!({"auths": {&self.address: {"username": USER, "password": PASSWORD}}})
            .to_string()
    }

    /// The directory with its data.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Ends it; its address answers no more.
    ///
    /// # Errors
    /// It cannot be ended.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.process.kill().await.context("stop docker-registry")
    }
}

/// The address it says it listens on. Everything it says later is read, too, so that it never waits for us.
async fn listening(stderr: tokio::process::ChildStderr) -> anyhow::Result<String> {
    let mut lines = BufReader::new(stderr).lines();
    let mut said = String::new();
    while let Some(line) = lines.next_line().await? {
        if let Some((_, rest)) = line.split_once("listening on ") {
            let address = rest
                .split(|c: char| c.is_whitespace() || c == '"' || c == ',')
                .next()
                .unwrap_or_default()
                .to_owned();
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(address);
        }
        said.push_str(&line);
        said.push('\n');
    }
    bail!("docker-registry ended:\n{said}")
}
