//! What mathematics alone allows on these cores: Ed25519 and argon2id with the server's parameters.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, Version};
use ed25519_dalek::{Signer as _, SigningKey, Verifier as _};
use sha2::{Digest as _, Sha256};

use crate::stats::rate;

/// The server's: see `app/hasher.rs` there.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// As long as a licence's head and claims.
const MESSAGE_BYTES: usize = 700;

/// A password's hash as the server stores it.
pub fn hash(password: &str) -> String {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the parameters are within argon2's bounds");
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password(password.as_bytes()).expect("a bounded password always hashes").to_string()
}

/// SHA-256 in hex, as the server keeps tokens.
pub fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

/// argon2id hashes a second on all cores.
pub fn hashes_per_second(time: Duration) -> f64 {
    on_all_cores(time, || drop(black_box(hash("a password that nobody has"))))
}

/// Ed25519 signatures a second on one core, and verifications.
pub fn signatures_per_second(time: Duration) -> (f64, f64) {
    let key = SigningKey::from_bytes(&[7; 32]);
    let (public, message) = (key.verifying_key(), [b'x'; MESSAGE_BYTES]);
    let signature = key.sign(&message);
    let signed = repeat(time, || {
        black_box(key.sign(black_box(&message)));
    });
    let verified =
        repeat(time, || assert!(public.verify(black_box(&message), &signature).is_ok(), "our own signature"));
    (signed, verified)
}

fn repeat(time: Duration, mut work: impl FnMut()) -> f64 {
    let (began, mut count) = (Instant::now(), 0_u64);
    while began.elapsed() < time {
        work();
        count += 1;
    }
    rate(count, began.elapsed().as_secs_f64())
}

fn on_all_cores(time: Duration, work: impl Fn() + Sync) -> f64 {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(|| repeat(time, &work))).collect();
        threads.into_iter().map(|each| each.join().expect("hashing does not panic")).sum()
    })
}
