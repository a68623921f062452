//! An answer that breaks off in the middle, as when the network fails after the work was done.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{HeaderValue, Response, header};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::ReaderStream;

struct BreaksOff {
    start: Option<Vec<u8>>,
}

impl AsyncRead for BreaksOff {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(start) = self.start.take() else {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::ConnectionAborted)));
        };
        buffer.put_slice(&start[..start.len().min(buffer.remaining())]);
        Poll::Ready(Ok(()))
    }
}

/// Promises the whole length and closes the connection after a part.
pub(super) fn off(mut response: Response<Body>, body: &str) -> Response<Body> {
    let start = body.as_bytes()[..body.len() / 2].to_vec();
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    *response.body_mut() = Body::from_stream(ReaderStream::new(BreaksOff { start: Some(start) }));
    response
}
