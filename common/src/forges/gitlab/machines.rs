//! What machines did: pipelines, their jobs, deployments and releases.
//!
//! A branch of a fork must never pass for one of the project, however it is called: where a pipeline is a merge
//! request's, GitLab gives the source's branch as its `ref`, so that is never taken for a branch here.

use serde::Deserialize;

use super::wire::{Around, head_of};
use crate::event::{Check, Deployment, Event, Pipeline, Release};
use crate::forges::reading::{Unread, said, shape};
use crate::git_name::{RefName, Sha};

/// What the refs begin with that GitLab keeps for merge requests.
const OF_MERGE_REQUESTS: &str = "refs/merge-requests/";

/// The ref with this short name. What is a full name of another sort, or of which nobody knows what it is, is none.
fn reference(name: Option<String>, is_tag: Option<bool>) -> Result<Option<RefName>, Unread> {
    let (Some(name), Some(is_tag)) = (said(name), is_tag) else { return Ok(None) };
    let reference = match is_tag {
        _ if name.starts_with(OF_MERGE_REQUESTS) => name.parse(),
        _ if name.starts_with("refs/") => return Ok(None),
        true => RefName::of_tag(&name),
        false => RefName::of_branch(&name),
    };
    reference.map(Some).map_err(shape)
}

/// The event at this ref, if there is one.
fn at(event: Event, reference: Option<RefName>) -> Event {
    match reference {
        Some(reference) => event.with_ref(reference),
        None => event,
    }
}

#[derive(Deserialize)]
struct RawPipeline {
    id: Option<u64>,
    name: Option<String>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    tag: Option<bool>,
    sha: Option<Sha>,
    source: Option<String>,
    status: Option<String>,
    url: Option<String>,
}

#[derive(Deserialize)]
struct Request {
    iid: u64,
    target_project_id: Option<u64>,
}

#[derive(Deserialize)]
pub(super) struct PipelineTold {
    object_attributes: RawPipeline,
    merge_request: Option<Request>,
}

pub(super) fn pipeline(told: PipelineTold, around: &Around<'_>, event: Event) -> Result<Event, Unread> {
    let pipeline = told.object_attributes;
    let reference = match told.merge_request {
        // A fork's own pipeline is for a request of another project, where its number means nothing.
        Some(request) if request.target_project_id.is_some() && request.target_project_id == around.project_id() => {
            Some(head_of(request.iid)?)
        }
        Some(_) => None,
        None if pipeline.source.as_deref() == Some("merge_request_event") => None,
        None => reference(pipeline.reference, pipeline.tag)?,
    };
    let subject = Pipeline {
        action: None,
        id: pipeline.id,
        name: said(pipeline.name),
        status: said(pipeline.status),
        url: said(pipeline.url),
    };
    Ok(Event { sha: pipeline.sha, pipeline: Some(subject), ..at(event, reference) })
}

#[derive(Deserialize)]
pub(super) struct JobTold {
    #[serde(rename = "ref")]
    reference: Option<String>,
    tag: Option<bool>,
    sha: Option<Sha>,
    build_name: Option<String>,
    build_status: Option<String>,
}

/// Unlike a pipeline's, a job's `ref` is the merge request's own where it is for one.
pub(super) fn job(told: JobTold, _: &Around<'_>, event: Event) -> Result<Event, Unread> {
    let check = Check { action: None, name: said(told.build_name), status: said(told.build_status), url: None };
    Ok(Event { sha: told.sha, check: Some(check), ..at(event, reference(told.reference, told.tag)?) })
}

#[derive(Deserialize)]
pub(super) struct DeploymentTold {
    deployment_id: Option<u64>,
    status: Option<String>,
    environment: Option<String>,
    deployable_url: Option<String>,
    short_sha: Option<String>,
    commit_url: Option<String>,
}

/// GitLab says the whole commit only at the end of its address. Of the ref it says nothing.
pub(super) fn deployment(told: DeploymentTold, _: &Around<'_>, event: Event) -> Result<Event, Unread> {
    let short = told.short_sha.unwrap_or_default();
    let id = told.commit_url.as_deref().and_then(|url| url.rsplit('/').next());
    let sha = id.filter(|id| !short.is_empty() && id.starts_with(&short)).and_then(|id| id.parse().ok());
    let deployment = Deployment {
        action: None,
        id: told.deployment_id,
        environment: said(told.environment),
        task: None,
        status: said(told.status),
        url: said(told.deployable_url),
    };
    Ok(Event { sha, deployment: Some(deployment), ..event })
}

#[derive(Deserialize)]
struct ReleasedCommit {
    id: Sha,
}

#[derive(Deserialize)]
pub(super) struct ReleaseTold {
    action: String,
    tag: String,
    name: Option<String>,
    url: Option<String>,
    commit: Option<ReleasedCommit>,
}

pub(super) fn release(told: ReleaseTold, _: &Around<'_>, event: Event) -> Result<Event, Unread> {
    let release = Release { action: told.action, name: said(told.name), prerelease: None, draft: None, url: said(told.url) };
    let event = event.with_ref(RefName::of_tag(&told.tag).map_err(shape)?);
    Ok(Event { sha: told.commit.map(|commit| commit.id), release: Some(release), ..event })
}
