//! What was published: `release`, `package` and its older name `registry_package`.

use serde::Deserialize;
use serde_json::Value;

use super::wire::Around;
use crate::event::{Event, Package, Release};
use crate::forges::reading::{Unread, said, shape};
use crate::git_name::RefName;

#[derive(Deserialize)]
pub(super) struct ReleaseTold {
    release: RawRelease,
}

#[derive(Deserialize)]
struct RawRelease {
    tag_name: Option<String>,
    name: Option<String>,
    draft: Option<bool>,
    prerelease: Option<bool>,
    html_url: Option<String>,
}

/// A draft's tag is not there yet. `target_commitish` says no commit: GitHub does not use it where the tag exists.
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
pub(super) struct PackageTold {
    #[serde(alias = "registry_package")]
    package: RawPackage,
}

#[derive(Deserialize)]
struct RawPackage {
    name: Option<String>,
    package_type: Option<String>,
    html_url: Option<String>,
    package_version: Option<RawVersion>,
}

#[derive(Default, Deserialize)]
struct RawVersion {
    version: Option<String>,
    html_url: Option<String>,
    /// An object for an image; GitHub's own examples have other things here as well.
    #[serde(default)]
    container_metadata: Value,
}

/// What digests begin with, and what GitHub gives as the version of an image.
const DIGEST_PREFIX: &str = "sha256:";

/// The package alone: which commit it was made of, GitHub does not say.
pub(super) fn package(told: PackageTold, around: &Around<'_>, event: Event) -> Result<Event, Unread> {
    let package = told.package;
    let version = package.package_version.unwrap_or_default();
    let of_tag = |key: &str| {
        let text = version.container_metadata.get("tag").and_then(|tag| tag.get(key)).and_then(Value::as_str);
        said(text.map(str::to_owned))
    };
    let digest = version.version.clone().filter(|version| version.starts_with(DIGEST_PREFIX)).or_else(|| of_tag("digest"));
    let package = Package {
        action: around.action()?,
        name: said(package.name),
        // It is written `container` and `CONTAINER`.
        ecosystem: said(package.package_type).map(|kind| kind.to_ascii_lowercase()),
        tag: of_tag("name"),
        digest,
        version: said(version.version),
        url: said(version.html_url).or_else(|| said(package.html_url)),
    };
    Ok(Event { package: Some(package), ..event })
}
