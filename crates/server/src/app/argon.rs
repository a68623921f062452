//! Argon2id with m = 19 MiB, t = 2, p = 1 (OWASP's minimum), over memory that is used again: twenty megabytes that come and go with
//! each hash are filled with zeros each time, or stay behind in the allocator.

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// What a hash is computed in. What is in it before has no meaning.
#[derive(Default)]
pub struct Memory(Vec<Block>);

impl Memory {
    fn blocks(&mut self, params: &Params) -> &mut [Block] {
        let count = params.block_count();
        if self.0.len() < count {
            self.0.resize(count, Block::default());
        }
        &mut self.0[..count]
    }
}

/// What a password turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Whether it belongs to the stored hash.
    pub matches: bool,
    /// Whether the stored hash is weaker than a new one would be.
    pub is_outdated: bool,
}

/// The hash of a new password as a PHC string.
///
/// # Panics
/// Never: the parameters are constants that argon2 accepts, and passwords are bounded.
pub fn hash(password: &str, memory: &mut Memory) -> String {
    let (today, salt) = (argon2(), Salt::generate());
    let output = output_of(&today, password, &salt, memory).expect("a bounded password always hashes");
    let params = ParamsString::try_from(today.params()).expect("the parameters are numbers");
    let version = Some(Version::V0x13.into());
    let algorithm = Algorithm::Argon2id.ident();
    PasswordHash { algorithm, version, params, salt: Some(salt), hash: Some(output) }.to_string()
}

/// Whether the password belongs to the stored hash, which may be of other parameters than those of today.
pub fn check(password: &str, stored: &str, memory: &mut Memory) -> Checked {
    let Ok(stored) = PasswordHash::new(stored) else { return Checked { matches: false, is_outdated: false } };
    Checked { matches: belongs(password, &stored, memory).unwrap_or(false), is_outdated: is_outdated(&stored) }
}

/// `None` where the hash is none of argon2's.
fn belongs(password: &str, stored: &PasswordHash, memory: &mut Memory) -> Option<bool> {
    let algorithm = Algorithm::try_from(stored.algorithm.as_str()).ok()?;
    let version = stored.version.map_or(Ok(Version::default()), Version::try_from).ok()?;
    let argon2 = Argon2::new(algorithm, version, Params::try_from(stored).ok()?);
    let output = output_of(&argon2, password, stored.salt.as_ref()?, memory)?;
    // Takes as long wherever they differ.
    Some(output == *stored.hash.as_ref()?)
}

fn output_of(argon2: &Argon2<'_>, password: &str, salt: &[u8], memory: &mut Memory) -> Option<Output> {
    let mut buffer = [0; Output::MAX_LENGTH];
    let output = buffer.get_mut(..argon2.params().output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN))?;
    let blocks = memory.blocks(argon2.params());
    argon2.hash_password_into_with_memory(password.as_bytes(), salt, output, blocks).ok()?;
    Output::new(output).ok()
}

fn argon2() -> Argon2<'static> {
    #[cfg(feature = "simulation")]
    if crate::simulation::world().is_some() {
        let params = Params::new(Params::MIN_M_COST, 1, LANES, None).expect("the least that argon2 accepts");
        return Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    }
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the parameters are within argon2's bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Whether a hash costs whoever guesses less than a new one would. One that costs more, from a release with other numbers, stays.
fn is_outdated(stored: &PasswordHash) -> bool {
    let today = argon2();
    let is_other =
        stored.algorithm.as_str() != Algorithm::Argon2id.as_str() || stored.version != Some(Version::V0x13.into());
    let is_cheaper =
        |params: Params| params.m_cost() < today.params().m_cost() || params.t_cost() < today.params().t_cost();
    is_other || Params::try_from(stored).map_or(true, is_cheaper)
}

