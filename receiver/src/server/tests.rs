//! Connections through a real socket: limits, the end, and what is in flight then.

use std::net::SocketAddr;

use hookspool_common::inbox::Entry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::fixture::{SOURCE_PATH, StandingClock, Told, config, headers, in_force, push, secrets, told_inbox};
use crate::sources::Sources;

struct Served {
    address: SocketAddr,
    serving: JoinHandle<Result<(), ServeError>>,
    orders: std::sync::mpsc::Sender<Told>,
    batches: std::sync::mpsc::Receiver<Vec<Entry>>,
    stop: oneshot::Sender<()>,
    _folder: tempfile::TempDir,
}

async fn served() -> Served {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (inbox, batches, orders) = told_inbox();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async { drop(stopped.await) };
    let config = config(folder.path());
    let metrics = Arc::new(Metrics::new(&config, hookspool_common::clock::Instant::from_millis(0)));
    let sources = Sources::with_secrets(&config, &secrets());
    let in_force = in_force(config, sources);
    let serving = serve(in_force, metrics, inbox, Arc::new(StandingClock(7)), vec![Listener::Tcp(listener)], shutdown);
    Served { address, serving: tokio::spawn(serving), orders, batches, stop, _folder: folder }
}

/// A signed push as the bytes of a request.
fn request() -> Vec<u8> {
    let body = push("master");
    let mut text = format!("POST {SOURCE_PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers("push", "1", &body).iter() {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    format!("{text}\r\n{body}").into_bytes()
}

async fn answer(client: &mut TcpStream) -> String {
    let mut answer = vec![0; 4096];
    let count = client.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..count]).into_owned()
}

#[tokio::test]
async fn a_request_in_flight_is_answered_before_the_end() {
    let served = served().await;
    let request = request();
    let mut client = TcpStream::connect(served.address).await.unwrap();
    let (first, second) = request.split_at(request.len() - 10);
    client.write_all(first).await.unwrap();
    // Another connection's answer shows that the first has been accepted before it.
    let mut other = TcpStream::connect(served.address).await.unwrap();
    other.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(answer(&mut other).await.starts_with("HTTP/1.1 200"));
    served.stop.send(()).unwrap();
    // The idle connection is closed, which shows that the end has begun.
    assert_eq!(answer(&mut other).await, "");
    drop(other);
    served.orders.send(Told::Store).unwrap();
    client.write_all(second).await.unwrap();
    assert!(answer(&mut client).await.starts_with("HTTP/1.1 202"));
    drop(client);
    assert!(served.serving.await.unwrap().is_ok());
    assert!(TcpStream::connect(served.address).await.is_err());
}

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let served = served().await;
    let mut client = TcpStream::connect(served.address).await.unwrap();
    for _ in 0..3 {
        served.orders.send(Told::Store).unwrap();
        client.write_all(&request()).await.unwrap();
        assert!(answer(&mut client).await.starts_with("HTTP/1.1 202"));
    }
}

#[tokio::test]
async fn who_says_that_nothing_more_comes_gets_its_answer_though_it_is_not_stored_yet() {
    let served = served().await;
    let mut client = TcpStream::connect(served.address).await.unwrap();
    client.write_all(&request()).await.unwrap();
    client.shutdown().await.unwrap();
    let Served { batches, orders, .. } = served;
    // It is being stored, and the end has been there for as long as another connection takes to be answered.
    let storing = tokio::task::spawn_blocking(move || batches.recv().map(|batch| (batch.len(), batches)));
    let (count, _batches) = storing.await.unwrap().unwrap();
    assert_eq!(count, 1);
    let mut other = TcpStream::connect(served.address).await.unwrap();
    other.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(answer(&mut other).await.starts_with("HTTP/1.1 200"));
    orders.send(Told::Store).unwrap();
    assert!(answer(&mut client).await.starts_with("HTTP/1.1 202"));
}

#[tokio::test]
async fn a_writer_that_dies_answers_nobody_2xx_and_ends_the_receiver() {
    let served = served().await;
    served.orders.send(Told::Panic).unwrap();
    let mut client = TcpStream::connect(served.address).await.unwrap();
    client.write_all(&request()).await.unwrap();
    assert!(!answer(&mut client).await.starts_with("HTTP/1.1 2"));
    assert!(matches!(served.serving.await.unwrap(), Err(ServeError::WriterDied)));
}
