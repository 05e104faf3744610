//! Releases and packages: a draft has no tag, and no version of a package is a commit.

use super::*;

fn a_release() -> Value {
    json!({
        "tag_name": "v1.2", "target_commitish": "main", "name": "One two", "draft": false, "prerelease": false,
        "html_url": "https://github.com/octo/shop/releases/tag/v1.2",
    })
}

#[test]
fn a_release_is_at_its_tag() {
    insta::assert_json_snapshot!(event_of("release", &told(json!({"action": "published", "release": a_release()}))));
}

#[test]
fn a_releases_target_is_neither_a_branch_nor_a_commit() {
    for target in ["main", SHA] {
        let mut body = told(json!({"action": "published", "release": a_release()}));
        body["release"]["target_commitish"] = target.into();
        let event = event_of("release", &body);
        assert_eq!((event.sha, event.branch, event.tag.as_deref()), (None, None, Some("v1.2")));
    }
}

#[test]
fn a_draft_has_no_tag_yet() {
    let mut body = told(json!({"action": "created", "release": a_release()}));
    body["release"]["draft"] = true.into();
    let event = event_of("release", &body);
    assert_eq!((event.reference, event.release.unwrap().draft), (None, Some(true)));
}

#[test]
fn a_releases_tag_must_be_one() {
    let mut body = told(json!({"action": "published", "release": a_release()}));
    body["release"]["tag_name"] = "../v1".into();
    assert!(reason_of("release", &body).contains("../v1"));
}

#[test]
fn an_image_has_its_tag_and_digest_under_either_name_of_the_event() {
    let digest = "sha256:3da1996a8115d7616457760d9920b815241d0a03b34cf5f04e9a0e9d8de37498";
    let image = json!({
        "name": "shop/web", "package_type": "CONTAINER", "html_url": "https://github.com/octo/shop/pkgs/container/web",
        "package_version": {
            "version": digest, "target_oid": SHA, "target_commitish": "main",
            "container_metadata": {"tag": {"name": "v1", "digest": digest}, "labels": {}},
        },
    });
    let event = event_of("package", &told(json!({"action": "published", "package": image})));
    insta::assert_json_snapshot!(event);
    let older = event_of("registry_package", &told(json!({"action": "published", "registry_package": image})));
    assert_eq!(older.package, event.package);
}

#[test]
fn an_image_without_tag_and_an_odd_one_still_have_what_is_known() {
    for metadata in [json!({"tag": {"name": "", "digest": ""}}), json!("{'tag': {}}"), Value::Null] {
        let version = json!({"version": "sha256:00", "container_metadata": metadata});
        let image = json!({"name": "web", "package_type": "container", "package_version": version});
        let package = event_of("package", &told(json!({"action": "published", "package": image}))).package.unwrap();
        assert_eq!((package.tag, package.digest.as_deref()), (None, Some("sha256:00")), "{metadata}");
    }
}

#[test]
fn a_package_of_npm_has_a_version() {
    let version = json!({"version": "1.0.0", "html_url": "https://github.com/octo/shop/packages/1?version=1.0.0"});
    let package = json!({"name": "shop", "package_type": "npm", "package_version": version});
    insta::assert_json_snapshot!(event_of("package", &told(json!({"action": "published", "package": package}))));
    let nothing = json!({"name": "shop", "package_type": "npm", "package_version": null});
    assert!(event_of("package", &told(json!({"action": "published", "package": nothing}))).package.unwrap().version.is_none());
}
