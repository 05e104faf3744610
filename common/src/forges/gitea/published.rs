//! What was published: releases and packages.

use serde::Deserialize;

use super::wire::{Around, OwnRepository};
use crate::event::{Event, Package, Release};
use crate::forges::reading::{Unread, said, shape};
use crate::git_name::RefName;

#[derive(Deserialize)]
struct RawRelease {
    tag_name: Option<String>,
    name: Option<String>,
    draft: Option<bool>,
    prerelease: Option<bool>,
    html_url: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct ReleaseTold {
    release: RawRelease,
}

/// A draft's tag is not there yet. `target_commitish` is mostly a branch, and says no commit.
pub(super) fn release(told: ReleaseTold, around: &Around<'_>, mut event: Event) -> Result<Event, Unread> {
    let release = told.release;
    if let Some(tag) = said(release.tag_name).filter(|_| release.draft != Some(true)) {
        event = event.with_ref(RefName::of_tag(&tag).map_err(shape)?);
    }
    event.release = Some(Release {
        action: around.action()?,
        name: said(release.name),
        prerelease: release.prerelease,
        draft: release.draft,
        url: said(release.html_url),
    });
    Ok(event)
}

#[derive(Deserialize)]
struct RawPackage {
    name: Option<String>,
    #[serde(rename = "type")]
    ecosystem: Option<String>,
    version: Option<String>,
    html_url: Option<String>,
    repository: Option<OwnRepository>,
}

#[derive(Deserialize)]
pub(super) struct PackageTold {
    package: RawPackage,
}

/// A package belongs to its owner. Only where somebody linked it to a repository does the event name one.
pub(super) fn package(told: PackageTold, around: &Around<'_>, event: Event) -> Result<Event, Unread> {
    let package = told.package;
    let repository = match event.repository {
        Some(repository) => Some(repository),
        None => package.repository.map(OwnRepository::name).transpose()?,
    };
    let version = said(package.version);
    // The version of an image is its tag, or its digest where it has none.
    let image = version.clone().filter(|_| package.ecosystem.as_deref() == Some("container"));
    let (digest, tag) = match image {
        Some(digest) if digest.starts_with("sha256:") => (Some(digest), None),
        tag => (None, tag),
    };
    let package = Package {
        action: around.action()?,
        name: said(package.name),
        ecosystem: said(package.ecosystem),
        version,
        tag,
        digest,
        url: said(package.html_url),
    };
    Ok(Event { repository, package: Some(package), ..event })
}
