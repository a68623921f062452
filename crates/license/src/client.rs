//! Keeps a product's license fresh: a cache on disk, and the few calls that renew it.
//!
//! [`Client::current`] answers from the cache at once and never waits for anybody, so that no outage keeps a product from
//! starting. [`Client::refresh_if_due`] asks the server when it is time, and changes nothing that it cannot verify: what is
//! in the cache stays until something better is there. The clock is the caller's.
// tidy: allow(layer) because this feature is the one place of the crate that reads files and asks servers.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    Expectations, JWKS_BYTES_MAX, KeySet, LicenseFile, RootPublicKey, STATUS_LIST_TOKEN_BYTES_MAX, SignedKeySet, State,
    StatusList, Trust, Verified, Verifier,
};

const CACHE_FILE: &str = "counterfoil-license.json";

/// How long one call may take, from the connection to the last byte of the answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest answer to a refresh that is read: a license and what is said about it.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

const HOUR_SECONDS: i64 = 60 * 60;
const DAY_SECONDS: i64 = 24 * HOUR_SECONDS;

/// The longest wait after a first failure, and the shortest time for which a status list is kept.
const WAIT_SECONDS_MIN: i64 = 60;

/// Where the product's trust in keys begins.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "a product has one of them")]
pub enum Pin {
    /// A key set that ships with the product; the server's `/.well-known/jwks.json` takes its place over TLS.
    Keys {
        /// The shipped set.
        jwks: String,
    },
    /// A root key; the key sets that it signs are fetched from this address.
    Root {
        /// The pinned key.
        root: RootPublicKey,
        /// The key set that ships with the product.
        key_set: String,
        /// Where newer ones lie.
        url: String,
    },
}

/// What a [`Client`] has to know.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// The server's public URL, as in the claim `iss`; `/api/licenses/refresh` is asked below it.
    pub issuer: String,
    /// The product.
    pub audience: String,
    /// Where trust begins.
    pub pin: Pin,
    /// A folder of the product's own; the cache is one file in it, readable by its user alone.
    pub folder: PathBuf,
    /// See [`Verifier::require_status_list`].
    pub require_status_list: bool,
}

/// What a refresh came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refreshed {
    /// It was not time to ask.
    NotDue,
    /// The server was asked, and what is in the cache is the newest there is.
    UpToDate,
    /// A newer license is in the cache.
    NewLicense,
    /// The server has no license for this customer any more, and says why with a code. The old one stays, to its end.
    Refused(String),
}

/// Why a refresh failed. The cache is as good as before, and the next try waits longer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The server could not be reached or gave no answer that can be used.
    #[error("the license server gave no answer: {0}")]
    Unreachable(String),
    /// What arrived does not verify.
    #[error("what the license server sent does not verify: {0}")]
    Unverified(String),
    /// The cache could not be written.
    #[error("the license cache cannot be written: {0}")]
    Cache(#[from] io::Error),
}

/// What is kept between two runs of the product.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Cache {
    license: String,
    keys: Document,
    status_list: Document,
    /// In Unix seconds, as all times here.
    highest_time_seen: i64,
    /// The highest serial of a key set that the root has signed.
    serial_seen: Option<u64>,
    /// Keys and status list are not asked for before this.
    lists_due_at: i64,
    /// Nor is the license before this.
    license_due_at: i64,
    /// In a row, up to now.
    failures: u32,
}

/// A fetched text, and the mark by which the server knows it again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Document {
    text: String,
    etag: Option<String>,
}

enum Keys {
    Plain(KeySet),
    Signed(SignedKeySet),
}

impl Keys {
    fn trust(&self) -> Trust<'_> {
        match self {
            Self::Plain(keys) => keys.into(),
            Self::Signed(keys) => keys.into(),
        }
    }
}

/// A product's license on this machine.
pub struct Client {
    settings: ClientSettings,
    cache: Cache,
    agent: ureq::Agent,
}

