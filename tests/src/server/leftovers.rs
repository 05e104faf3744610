//! What is left of runs beside their folders: processes and cgroups. A test that fails leaves runs at work, and nobody else
//! would end them.

use hookspool_common::config::Paths;
use hookspool_common::names::RunId;
use hookspool_worker::folders::Folders;
use hookspool_worker::process::{Containment, kill_marked};

use super::{Server, entries, kill_now, processes_with};

impl Server {
    /// Where everything lies, as the worker sees it.
    pub(super) fn folders(&self) -> Folders {
        let at = |name: &str| self.path().join(name);
        Folders::new(&Paths { spool: at("spool"), state: at("state"), logs: at("logs") })
    }

    /// The cgroups of a run, if there are any; only root has some.
    #[must_use]
    pub fn groups_of(&self, run: i64) -> Option<Containment> {
        Containment::left_by(self.folders().state(), RunId::new(run))
    }

    fn kill_processes_with(&self, place: &str) {
        processes_with(&[place]).into_iter().for_each(kill_now);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The worker first, so that nothing is started while the rest is ended.
        self.kill_processes_with(&self.config().to_string_lossy());
        for folder in entries(&self.state("runs")) {
            let Some(run) = folder.file_name().and_then(|name| name.to_str()?.parse().ok()) else { continue };
            if let Some(groups) = self.groups_of(run) {
                groups.end();
            }
            kill_marked(&self.folders().event_file(RunId::new(run)));
        }
        self.kill_processes_with(&self.out("").to_string_lossy());
    }
}
