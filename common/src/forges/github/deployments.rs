//! What goes where: `deployment` and `deployment_status`.

use serde::Deserialize;

use super::wire::Around;
use crate::event::{Deployment, Event};
use crate::forges::reading::{Unread, said, shape};
use crate::git_name::Sha;

#[derive(Deserialize)]
struct RawDeployment {
    id: Option<u64>,
    sha: Option<Sha>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    task: Option<String>,
    environment: Option<String>,
}

#[derive(Deserialize)]
struct RawStatus {
    state: Option<String>,
    environment: Option<String>,
    log_url: Option<String>,
    target_url: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct DeploymentTold {
    deployment: RawDeployment,
    deployment_status: Option<RawStatus>,
}

/// GitHub's `ref` may be a branch, a tag or a commit. Only a full name says which.
pub(super) fn deployment(told: DeploymentTold, around: &Around<'_>, mut event: Event) -> Result<Event, Unread> {
    let (deployment, mut status) = (told.deployment, told.deployment_status);
    if let Some(full) = deployment.reference.filter(|reference| reference.starts_with("refs/")) {
        event = event.with_ref(full.parse().map_err(shape)?);
    }
    let environment = status.as_mut().and_then(|status| said(status.environment.take()));
    let (state, url) = status.map(|status| (status.state, said(status.log_url).or(said(status.target_url)))).unwrap_or_default();
    let told = Deployment {
        // GitHub Enterprise Server said none once.
        action: around.action().ok(),
        id: deployment.id,
        environment: environment.or(said(deployment.environment)),
        task: said(deployment.task),
        status: said(state),
        url,
    };
    Ok(Event { sha: deployment.sha, deployment: Some(told), ..event })
}
