//! The customers of a run: who number 17 is, at our end and at Stripe's.
//!
//! Everything about a customer follows from its number, so that the driver, the database, the stub and pgbench agree without telling
//! each other anything. Numbers are scattered over the ids, as random ids would be: with ids in order every index would grow at
//! its end only, which is faster than life.

use std::fmt::Write as _;

/// A prime, so that multiplying scatters all smaller numbers without a collision.
pub const SCATTER_PRIME: u64 = 100_000_007;

/// What numbers are multiplied with; also written into pgbench's scripts.
pub const SCATTER_FACTOR: u64 = 7_368_787;

/// How long a tail is.
pub const TAIL_DIGITS: usize = 16;

/// The digits that all ids of customer `number` end with.
pub fn tail(number: u64) -> String {
    format!("{:016}", number * SCATTER_FACTOR % SCATTER_PRIME)
}

/// Our id.
pub fn customer_id(tail: &str) -> String {
    format!("cust_{tail}{tail}")
}

/// The address that the customer has signed up with.
pub fn email(tail: &str) -> String {
    format!("c{tail}@bench.example")
}

/// Stripe's id of a customer who has paid there. The stub answers by it.
pub fn paying(tail: &str) -> String {
    format!("cus_p{tail}")
}

/// Stripe's id of a customer who has not paid.
pub fn idle(tail: &str) -> String {
    format!("cus_n{tail}")
}

/// A text with places for a customer's tail.
#[derive(Clone, Debug)]
pub struct Template {
    pieces: Vec<String>,
}

/// Where the tail goes in a template's text.
pub const TAIL: &str = "@@";

impl Template {
    pub fn new(text: &str) -> Self {
        Self { pieces: text.split(TAIL).map(str::to_owned).collect() }
    }

    /// Writes the text for one customer.
    pub fn render(&self, tail: &str, out: &mut String) {
        for (index, piece) in self.pieces.iter().enumerate() {
            if index > 0 {
                out.push_str(tail);
            }
            out.push_str(piece);
        }
    }

    pub fn text(&self, tail: &str) -> String {
        let mut out = String::new();
        self.render(tail, &mut out);
        out
    }
}

/// A whole HTTP/1.1 request, for a connection that stays open.
pub fn http_request(method: &str, path: &str, headers: &[(&str, &str)], body: &str, out: &mut Vec<u8>) {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n");
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    if !body.is_empty() {
        let _ = write!(head, "content-type: application/json\r\ncontent-length: {}\r\n", body.len());
    }
    head.push_str("\r\n");
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body.as_bytes());
}

/// An answer of the stub's, for a connection that stays open.
pub fn http_answer(status: u16, body: &str, out: &mut Vec<u8>) {
    let reason = if status == 200 { "OK" } else { "Not Found" };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\nrequest-id: req_bench\r\ncontent-length: {length}\r\n\r\n"
    );
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body.as_bytes());
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use counterfoil_core::CustomerId;

    use super::*;

    #[test]
    fn every_number_is_another_customer_with_an_id_that_the_server_takes() {
        let tails: BTreeSet<String> = (0..50_000).map(tail).collect();
        assert_eq!(tails.len(), 50_000);
        assert!(tails.iter().all(|tail| tail.len() == TAIL_DIGITS));
        assert!(customer_id(&tail(SCATTER_PRIME - 1)).parse::<CustomerId>().is_ok());
    }

    #[test]
    fn a_template_puts_the_tail_wherever_it_belongs() {
        assert_eq!(Template::new("@@a@@b").text("7"), "7a7b");
        assert_eq!(Template::new("none").text("7"), "none");
    }
}
