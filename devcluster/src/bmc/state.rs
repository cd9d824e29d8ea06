//! What a BMC remembers.

use super::Join;
use crate::images::Versions;

/// Tasks that are remembered; older ones are forgotten, as real BMCs do.
const REMEMBERED: usize = 8;

/// What the worker is told to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Install an image.
    Install {
        /// Number of the task.
        task: u32,
        /// Where the image is.
        uri: String,
    },
    /// Restart the system.
    Reset,
}

/// How an installation goes wrong on demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstallFault {
    /// The task ends with this message.
    Exception(String),
    /// The image is written and the system never comes up.
    NeverBoots,
}

/// State of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// It works.
    Running,
    /// It is done.
    Completed,
    /// It failed.
    Exception,
}

/// An installation.
#[derive(Clone, Debug)]
pub struct Task {
    /// Number.
    pub id: u32,
    /// State.
    pub state: TaskState,
    /// How far it is, 0 to 100.
    pub percent: u8,
    /// What went wrong.
    pub message: Option<String>,
    /// The request that made it.
    pub request: String,
}

/// Whether a system runs on the ARM cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// Nothing runs, or an image is being written.
    Down,
    /// It starts.
    Booting,
    /// It runs.
    Running,
}

impl System {
    /// The state as the BMC names it.
    pub fn oem_last_state(self) -> &'static str {
        match self {
            Self::Down => "NotAvailable",
            Self::Booting => "OsBootStarted",
            Self::Running => "OsIsRunning",
        }
    }
}

/// What a BMC remembers. It starts with a system from the factory that has joined nothing.
#[derive(Debug)]
pub struct State {
    /// Newest last.
    pub tasks: Vec<Task>,
    /// Whether the path for images is open.
    pub rshim: bool,
    /// The system.
    pub system: System,
    /// Versions of the installed image.
    pub versions: Versions,
    /// How often the system was started.
    pub resets: u32,
    /// How many images were written to the card.
    pub written: u32,
    /// How the next installation fails.
    pub fault: Option<InstallFault>,
    /// Requests that are still to be refused.
    pub busy: usize,
    join: Option<Join>,
    last_task: u32,
}

impl State {
    pub fn new() -> Self {
        Self {
            tasks: Vec::new(),
            rshim: false,
            system: System::Running,
            versions: Versions::default(),
            resets: 0,
            written: 0,
            fault: None,
            busy: 0,
            join: None,
            last_task: 0,
        }
    }

    /// Whether an installation runs.
    pub fn is_installing(&self) -> bool {
        self.tasks.iter().any(|t| t.state == TaskState::Running)
    }

    /// A new task for a request; `None` while another one runs.
    pub fn begin(&mut self, request: String) -> Option<Task> {
        if self.is_installing() {
            return None;
        }
        self.last_task += 1;
        let task = Task {
            id: self.last_task,
            state: TaskState::Running,
            percent: 0,
            message: None,
            request,
        };
        self.tasks.push(task.clone());
        let forgotten = self.tasks.len().saturating_sub(REMEMBERED);
        self.tasks.drain(..forgotten);
        Some(task)
    }

    fn task(&mut self, id: u32) -> Option<&mut Task> {
        self.tasks.iter_mut().find(|task| task.id == id)
    }

    /// The image is written so far; the old system is gone from now on.
    pub fn progress(&mut self, id: u32, percent: u8) {
        self.system = System::Down;
        self.join = None;
        if let Some(task) = self.task(id) {
            task.percent = percent;
        }
    }

    /// The image is written.
    pub fn installed(&mut self, id: u32, versions: Versions, join: Join) {
        self.written += 1;
        self.versions = versions;
        self.join = Some(join);
        self.system = System::Down;
        if let Some(task) = self.task(id) {
            task.state = TaskState::Completed;
            task.percent = 100;
        }
    }

    /// The image is not written.
    pub fn failed(&mut self, id: u32, message: &str) {
        if let Some(task) = self.task(id) {
            task.state = TaskState::Exception;
            task.message = Some(message.to_owned());
        }
    }

    /// The system starts.
    pub fn booting(&mut self) {
        self.system = System::Booting;
        self.resets += 1;
    }

    /// The system runs; what it knows, if an installation left something behind.
    pub fn running(&mut self) -> Option<Join> {
        self.system = System::Running;
        self.join.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_task_at_a_time_and_few_are_remembered() {
        let mut state = State::new();
        for round in 1..=20 {
            let task = state.begin(format!("request {round}")).unwrap();
            assert_eq!(task.id, round);
            assert!(state.begin("another".to_owned()).is_none());
            state.failed(task.id, "no");
        }
        assert_eq!(state.tasks.len(), REMEMBERED);
        assert_eq!(state.tasks.last().unwrap().message.as_deref(), Some("no"));
    }

    #[test]
    fn a_failed_download_leaves_the_old_system_alone() {
        let mut state = State::new();
        let task = state.begin(String::new()).unwrap();
        state.failed(task.id, "404");
        assert_eq!(state.system, System::Running);
        let task = state.begin(String::new()).unwrap();
        state.progress(task.id, 60);
        assert_eq!(state.system, System::Down);
    }
}
