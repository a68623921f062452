//! Revocation that works offline: the Token Status List of draft-ietf-oauth-status-list, two bits for each license.
//!
//! The server signs one list for many licenses (`typ: statuslist+jwt`) and can leave it on any static host. A license names
//! the list and its own place in it; a product that has the list knows without asking whether the license was revoked.
//! Entries stand from the lowest bits of each byte upwards, and the bytes are compressed with zlib.

use serde::{Deserialize, Serialize};

use crate::encoding::{self, from_base64url};
use crate::token::{self, Kind, Reason};
use crate::verify::Trust;

/// The longest status list token that is read. A list of a million licenses, 2 in 100 of them revoked, needs about 60 KiB.
pub const STATUS_LIST_TOKEN_BYTES_MAX: usize = 1024 * 1024;

/// The most licenses in a list: what a token may inflate to.
pub const STATUS_LIST_ENTRIES_MAX: usize = 1024 * 1024;

const ENTRIES_PER_BYTE: usize = 4;
const BYTES_MAX: usize = STATUS_LIST_ENTRIES_MAX / ENTRIES_PER_BYTE;
const BITS: u64 = 2;

pub(crate) const STATUS_LIST: Kind = Kind { typ: "statuslist+jwt", bytes_max: STATUS_LIST_TOKEN_BYTES_MAX };

/// Why a status list cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatusListError {
    /// No trusted key has signed the text as a status list.
    #[error("this is not a status list of a trusted key: {0}")]
    NotSigned(Reason),
    /// Signed, yet incomplete, or with other than two bits for each license.
    #[error("the status list is incomplete, or has other than 2 bits for each license")]
    Malformed,
    /// The compressed entries are broken, or inflate to more than [`STATUS_LIST_ENTRIES_MAX`].
    #[error("the status list's entries cannot be unpacked, or are more than {STATUS_LIST_ENTRIES_MAX}")]
    Entries,
}

impl StatusListError {
    /// A stable word for programs; it never changes once released.
    pub fn code(&self) -> &'static str {
        "status_list_invalid"
    }
}

/// What a status list says of a license.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Nothing against it.
    Valid,
    /// Revoked for good: money was refunded, or a dispute lost.
    Invalid,
    /// Out of force for now: a dispute is open.
    Suspended,
    /// A newer license took its place, and this one is still good.
    Superseded,
}

impl Status {
    fn from_bits(bits: u8) -> Self {
        match bits & 0b11 {
            0 => Self::Valid,
            1 => Self::Invalid,
            2 => Self::Suspended,
            _ => Self::Superseded,
        }
    }

    #[cfg(feature = "sign")]
    fn bits(self) -> u8 {
        match self {
            Self::Valid => 0,
            Self::Invalid => 1,
            Self::Suspended => 2,
            Self::Superseded => 3,
        }
    }
}

/// The statuses of a list, packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusEntries(Vec<u8>);

impl StatusEntries {
    /// At least this many entries, all of them valid.
    ///
    /// # Panics
    /// When there are more than [`STATUS_LIST_ENTRIES_MAX`].
    #[cfg(feature = "sign")]
    pub fn new(count: usize) -> Self {
        assert!(count <= STATUS_LIST_ENTRIES_MAX, "more licenses than a status list holds");
        Self(vec![0; count.div_ceil(ENTRIES_PER_BYTE)])
    }

    /// Sets an entry.
    ///
    /// # Panics
    /// When the list has no such entry.
    #[cfg(feature = "sign")]
    pub fn set(&mut self, index: usize, status: Status) {
        let shift = index % ENTRIES_PER_BYTE * 2;
        let byte = &mut self.0[index / ENTRIES_PER_BYTE];
        *byte = *byte & !(0b11 << shift) | status.bits() << shift;
    }

    /// The entry, if the list reaches so far.
    pub fn get(&self, index: u64) -> Option<Status> {
        let index = usize::try_from(index).ok()?;
        let byte = self.0.get(index / ENTRIES_PER_BYTE)?;
        Some(Status::from_bits(byte >> (index % ENTRIES_PER_BYTE * 2)))
    }

    /// How many entries there are: a multiple of four.
    pub fn count(&self) -> usize {
        self.0.len() * ENTRIES_PER_BYTE
    }

    /// Inflates; the limit keeps a small text from filling the memory.
    fn unpack(lst: &str) -> Result<Self, StatusListError> {
        let packed = from_base64url(lst).ok_or(StatusListError::Entries)?;
        let inflated = miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(&packed, BYTES_MAX);
        inflated.map(Self).map_err(|_| StatusListError::Entries)
    }

    #[cfg(feature = "sign")]
    fn pack(&self) -> String {
        const LEVEL_BEST: u8 = 9;
        encoding::to_base64url(&miniz_oxide::deflate::compress_to_vec_zlib(&self.0, LEVEL_BEST))
    }
}

/// A status list that a trusted key has signed, or, with the feature `sign`, is about to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusList {
    /// The list's name and address, `sub` in the token; licenses name it in `status_list.uri`.
    pub uri: String,
    /// When it was signed.
    pub issued_at: i64,
    /// From when on its silence proves nothing. What it says against a license stands all the same.
    pub expires_at: i64,
    /// How long to keep it before asking for a newer one, in seconds.
    pub ttl_seconds: Option<u64>,
    /// The statuses.
    pub entries: StatusEntries,
}

