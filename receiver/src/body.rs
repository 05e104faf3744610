//! A request's body, within limits of size and time, and all bodies together within a limit of memory.
//!
//! Every connection has memory for an ordinary body, which nobody can take from it; only what is larger competes for the
//! rest. Memory is counted as bytes arrive, never by what a client announces: an announcement costs an attacker nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) use hookspool_common::inbox::MAX_BODY_BYTES;

/// How long a body may take in all. A forge waits ten seconds for the answer.
const BODY_TIME: Duration = Duration::from_secs(10);

/// What every body may have without asking, in KiB. Forges send 10 to 30 for nearly everything, and 512 connections with so
/// much each are 32 MiB.
const OWN_KIB: usize = 64;

/// Memory for what all bodies together have beyond that, in KiB: one of the largest, or dozens of those that are just large.
const SHARED_KIB: usize = 32 * 1024;

/// What is allocated first for a body that comes in pieces, in bytes; most need no more.
const FIRST_PIECE_BYTES: usize = 32 * 1024;

/// Why a body was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// It is, or says that it is, larger than [`MAX_BODY_BYTES`].
    TooLarge,
    /// It took longer than [`BODY_TIME`].
    TooSlow,
    /// Other bodies fill the memory that there is for them.
    NoRoom,
    /// The connection ended before it was whole.
    CutOff,
}

/// The memory for bodies that are larger than [`OWN_KIB`].
#[derive(Debug)]
pub(crate) struct BodyRoom {
    free_kib: Arc<Semaphore>,
    time: Duration,
}

/// The shared room that a body has until this is dropped.
pub(crate) type Room = OwnedSemaphorePermit;

/// A whole body, and its room.
#[derive(Debug)]
pub(crate) struct TakenBody {
    pub(crate) bytes: Bytes,
    pub(crate) room: Room,
}

/// Whether `body` says its size, and needs no more than every connection has anyway.
pub(crate) fn is_ordinary(body: &impl Body) -> bool {
    body.size_hint().exact().is_some_and(|bytes| bytes <= OWN_KIB as u64 * 1024)
}

impl BodyRoom {
    /// All of it free.
    pub(crate) fn new() -> Self {
        Self { free_kib: Arc::new(Semaphore::new(SHARED_KIB)), time: BODY_TIME }
    }

    /// Reads `body` to its end.
    pub(crate) async fn read<B: Body<Data = Bytes> + Unpin>(&self, body: B) -> Result<TakenBody, BodyError> {
        let announced = body.size_hint().exact().map(usize::try_from);
        let announced = announced.transpose().map_err(|_| BodyError::TooLarge)?;
        if announced.is_some_and(|bytes| bytes > MAX_BODY_BYTES) {
            return Err(BodyError::TooLarge);
        }
        tokio::time::timeout(self.time, self.collect(body, announced)).await.unwrap_or(Err(BodyError::TooSlow))
    }

