//! One request from head to answer, with an inbox that the test looks into.

use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll};

use hookspool_common::inbox::Entry;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};

use super::*;
use crate::fixture::{SOURCE_PATH, StandingClock, Told, bounds, config, headers, in_force, push, secrets, told_inbox};
use crate::places::Places;
use crate::sources::Sources;

/// A body that must not be read, and that may say its size.
struct Unread(Option<usize>);

impl Body for Unread {
    type Data = Bytes;
    type Error = CutOff;
    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        panic!("the body was read")
    }
    fn size_hint(&self) -> SizeHint {
        self.0.map_or_else(SizeHint::default, |bytes| SizeHint::with_exact(bytes as u64))
    }
}

struct Tried {
    intake: Intake,
    batches: mpsc::Receiver<Vec<Entry>>,
    orders: mpsc::Sender<Told>,
    _folder: tempfile::TempDir,
}

fn tried() -> Tried {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let (inbox, batches, orders) = told_inbox();
    let (writer, _) = Writer::start(inbox, bounds(&config.paths.spool)).unwrap();
    let metrics = Arc::new(Metrics::new(&config, hookspool_common::clock::Instant::from_millis(0)));
    let sources = Sources::with_secrets(&config, &secrets());
    let in_force = in_force(config, sources);
    let (room, compressor) = (BodyRoom::new(), Compressor::new().unwrap());
    let refusals = Refusals::new(Instant::now());
    let intake = Intake { in_force, metrics, clock: Arc::new(StandingClock(7)), writer, room, compressor, refusals };
    Tried { intake, batches, orders, _folder: folder }
}

impl Tried {
    async fn answer<B: Body<Data = Bytes> + Unpin>(&self, request: Request<B>, peer: Peer) -> Response<Full<Bytes>> {
        let place = Places::new(1, Arc::default()).take().await;
        self.intake.answer(request, peer, &place).await.unwrap()
    }

    async fn post<B: Body<Data = Bytes> + Unpin>(&self, headers: &Headers, body: B) -> (u16, String) {
        let mut request = Request::post(SOURCE_PATH);
        for (name, value) in headers.iter() {
            request = request.header(name, value);
        }
        let response = self.answer(request.body(body).unwrap(), Peer::Unix).await;
        let status = response.status().as_u16();
        (status, String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
    }
}

const UNAUTHORIZED: &str = r#"{"status":"unauthorized"}"#;

#[tokio::test]
async fn without_one_signature_the_body_is_not_even_read() {
    let tried = tried();
    let mut two = headers("push", "1", "{}");
    two.add("x-hub-signature-256", "sha256=00");
    for headers in [Headers::new(), two] {
        assert_eq!(tried.post(&headers, Unread(None)).await, (401, UNAUTHORIZED.to_owned()));
    }
}

#[tokio::test]
async fn a_signature_over_another_body_is_the_same_refusal() {
    let tried = tried();
    let body = Full::new(Bytes::from(push("master")));
    assert_eq!(tried.post(&headers("push", "1", &push("develop")), body).await, (401, UNAUTHORIZED.to_owned()));
    assert!(tried.batches.try_recv().is_err());
}

#[tokio::test]
async fn a_push_is_stored_with_the_time_of_the_clock_and_then_accepted() {
    let tried = tried();
    let body = push("master");
    tried.orders.send(Told::Store).unwrap();
    let (status, text) = tried.post(&headers("push", "1", &body), Full::new(Bytes::from(body.clone()))).await;
    let stored = tried.batches.try_recv().unwrap();
    assert_eq!((status, stored.len(), stored[0].received_at.millis()), (202, 1, 7));
    assert!(text.contains(&stored[0].id.to_string()) && text.contains(r#""jobs":["image","docs"]"#), "{text}");
}

#[tokio::test]
async fn what_the_inbox_refuses_is_unavailable_and_says_nothing_of_why() {
    let tried = tried();
    let body = push("master");
    tried.orders.send(Told::Refuse).unwrap();
    let (status, text) = tried.post(&headers("push", "1", &body), Full::new(Bytes::from(body.clone()))).await;
    assert_eq!((status, text.as_str()), (503, r#"{"status":"unavailable"}"#));
}

#[tokio::test]
async fn a_body_too_large_to_announce_is_refused_unread() {
    let tried = tried();
    let body = Full::new(Bytes::from(vec![b' '; crate::body::MAX_BODY_BYTES + 1]));
    assert_eq!(tried.post(&headers("push", "1", "{}"), body).await.0, 413);
}

#[tokio::test]
async fn over_its_budget_a_client_has_only_what_is_ordinary_and_says_so_looked_at() {
    let tried = tried();
    let address = "192.0.2.1".parse().unwrap();
    (0..60).for_each(|_| tried.intake.refusals.refused(address, Instant::now()));
    let (push, other) = (push("master"), push("develop"));
    let post = |signed_for: &str| {
        let headers = headers("push", "1", signed_for);
        headers.iter().fold(Request::post(SOURCE_PATH), |request, (name, value)| request.header(name, value))
    };
    for length in [None, Some(64 * 1024 + 1)] {
        let request = post(&push).body(Unread(length)).unwrap();
        assert_eq!(tried.answer(request, Peer::Tcp(address)).await.status(), 429, "{length:?}");
    }
    let whole = || Full::new(Bytes::from(push.clone()));
    assert_eq!(tried.answer(post(&other).body(whole()).unwrap(), Peer::Tcp(address)).await.status(), 429);
    assert_eq!(tried.answer(Request::get("/elsewhere").body(whole()).unwrap(), Peer::Tcp(address)).await.status(), 429);
    tried.orders.send(Told::Store).unwrap();
    assert_eq!(tried.answer(post(&push).body(whole()).unwrap(), Peer::Tcp(address)).await.status(), 202);
}

#[tokio::test]
async fn an_inbox_that_takes_no_writes_is_not_ready_but_alive() {
    let tried = tried();
    tried.orders.send(Told::Refuse).unwrap();
    let get = |path: &str| Request::get(path).body(Full::<Bytes>::default()).unwrap();
    assert_eq!(tried.answer(get("/ready"), Peer::Unix).await.status(), 503);
    assert_eq!(tried.answer(get("/health"), Peer::Unix).await.status(), 200);
    assert_eq!(tried.answer(get("/elsewhere"), Peer::Unix).await.status(), 404);
}
