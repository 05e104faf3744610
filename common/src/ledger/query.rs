//! Which runs are looked for, and how they are found without looking at all the rest.

use super::RunState;
use crate::names::JobName;
use crate::repository_name::RepositoryName;

/// Which runs are looked for.
#[derive(Debug, Clone, Default)]
pub struct RunQuery {
    /// In this state.
    pub state: Option<RunState>,
    /// Of this repository.
    pub repository: Option<RepositoryName>,
    /// Of a job with this name.
    pub job: Option<JobName>,
    /// At most so many.
    pub limit: usize,
}

impl RunQuery {
    /// The newest of all.
    #[must_use]
    pub fn newest(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }
}

impl RunQuery {
    /// The index and the conditions of a statement, whose first parameter is the repository and whose second the job.
    pub(super) fn conditions(&self) -> String {
        let (index, of_index) = index_for(self);
        let conditions = [
            // A state stands in the text, so that SQLite knows which partial index has it.
            self.state.map(|state| format!("state = '{state}'")),
            self.repository.as_ref().map(|_| "repository = ?1".to_owned()),
            self.job.as_ref().map(|_| "job = ?2".to_owned()),
            Some(of_index.to_owned()),
        ];
        let conditions: Vec<String> = conditions.into_iter().flatten().collect();
        format!("{index} WHERE {}", conditions.join(" AND "))
    }
}

/// The index that finds what is looked for without looking at all the rest, and the condition that it is made for. SQLite
/// keeps no statistics here, and would choose by guessing.
fn index_for(query: &RunQuery) -> (&'static str, &'static str) {
    match query {
        RunQuery { state: Some(RunState::Running), .. } => ("INDEXED BY run_running", "true"),
        RunQuery { state: Some(RunState::Queued), repository: Some(_), job: Some(_), .. } => ("INDEXED BY run_waiting", "true"),
        RunQuery { state: Some(RunState::Queued), .. } => ("INDEXED BY run_queued", "true"),
        RunQuery { job: Some(_), .. } => ("INDEXED BY run_of_job", "true"),
        RunQuery { repository: Some(_), .. } => ("INDEXED BY run_of_repository", "true"),
        RunQuery { state: Some(state), .. } if *state != RunState::Succeeded => {
            ("INDEXED BY run_that_went_wrong", "state NOT IN ('queued', 'running', 'succeeded')")
        }
        RunQuery { .. } => ("", "true"),
    }
}
