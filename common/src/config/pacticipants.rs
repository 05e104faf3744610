//! `[source.repositories]` of a Pact Broker: which repository each pacticipant is built from. The broker does not know,
//! and whoever may publish a contract must not choose.

use super::problem::Report;
use super::table::Table;
use crate::event::Event;
use crate::repository_name::RepositoryName;

/// The repositories of pacticipants, by the names that these have in the broker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pacticipants(Vec<(String, RepositoryName)>);

impl Pacticipants {
    /// Gives a contract's event the repository of whom it concerns.
    pub(super) fn name_repository(&self, event: &mut Event) {
        let Some(name) = event.pact.as_ref().and_then(|pact| pact.addressee().name.as_deref()) else { return };
        let known = self.0.iter().find(|(known, _)| known == name);
        event.repository = known.map(|(_, repository)| repository.clone());
    }
}

pub(super) fn read(source: &mut Table<'_, '_>, report: &mut Report) -> Pacticipants {
    if source.get("repositories").is_none() {
        source.absent(
            "repositories",
            "[source.repositories] with lines such as \"Order API\" = \"github.com/octo/orders\"",
            report,
        );
    }
    let Some(table) = source.table("repositories", "[source.repositories]", report) else { return Pacticipants::default() };
    let texts = table.all_texts(report);
    let read = |(name, text)| table.parse_text(&text, report).map(|repository| (name, repository));
    Pacticipants(texts.into_iter().filter_map(read).collect())
}