impl StatusList {
    /// Reads a status list and proves that a trusted key has signed it.
    ///
    /// Open a list when it arrives, and keep the old one if that fails: a list that nobody can read is no reason to stop a
    /// customer.
    ///
    /// # Errors
    /// When no trusted key has signed it, or when it cannot be unpacked within the limits.
    pub fn open<'a>(text: &str, trust: impl Into<Trust<'a>>) -> Result<Self, StatusListError> {
        let trust = trust.into();
        let (payload, key) =
            token::open(text, &STATUS_LIST, |key_id| trust.find(key_id)).map_err(StatusListError::NotSigned)?;
        encoding::object_members(&payload).ok_or(StatusListError::Malformed)?;
        let payload: Payload = serde_json::from_slice(&payload).map_err(|_| StatusListError::Malformed)?;
        trust.check(key, payload.iat).map_err(StatusListError::NotSigned)?;
        if payload.status_list.bits != BITS {
            return Err(StatusListError::Malformed);
        }
        Ok(Self {
            uri: payload.sub,
            issued_at: payload.iat,
            expires_at: payload.exp,
            ttl_seconds: payload.ttl,
            entries: StatusEntries::unpack(&payload.status_list.lst)?,
        })
    }

    #[cfg(feature = "sign")]
    pub(crate) fn to_payload(&self) -> Vec<u8> {
        let payload = Payload {
            sub: self.uri.clone(),
            iat: self.issued_at,
            exp: self.expires_at,
            ttl: self.ttl_seconds,
            status_list: Packed { bits: BITS, lst: self.entries.pack() },
        };
        serde_json::to_vec(&payload).expect("a status list is plain JSON")
    }
}

/// The payload as it stands in the token.
#[derive(Serialize, Deserialize)]
struct Payload {
    sub: String,
    iat: i64,
    exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl: Option<u64>,
    status_list: Packed,
}

#[derive(Serialize, Deserialize)]
struct Packed {
    bits: u64,
    lst: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    use Status::{Invalid, Superseded, Suspended, Valid};

    #[test]
    fn the_draft_s_short_example_is_read() {
        let entries = StatusEntries::unpack("eNo76fITAAPfAgc").unwrap();
        assert_eq!(entries, StatusEntries(vec![0xc9, 0x44, 0xf9]));
        let read: Vec<Status> = (0..12).map(|index| entries.get(index).unwrap()).collect();
        let expected = [
            Invalid, Suspended, Valid, Superseded, Valid, Invalid, Valid, Invalid, Invalid, Suspended, Superseded,
            Superseded,
        ];
        assert_eq!(read, expected);
        assert_eq!((entries.count(), entries.get(12), entries.get(u64::MAX)), (12, None, None));
    }

    #[test]
    fn the_draft_s_list_of_a_million_is_read() {
        let lst = concat!(
            "eNrt2zENACEQAEEuoaBABP5VIO01fCjIHTMStt9ovGVIAAAAAABAbiEBAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEB5",
            "WwIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAID0ugQAAAAAAAAAAAAAAAAAQG12SgAAAAAAAAAAAAAAAAAAAAAAAAAAAOCSIQEAAAAAAAAAAAAAAAAAAAAAAAD8ExIA",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAwJEuAQAAAAAAAAAAAAAAAAAAAAAAAMB9SwIAAAAAAAAAAAAAAAAAAACoYUoA",
            "AAAAAAAAAAAAAEBqH81gAQw",
        );
        let entries = StatusEntries::unpack(lst).unwrap();
        let set = [
            (0, Invalid),
            (1993, Suspended),
            (25_460, Invalid),
            (159_495, Superseded),
            (495_669, Invalid),
            (554_353, Invalid),
            (645_645, Suspended),
            (723_232, Invalid),
            (854_545, Invalid),
            (934_534, Suspended),
            (1_000_345, Superseded),
        ];
        assert_eq!(entries.count(), STATUS_LIST_ENTRIES_MAX);
        let other: Vec<_> =
            (0..1 << 20).map(|at| (at, entries.get(at).unwrap())).filter(|(_, is)| *is != Valid).collect();
        assert_eq!(other, set);
    }

    #[test]
    #[cfg(feature = "sign")]
    fn what_was_packed_is_unpacked_up_to_the_limit_and_no_further() {
        let mut entries = StatusEntries::new(STATUS_LIST_ENTRIES_MAX);
        entries.set(0, Superseded);
        entries.set(STATUS_LIST_ENTRIES_MAX - 1, Superseded);
        entries.set(STATUS_LIST_ENTRIES_MAX - 1, Invalid);
        assert_eq!(StatusEntries::unpack(&entries.pack()).as_ref(), Ok(&entries));
        entries.0.push(0);
        assert_eq!(StatusEntries::unpack(&entries.pack()), Err(StatusListError::Entries));
        let bomb = encoding::to_base64url(&miniz_oxide::deflate::compress_to_vec_zlib(&vec![0; 100 << 20], 1));
        assert!(bomb.len() < STATUS_LIST_TOKEN_BYTES_MAX, "it passes as a token");
        assert_eq!(StatusEntries::unpack(&bomb), Err(StatusListError::Entries));
        assert_eq!(StatusEntries::new(5).count(), 8);
    }

    #[test]
    fn entries_that_are_not_zlib_are_refused() {
        for lst in ["", "AAAA", "eNo76fITAAPfAg", "eNo76fITAAPfAgd", "eNo76fITAAPfAgc=", "O-nyEwAD3wIH"] {
            assert_eq!(StatusEntries::unpack(lst), Err(StatusListError::Entries), "{lst}");
        }
    }
}
