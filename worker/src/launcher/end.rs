//! How a runner ended that did not end its run, in words that follow "the runner".

use std::fmt;

use nix::sys::signal::Signal;

/// How a runner ended, as whoever waited for it saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It ended itself.
    Exited(i32),
    /// It was killed by this signal. systemd may know more than that, such as `oom-kill`.
    Killed(i32, Option<String>),
    /// systemd has only a word for it, such as `timeout`.
    Failed(String),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exited with status {status}"),
            Self::Killed(number, more) => {
                match Signal::try_from(*number) {
                    Ok(signal) => write!(f, "was killed by {signal}")?,
                    Err(_) => write!(f, "was killed by signal {number}")?,
                }
                more.as_ref().map_or(Ok(()), |more| write!(f, " ({more})"))
            }
            Self::Failed(result) => write!(f, "ended ({result})"),
        }
    }
}
