//! The sockets to listen on: those that systemd passed, or else those that the configuration names.
//!
//! A passed socket with the name `metrics` (`FileDescriptorName=`, systemd.socket(5)) serves metrics, every other takes
//! deliveries. What is passed for one of the two purposes wins over what the configuration says of it. A unix socket that nobody listens on any more is replaced; anything else at its path is left alone.

use std::env;
use std::fmt;
use std::fs;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};
use std::time::Duration;

use hookspool_common::config::{Listen, Receiver};
use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tokio::time::sleep;

/// Owner and group may connect to a unix socket: the web server is put into the receiver's group.
const UNIX_SOCKET_MODE: u32 = 0o660;

/// The name of passed sockets that serve metrics.
const METRICS_NAME: &str = "metrics";

/// How long to wait when no connection can be accepted, such as for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that the kernel keeps until they are accepted. Over it, it makes a client try again after a second, so a
/// flood must not fill it; systemd's sockets have as many, and so has a unix socket here.
const MAX_PENDING: u32 = 4096;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The configured address cannot be had.
    #[error("cannot listen on {listen}: {error}; change [receiver] {key}, or stop what uses it")]
    Bind {
        /// The key that names it.
        key: &'static str,
        /// The address.
        listen: Listen,
        /// What the system says.
        error: io::Error,
    },
    /// A socket that was passed is of no use.
    #[error("the socket that was passed as number {number} is neither a TCP nor a unix stream socket: {error}")]
    Passed {
        /// Its place among those that were passed, from 0.
        number: usize,
        /// What is wrong with it.
        error: io::Error,
    },
}

/// One socket to accept connections from.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix { socket: UnixListener, bound: Option<BoundPath> },
}

/// A connection.
#[derive(Debug)]
pub(crate) enum Connection {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

/// The file of a socket that this process made, and removes.
#[derive(Debug)]
pub(crate) struct BoundPath(PathBuf);

impl Drop for BoundPath {
    fn drop(&mut self) {
        // Left behind, it would be replaced at the next start.
        let _ = fs::remove_file(&self.0);
    }
}

/// Every socket, by its purpose.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) deliveries: Vec<Listener>,
    pub(crate) metrics: Vec<Listener>,
}

impl Sockets {
    /// Those that were passed, and for what none was passed, those that are configured. Must be called within the runtime.
    pub(crate) fn open(configured: &Receiver) -> Result<Self, ListenError> {
        let Self { mut deliveries, mut metrics } = Self::passed()?;
        if deliveries.is_empty() {
            deliveries = configured.listen.iter().map(|listen| bind("listen", listen)).collect::<Result<_, _>>()?;
        }
        if metrics.is_empty() {
            metrics = configured.metrics.iter().map(|listen| bind("metrics", listen)).collect::<Result<_, _>>()?;
        }
        Ok(Self { deliveries, metrics })
    }

    fn passed() -> Result<Self, ListenError> {
        let mut passed = ListenFd::from_env();
        // Where names are passed at all, there is one for each socket.
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut sockets = Self { deliveries: Vec::new(), metrics: Vec::new() };
        for number in 0..passed.len() {
            let is_for_metrics = names.next() == Some(METRICS_NAME);
            let purpose = if is_for_metrics { &mut sockets.metrics } else { &mut sockets.deliveries };
            purpose.extend(take(&mut passed, number)?);
        }
        Ok(sockets)
    }
}

