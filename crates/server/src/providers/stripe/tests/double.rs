//! A Stripe that answers from a script and remembers what it was asked. Plain sockets, so that it can also break off.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What happens to one request.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    Answer {
        status: u16,
        headers: Vec<(&'static str, &'static str)>,
        body: String,
    },
    /// The connection is closed without a byte.
    Drop,
    /// A success whose body breaks off.
    Cut,
    /// No answer while the test lasts.
    Hang,
}

pub(super) fn ok(body: &Value) -> Reply {
    answer(200, &body.to_string())
}

pub(super) fn answer(status: u16, body: &str) -> Reply {
    Reply::Answer { status, headers: vec![("request-id", "req_double")], body: body.to_owned() }
}

pub(super) fn stripe_error(status: u16, kind: &str, code: &str, param: &str, message: &str) -> Reply {
    let error = serde_json::json!({"error": {"type": kind, "code": code, "param": param, "message": message}});
    answer(status, &error.to_string())
}

impl Reply {
    pub(super) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name, value));
        }
        self
    }
}

/// A request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Method and target, as in `GET /v1/customers?limit=100`.
    pub(super) line: String,
    headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

pub(super) struct Double {
    pub(super) base: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Arc<Mutex<VecDeque<Reply>>>,
}

impl Double {
    /// Answers the requests in this order; further ones are dropped.
    pub(super) async fn playing(script: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let script = Arc::new(Mutex::new(script.into_iter().collect::<VecDeque<_>>()));
        let (seen_by_task, script_of_task) = (Arc::clone(&seen), Arc::clone(&script));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let request = async |mut stream: TcpStream| -> Option<(TcpStream, Seen)> {
                    let seen = read_request(&mut stream).await?;
                    Some((stream, seen))
                };
                let Some((mut stream, request)) = request(stream).await else { continue };
                seen_by_task.lock().unwrap().push(request);
                let reply = script_of_task.lock().unwrap().pop_front().unwrap_or(Reply::Drop);
                tokio::spawn(async move { play(&mut stream, reply).await });
            }
        });
        Self { base, seen, script }
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.line).collect()
    }

    /// That the whole script was played, and nothing beyond it.
    pub(super) fn played_out(&self, requests: usize) {
        assert_eq!(self.lines().len(), requests, "{:?}", self.lines());
        assert!(self.script.lock().unwrap().is_empty());
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let mut lines = head.lines();
    let line = lines.next()?.trim_end_matches(" HTTP/1.1").to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length =
        headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
    while bytes.len() < head_end + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(Seen { line, headers, body: String::from_utf8(bytes[head_end + 4..].to_vec()).unwrap() })
}

async fn play(stream: &mut TcpStream, reply: Reply) {
    let text = match reply {
        Reply::Drop => return,
        Reply::Hang => std::future::pending().await,
        Reply::Cut => "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"id\":".to_owned(),
        Reply::Answer { status, headers, body } => {
            let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
        }
    };
    // The other side may have given up already.
    let _ = stream.write_all(text.as_bytes()).await;
}
