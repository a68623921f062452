//! A Stripe that answers at once: it remembers nothing but how often it was asked, and makes every answer from the ids in the question.
//!
//! A customer whose id begins with `cus_p` has one paid subscription, all others have none. The shapes are those of `crates/stripe-sandbox`.
//! It runs in the driver's process and costs the cores a few microseconds a call.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::http1::Connection;
use crate::people::{self, Template};
use crate::shapes;

/// What the server may ask. `Other` is answered 404, and a benchmark that meets it has something to explain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    Account,
    CustomerCreate,
    CustomerRead,
    CustomerList,
    SubscriptionList,
    InvoiceList,
    PaymentRead,
    SessionCreate,
    SessionRead,
    SessionExpire,
    EventList,
    Other,
}

impl Asked {
    const ALL: [Self; 12] = [
        Self::Account,
        Self::CustomerCreate,
        Self::CustomerRead,
        Self::CustomerList,
        Self::SubscriptionList,
        Self::InvoiceList,
        Self::PaymentRead,
        Self::SessionCreate,
        Self::SessionRead,
        Self::SessionExpire,
        Self::EventList,
        Self::Other,
    ];

    /// Whether it makes or changes something.
    pub const fn changes(self) -> bool {
        matches!(self, Self::CustomerCreate | Self::SessionCreate | Self::SessionExpire)
    }

    pub const fn word(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::CustomerCreate => "create customer",
            Self::CustomerRead => "read customer",
            Self::CustomerList => "list customers",
            Self::SubscriptionList => "list subscriptions",
            Self::InvoiceList => "list invoices",
            Self::PaymentRead => "read payment",
            Self::SessionCreate => "create session",
            Self::SessionRead => "read session",
            Self::SessionExpire => "expire session",
            Self::EventList => "list events",
            Self::Other => "something else",
        }
    }
}

/// How often each thing was asked.
pub type Counts = BTreeMap<Asked, u64>;

/// What was asked between two looks at the counters.
pub fn since(before: &Counts, after: &Counts) -> Counts {
    let more = |(asked, count): (&Asked, &u64)| (*asked, count - before.get(asked).copied().unwrap_or(0));
    after.iter().map(more).filter(|(_, count)| *count > 0).collect()
}

struct Inner {
    shapes: shapes::Shapes,
    asked: [AtomicU64; Asked::ALL.len()],
    made: AtomicU64,
}

/// The running stub.
pub struct Stub {
    pub address: SocketAddr,
    inner: Arc<Inner>,
    listening: JoinHandle<()>,
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Stub {
    /// Listens on a free loopback port. `now` is where the periods that are paid begin, in Unix seconds.
    ///
    /// # Errors
    /// Where no port can be bound.
    pub async fn start(now: i64) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let inner = Arc::new(Inner {
            shapes: shapes::Shapes::new(now),
            asked: std::array::from_fn(|_| AtomicU64::new(0)),
            made: AtomicU64::new(0),
        });
        let listening = tokio::spawn(listen(listener, Arc::clone(&inner)));
        Ok(Self { address, inner, listening })
    }

    pub fn counts(&self) -> Counts {
        let count = |asked: &Asked| (*asked, self.inner.asked[*asked as usize].load(Ordering::Relaxed));
        Asked::ALL.iter().map(count).collect()
    }
}

async fn listen(listener: TcpListener, inner: Arc<Inner>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, Arc::clone(&inner)));
    }
}

async fn serve(stream: TcpStream, inner: Arc<Inner>) {
    let Ok(mut connection) = Connection::over(stream) else { return };
    let (mut body, mut answer) = (String::new(), Vec::new());
    // A connection that the server has closed or that speaks something else ends here; there is nobody to tell.
    while let Ok(Some(message)) = connection.read().await {
        body.clear();
        answer.clear();
        let status = inner.answer(message.first_line, &mut body);
        people::http_answer(status, &body, &mut answer);
        if connection.send(&answer).await.is_err() {
            return;
        }
    }
}

impl Inner {
    fn answer(&self, first_line: &str, body: &mut String) -> u16 {
        let mut words = first_line.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let asked = asked(method, path);
        self.asked[asked as usize].fetch_add(1, Ordering::Relaxed);
        self.write(asked, path, query, body);
        if asked == Asked::Other { 404 } else { 200 }
    }