/// The next connection of any listener. The one that had it goes to the end, so that a flood of one holds up no other.
pub(crate) async fn accept(listeners: &mut [Listener]) -> Connection {
    loop {
        let any = poll_fn(|context| {
            let ready = listeners.iter().enumerate().find_map(|(place, listener)| match listener.poll_accept(context) {
                Poll::Ready(accepted) => Some((place, accepted)),
                Poll::Pending => None,
            });
            ready.map_or(Poll::Pending, Poll::Ready)
        });
        let (place, accepted) = any.await;
        listeners[place..].rotate_left(1);
        match accepted {
            Ok(connection) => return connection,
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn take(passed: &mut ListenFd, number: usize) -> Result<Option<Listener>, ListenError> {
    let wrong = |error| ListenError::Passed { number, error };
    if let Ok(tcp) = passed.take_tcp_listener(number) {
        let listener = tcp.map(|tcp| tcp.set_nonblocking(true).and_then(|()| TcpListener::from_std(tcp)));
        return Ok(listener.transpose().map_err(wrong)?.map(Listener::Tcp));
    }
    let unix = passed.take_unix_listener(number).map_err(wrong)?;
    let listener = unix.map(|unix| unix.set_nonblocking(true).and_then(|()| UnixListener::from_std(unix)));
    Ok(listener.transpose().map_err(wrong)?.map(|socket| Listener::Unix { socket, bound: None }))
}

fn bind(key: &'static str, listen: &Listen) -> Result<Listener, ListenError> {
    bind_to(listen).map_err(|error| ListenError::Bind { key, listen: listen.clone(), error })
}

fn bind_to(listen: &Listen) -> io::Result<Listener> {
    match listen {
        Listen::Tcp(address) => {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            socket.set_reuseaddr(true)?;
            socket.bind(*address)?;
            socket.listen(MAX_PENDING).map(Listener::Tcp)
        }
        Listen::Unix(path) => {
            remove_stale(path)?;
            let socket = UnixListener::bind(path)?;
            let bound = BoundPath(path.clone());
            fs::set_permissions(path, fs::Permissions::from_mode(UNIX_SOCKET_MODE))?;
            Ok(Listener::Unix { socket, bound: Some(bound) })
        }
    }
}

/// Removes a socket that nobody listens on; what else lies there was not meant to be replaced.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is not a socket"));
        }
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

impl Listener {
    /// The next connection.
    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<Connection>> {
        match self {
            Self::Tcp(socket) => socket.poll_accept(context).map_ok(|(stream, peer)| Connection::Tcp(stream, peer)),
            Self::Unix { socket, .. } => socket.poll_accept(context).map_ok(|(stream, _)| Connection::Unix(stream)),
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(socket) => match socket.local_addr() {
                Ok(address) => address.fmt(f),
                Err(_) => f.write_str("an unknown address"),
            },
            Self::Unix { bound: Some(BoundPath(path)), .. } => write!(f, "unix:{}", path.display()),
            Self::Unix { socket, bound: None } => {
                let address = socket.local_addr().ok();
                match address.as_ref().and_then(|address| address.as_pathname()) {
                    Some(path) => write!(f, "unix:{}", path.display()),
                    None => f.write_str("unix:(unnamed)"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(path: &Path) -> Listen {
        Listen::Unix(path.to_owned())
    }

    #[tokio::test]
    async fn a_free_port_is_named_after_it_was_taken() {
        let shown = bind_to(&"127.0.0.1:0".parse().unwrap()).unwrap().to_string();
        let address: SocketAddr = shown.parse().unwrap();
        assert!(address.ip().is_loopback() && address.port() != 0, "{shown}");
    }

    #[tokio::test]
    async fn listeners_take_turns_while_connections_wait_at_all_of_them() {
        let mut listeners = [(); 3].map(|()| bind_to(&"127.0.0.1:0".parse().unwrap()).unwrap());
        let ports = listeners.each_ref().map(|listener| match listener {
            Listener::Tcp(socket) => socket.local_addr().unwrap().port(),
            Listener::Unix { .. } => unreachable!(),
        });
        // Connected is what the kernel has finished, so all of them can be accepted from now on.
        let connect = |port| (0..4).map(move |_| std::net::TcpStream::connect(("127.0.0.1", port)).unwrap());
        let _clients: Vec<_> = ports.into_iter().flat_map(connect).collect();
        for listener in &listeners {
            let Listener::Tcp(socket) = listener else { unreachable!() };
            // Their readiness is known to the runtime once it was told of one connection.
            drop(socket.accept().await.unwrap());
        }
        let mut served = Vec::new();
        for _ in &ports {
            let Connection::Tcp(stream, _) = accept(&mut listeners).await else { unreachable!() };
            served.push(stream.local_addr().unwrap().port());
        }
        assert_eq!(served, ports);
    }

    #[tokio::test]
    async fn a_socket_left_behind_is_replaced_and_removed_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("receiver.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let listener = bind_to(&unix(&path)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, UNIX_SOCKET_MODE);
        assert_eq!(listener.to_string(), format!("unix:{}", path.display()));
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_socket_in_use_and_a_file_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("receiver.sock");
        let in_use = bind_to(&unix(&path)).unwrap();
        assert_eq!(bind_to(&unix(&path)).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(path.exists());
        drop(in_use);
        fs::write(&path, "mine").unwrap();
        assert!(bind_to(&unix(&path)).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"mine");
    }
}