/// A stored hash of no password, which costs as much to check as one of today.
pub fn decoy() -> String {
    let today = argon2();
    let (memory, passes, lanes) = (today.params().m_cost(), today.params().t_cost(), today.params().p_cost());
    let (salt, hash) = ("bm8gcGVyc29uJ3Mgc2FsdA", "bm8gcGFzc3dvcmQgbGVhZHMgdG8gdGhlc2UgYnl0ZXM");
    format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${hash}")
}

#[cfg(test)]
mod tests {
    use argon2::PasswordHasher as _;

    use super::*;

    #[test]
    fn the_decoy_costs_what_a_hash_of_today_costs() {
        let decoy = PasswordHash::new(&decoy()).unwrap();
        let today = PasswordHash::new(&hash("a fine password", &mut Memory::default())).unwrap();
        let cost = |hash: &PasswordHash| {
            let params = Params::try_from(hash).unwrap();
            (params.m_cost(), params.t_cost(), params.p_cost(), params.output_len())
        };
        assert_eq!(cost(&decoy), cost(&today));
        assert_eq!((decoy.algorithm.as_str(), decoy.version), (today.algorithm.as_str(), today.version));
        let lengths = |hash: &PasswordHash| (hash.salt.as_ref().unwrap().len(), hash.hash.as_ref().unwrap().len());
        assert_eq!(lengths(&decoy), lengths(&today));
        assert_eq!(belongs("a fine password", &decoy, &mut Memory::default()), Some(false));
    }

    fn hashed(algorithm: Algorithm, version: Version, memory_kib: u32, passes: u32) -> String {
        let params = Params::new(memory_kib, passes, LANES, None).unwrap();
        Argon2::new(algorithm, version, params).hash_password(b"a fine password").unwrap().to_string()
    }

    #[test]
    fn a_hash_is_outdated_where_it_is_cheaper_than_one_of_today() {
        use Algorithm::{Argon2i, Argon2id};
        use Version::{V0x10, V0x13};
        let table = [
            (hash("a fine password", &mut Memory::default()), false),
            (hashed(Argon2id, V0x13, MEMORY_KIB + 1024, PASSES), false),
            (hashed(Argon2id, V0x13, MEMORY_KIB, PASSES + 1), false),
            (hashed(Argon2id, V0x13, MEMORY_KIB - 1024, PASSES), true),
            (hashed(Argon2id, V0x13, MEMORY_KIB, PASSES - 1), true),
            (hashed(Argon2i, V0x13, MEMORY_KIB, PASSES), true),
            (hashed(Argon2id, V0x10, MEMORY_KIB, PASSES), true),
        ];
        for (stored, expected) in table {
            assert_eq!(is_outdated(&PasswordHash::new(&stored).unwrap()), expected, "{stored}");
        }
    }

    #[test]
    fn memory_that_was_used_makes_the_same_hashes_as_the_library_alone() {
        use argon2::PasswordVerifier as _;
        let mut memory = Memory::default();
        let ours = hash("a fine password", &mut memory);
        let parsed = PasswordHash::new(&ours).unwrap();
        assert!(argon2().verify_password(b"a fine password", &parsed).is_ok());
        assert!(argon2().verify_password(b"another password", &parsed).is_err());
        let larger = hashed(Algorithm::Argon2id, Version::V0x13, MEMORY_KIB + 1024, PASSES + 1);
        let smaller = hashed(Algorithm::Argon2i, Version::V0x10, 64, 1);
        for stored in [&ours, &larger, &smaller, &ours] {
            assert!(check("a fine password", stored, &mut memory).matches, "{stored}");
            assert!(!check("another password", stored, &mut memory).matches, "{stored}");
        }
        assert_ne!(hash("a fine password", &mut memory), ours, "the salt is new each time");
        for stored in [
            "",
            "x",
            "$argon2id$v=19$m=19456,t=2,p=1$bm8gcGVyc29uJ3Mgc2FsdA",
            "$scrypt$ln=1,r=8,p=1$bm8gcGVyc29u$bm8gcGVyc29u",
        ] {
            assert!(!check("a fine password", stored, &mut memory).matches, "{stored}");
        }
    }
}
