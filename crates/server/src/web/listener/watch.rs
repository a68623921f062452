//! What each connection waits for, and since when, so that one task can end those that wait too long.
//!
//! Nothing on the way of a request sets a timer or reads a clock: it stores a number. Time is counted in ticks, by the task that
//! looks. A connection that has been given up is [`Phase::Ended`], and from then on begins no work: what was begun is finished,
//! or was never begun.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use axum::BoxError;
use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A client that keeps us waiting has to read so much before it is given as long again.
const PROGRESS_BYTES: usize = 16 * 1024;

const PHASE_BITS: u32 = 3;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The rest of a request's head, or the first one's begin.
    Head,
    /// The rest of a request's body.
    Body,
    /// Our answer.
    Answer,
    /// Another request.
    Idle,
    /// Nothing any more.
    Ended,
}

impl Phase {
    const fn of(word: u64) -> Self {
        match word & ((1 << PHASE_BITS) - 1) {
            0 => Self::Head,
            1 => Self::Body,
            2 => Self::Answer,
            3 => Self::Idle,
            _ => Self::Ended,
        }
    }
}

/// What one connection waits for.
#[derive(Debug)]
pub(super) struct Watch {
    /// The time of the listener.
    ticks: Arc<AtomicU64>,
    /// The phase, and the tick at which it began.
    word: AtomicU64,
    /// The tick since when the client reads too little; zero while it does not keep us waiting.
    blocked: AtomicU64,
    /// Whether a part of the last request's body is still on its way, and nobody wants it.
    unwanted: AtomicBool,
}

impl Watch {
    pub(super) fn new(ticks: Arc<AtomicU64>) -> Self {
        let now = ticks.load(Relaxed);
        let word = AtomicU64::new(word(Phase::Head, now));
        Self { ticks, word, blocked: AtomicU64::new(0), unwanted: AtomicBool::new(false) }
    }

    /// The phase, and for how many ticks it has lasted.
    pub(super) fn phase(&self) -> (Phase, u64) {
        let word = self.word.load(Relaxed);
        (Phase::of(word), self.ticks.load(Relaxed).saturating_sub(word >> PHASE_BITS))
    }

    /// For how many ticks the client has read too little.
    pub(super) fn blocked_for(&self) -> Option<u64> {
        match self.blocked.load(Relaxed) {
            0 => None,
            since => Some(self.ticks.load(Relaxed).saturating_sub(since)),
        }
    }

    /// Gives the connection up, if it is still in this phase; whether it was.
    pub(super) fn end(&self, phase: Phase) -> bool {
        let seen = self.word.load(Relaxed);
        Phase::of(seen) == phase && self.turn(seen, Phase::Ended)
    }

    /// Whether the rest of a request's body would have to be read before another request can come. The connection ends instead,
    /// and the answer says so: who is not told may already be sending the next request on it.
    pub(super) fn ends_with_this_answer(&self) -> bool {
        self.unwanted.load(Relaxed)
    }

    fn turn(&self, seen: u64, to: Phase) -> bool {
        let next = word(to, self.ticks.load(Relaxed));
        self.word.compare_exchange(seen, next, Relaxed, Relaxed).is_ok()
    }

    /// Bytes came. Whether anybody may still look at them.
    fn came(&self) -> bool {
        let seen = self.word.load(Relaxed);
        match Phase::of(seen) {
            Phase::Idle => self.turn(seen, Phase::Head),
            Phase::Head | Phase::Body | Phase::Answer => true,
            Phase::Ended => false,
        }
    }

    /// A request's head is there. Whether the request may begin.
    pub(super) fn begin(&self, has_body: bool) -> bool {
        let seen = self.word.load(Relaxed);
        match Phase::of(seen) {
            // The head may have come together with the request before it.
            Phase::Head | Phase::Idle => self.turn(seen, if has_body { Phase::Body } else { Phase::Answer }),
            Phase::Body | Phase::Answer => true,
            Phase::Ended => false,
        }
    }

    /// A request's body is there, or nobody wants the rest. Whether the request may go on.
    fn whole(&self) -> bool {
        let seen = self.word.load(Relaxed);
        match Phase::of(seen) {
            Phase::Body => self.turn(seen, Phase::Answer),
            Phase::Head | Phase::Answer | Phase::Idle => true,
            Phase::Ended => false,
        }
    }

    /// An answer is on its way as a whole.
    fn answered(&self) {
        let seen = self.word.load(Relaxed);
        if Phase::of(seen) != Phase::Ended {
            self.turn(seen, Phase::Idle);
        }
    }
}

const fn word(phase: Phase, tick: u64) -> u64 {
    (tick << PHASE_BITS) | phase as u64
}

