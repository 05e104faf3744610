//! Whatever bytes come, to the source of whichever forge, the receiver lives, and says 2xx to nothing that the source's
//! secret did not vouch for.

use std::fs;
use std::io::ErrorKind;

use hookspool_common::clock::{Clock, SystemClock};
use hookspool_common::forges::{Dialect, Provider};
use hookspool_common::secrets::Secret;
use hookspool_tests::receiver::{Answer, Installation, Post, RunningReceiver, push_body};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Requests of each kind. Each takes a connection of its own.
const CASES: u32 = 600;

/// The one secret of all sources; GitLab signs with it.
const SECRET: &[u8] = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A source that its configuration describes, whose deliveries are proven as GitHub's are.
const GENERIC: &str = "[source.facts]\nevent = \"service\"\nrepository = \"github.com/owner/project\"";

fn path_of(name: &str) -> String {
    format!("/hooks/{name}")
}

/// An installation with a source of each provider.
fn with_every_source() -> Installation {
    let installation = Installation::new().unwrap();
    fs::write(installation.path().join("secrets/receiver/webhook"), SECRET).unwrap();
    // The one of GitHub is there already.
    for name in Dialect::names().into_iter().filter(|name| *name != Provider::Github.as_str()) {
        let path = path_of(name);
        let source = format!("[[source]]\nname = \"{name}\"\nprovider = \"{name}\"\npath = \"{path}\"\nsecret = \"webhook\"");
        let more = match name {
            "generic" => GENERIC,
            "pact-broker" => "[source.repositories]\nShop = \"github.com/owner/project\"",
            _ => "",
        };
        installation.add_to_source(&format!("{source}\n{more}")).unwrap();
    }
    installation
}

