//! Hookspool on the worker's side: the pass, the importer, the runner, and the operator's program.

pub mod logging;
pub mod boundaries; // where a pass or runner may die, and what then
pub mod folders; // where everything lies below the state folder
pub mod process; // children: started clean, ended whole

mod receiver_side; // a child without root reads what the receiver wrote
pub mod import; // the importer, and the pass's end of its pipe
pub mod admission; // root's own verdict on what the receiver proposes
pub mod schedules; // jobs whose time has come
pub mod reconcile; // what the forge has and no delivery told of
pub mod pass; // one look at everything
pub mod alive; // a runner's lock
pub mod lanes; // what a newcomer does to others of its lane
pub mod cancel; // asking a runner to end its run
pub mod launcher; // how a runner is started, and how it ended
pub mod journal; // what a run did so far, on disk
pub mod output; // a run's log: masked, bounded, the end kept
pub mod packed_log; // a run's log when it is over
pub mod git; // git, deaf to whatever a repository says
pub mod checkout; // exactly the commit, if the forge has it on the ref
pub mod cache; // folders that the next run of a job and branch finds again
pub mod kept; // workspaces that stay
pub mod environment; // what a step learns of its event
mod forward; // nothing older than what is deployed
mod limits; // what the steps of a run may use, and what of it holds
mod secrets; // what a run's log must not show, and how its steps get what is theirs
mod scripts; // scripts outside the checkout that root is to run
pub mod work; // a run while it runs
pub mod runner; // one run, from claim to outcome
pub mod reap; // runs whose runner died
mod harmless; // text from outside, fit to be shown
pub mod sequel; // another attempt, a lane that is held, or nothing
pub mod report; // what is told of a run
pub mod mail; // mails: to whom, what, and how they leave
pub mod outbox; // sends what is due
pub mod retention; // what goes when its time is over
pub mod operator; // the operator's program
