//! The kernel's groups of processes (cgroups(7)): nothing that runs in one can leave it by itself, so killing it leaves
//! nothing behind, and what its members use together can be limited.
//!
//! Both versions are used as they are found, also beside each other. Only root makes groups.

mod controller; // what can be limited, and how it is written
mod group; // one folder of a hierarchy
mod hierarchy; // where they are mounted

pub(super) use controller::Controller;
pub(super) use group::Group;
pub(super) use hierarchy::{Hierarchy, Version, hierarchies};
