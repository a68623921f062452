//! Takes connections in and serves HTTP/1.1 on them, within limits that no client can stretch: how long a head, a body and the
//! reading of an answer may take, how many connections one client has and how many there are in all.
//!
//! Who is too slow is hung up on; everybody else does not notice. Over the limit of one client a connection is closed at once.
//! Over the limit of all, new ones wait in the system's queue until others end, which they do within the other limits.

mod registry;
mod watch;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, Response, header};
use counterfoil_core::probe;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use self::registry::{Place, Registry, Wait};
use self::watch::{Arriving, Leaving, Phase, Watch, Watched};
use crate::app::rate_limits::Network;
use crate::app::settings::TrustedProxies;

/// How much is read of a request's head, its method, address and headers, until it is refused; one that comes in a single piece may
/// be a little larger. More than a hundred headers are refused as well.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How many connections may wait until they are taken in; the system may allow fewer. With the usual 128, whoever opens many at once
/// makes everybody else wait for seconds, because what does not fit in is tried again only after one, three and seven of them.
const WAITING_MAX: u32 = 4_096;

/// How long nothing is taken in after the system had no means for another connection.
const PAUSE: Duration = Duration::from_millis(200);

/// What clients may do.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How long the head of a request may take, from the connection's begin or the head's first byte on.
    pub head: Duration,
    /// How long its body may take after that.
    pub body: Duration,
    /// How long a client may leave an answer unread. Whoever reads a little is given as long again.
    pub read: Duration,
    /// How long a connection may lie idle between two requests. Longer than proxies keep theirs, so that they hang up and not we.
    pub idle: Duration,
    /// All connections.
    pub connections: usize,
    /// Those of one client: an IPv4 address, or an IPv6 network of 64 bits.
    pub connections_of_one: usize,
    /// Whose connections are those of many clients, and count for all of them only together.
    pub proxies: TrustedProxies,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            body: Duration::from_secs(30),
            read: Duration::from_secs(30),
            idle: Duration::from_secs(75),
            connections: 10_000,
            connections_of_one: 1_000,
            proxies: TrustedProxies::default(),
        }
    }
}

impl Limits {
    fn shortest(&self) -> Duration {
        self.head.min(self.body).min(self.read).min(self.idle)
    }

    fn of(&self, wait: Wait) -> Option<Duration> {
        match wait {
            Wait::For(Phase::Head) => Some(self.head),
            Wait::For(Phase::Body) => Some(self.body),
            Wait::For(Phase::Idle) => Some(self.idle),
            Wait::ForReader => Some(self.read),
            // How long an answer may take is the business of whoever gives it.
            Wait::For(Phase::Answer | Phase::Ended) => None,
        }
    }
}

/// Listens at an address.
///
/// # Errors
/// That of the system, such as that another program has the address.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart does not wait for the connections of the run before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(WAITING_MAX)
}

/// Serves until `stop`, then takes nothing in any more and finishes what was begun. Requests know the address of their peer.
pub fn serve(listener: TcpListener, router: Router, limits: Limits, tasks: &TaskTracker, stop: &CancellationToken) {
    let registry = Arc::new(Registry::new(limits));
    tasks.spawn(Arc::clone(&registry).look_through(stop.clone()));
    // So that it is put together once and not for each request.
    let router = router.with_state(());
    let (tracker, stop) = (tasks.clone(), stop.clone());
    let taking_in = async move { take_in(&listener, &router, &registry, &tracker).await };
    tasks.spawn(async move { stop.run_until_cancelled(taking_in).await });
}

async fn take_in(listener: &TcpListener, router: &Router, registry: &Arc<Registry>, tasks: &TaskTracker) {
    let all = Arc::new(Semaphore::new(registry.limits.connections));
    loop {
        let Ok(permit) = Arc::clone(&all).acquire_owned().await else { return };
        let (stream, peer) = accept(listener).await;
        let client = (!registry.limits.proxies.contains(peer.ip())).then(|| Network::of(peer.ip()));
        let watch = registry.watch();
        let Some(place) = registry.place(client, &watch) else {
            probe!("F69");
            metrics::counter!("counterfoil_connections_refused_total").increment(1);
            continue;
        };
        // Answers are written as a whole, so nothing is gained by waiting for more.
        let _no_matter = stream.set_nodelay(true);
        let connection = Connection { router: router.clone(), peer, registry: Arc::clone(registry), watch };
        let number = place.number();
        registry.note(number, tasks.spawn(connection.run(stream, place, permit)).abort_handle());
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_the_client(&error) => {}
            Err(error) => {
                tracing::error!(%error, "no connection can be taken in; trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

struct Connection {
    router: Router,
    peer: SocketAddr,
    registry: Arc<Registry>,
    watch: Arc<Watch>,
}

impl Connection {
    async fn run(self, stream: TcpStream, _place: Place, _permit: OwnedSemaphorePermit) {
        let io = TokioIo::new(Watched::new(stream, Arc::clone(&self.watch)));
        let mut http = http1::Builder::new();
        http.max_buf_size(HEAD_BYTES_MAX);
        let served = http.serve_connection(io, service_fn(|request| self.answer(request))).await;
        if let Err(error) = served {
            tracing::trace!(%error, "a connection broke off");
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> io::Result<Response<Leaving>> {
        if !self.watch.begin(!request.body().is_end_stream()) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let mut request = request.map(|body| Body::new(Arriving { body, watch: Arc::clone(&self.watch) }));
        request.extensions_mut().insert(ConnectInfo(self.peer));
        let Ok(mut response) = self.router.clone().call(request).await;
        if self.registry.stopping.load(Relaxed) || self.watch.ends_with_this_answer() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response.map(|body| Leaving { body, watch: Arc::clone(&self.watch) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_looked_through_as_often_as_the_shortest_patience_asks() {
        let limits = Limits { read: Duration::from_secs(3), ..Limits::default() };
        assert_eq!(limits.shortest(), Duration::from_secs(3));
        assert_eq!(Limits { idle: Duration::from_secs(2), ..limits }.shortest(), Duration::from_secs(2));
    }

    #[test]
    fn a_client_that_hung_up_in_the_queue_is_no_fault_of_the_system() {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, OutOfMemory, PermissionDenied};
        for kind in [ConnectionAborted, ConnectionRefused, ConnectionReset] {
            assert!(is_of_the_client(&kind.into()), "{kind}");
        }
        for kind in [OutOfMemory, PermissionDenied] {
            assert!(!is_of_the_client(&kind.into()), "{kind}");
        }
        // Too many open files.
        assert!(!is_of_the_client(&io::Error::from_raw_os_error(24)));
    }
}
