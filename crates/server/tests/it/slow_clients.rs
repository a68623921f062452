//! Clients that send slowly, read slowly, or hold many connections: they are hung up on, and others do not notice. The limits
//! are short here; how long they are in a running service is looked at by `scripts/hostile slowhttptest`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Bytes, HttpBody as _};
use axum::extract::{ConnectInfo, Request};
use axum::routing::{any, get, post};
use counterfoil::config::{Config, Environment};
use counterfoil::web::listener::{Limits, bind, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::counts::Counts;

/// How long a test waits for what has to happen. Far more than is needed: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// A limit that is reached in these tests.
const SHORT: Duration = Duration::from_millis(300);

/// More than the system keeps for a connection on both of its sides.
const LARGE_BYTES: usize = 48 * 1024 * 1024;

const PING: &[u8] = b"GET /ping HTTP/1.1\r\nhost: x\r\n\r\n";

/// The tasks of a listener without connections: one takes in, one looks through.
const OWN_TASKS: usize = 2;

struct Server {
    address: SocketAddr,
    /// Lets `/held` answer.
    release: Arc<Notify>,
    /// Told when `/held` has been asked.
    asked: Arc<Notify>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Limits that nobody reaches by chance.
fn lenient() -> Limits {
    Limits { head: PATIENCE, body: PATIENCE, read: PATIENCE, idle: PATIENCE, ..Limits::default() }
}

/// What a handler knows of a body before it reads it.
async fn length(request: Request) -> String {
    let body = request.body();
    format!("{:?} {}", body.size_hint().exact(), if body.is_end_stream() { "empty" } else { "to come" })
}

impl Server {
    async fn start(limits: Limits) -> Self {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let (release, asked) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (wait, tell) = (Arc::clone(&release), Arc::clone(&asked));
        let held = move || async move {
            tell.notify_one();
            wait.notified().await;
            "held"
        };
        let router = Router::new()
            .route("/ping", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() }))
            .route("/echo", post(|body: Bytes| async move { body }))
            .route("/large", get(|| async { Bytes::from(vec![b'x'; LARGE_BYTES]) }))
            .route("/length", any(length))
            .route("/held", get(held));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        serve(listener, router, limits, &tasks, &stop);
        Self { address, release, asked, tasks, stop }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// From another of this machine's own addresses.
    async fn connect_from(&self, address: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    /// Waits until so many connections are open.
    async fn has_connections(&self, wanted: usize) {
        let waiting = async {
            while self.tasks.len() != OWN_TASKS + wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, waiting).await.is_ok();
        assert!(in_time, "{} connections and not {wanted}", self.tasks.len() - OWN_TASKS);
    }

    async fn stopped(&self) {
        self.stop.cancel();
        self.tasks.close();
        assert!(tokio::time::timeout(PATIENCE, self.tasks.wait()).await.is_ok(), "it stops");
    }
}

/// One answer on a connection that stays open; `None` where it was closed instead.
async fn ask(stream: &mut TcpStream, request: &[u8]) -> Option<String> {
    stream.write_all(request).await.ok()?;
    read_answer(stream).await
}

async fn read_answer(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let reading = async {
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
                if body.len() >= length.parse::<usize>().unwrap() {
                    return Some(text);
                }
            }
            if !stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
                return None;
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("an answer, or the end of the connection")
}

/// Sends the beginning, and then a byte every now and then until the server hangs up; for how long it let us.
async fn drip(stream: &mut TcpStream, beginning: &str) -> Duration {
    let started = Instant::now();
    stream.write_all(beginning.as_bytes()).await.unwrap();
    let mut nothing = [0; 1];
    let dripping = async {
        loop {
            tokio::select! {
                read = stream.read(&mut nothing) => return read.unwrap_or(0),
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
            if stream.write_all(b"a").await.is_err() {
                return 0;
            }
        }
    };
    let read = tokio::time::timeout(PATIENCE, dripping).await.expect("the server hangs up");
    assert_eq!(read, 0, "it is no request, and gets no answer");
    started.elapsed()
}

/// Drips while somebody else asks one question after the other on one connection.
async fn drip_beside_others(server: &Server, beginning: &str) {
    let (mut slow, mut other) = (server.connect().await, server.connect().await);
    let others = async {
        loop {
            let answer = ask(&mut other, PING).await.expect("others are served");
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        }
    };
    let lasted = tokio::select! {
        lasted = drip(&mut slow, beginning) => lasted,
        () = others => unreachable!("it asks without end"),
    };
    assert!(lasted >= SHORT, "it was given its time: {lasted:?}");
    assert!(lasted < SHORT + Duration::from_secs(10), "and not more: {lasted:?}");
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_is_not_waited_for() {
    let (server, counts) = (Server::start(Limits { head: SHORT, ..lenient() }).await, Counts::begin());
    drip_beside_others(&server, "GET /ping HTTP/1.1\r\nx-slow: ").await;
    drip_beside_others(&server, "").await;
    assert!(counts.of("connections_ended_total{waited_for=\"head\"}") >= 2);
    server.stopped().await;
}

#[tokio::test]
async fn the_head_of_a_later_request_has_the_same_time() {
    let server = Server::start(Limits { head: SHORT, ..lenient() }).await;
    let mut stream = server.connect().await;
    assert!(ask(&mut stream, PING).await.is_some());
    // Between requests it is the limit for idle connections that counts.
    tokio::time::sleep(SHORT * 2).await;
    assert!(ask(&mut stream, PING).await.is_some(), "an idle connection is kept");
    assert!(drip(&mut stream, "GET /ping HTTP/1.1\r\nx-slow: ").await >= SHORT);
    server.stopped().await;
}

#[tokio::test]
async fn a_body_that_comes_byte_by_byte_is_not_waited_for() {
    let (server, counts) = (Server::start(Limits { body: SHORT, ..lenient() }).await, Counts::begin());
    drip_beside_others(&server, "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n").await;
    assert!(counts.of("connections_ended_total{waited_for=\"body\"}") >= 1);
    let mut stream = server.connect().await;
    let head = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n";
    stream.write_all(head).await.unwrap();
    tokio::time::sleep(SHORT / 4).await;
    let answer = ask(&mut stream, b"body").await.expect("one that comes in time is answered");
    assert!(answer.ends_with("\r\n\r\nbody"), "{answer}");
    tokio::time::sleep(SHORT * 2).await;
    assert!(ask(&mut stream, PING).await.is_some(), "the body's limit ended with the body");
    server.stopped().await;
}

#[tokio::test]
async fn a_handler_knows_how_long_a_body_is_before_it_reads_it() {
    let server = Server::start(lenient()).await;
    for (rest, known) in [
        ("\r\n", "Some(0) empty"),
        ("content-length: 5\r\n\r\nwhole", "Some(5) to come"),
        ("transfer-encoding: chunked\r\n\r\n", "None to come"),
    ] {
        let request = format!("POST /length HTTP/1.1\r\nhost: x\r\n{rest}");
        let answer = ask(&mut server.connect().await, request.as_bytes()).await.expect("an answer");
        assert!(answer.ends_with(&format!("\r\n\r\n{known}")), "{rest:?}: {answer}");
    }
    server.stopped().await;
}

#[tokio::test]
async fn an_answer_before_the_whole_body_says_that_the_connection_ends() {
    let server = Server::start(lenient()).await;
    let mut stream = server.connect().await;
    let whole =
        ask(&mut stream, b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nwhole").await.expect("an answer");
    assert!(whole.ends_with("whole") && !whole.contains("connection: close"), "{whole}");
    let refused = ask(&mut stream, b"POST /ping HTTP/1.1\r\nhost: x\r\ncontent-length: 900000\r\n\r\nbegun").await;
    let refused = refused.expect("nobody waits for what nobody wants");
    assert!(refused.starts_with("HTTP/1.1 405 ") && refused.contains("connection: close\r\n"), "{refused}");
    let ended = tokio::time::timeout(PATIENCE, stream.read(&mut [0; 1])).await.expect("it is closed");
    assert_eq!(ended.unwrap_or(0), 0, "and is, so that nobody sends another request into it");
    server.stopped().await;
}

#[tokio::test]
async fn who_leaves_an_answer_unread_is_hung_up_on() {
    let (server, counts) = (Server::start(Limits { read: SHORT, ..lenient() }).await, Counts::begin());
    let mut stream = server.connect().await;
    stream.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    server.has_connections(1).await;
    server.has_connections(0).await;
    assert_eq!(counts.of("connections_ended_total{waited_for=\"reader\"}"), 1);
    let mut bytes = Vec::new();
    let _broken_off = stream.read_to_end(&mut bytes).await;
    assert!(bytes.len() < LARGE_BYTES, "it was not given the whole");
    server.stopped().await;
}

#[tokio::test]
async fn who_reads_slowly_and_steadily_gets_the_whole_answer() {
    let server = Server::start(Limits { read: SHORT, ..lenient() }).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let (started, mut total, mut buffer) = (Instant::now(), 0, vec![0; 512 * 1024]);
    loop {
        let read = stream.read(&mut buffer).await.unwrap();
        if read == 0 {
            break;
        }
        total += read;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(total > LARGE_BYTES, "{total}");
    assert!(started.elapsed() > SHORT, "it took longer than a silent client may");
    server.stopped().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_the_end() {
    let server = Server::start(Limits { idle: SHORT, ..lenient() }).await;
    let (mut stream, started) = (server.connect().await, Instant::now());
    assert!(ask(&mut stream, PING).await.is_some());
    assert_eq!(tokio::time::timeout(PATIENCE, stream.read(&mut [0; 1])).await.unwrap().unwrap(), 0);
    assert!(started.elapsed() >= SHORT);
    server.stopped().await;
}

#[tokio::test]
async fn a_client_has_so_many_connections_and_others_have_theirs() {
    let server = Server::start(Limits { connections_of_one: 3, ..lenient() }).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = server.connect().await;
        assert!(ask(&mut stream, PING).await.is_some());
        held.push(stream);
    }
    let counts = Counts::begin();
    for _ in 0..50 {
        assert_eq!(ask(&mut server.connect().await, PING).await, None, "one more is closed at once");
    }
    assert_eq!(counts.of("connections_refused_total"), 50);
    let mut other = server.connect_from("127.0.0.2").await;
    assert!(
        ask(&mut other, PING).await.unwrap().ends_with("127.0.0.2"),
        "others are served, and known by their address"
    );
    drop(held.pop());
    server.has_connections(3).await;
    assert!(ask(&mut server.connect().await, PING).await.is_some(), "who closes one may open another");
    server.stopped().await;
}

#[tokio::test]
async fn a_trusted_proxy_brings_as_many_clients_as_it_has() {
    let environment = Environment::from_iter([("COUNTERFOIL_TRUSTED_PROXIES", "127.0.0.0/30")]);
    let proxies = Config::parse(None, &environment).unwrap().trusted_proxies;
    let server = Server::start(Limits { connections_of_one: 1, proxies, ..lenient() }).await;
    let mut held = Vec::new();
    for _ in 0..10 {
        let mut stream = server.connect().await;
        assert!(ask(&mut stream, PING).await.is_some());
        held.push(stream);
    }
    let mut stranger = server.connect_from("127.0.0.9").await;
    assert!(ask(&mut stranger, PING).await.is_some());
    assert_eq!(ask(&mut server.connect_from("127.0.0.9").await, PING).await, None);
    server.stopped().await;
}

#[tokio::test]
async fn where_there_are_as_many_as_there_may_be_a_new_one_waits_for_its_turn() {
    let server = Server::start(Limits { connections: 2, ..lenient() }).await;
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    assert!(ask(&mut first, PING).await.is_some() && ask(&mut second, PING).await.is_some());
    let mut third = server.connect().await;
    third.write_all(PING).await.unwrap();
    let unanswered = tokio::time::timeout(Duration::from_millis(100), third.read(&mut [0; 1])).await;
    assert!(unanswered.is_err(), "it waits, and is not refused");
    drop(first);
    assert!(read_answer(&mut third).await.is_some(), "it is its turn");
    server.stopped().await;
}

#[tokio::test]
async fn a_head_has_its_limits() {
    let server = Server::start(lenient()).await;
    let with = |headers: String| format!("GET /ping HTTP/1.1\r\nhost: x\r\n{headers}\r\n").into_bytes();
    let many = |number: usize| with((0..number).map(|number| format!("x-{number}: y\r\n")).collect());
    let long = |length: usize| with(format!("x-a: {}\r\n", "b".repeat(length)));
    let table = [
        (many(90), "200"),
        (many(101), "431"),
        (long(60 * 1024), "200"),
        (long(200 * 1024), "431"),
        (long(1 << 20), "431"),
    ];
    for (request, status) in table {
        let mut stream = server.connect().await;
        // It may be answered and closed before everything is sent.
        let _broken_off = stream.write_all(&request).await;
        let answer = read_answer(&mut stream).await.expect("an answer");
        assert_eq!(answer.split(' ').nth(1), Some(status), "{} bytes: {answer}", request.len());
    }
    server.stopped().await;
}

#[tokio::test]
async fn at_the_end_what_was_begun_is_finished_and_nobody_else_is_waited_for() {
    let server = Server::start(lenient()).await;
    let mut held = server.connect().await;
    held.write_all(b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    server.asked.notified().await;
    let mut idle = server.connect().await;
    assert!(ask(&mut idle, PING).await.is_some());
    let mut fresh = server.connect().await;
    let mut slow = server.connect().await;
    slow.write_all(b"GET /ping HTTP/1.1\r\nx-slow: ").await.unwrap();
    server.has_connections(4).await;

    server.stop.cancel();
    server.tasks.close();
    for stream in [&mut idle, &mut fresh, &mut slow] {
        let ended = tokio::time::timeout(PATIENCE, stream.read(&mut [0; 1])).await.expect("it is closed");
        assert!(!ended.is_ok_and(|read| read > 0), "and not answered");
    }
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody new is taken in");
    server.release.notify_one();
    let answer = read_answer(&mut held).await.expect("what was begun is answered");
    assert!(answer.contains("connection: close\r\n") && answer.ends_with("held"), "{answer}");
    server.stopped().await;
}