    async fn collect<B: Body<Data = Bytes> + Unpin>(
        &self,
        mut body: B,
        announced: Option<usize>,
    ) -> Result<TakenBody, BodyError> {
        let mut room = self.take_kib(0)?;
        let mut whole = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(piece) = frame.map_err(|_| BodyError::CutOff)?.into_data() else { continue };
            let needed = whole.len() + piece.len();
            if needed > MAX_BODY_BYTES {
                return Err(BodyError::TooLarge);
            }
            if announced == Some(piece.len()) {
                // It came in one piece, as most do: nothing need be copied.
                self.enlarge(&mut room, piece.len())?;
                return Ok(TakenBody { bytes: piece, room });
            }
            if needed > whole.capacity() {
                let roomy = (2 * whole.capacity()).max(FIRST_PIECE_BYTES).min(announced.unwrap_or(MAX_BODY_BYTES));
                let capacity = roomy.max(needed);
                self.enlarge(&mut room, capacity)?;
                whole.reserve_exact(capacity - whole.len());
            }
            whole.extend_from_slice(&piece);
        }
        Ok(TakenBody { bytes: whole.into(), room })
    }

    /// Makes `room` that of a body of so many bytes, which are never fewer than before.
    fn enlarge(&self, room: &mut Room, bytes: usize) -> Result<(), BodyError> {
        let shared_kib = bytes.div_ceil(1024).saturating_sub(OWN_KIB);
        room.merge(self.take_kib(shared_kib - room.num_permits())?);
        Ok(())
    }

    fn take_kib(&self, kib: usize) -> Result<Room, BodyError> {
        let kib = u32::try_from(kib).map_err(|_| BodyError::NoRoom)?;
        Arc::clone(&self.free_kib).try_acquire_many_owned(kib).map_err(|_| BodyError::NoRoom)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http_body_util::Full;
    use hyper::body::{Frame, SizeHint};

    use super::*;

    /// A body in pieces; when they are used up it ends, breaks off or never ends.
    struct Pieces {
        pieces: VecDeque<Bytes>,
        announced: Option<u64>,
        end: Poll<Option<()>>,
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = ();
        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ()>>> {
            match self.pieces.pop_front() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                None => self.end.map(|end| end.map(Err)),
            }
        }
        fn size_hint(&self) -> SizeHint {
            self.announced.map_or_else(SizeHint::default, SizeHint::with_exact)
        }
    }

    fn pieces(count: usize, bytes: usize) -> Pieces {
        let piece = Bytes::from(vec![b'x'; bytes]);
        Pieces { pieces: vec![piece; count].into(), announced: None, end: Poll::Ready(None) }
    }

    fn free(room: &BodyRoom) -> usize {
        room.free_kib.available_permits()
    }

    #[tokio::test]
    async fn a_body_is_whole_however_it_comes_and_gives_its_room_back() {
        let room = BodyRoom::new();
        let in_one: Full<Bytes> = Full::new(Bytes::from_static(b"body"));
        assert_eq!(room.read(in_one).await.unwrap().bytes, "body");
        assert_eq!(room.read(Full::<Bytes>::default()).await.unwrap().bytes, "");
        let taken = room.read(pieces(100, 1000)).await.unwrap();
        assert_eq!(taken.bytes.len(), 100_000);
        assert!(free(&room) <= SHARED_KIB + OWN_KIB - 98);
        drop(taken);
        assert_eq!(free(&room), SHARED_KIB);
    }

    #[tokio::test]
    async fn the_largest_body_fits_and_one_byte_more_does_not() {
        let room = BodyRoom::new();
        assert_eq!(room.read(pieces(25, 1024 * 1024)).await.unwrap().bytes.len(), MAX_BODY_BYTES);
        let mut more = pieces(25, 1024 * 1024);
        more.pieces.push_back(Bytes::from_static(b"x"));
        assert_eq!(room.read(more).await.unwrap_err(), BodyError::TooLarge);
        assert_eq!(free(&room), SHARED_KIB);
    }

    #[tokio::test]
    async fn an_announcement_is_refused_unread_but_reserves_nothing() {
        let room = BodyRoom::new();
        let body = |announced| Pieces { pieces: VecDeque::new(), announced: Some(announced), end: Poll::Ready(Some(())) };
        assert_eq!(room.read(body(MAX_BODY_BYTES as u64 + 1)).await.unwrap_err(), BodyError::TooLarge);
        assert_eq!(room.read(body(u64::MAX)).await.unwrap_err(), BodyError::TooLarge);
        let none_left = room.take_kib(SHARED_KIB).unwrap();
        // Nothing has come of it, so nothing is taken, and it fails for breaking off alone.
        assert_eq!(room.read(body(MAX_BODY_BYTES as u64)).await.unwrap_err(), BodyError::CutOff);
        drop(none_left);
    }

    #[tokio::test]
    async fn large_bodies_that_do_not_fit_together_are_turned_away() {
        let room = BodyRoom::new();
        let kept = room.read(pieces(25, 1024 * 1024)).await.unwrap();
        assert_eq!(room.read(pieces(25, 1024 * 1024)).await.unwrap_err(), BodyError::NoRoom);
        assert!(room.read(pieces(4, 1024 * 1024)).await.is_ok());
        drop(kept);
        assert!(room.read(pieces(25, 1024 * 1024)).await.is_ok());
    }

    #[tokio::test]
    async fn an_ordinary_body_has_room_however_much_others_have() {
        let room = BodyRoom::new();
        let _all = room.take_kib(SHARED_KIB).unwrap();
        let in_pieces = Pieces { announced: Some(64 * 1024), ..pieces(64, 1024) };
        assert!(is_ordinary(&in_pieces));
        assert_eq!(room.read(in_pieces).await.unwrap().bytes.len(), 64 * 1024);
        assert!(room.read(pieces(64, 1024)).await.is_ok());
        let mut more = pieces(64, 1024);
        assert!(!is_ordinary(&more), "it does not say its size");
        more.pieces.push_back(Bytes::from_static(b"x"));
        assert_eq!(room.read(more).await.unwrap_err(), BodyError::NoRoom);
    }

    #[tokio::test]
    async fn a_body_that_never_ends_or_breaks_off_is_not_taken() {
        let room = BodyRoom { time: Duration::from_millis(1), ..BodyRoom::new() };
        let endless = Pieces { end: Poll::Pending, ..pieces(1, 10) };
        assert_eq!(room.read(endless).await.unwrap_err(), BodyError::TooSlow);
        let broken = Pieces { end: Poll::Ready(Some(())), ..pieces(1, 10) };
        assert_eq!(room.read(broken).await.unwrap_err(), BodyError::CutOff);
        assert_eq!(free(&room), SHARED_KIB);
    }
}