/// A connection whose bytes are noticed.
pub(super) struct Watched {
    stream: TcpStream,
    watch: Arc<Watch>,
    /// What the client has read since writing was first blocked; `None` while it is not.
    read_since: Option<usize>,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, watch: Arc<Watch>) -> Self {
        Self { stream, watch, read_since: None }
    }

    fn wrote(&mut self, written: &Poll<io::Result<usize>>) {
        let enough = match (written, &mut self.read_since) {
            (Poll::Pending, None) => true,
            (Poll::Ready(Ok(bytes)), Some(read)) => {
                *read += bytes;
                *read >= PROGRESS_BYTES
            }
            _ => false,
        };
        if enough {
            self.read_since = Some(0);
            // The first tick is one, so that zero can mean that nobody waits.
            self.watch.blocked.store(self.watch.ticks.load(Relaxed).max(1), Relaxed);
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before && !self.watch.came() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Called once everything there was has been written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.read_since.take().is_some() {
            self.watch.blocked.store(0, Relaxed);
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A request's body, whose end is noticed.
pub(super) struct Arriving {
    pub(super) body: Incoming,
    pub(super) watch: Arc<Watch>,
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if self.body.is_end_stream() && !self.watch.whole() {
            return Poll::Ready(Some(Err("the body came too late".into())));
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if !self.body.is_end_stream() {
            self.watch.unwanted.store(true, Relaxed);
        }
        self.watch.whole();
    }
}

/// An answer's body, whose end is noticed.
pub(super) struct Leaving {
    pub(super) body: Body,
    pub(super) watch: Arc<Watch>,
}

impl HttpBody for Leaving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.watch.answered();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[test]
    fn a_request_goes_from_head_to_body_to_answer_and_each_phase_has_its_own_begin() {
        let ticks = Arc::new(AtomicU64::new(1));
        let watch = Watch::new(Arc::clone(&ticks));
        ticks.store(4, Relaxed);
        assert!(watch.came());
        assert_eq!(watch.phase(), (Phase::Head, 3), "a head that comes in pieces does not begin anew");
        assert!(watch.begin(true));
        ticks.store(6, Relaxed);
        assert!(watch.came());
        assert_eq!(watch.phase(), (Phase::Body, 2));
        assert!(watch.whole());
        assert_eq!(watch.phase(), (Phase::Answer, 0));
        watch.answered();
        ticks.store(9, Relaxed);
        assert_eq!(watch.phase(), (Phase::Idle, 3));
        assert!(watch.came());
        assert_eq!(watch.phase(), (Phase::Head, 0));
    }

    #[test]
    fn what_was_given_up_begins_nothing_and_what_has_gone_on_is_not_given_up() {
        let watch = Watch::new(Arc::default());
        assert!(!watch.end(Phase::Idle), "it is in another phase");
        assert!(watch.end(Phase::Head));
        assert!(!watch.came() && !watch.begin(true) && !watch.whole() && !watch.end(Phase::Head));
        watch.answered();
        assert_eq!(watch.phase().0, Phase::Ended);
        for phase in [Phase::Head, Phase::Body, Phase::Answer, Phase::Idle, Phase::Ended] {
            assert_eq!(Phase::of(word(phase, u64::from(u32::MAX))), phase);
        }
    }

    async fn connection(ticks: &Arc<AtomicU64>) -> (Watched, TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        (Watched::new(stream, Arc::new(Watch::new(Arc::clone(ticks)))), client)
    }

    #[tokio::test]
    async fn who_reads_too_little_keeps_us_waiting_from_the_first_block_and_after_each_piece_anew() {
        let ticks = Arc::new(AtomicU64::new(7));
        let (mut connection, _client) = connection(&ticks).await;
        let enough = 16_384;
        connection.wrote(&Poll::Ready(Ok(enough * 2)));
        assert_eq!(connection.watch.blocked_for(), None, "what goes out at once is no wait");
        connection.wrote(&Poll::Pending);
        ticks.store(10, Relaxed);
        assert_eq!(connection.watch.blocked_for(), Some(3));
        connection.wrote(&Poll::Pending);
        connection.wrote(&Poll::Ready(Ok(enough - 1)));
        assert_eq!(connection.watch.blocked_for(), Some(3), "a byte too little is as good as nothing");
        connection.wrote(&Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())));
        assert_eq!(connection.watch.blocked_for(), Some(3));
        connection.wrote(&Poll::Ready(Ok(1)));
        assert_eq!(connection.watch.blocked_for(), Some(0), "the two together are enough");
        ticks.store(15, Relaxed);
        connection.wrote(&Poll::Ready(Ok(enough - 1)));
        assert_eq!(connection.watch.blocked_for(), Some(5), "what was read before counts no more");
    }

    #[tokio::test]
    async fn who_has_read_everything_is_told_that_there_is_no_more() {
        let (mut connection, mut client) = connection(&Arc::default()).await;
        assert!(connection.is_write_vectored(), "head and body go out together");
        std::future::poll_fn(|cx| Pin::new(&mut connection).poll_shutdown(cx)).await.unwrap();
        let read = tokio::time::timeout(Duration::from_secs(30), client.read(&mut [0; 1])).await;
        assert_eq!(read.expect("the end, though nobody let go of the connection").unwrap(), 0);
        drop(connection);
    }

    #[tokio::test]
    async fn a_wait_ends_when_everything_is_written_and_one_in_the_first_tick_is_seen() {
        let ticks = Arc::new(AtomicU64::new(0));
        let (mut connection, _client) = connection(&ticks).await;
        connection.wrote(&Poll::Pending);
        assert_eq!(connection.watch.blocked_for(), Some(0));
        ticks.store(4, Relaxed);
        assert_eq!(connection.watch.blocked_for(), Some(3));
        std::future::poll_fn(|cx| Pin::new(&mut connection).poll_flush(cx)).await.unwrap();
        assert_eq!(connection.watch.blocked_for(), None);
        connection.wrote(&Poll::Ready(Ok(PROGRESS_BYTES)));
        assert_eq!(connection.watch.blocked_for(), None, "and nothing of it is left");
    }
}
