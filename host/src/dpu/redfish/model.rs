//! What is read of the answers of a BMC; everything else in them is ignored.

use serde::Deserialize;

/// A card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Card {
    /// Serial number.
    pub serial_number: Option<String>,
    /// Part number.
    pub part_number: Option<String>,
}

/// The system on the card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct System {
    /// How far it has started.
    pub boot_progress: BootProgress,
    /// Changes with every reset.
    pub last_reset_time: Option<String>,
}

impl System {
    /// Whether the operating system runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        let progress = &self.boot_progress;
        match (&progress.oem_last_state, &progress.last_state) {
            (Some(state), _) => state == "OsIsRunning",
            (None, Some(state)) => state == "OSRunning",
            (None, None) => false,
        }
    }

    /// How far it has started, for people.
    #[must_use]
    pub fn state(&self) -> &str {
        let progress = &self.boot_progress;
        progress
            .oem_last_state
            .as_deref()
            .or(progress.last_state.as_deref())
            .unwrap_or("unknown")
    }
}

/// How far a system has started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct BootProgress {
    /// In words of the vendor.
    pub oem_last_state: Option<String>,
    /// In words of Redfish.
    pub last_state: Option<String>,
}

/// A long operation of a BMC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Task {
    /// Its number.
    pub id: String,
    /// State in words of Redfish.
    pub task_state: String,
    /// 0 to 100.
    pub percent_complete: Option<i32>,
    /// For people.
    pub messages: Vec<Message>,
    /// The request that made it.
    pub payload: Option<Payload>,
}

/// A message of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Message {
    /// The text.
    pub message: String,
}

/// The request that made a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Payload {
    /// Its body.
    pub json_body: String,
}

/// What became of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskOutcome {
    /// It runs.
    Running,
    /// It succeeded.
    Completed,
    /// It failed.
    Failed {
        /// State and messages.
        message: String,
    },
}

impl Task {
    /// What became of it.
    #[must_use]
    pub fn outcome(&self) -> TaskOutcome {
        match self.task_state.as_str() {
            "Completed" => TaskOutcome::Completed,
            "Exception" | "Killed" | "Cancelled" | "Interrupted" => {
                let texts: Vec<&str> = self
                    .messages
                    .iter()
                    .map(|m| m.message.as_str())
                    .filter(|m| !m.is_empty())
                    .collect();
                TaskOutcome::Failed {
                    message: format!(
                        "task {} ended in {}: {}",
                        self.id,
                        self.task_state,
                        texts.join("; ")
                    ),
                }
            }
            _ => TaskOutcome::Running,
        }
    }

    /// Whether a request with this image made it; none when the BMC does not tell.
    #[must_use]
    pub fn is_for(&self, image: &str) -> Option<bool> {
        let payload = self.payload.as_ref()?;
        (!payload.json_body.is_empty()).then(|| payload.json_body.contains(image))
    }
}

/// References to resources.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Collection {
    pub(super) members: Vec<Link>,
}

/// A reference to a resource.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Link {
    #[serde(rename = "@odata.id")]
    pub(super) id: String,
}

/// Version of a part of the firmware.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Inventory {
    pub(super) version: Option<String>,
}

/// Settings of the BMC itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct BmcOem {
    #[serde(rename = "BmcRShim")]
    pub(super) rshim: Rshim,
}

/// The path for images.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Rshim {
    #[serde(rename = "BmcRShimEnabled")]
    pub(super) enabled: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_task_says() {
        let task: Task = serde_json::from_str(
            r#"{"Id":"7","TaskState":"Exception","PercentComplete":30,"Unknown":1,
                "Messages":[{"Message":"no space"},{"MessageId":"x"}],
                "Payload":{"JsonBody":"{\"ImageURI\":\"http://r/bfb/n/d/t\"}"}}"#,
        )
        .unwrap();
        assert_eq!(
            task.outcome(),
            TaskOutcome::Failed {
                message: "task 7 ended in Exception: no space".to_owned()
            }
        );
        assert_eq!(task.is_for("http://r/bfb/n/d/t"), Some(true));
        assert_eq!(task.is_for("http://r/bfb/n/e/t"), Some(false));
        assert_eq!(Task::default().is_for("x"), None);
    }

    #[test]
    fn when_a_system_runs() {
        for (text, running) in [
            (r#"{"BootProgress":{"OemLastState":"OsIsRunning"}}"#, true),
            (
                r#"{"BootProgress":{"OemLastState":"OsBootStarted","LastState":"OSRunning"}}"#,
                false,
            ),
            (r#"{"BootProgress":{"LastState":"OSRunning"}}"#, true),
            ("{}", false),
        ] {
            let system: System = serde_json::from_str(text).unwrap();
            assert_eq!(system.is_running(), running, "{text}");
        }
    }
}