    fn write(&self, asked: Asked, path: &str, query: &str, body: &mut String) {
        let shapes = &self.shapes;
        let fill = |template: &Template, id: &str, body: &mut String| template.render(last_digits(id), body);
        match asked {
            Asked::Account => body.push_str(shapes::ACCOUNT),
            Asked::CustomerCreate => fill(&shapes.idle_customer, &self.next_tail(), body),
            Asked::CustomerRead if path.contains("/cus_p") => fill(&shapes.paying_customer, path, body),
            Asked::CustomerRead => fill(&shapes.idle_customer, path, body),
            Asked::SubscriptionList => match query_value(query, "customer") {
                Some(customer) if customer.starts_with("cus_p") => fill(&shapes.subscriptions, customer, body),
                _ => body.push_str(shapes::NOTHING),
            },
            Asked::CustomerList | Asked::InvoiceList | Asked::EventList => body.push_str(shapes::NOTHING),
            Asked::PaymentRead => fill(&shapes.payment, path, body),
            Asked::SessionCreate => fill(&shapes.open_session, &self.next_tail(), body),
            Asked::SessionRead => fill(&shapes.open_session, path, body),
            Asked::SessionExpire => fill(&shapes.expired_session, path.trim_end_matches("/expire"), body),
            Asked::Other => body.push_str(shapes::UNKNOWN),
        }
    }

    /// The tail of something new. It begins with a nine, which no seeded customer's does.
    fn next_tail(&self) -> String {
        format!("9{:015}", self.made.fetch_add(1, Ordering::Relaxed))
    }
}

fn asked(method: &str, path: &str) -> Asked {
    let path = path.strip_prefix("/v1/").unwrap_or_default();
    match (method, path.split_once('/')) {
        ("GET", None) => match path {
            "account" => Asked::Account,
            "customers" => Asked::CustomerList,
            "subscriptions" => Asked::SubscriptionList,
            "invoices" => Asked::InvoiceList,
            "events" => Asked::EventList,
            _ => Asked::Other,
        },
        ("GET", Some(("customers", _))) => Asked::CustomerRead,
        ("GET", Some(("payment_intents", _))) => Asked::PaymentRead,
        ("GET", Some(("checkout", rest))) if rest.starts_with("sessions/") => Asked::SessionRead,
        ("POST", None) if path == "customers" => Asked::CustomerCreate,
        ("POST", Some(("checkout", "sessions"))) => Asked::SessionCreate,
        ("POST", Some(("checkout", rest))) if rest.ends_with("/expire") => Asked::SessionExpire,
        _ => Asked::Other,
    }
}

fn query_value<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.split_once('=').filter(|(found, _)| *found == name).map(|(_, value)| value))
}

/// The tail that an id ends with.
fn last_digits(id: &str) -> &str {
    id.get(id.len().saturating_sub(people::TAIL_DIGITS)..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_of_the_server_is_known_by_its_path() {
        for (method, path, expected) in [
            ("GET", "/v1/subscriptions", Asked::SubscriptionList),
            ("GET", "/v1/customers/cus_p1", Asked::CustomerRead),
            ("POST", "/v1/customers", Asked::CustomerCreate),
            ("GET", "/v1/payment_intents/pi_1", Asked::PaymentRead),
            ("POST", "/v1/checkout/sessions", Asked::SessionCreate),
            ("GET", "/v1/checkout/sessions/cs_1", Asked::SessionRead),
            ("POST", "/v1/checkout/sessions/cs_1/expire", Asked::SessionExpire),
            ("GET", "/v1/charges/ch_1", Asked::Other),
            ("DELETE", "/v1/customers/cus_1", Asked::Other),
        ] {
            assert_eq!(asked(method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn what_was_asked_before_is_not_counted_again() {
        let before = Counts::from([(Asked::Account, 2), (Asked::SessionRead, 1)]);
        let after = Counts::from([(Asked::Account, 2), (Asked::SessionRead, 4)]);
        assert_eq!(since(&before, &after), Counts::from([(Asked::SessionRead, 3)]));
    }

    #[tokio::test]
    async fn a_paying_customer_has_a_subscription_and_any_other_has_none() {
        let stub = Stub::start(1_800_000_000).await.unwrap();
        let mut connection = Connection::open(stub.address).await.unwrap();
        let mut request = Vec::new();
        let tail = people::tail(7);
        for (customer, expected) in [(people::paying(&tail), 1), (people::idle(&tail), 0)] {
            request.clear();
            let path = format!("/v1/subscriptions?customer={customer}&status=all");
            people::http_request("GET", &path, &[], "", &mut request);
            let answer = connection.call(&request).await.unwrap();
            let body: serde_json::Value = serde_json::from_slice(answer.body).unwrap();
            assert_eq!(body["data"].as_array().unwrap().len(), expected);
            if expected == 1 {
                assert_eq!(body["data"][0]["metadata"]["customer_id"], people::customer_id(&tail));
            }
        }
        assert_eq!(stub.counts()[&Asked::SubscriptionList], 2);
    }
}
