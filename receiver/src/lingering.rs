//! A connection that is closed without throwing the last answer away.
//!
//! A socket closed while the client still sends is reset, and a reset discards what the client has not yet read: it
//! would see a broken connection instead of "too large". So the sending side is closed first, and what still comes is
//! read and forgotten for a moment.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How long what still comes is forgotten; a client that reads its answer closes sooner.
const LINGER_TIME: Duration = Duration::from_secs(1);

/// How much is forgotten at once, in bytes.
const FORGOTTEN_BYTES: usize = 16 * 1024;

/// A stream whose shutdown lingers.
#[derive(Debug)]
pub(crate) struct Lingering<S> {
    stream: S,
    closing: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

impl<S> Lingering<S> {
    pub(crate) const fn new(stream: S) -> Self {
        Self { stream, closing: None, ended: false }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        self.ended = read.is_err() || buffer.filled().len() == before;
        Poll::Ready(read)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.closing.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
        }
        let closing = this.closing.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER_TIME)));
        let mut forgotten = [0; FORGOTTEN_BYTES];
        while !this.ended && closing.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::new(&mut forgotten);
            // An error means that nobody is there any more, which is what was waited for.
            let read = ready!(Pin::new(&mut this.stream).poll_read(context, &mut buffer));
            this.ended = read.is_err() || buffer.filled().is_empty();
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// More than both sockets' buffers hold.
    const MUCH: usize = 32 * 1024 * 1024;

    #[tokio::test]
    async fn a_client_that_still_sends_gets_its_answer() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut server = Lingering::new(listener.accept().await.unwrap().0);
        let answering = async {
            server.write_all(b"too large").await.unwrap();
            server.shutdown().await.unwrap();
            drop(server);
        };
        let asking = async {
            client.write_all(&vec![b'x'; MUCH]).await.unwrap();
            client.shutdown().await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let ((), answer) = tokio::join!(answering, asking);
        assert_eq!(answer, "too large");
    }
}
