//! Limits that the kernel holds for each process by itself (setrlimit(2)): open files, the size of a file, and, where no
//! cgroup can count them, the processes of a user.
//!
//! Never the size of a process's address space: that is not memory, and programs reserve far more than they use.

use std::io;

use nix::libc;
use nix::sys::resource::{Resource, getrlimit};

/// The limits of one child; what is absent is as the worker's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rlimits {
    /// Open files of a process.
    pub open_files: Option<u64>,
    /// The size of a file that is written, in bytes.
    pub file_size: Option<u64>,
    /// Processes and threads of the user, all over the machine.
    pub processes_of_user: Option<u64>,
}

impl Rlimits {
    /// What is to be set, the worker's own limits considered: those cannot be raised by everybody, and a smaller one keeps
    /// the promise too.
    pub(super) fn to_set(self) -> io::Result<Vec<(libc::__rlimit_resource_t, libc::rlimit)>> {
        let wanted = [
            (Resource::RLIMIT_NOFILE, self.open_files),
            (Resource::RLIMIT_FSIZE, self.file_size),
            (Resource::RLIMIT_NPROC, self.processes_of_user),
        ];
        let mut limits = Vec::new();
        for (resource, limit) in wanted {
            if let Some(limit) = limit {
                let limit = limit.min(getrlimit(resource)?.1);
                limits.push((resource as libc::__rlimit_resource_t, libc::rlimit { rlim_cur: limit, rlim_max: limit }));
            }
        }
        // A core file would hold secrets, and fill the workspace. Whoever wants one can say so: only the first word is 0.
        let (_, hard) = getrlimit(Resource::RLIMIT_CORE)?;
        limits.push((Resource::RLIMIT_CORE as libc::__rlimit_resource_t, libc::rlimit { rlim_cur: 0, rlim_max: hard }));
        Ok(limits)
    }

    /// How many files a process of the child's may really have open.
    ///
    /// # Errors
    /// What the system said.
    pub fn open_files_given(self) -> io::Result<Option<u64>> {
        let own = getrlimit(Resource::RLIMIT_NOFILE)?.1;
        Ok(self.open_files.map(|wanted| wanted.min(own)))
    }
}