impl Client {
    /// Reads the cache. A missing or broken one is an empty one: everything in it can be fetched or installed again.
    pub fn open(settings: ClientSettings) -> Self {
        let cache = fs::read(settings.folder.join(CACHE_FILE)).ok();
        let cache = cache.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let agent = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).build();
        Self { settings, cache, agent: agent.into() }
    }

    /// Takes a license that the user gave: a token, a `.lic` file or a bundle. It is kept if a trusted key has signed it.
    ///
    /// # Errors
    /// [`ClientError::Unverified`], or when the cache cannot be written.
    pub fn install(&mut self, text: &str, now_unix: i64) -> Result<Verified, ClientError> {
        let file = LicenseFile::parse(text).map_err(|error| ClientError::Unverified(error.code().to_owned()))?;
        if let Some((text, keys)) = file.key_set.and_then(|text| Some((text.clone(), self.open_keys(&text)?))) {
            self.take_keys(&keys, Document { text, etag: None });
        }
        if let Some(text) = file.status_list.filter(|text| self.open_list(text).is_some()) {
            self.cache.status_list = Document { text, etag: None };
        }
        let verified = self.verify(&file.license, now_unix);
        if verified.claims.is_none() {
            return Err(ClientError::Unverified(verified.state.code().to_owned()));
        }
        self.cache.license = file.license;
        (self.cache.license_due_at, self.cache.lists_due_at) = (0, 0);
        self.save(now_unix)?;
        Ok(verified)
    }

    /// What the license is worth, from the cache alone.
    #[must_use]
    pub fn current(&self, now_unix: i64) -> Verified {
        self.verify(&self.cache.license, now_unix)
    }

    /// Forgets the latest time seen, after the user has set a clock right that was ahead.
    ///
    /// # Errors
    /// When the cache cannot be written.
    pub fn forget_time_seen(&mut self, now_unix: i64) -> Result<(), ClientError> {
        self.cache.highest_time_seen = 0;
        Ok(self.save(now_unix)?)
    }

    /// Asks for newer keys, status list and license where it is time, waiting up to some ten seconds for each. Call it from
    /// a thread of its own, as often as you like.
    ///
    /// # Errors
    /// When the server gives no answer or a wrong one, or the cache cannot be written. All of them mean: not now.
    pub fn refresh_if_due(&mut self, now_unix: i64) -> Result<Refreshed, ClientError> {
        let license_due = self.current(now_unix).state.should_refresh() && now_unix >= self.cache.license_due_at;
        let lists_due = now_unix >= self.cache.lists_due_at;
        if !license_due && !lists_due {
            return Ok(Refreshed::NotDue);
        }
        let answer = self.refresh(license_due, lists_due, now_unix);
        match &answer {
            Ok(_) => self.cache.failures = 0,
            Err(_) => {
                self.cache.failures = self.cache.failures.saturating_add(1);
                let next = now_unix.saturating_add(self.backoff());
                self.cache.license_due_at = self.cache.license_due_at.max(next);
                self.cache.lists_due_at = self.cache.lists_due_at.max(next);
            }
        }
        self.save(now_unix)?;
        answer
    }

    fn refresh(&mut self, license_due: bool, lists_due: bool, now_unix: i64) -> Result<Refreshed, ClientError> {
        if lists_due {
            self.fetch_keys()?;
            let kept_for = self.fetch_status_list()?;
            self.cache.lists_due_at = now_unix.saturating_add(kept_for).saturating_add(self.jitter(HOUR_SECONDS / 10));
        }
        // A new status may have made the license due.
        if !license_due && !self.current(now_unix).state.should_refresh() || now_unix < self.cache.license_due_at {
            return Ok(Refreshed::UpToDate);
        }
        let refreshed = self.fetch_license(now_unix)?;
        self.cache.license_due_at = now_unix.saturating_add(DAY_SECONDS).saturating_add(self.jitter(HOUR_SECONDS));
        Ok(refreshed)
    }

    fn fetch_keys(&mut self) -> Result<(), ClientError> {
        let url = match &self.settings.pin {
            Pin::Keys { .. } => format!("{}/.well-known/jwks.json", self.settings.issuer),
            Pin::Root { url, .. } => url.clone(),
        };
        if let Some(document) = self.get(&url, &self.cache.keys, JWKS_BYTES_MAX)? {
            let keys = self.open_keys(&document.text);
            let keys = keys.ok_or_else(|| ClientError::Unverified("the key set".to_owned()))?;
            self.take_keys(&keys, document);
        }
        Ok(())
    }

    fn take_keys(&mut self, keys: &Keys, document: Document) {
        if let Keys::Signed(set) = keys {
            self.cache.serial_seen = self.cache.serial_seen.max(Some(set.serial));
        }
        self.cache.keys = document;
    }

    /// Fetches the list that the license names; answers for how many seconds not to ask again.
    fn fetch_status_list(&mut self) -> Result<i64, ClientError> {
        let claims = crate::inspect(&self.cache.license).ok().map(|(_, claims)| claims);
        let Some(place) = claims.and_then(|claims| claims.status_list) else { return Ok(DAY_SECONDS) };
        let known = match self.open_list(&self.cache.status_list.text) {
            Some(list) if list.uri == place.uri => self.cache.status_list.clone(),
            Some(_) | None => Document::default(),
        };
        if let Some(document) = self.get(&place.uri, &known, STATUS_LIST_TOKEN_BYTES_MAX)? {
            let list = self.open_list(&document.text).filter(|list| list.uri == place.uri);
            list.ok_or_else(|| ClientError::Unverified("the status list".to_owned()))?;
            self.cache.status_list = document;
        }
        let ttl = self.open_list(&self.cache.status_list.text).and_then(|list| list.ttl_seconds);
        Ok(ttl.and_then(|ttl| i64::try_from(ttl).ok()).unwrap_or(HOUR_SECONDS).clamp(WAIT_SECONDS_MIN, DAY_SECONDS))
    }

    fn fetch_license(&mut self, now_unix: i64) -> Result<Refreshed, ClientError> {
        let url = format!("{}/api/licenses/refresh", self.settings.issuer);
        let body = serde_json::json!({ "token": self.cache.license }).to_string();
        let answer = self.agent.post(&url).header("content-type", "application/json").send(body);
        let mut answer = answer.map_err(unreachable)?;
        let status = answer.status().as_u16();
        let text = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string().map_err(unreachable)?;
        let json: Value = serde_json::from_str(&text).unwrap_or_default();
        let member = |name: &str| json.get(name).and_then(Value::as_str).map(str::to_owned);
        match (status, member("token"), member("code")) {
            (200, Some(token), _) => self.take_license(token, now_unix),
            // Too many requests is an answer about now, not about the license.
            (400..=428 | 430..=499, _, Some(code)) => Ok(Refreshed::Refused(code)),
            _ => Err(ClientError::Unreachable(format!("status {status}"))),
        }
    }

    fn take_license(&mut self, token: String, now_unix: i64) -> Result<Refreshed, ClientError> {
        let newer = self.verify(&token, now_unix);
        if let State::Invalid(reason) = newer.state {
            return Err(ClientError::Unverified(reason.code().to_owned()));
        }
        let version = |claims: Option<crate::Claims>| claims.map(|claims| (claims.customer_id, claims.ver));
        let (old, new) = (version(self.current(now_unix).claims), version(newer.claims));
        match (old, new) {
            (Some((old_customer, _)), Some((customer, _))) if old_customer != customer => {
                Err(ClientError::Unverified("another customer's license".to_owned()))
            }
            (Some((_, old)), Some((_, new))) if new <= old => Ok(Refreshed::UpToDate),
            _ => {
                self.cache.license = token;
                self.cache.lists_due_at = 0;
                Ok(Refreshed::NewLicense)
            }
        }
    }

    /// A newer text than the known one, or nothing where the server says that there is none.
    fn get(&self, url: &str, known: &Document, bytes_max: usize) -> Result<Option<Document>, ClientError> {
        let mut request = self.agent.get(url);
        if let Some(etag) = &known.etag {
            request = request.header("if-none-match", etag);
        }
        let mut answer = request.call().map_err(unreachable)?;
        match answer.status().as_u16() {
            304 => Ok(None),
            200 => {
                let etag = answer.headers().get("etag").and_then(|etag| etag.to_str().ok()).map(str::to_owned);
                let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
                let text = answer.body_mut().with_config().limit(limit).read_to_string().map_err(unreachable)?;
                Ok(Some(Document { text: text.trim().to_owned(), etag }))
            }
            status => Err(ClientError::Unreachable(format!("{url}: status {status}"))),
        }
    }

    fn verify(&self, license: &str, now_unix: i64) -> Verified {
        let Some(keys) = self.keys() else {
            return Verified { state: State::Invalid(crate::Reason::KeySetInvalid), claims: None };
        };
        let list = self.open_list(&self.cache.status_list.text);
        Verifier::new(keys.trust(), Expectations::new(&self.settings.issuer, &self.settings.audience))
            .status_list(list.as_ref())
            .require_status_list(self.settings.require_status_list)
            .highest_time_seen(self.cache.highest_time_seen)
            .verify(license, now_unix)
    }

    /// The fetched keys; where there are none that can be used, the shipped ones.
    fn keys(&self) -> Option<Keys> {
        let shipped = match &self.settings.pin {
            Pin::Keys { jwks } => jwks,
            Pin::Root { key_set, .. } => key_set,
        };
        self.open_keys(&self.cache.keys.text).or_else(|| self.open_keys(shipped))
    }

    fn open_keys(&self, text: &str) -> Option<Keys> {
        match &self.settings.pin {
            Pin::Keys { .. } => KeySet::from_jwks(text).ok().map(Keys::Plain),
            Pin::Root { root, .. } => SignedKeySet::open(text, root, self.cache.serial_seen).ok().map(Keys::Signed),
        }
    }

    fn open_list(&self, text: &str) -> Option<StatusList> {
        StatusList::open(text, self.keys()?.trust()).ok()
    }

    /// Doubles from a minute to a day, and differs from customer to customer.
    fn backoff(&self) -> i64 {
        let wait = (WAIT_SECONDS_MIN << self.cache.failures.saturating_sub(1).min(11)).min(DAY_SECONDS);
        wait / 2 + self.jitter(wait / 2)
    }

    /// From 0 to `most`: spread over all customers, and different with each failure, without a source of randomness.
    fn jitter(&self, most: i64) -> i64 {
        let digest = Sha256::digest(format!("{}{}", self.cache.failures, self.cache.license));
        i64::from(u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]])) % (most + 1)
    }

    /// Writes the cache whole or not at all.
    fn save(&mut self, now_unix: i64) -> io::Result<()> {
        self.cache.highest_time_seen = self.cache.highest_time_seen.max(now_unix);
        let (path, fresh) =
            (self.settings.folder.join(CACHE_FILE), self.settings.folder.join(format!(".{CACHE_FILE}")));
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&fresh)?;
        file.write_all(&serde_json::to_vec(&self.cache)?)?;
        file.sync_all()?;
        fs::rename(fresh, path)
    }
}

fn unreachable(error: ureq::Error) -> ClientError {
    ClientError::Unreachable(error.to_string())
}