/// What each provider would send, with one header that proves it, and where in its bytes that header's proof is.
fn deliveries() -> Vec<Delivery> {
    let secret = Secret::new(SECRET.to_vec());
    let proven = Dialect::names().into_iter().map(|name| {
        let dialect = Provider::ALL.into_iter().find(|provider| provider.as_str() == name).unwrap_or(Provider::Github);
        let post = Post::signed_with(&secret, dialect, "push", "an-id", r#"{"ref":"refs/heads/x"}"#).to(&path_of(name));
        let headers = Dialect::Forge(dialect).signature_headers().into_iter().map(str::to_owned).collect::<Vec<_>>();
        let (header, value) = headers.iter().find_map(|header| Some((header, post.header(header)?))).unwrap();
        let post = headers.iter().filter(|other| *other != header).fold(post.clone(), |post, other| post.without(other));
        Delivery::new(post, &value, dialect != Provider::PactBroker)
    });
    proven.collect()
}

/// A good delivery, and the bytes of it that must not be changed.
#[derive(Debug, Clone)]
struct Delivery {
    bytes: Vec<u8>,
    covered: Vec<usize>,
}

impl Delivery {
    /// A token vouches for its sender alone, a signature for the body too.
    fn new(post: Post, proof: &str, is_signed: bool) -> Self {
        let bytes = post.bytes();
        let body = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let at = bytes.windows(proof.len()).position(|window| window == proof.as_bytes()).unwrap();
        // How a token's scheme is written is nobody's proof.
        let scheme = proof.find(' ').map_or(0, |space| space + 1);
        let of_body = (body..bytes.len()).filter(|_| is_signed);
        let covered = (at + scheme..at + proof.len()).chain(of_body).collect();
        Self { bytes, covered }
    }
}

/// What is sent, and whether it is all that was announced.
#[derive(Debug, Clone)]
struct Request {
    bytes: Vec<u8>,
    is_whole: bool,
}

/// Sends a request and nothing more; what was answered, if anything was. A whole one always is.
fn ask(receiver: &RunningReceiver, Request { bytes, is_whole }: &Request) -> Option<Answer> {
    let mut connection = receiver.connect().unwrap();
    // It may close before everything was sent.
    let sent = connection.send(bytes);
    if !is_whole {
        // Nobody is answered who has hung up already; but else the rest would be waited for.
        let _ = sent.and_then(|()| connection.finish());
    }
    match connection.answer() {
        // Go on, it says, to whoever asked first; the answer comes after that.
        Ok(answer) if answer.status == 100 => connection.answer().ok(),
        Ok(answer) => Some(answer),
        Err(error) => {
            assert!(!is_whole, "no answer: {error}");
            assert!(matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{error}");
            None
        }
    }
}

/// No request that `strategy` makes is answered 2xx or stored, and a good one is still taken afterwards.
fn all_are_refused(strategy: &impl Strategy<Value = Request>) {
    let installation = with_every_source();
    let receiver = installation.start().unwrap();
    // Whose delivery was accepted is not limited, so every request is looked at.
    assert_eq!(receiver.post(&push(1)).unwrap().status, 202);
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(strategy, |request| {
        let answer = ask(&receiver, &request);
        prop_assert!(answer.as_ref().is_none_or(|answer| answer.status >= 400), "{answer:?}");
        Ok(())
    });
    outcome.unwrap();
    assert_eq!(receiver.post(&push(2)).unwrap().status, 202);
    assert_eq!(installation.records().unwrap().len(), 2);
}

fn push(number: u64) -> Post {
    Post::signed_with(&Secret::new(SECRET.to_vec()), Provider::Github, "push", &number.to_string(), push_body("master", number))
}

/// What is not changed is taken: else the properties below would hold for want of anything good.
#[test]
fn every_source_takes_what_its_secret_vouches_for() {
    let installation = with_every_source();
    let receiver = installation.start().unwrap();
    for (number, Delivery { bytes, .. }) in deliveries().into_iter().enumerate() {
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let answer = ask(&receiver, &Request { bytes, is_whole: true }).unwrap();
        assert_eq!(answer.status, 200, "{shown}: {}", answer.body);
        assert_eq!(installation.records().unwrap().len(), number + 1);
    }
}

#[test]
fn any_bytes_are_refused() {
    let bytes = prop::collection::vec(any::<u8>(), 0..2000);
    all_are_refused(&bytes.prop_map(|bytes| Request { bytes, is_whole: false }));
}

#[test]
fn any_body_under_any_headers_is_refused_by_every_source_without_its_secret() {
    let of_providers = Provider::ALL.into_iter().flat_map(|provider| {
        let dialect = Dialect::Forge(provider);
        let headers = [dialect.signature_headers(), dialect.signed_headers(), dialect.kept_headers()].concat();
        headers.into_iter().map(str::to_owned).collect::<Vec<_>>()
    });
    let others = ["x-hub-signature", "content-type", "transfer-encoding", "expect", "x-forwarded-for", "forwarded"];
    let names: Vec<String> = of_providers.chain(others.map(str::to_owned)).collect();
    let value = prop_oneof![
        "sha256=[0-9a-f]{64}",
        "[0-9a-f]{64}",
        "v1,[A-Za-z0-9+/]{43}=",
        "(Bearer|Basic) [A-Za-z0-9+/]{0,40}",
        "[ -~]{0,80}",
        Just((SystemClock.now().millis() / 1000).to_string()),
        Just("application/json".to_owned()),
        Just("chunked".to_owned()),
        Just("100-continue".to_owned()),
        Just("push".to_owned()),
    ];
    let path = prop::sample::select(Dialect::names()).prop_map(path_of);
    let headers = prop::collection::vec((prop::sample::select(names), value), 0..8);
    let body = prop::collection::vec(any::<u8>(), 0..500);
    all_are_refused(&(path, headers, body).prop_map(|(path, headers, body)| {
        let mut bytes = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n", body.len()).into_bytes();
        // Chunks come one after the other, for as long as the last did not.
        let is_whole = headers.iter().all(|(name, _)| name != "transfer-encoding");
        for (name, value) in headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&body);
        Request { bytes, is_whole }
    }));
}

#[test]
fn a_proven_delivery_with_one_byte_changed_in_its_proof_or_in_what_that_covers_is_refused_by_every_source() {
    let delivery = prop::sample::select(deliveries());
    all_are_refused(&(delivery, any::<prop::sample::Index>(), 1..=255_u8).prop_map(|(mut delivery, place, change)| {
        let place = *place.get(&delivery.covered);
        delivery.bytes[place] ^= change;
        Request { bytes: delivery.bytes, is_whole: true }
    }));
}
