//! Just enough HTTP/1.1 for both ends of a benchmark: messages with a `content-length` over connections that stay open.
//!
//! The driver and the Stripe stub share the two cores with the server that is measured, so what they cost is kept small. Anything that
//! they do not understand is an error and not a guess.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Nothing that is sent here is larger.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

const READ_BYTES: usize = 16 * 1024;

/// One connection, of a client or of a server.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// How much of the buffer the message before has used.
    used: usize,
}

/// Where the parts of a message lie in the buffer.
#[derive(Clone, Copy, Debug)]
struct Frame {
    head_end: usize,
    body_end: usize,
}

/// A message that was read: its first line, and its body.
pub struct Message<'a> {
    pub first_line: &'a str,
    pub body: &'a [u8],
}

impl Message<'_> {
    /// The status of an answer; 0 where the first line is none.
    pub fn status(&self) -> u16 {
        self.first_line.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
    }
}

impl Connection {
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        Self::over(stream)
    }

    pub fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(READ_BYTES), used: 0 })
    }

    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The next message; `None` where the other side has closed between two.
    pub async fn read(&mut self) -> io::Result<Option<Message<'_>>> {
        self.buffer.drain(..self.used);
        self.used = 0;
        let frame = loop {
            if let Some(frame) = frame(&self.buffer)?
                && self.buffer.len() >= frame.body_end
            {
                break frame;
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(invalid("it ended in the middle")) };
            }
        };
        self.used = frame.body_end;
        let line_end = self.buffer.iter().position(|byte| *byte == b'\r').unwrap_or(0);
        let first_line =
            std::str::from_utf8(&self.buffer[..line_end]).map_err(|_| invalid("a line that is no text"))?;
        Ok(Some(Message { first_line, body: &self.buffer[frame.head_end..frame.body_end] }))
    }

    /// Sends a request and reads its answer.
    pub async fn call(&mut self, request: &[u8]) -> io::Result<Message<'_>> {
        self.send(request).await?;
        self.read().await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("an HTTP message that a benchmark does not read: {why}"))
}

/// Where the first message of the buffer ends, once its head is complete.
fn frame(buffer: &[u8]) -> io::Result<Option<Frame>> {
    let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&buffer[..end]).map_err(|_| invalid("a head that is no text"))?;
    let mut length = 0_usize;
    for line in head.split("\r\n").skip(1) {
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(|_| invalid("a length that is no number"))?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(invalid("it comes in chunks"));
        }
    }
    if length > MESSAGE_BYTES_MAX {
        return Err(invalid("it is too long"));
    }
    Ok(Some(Frame { head_end: end + 4, body_end: end + 4 + length }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_where_its_length_says() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 404";
        let found = frame(bytes).unwrap().unwrap();
        assert_eq!(&bytes[found.head_end..found.body_end], b"ok");
        assert!(frame(b"HTTP/1.1 200 OK\r\nContent-").unwrap().is_none());
        assert!(frame(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(frame(b"HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\n").is_err());
    }
}
