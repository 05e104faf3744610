//! How a process of a run ended, and which limit was in its way. The journal and the ledger keep it as JSON, so what a
//! version once wrote is read for ever.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::size_text;

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", content = "detail", rename_all = "snake_case")]
pub enum ProcessResult {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
    /// It took too long and was ended.
    TimedOut,
    /// It was ended because its run was cancelled.
    Cancelled,
    /// It never began.
    NotStarted(String),
    /// A limit of its run was in the way.
    LimitExceeded {
        /// Which.
        limit: ExceededLimit,
        /// How it ended by itself; absent where it was ended.
        end: Option<ProcessEnd>,
    },
}

/// How a process ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessEnd {
    /// With this status.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
}

/// A limit of a run that a step met, with its value in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExceededLimit {
    /// The kernel killed a process of the step, as all of them together used more memory.
    Memory(u64),
    /// Workspace, home and temporary folder held more.
    Workspace(u64),
}

impl ExceededLimit {
    /// The limit's name, as in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory(_) => "memory",
            Self::Workspace(_) => "workspace",
        }
    }
}

impl fmt::Display for ExceededLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(bytes) => write!(f, "it used more memory than its limit of {}", size_text(*bytes)),
            Self::Workspace(bytes) => write!(f, "its workspace held more than its limit of {}", size_text(*bytes)),
        }
    }
}

impl ProcessResult {
    /// Exit status 0.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        matches!(self, Self::Exited(0))
    }

    /// The status with which it exited, if it did.
    #[must_use]
    pub const fn exit_status(&self) -> Option<i32> {
        match self {
            Self::Exited(status) | Self::LimitExceeded { end: Some(ProcessEnd::Exited(status)), .. } => Some(*status),
            _ => None,
        }
    }

    /// The limit that was in the way, if one was.
    #[must_use]
    pub const fn exceeded(&self) -> Option<ExceededLimit> {
        match self {
            Self::LimitExceeded { limit, .. } => Some(*limit),
            _ => None,
        }
    }

    /// This end as the work of a limit. What succeeded, or was ended for another reason, stays what it is.
    #[must_use]
    pub fn because_of(self, limit: ExceededLimit) -> Self {
        let end = match self {
            Self::Exited(status) if status != 0 => ProcessEnd::Exited(status),
            Self::Signaled(signal) => ProcessEnd::Signaled(signal),
            other => return other,
        };
        Self::LimitExceeded { limit, end: Some(end) }
    }
}

impl fmt::Display for ProcessResult {
    /// In words: `exited with status 1`, `was killed by SIGKILL`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(0) => f.write_str("succeeded"),
            // The shell's own two, POSIX.1-2017 section 2.8.2.
            Self::Exited(126) => f.write_str("exited with status 126 (a command is not executable)"),
            Self::Exited(127) => f.write_str("exited with status 127 (a command was not found)"),
            Self::Exited(status) => write!(f, "exited with status {status}"),
            Self::Signaled(number) => match nix::sys::signal::Signal::try_from(*number) {
                Ok(signal) => write!(f, "was killed by {signal}"),
                Err(_) => write!(f, "was killed by signal {number}"),
            },
            Self::TimedOut => f.write_str("took too long and was ended"),
            Self::Cancelled => f.write_str("was cancelled"),
            Self::NotStarted(why) => write!(f, "could not start: {why}"),
            Self::LimitExceeded { limit, end: None } => write!(f, "was ended: {limit}"),
            Self::LimitExceeded { limit, end: Some(ProcessEnd::Exited(status)) } => {
                write!(f, "{}: {limit}", Self::Exited(*status))
            }
            Self::LimitExceeded { limit, end: Some(ProcessEnd::Signaled(number)) } => {
                write!(f, "{}: {limit}", Self::Signaled(*number))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_with_a_limit_is_said_kept_and_read_back_beside_those_of_older_versions() {
        let killed = ProcessResult::Signaled(9).because_of(ExceededLimit::Memory(64 << 20));
        assert_eq!(killed.to_string(), "was killed by SIGKILL: it used more memory than its limit of 64 MiB");
        let shell = ProcessResult::Exited(137).because_of(ExceededLimit::Memory(100));
        assert_eq!(shell.to_string(), "exited with status 137: it used more memory than its limit of 100 bytes");
        assert_eq!((shell.exit_status(), shell.is_success()), (Some(137), false));
        let ended = ProcessResult::LimitExceeded { limit: ExceededLimit::Workspace(1 << 30), end: None };
        assert_eq!(ended.to_string(), "was ended: its workspace held more than its limit of 1 GiB");
        for result in [killed, shell, ended] {
            let kept = serde_json::to_string(&result).unwrap();
            assert_eq!(serde_json::from_str::<ProcessResult>(&kept).unwrap(), result, "{kept}");
        }
        let older = r#"{"result":"signaled","detail":9}"#;
        assert_eq!(serde_json::from_str::<ProcessResult>(older).unwrap(), ProcessResult::Signaled(9));
    }

    #[test]
    fn what_succeeded_or_was_ended_otherwise_is_no_work_of_a_limit() {
        for result in [ProcessResult::Exited(0), ProcessResult::TimedOut, ProcessResult::Cancelled] {
            assert_eq!(result.clone().because_of(ExceededLimit::Memory(1)), result);
        }
    }
}
