//! Who is mailed. The pusher's address is only what a forge said, so it is mailed only where the operator allows it;
//! the address in a commit's author field is whatever its author typed, and is never mailed.

use hookspool_common::config::{self, MailAddress, Notify, Recipient};
use hookspool_common::event::Event;

/// The addresses that are told of a job's run, each once, in the order of the configuration.
///
/// Whoever cannot or may not be mailed is replaced by the fallback, or by nobody where there is none.
#[must_use]
pub fn recipients(mail: &config::Mail, notify: &Notify, event: &Event) -> Vec<String> {
    let fallback = || mail.fallback.as_ref().map(|fallback| fallback.address.clone());
    let address = |recipient: &Recipient| match recipient {
        Recipient::Pusher => pusher(event),
        Recipient::Address(fixed) => Some(fixed.address.clone()),
    };
    let mut recipients: Vec<String> = Vec::new();
    for recipient in &notify.to {
        let allowed = address(recipient).filter(|address| mail.allows(address));
        let Some(address) = allowed.or_else(fallback) else { continue };
        if !recipients.iter().any(|known| known.eq_ignore_ascii_case(&address)) {
            recipients.push(address);
        }
    }
    recipients
}

/// The pusher's address, if it is one that somebody reads.
fn pusher(event: &Event) -> Option<String> {
    let parsed: MailAddress = event.pusher.email.as_deref()?.parse().ok()?;
    let is_alone = parsed.name.is_none();
    Some(parsed.address).filter(|address| is_alone && !is_noreply(address) && !is_routed(address))
}

/// Local parts, and labels of domains, behind which nobody reads. GitHub's are `noreply@github.com` and
/// `*@users.noreply.github.com`; GitLab's, Gitea's and Forgejo's are made likewise.
const NOREPLY: [&str; 4] = ["noreply", "no-reply", "donotreply", "do-not-reply"];

fn is_noreply(address: &str) -> bool {
    let address = address.to_ascii_lowercase();
    let Some((local, domain)) = address.split_once('@') else { return false };
    let local = local.split('+').next().unwrap_or(local);
    NOREPLY.contains(&local) || domain.split('.').any(|label| NOREPLY.contains(&label))
}

/// Whether the local part would lead a mail server elsewhere than to the domain that was allowed: `victim%elsewhere@example.org`
/// and `elsewhere!victim@example.org` are forwarded by some, and `|` and `/` begin commands and files.
fn is_routed(address: &str) -> bool {
    address.split('@').next().is_some_and(|local| local.contains(['%', '!', '|', '/']) || local.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hookspool_common::config::{NotifyOn, Transport};
    use hookspool_common::event::{Commit, Kind, Person};

    fn mail(allow: &[&str], fallback: Option<&str>) -> config::Mail {
        config::Mail {
            from: "CI <ci@example.org>".parse().unwrap(),
            transport: Transport::Maildir("/nowhere".into()),
            password: None,
            ca_file: None,
            allow: allow.iter().map(|&allowed| allowed.to_owned()).collect(),
            fallback: fallback.map(|address| address.parse().unwrap()),
        }
    }

    fn pushed_by(email: Option<&str>) -> Event {
        let mut event = Event::of(Kind::Push, "push");
        event.pusher = Person { name: Some("Mona".to_owned()), login: Some("mona".to_owned()), email: email.map(str::to_owned) };
        event
    }

    fn to(names: &[&str]) -> Notify {
        let recipient = |name: &&str| match *name {
            "pusher" => Recipient::Pusher,
            address => Recipient::Address(address.parse().unwrap()),
        };
        Notify { to: names.iter().map(recipient).collect(), on: NotifyOn::Always }
    }

    #[test]
    fn the_pusher_is_mailed_where_the_domain_is_allowed() {
        let mail = mail(&["@example.org"], Some("ops@example.net"));
        assert_eq!(recipients(&mail, &to(&["pusher"]), &pushed_by(Some("Mona@Example.org"))), ["Mona@Example.org"]);
    }

    #[test]
    fn whoever_is_not_allowed_is_replaced_by_the_fallback_once() {
        let mail = mail(&["@example.org"], Some("Ops <ops@example.net>"));
        for email in [
            None,
            Some("mona@elsewhere.test"),
            Some("mona@sub.example.org"),
            Some("mona@notexample.org"),
            Some("mona@example.org@elsewhere.test"),
            Some("Mona <mona@example.org>"),
            Some("mona@example.org, eve@elsewhere.test"),
            Some("mona@example.org\nBcc: eve@elsewhere.test"),
            Some("no address"),
            Some(""),
        ] {
            let told = recipients(&mail, &to(&["pusher", "team@elsewhere.test"]), &pushed_by(email));
            assert_eq!(told, ["ops@example.net"], "{email:?}");
        }
    }

    #[test]
    fn without_a_fallback_whoever_is_not_allowed_is_not_replaced() {
        let mail = mail(&["@example.org"], None);
        assert_eq!(recipients(&mail, &to(&["pusher"]), &pushed_by(Some("mona@elsewhere.test"))), [""; 0]);
        assert_eq!(recipients(&mail, &to(&[]), &pushed_by(Some("mona@example.org"))), [""; 0]);
    }

    #[test]
    fn no_forge_is_answered_at_its_noreply_address() {
        let mail =
            mail(&["@users.noreply.github.com", "@github.com", "@noreply.codeberg.org", "@example.org"], Some("ops@example.org"));
        for email in [
            "mona@users.noreply.github.com",
            "583231+octocat@users.noreply.github.com",
            "noreply@github.com",
            "NoReply@example.org",
            "no-reply@example.org",
            "noreply+ci@example.org",
            "mona@noreply.codeberg.org",
        ] {
            assert_eq!(recipients(&mail, &to(&["pusher"]), &pushed_by(Some(email))), ["ops@example.org"], "{email}");
        }
    }

    #[test]
    fn an_allowed_domain_is_no_way_to_another() {
        let mail = mail(&["@example.org"], Some("ops@example.org"));
        for email in ["eve%elsewhere.test@example.org", "elsewhere.test!eve@example.org", "|sh@example.org", "-bp@example.org"] {
            assert_eq!(recipients(&mail, &to(&["pusher"]), &pushed_by(Some(email))), ["ops@example.org"], "{email}");
        }
    }

    #[test]
    fn nobody_is_mailed_twice() {
        let mail = mail(&["@example.org"], Some("mona@example.org"));
        let notify = to(&["team@example.org", "pusher", "Team@Example.org", "else@elsewhere.test"]);
        assert_eq!(recipients(&mail, &notify, &pushed_by(Some("MONA@example.org"))), ["team@example.org", "MONA@example.org"]);
    }

    #[test]
    fn a_commits_author_is_never_mailed() {
        let mail = mail(&["@example.org"], None);
        let mut event = pushed_by(None);
        event.commits = Some(vec![Commit {
            sha: "366701fde727cb7a9e7f21eb88264f59f6f9b89c".parse().unwrap(),
            message: String::new(),
            author: Person { name: None, login: None, email: Some("author@example.org".to_owned()) },
            paths: None,
        }]);
        assert_eq!(recipients(&mail, &to(&["pusher"]), &event), [""; 0]);
    }
}
