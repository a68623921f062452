//! What customers and their products ask, and which answer counts.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::load::Requests;
use crate::people;
use crate::rows::{Maker, PASSWORD, PUBLIC_URL};

fn holds(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Requests that are made beforehand, each with a text that its answer has to hold, and sent again and again in turn.
pub struct Prepared {
    each: Vec<(Vec<u8>, String)>,
    status: u16,
}

impl Requests for Prepared {
    fn write(&self, index: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.at(index).0);
    }

    fn accepts(&self, index: u64, status: u16, body: &[u8]) -> bool {
        status == self.status && holds(body, &self.at(index).1)
    }
}

impl Prepared {
    fn at(&self, index: u64) -> &(Vec<u8>, String) {
        &self.each[usize::try_from(index).unwrap_or(usize::MAX) % self.each.len()]
    }

    /// The same request for each of these customers.
    fn of_each(numbers: impl Iterator<Item = u64>, path: &str, of: impl Fn(u64) -> (String, String)) -> Self {
        let prepare = |number| {
            let ((body, expected), mut request) = (of(number), Vec::new());
            people::http_request("POST", path, &[], &body, &mut request);
            (request, expected)
        };
        Self { each: numbers.map(prepare).collect(), status: 200 }
    }

    /// A product asks for the newest licence.
    pub fn refresh(maker: &Maker<'_>, numbers: impl Iterator<Item = u64>) -> Self {
        Self::of_each(numbers, "/api/licenses/refresh", |number| {
            let (token, tail) = (maker.token(number), people::tail(number));
            (format!(r#"{{"token":"{token}"}}"#), format!(r#""license_id":"lic_{tail}{tail}""#))
        })
    }

    /// A product asks what a licence is worth.
    pub fn validate(maker: &Maker<'_>, numbers: impl Iterator<Item = u64>) -> Self {
        Self::of_each(numbers, "/api/licenses/validate", |number| {
            (format!(r#"{{"token":"{}"}}"#, maker.token(number)), r#""valid":true"#.to_owned())
        })
    }

    /// A customer logs in.
    pub fn login(numbers: impl Iterator<Item = u64>) -> Self {
        Self::of_each(numbers, "/api/customers/login", |number| {
            let tail = people::tail(number);
            let (email, customer) = (people::email(&tail), people::customer_id(&tail));
            (format!(r#"{{"email":"{email}","password":"{PASSWORD}"}}"#), customer)
        })
    }

    /// Somebody fetches the keys.
    pub fn key_set(key_id: &str) -> Self {
        let mut request = Vec::new();
        people::http_request("GET", "/.well-known/jwks.json", &[], "", &mut request);
        Self { each: vec![(request, key_id.to_owned())], status: 200 }
    }

    /// The size of the first request's body and head together.
    pub fn request_bytes(&self) -> usize {
        self.each[0].0.len()
    }
}

/// Visitors who sign up, each once.
pub struct SignUps {
    /// Tells the visitors of one run from those of another on the same database.
    pub series: u64,
}

impl SignUps {
    fn email(&self, index: u64) -> String {
        format!("visitor{}.{index}@bench.example", self.series)
    }
}

impl Requests for SignUps {
    fn write(&self, index: u64, out: &mut Vec<u8>) {
        let body =
            format!(r#"{{"email":"{}","password":"{PASSWORD}","company_name":"Bench Corp"}}"#, self.email(index));
        people::http_request("POST", "/api/customers/signup", &[], &body, out);
    }

    fn accepts(&self, index: u64, status: u16, body: &[u8]) -> bool {
        status == 201 && holds(body, &self.email(index)) && holds(body, r#""token":"ey"#)
    }
}

/// Customers who start to check out, each once.
pub struct Checkouts;

impl Requests for Checkouts {
    fn write(&self, index: u64, out: &mut Vec<u8>) {
        let customer = people::customer_id(&people::tail(index));
        let body = format!(
            r#"{{"customer_id":"{customer}","plan":"professional","interval":"month","success_url":"{PUBLIC_URL}/welcome","cancel_url":"{PUBLIC_URL}/pricing"}}"#
        );
        people::http_request("POST", "/api/subscriptions/checkout", &[], &body, out);
    }

    fn accepts(&self, _index: u64, status: u16, body: &[u8]) -> bool {
        status == 200 && holds(body, "https://checkout.stripe.com/c/pay/cs_test_")
    }
}

/// Several kinds of requests in a fixed proportion, in an order that mixes them.
pub struct Mixed {
    kinds: Vec<(u64, Box<dyn Requests>)>,
    /// How many requests of each kind got their answer.
    good: Vec<AtomicU64>,
    /// For each place of a round: which kind, and the how-manieth of it.
    round: Vec<(usize, u64)>,
}

impl Mixed {
    /// `kinds` are shares of a round and what is sent. A round is as long as all shares together.
    pub fn new(kinds: Vec<(u64, Box<dyn Requests>)>) -> Self {
        let total: u64 = kinds.iter().map(|(share, _)| share).sum();
        let mut sent = vec![0_u64; kinds.len()];
        let mut round = Vec::new();
        for place in 1..=total {
            // The kind that is furthest behind its share comes next.
            let behind = |kind: &usize| {
                i128::from(kinds[*kind].0) * i128::from(place) - i128::from(sent[*kind]) * i128::from(total)
            };
            let next = (0..kinds.len()).max_by_key(behind).unwrap_or(0);
            round.push((next, sent[next]));
            sent[next] += 1;
        }
        let good = kinds.iter().map(|_| AtomicU64::new(0)).collect();
        Self { kinds, good, round }
    }

    /// How many requests of this kind were answered as they should be.
    pub fn good(&self, kind: usize) -> u64 {
        self.good[kind].load(Ordering::Relaxed)
    }

    fn place(&self, index: u64) -> (usize, u64) {
        let length = self.round.len() as u64;
        let (kind, nth) = self.round[usize::try_from(index % length).unwrap_or(0)];
        (kind, index / length * self.kinds[kind].0 + nth)
    }
}

impl Requests for Mixed {
    fn write(&self, index: u64, out: &mut Vec<u8>) {
        let (kind, own) = self.place(index);
        self.kinds[kind].1.write(own, out);
    }

    fn accepts(&self, index: u64, status: u16, body: &[u8]) -> bool {
        let (kind, own) = self.place(index);
        let good = self.kinds[kind].1.accepts(own, status, body);
        self.good[kind].fetch_add(u64::from(good), Ordering::Relaxed);
        good
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    struct Numbered(char);

    impl Requests for Numbered {
        fn write(&self, index: u64, out: &mut Vec<u8>) {
            out.extend_from_slice(format!("{}{index}", self.0).as_bytes());
        }

        fn accepts(&self, _index: u64, status: u16, _body: &[u8]) -> bool {
            status == 200
        }
    }

    #[test]
    fn a_mixture_keeps_its_shares_and_repeats_nobody() {
        let mixed = Mixed::new(vec![(3, Box::new(Numbered('a'))), (1, Box::new(Numbered('b')))]);
        let written = |index| {
            let mut out = Vec::new();
            mixed.write(index, &mut out);
            String::from_utf8(out).unwrap()
        };
        let sent: BTreeSet<String> = (0..400).map(written).collect();
        assert_eq!(sent.len(), 400, "each request is another one");
        assert_eq!(sent.iter().filter(|text| text.starts_with('a')).count(), 300);
        let round: BTreeSet<String> = (4..8).map(written).collect();
        assert_eq!(round, BTreeSet::from(["a3", "a4", "a5", "b1"].map(str::to_owned)));
        assert!(mixed.accepts(0, 200, b"") && !mixed.accepts(1, 500, b""));
        assert_eq!(mixed.good(0) + mixed.good(1), 1);
    }
}
