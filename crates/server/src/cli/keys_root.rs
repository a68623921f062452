//! `counterfoil keys root`: what happens on the machine that keeps the root, and taking in what it signs.
//!
//! The root's private half is read by `keys root sign` alone, which opens neither a database nor a connection.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;

use counterfoil_core::Timestamp;
use counterfoil_core::signing_key::KeyState;
use counterfoil_license::{PublicKey, RootKey, SignedKeySet};
use secrecy::zeroize::Zeroizing;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Common;
use super::keys::SignArgs;
use super::operator::{Why, open_app};
use super::output::{self, coded};
use crate::app::key_sets::to_be_signed;
use crate::clock::Clock;
use crate::entropy::Entropy;

/// Makes a root key in a new file that is nobody else's to read.
pub fn init(common: &Common, out: &Path) -> anyhow::Result<ExitCode> {
    let root = RootKey::from_seed(&Zeroizing::new(Entropy.bytes()));
    let refused = |error: std::io::Error| coded("root_file", format!("{}: {error}", out.display()));
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(out) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let message =
                format!("{} is there already, and a root key is never overwritten: choose another name", out.display());
            return Err(coded("root_file_exists", message));
        }
        file => file.map_err(refused)?,
    };
    file.write_all(root.to_pem().as_bytes()).and_then(|()| file.sync_all()).map_err(refused)?;
    let public = root.public().to_string();
    output::show(common.json, &json!({ "root": public, "file": out.display().to_string() }), || {
        format!(
            "{public}\nProducts pin this line. The private half is in {}: keep it and a copy of it offline, apart from each other. \
             Whoever has it can vouch for any key.",
            out.display()
        )
    });
    Ok(ExitCode::SUCCESS)
}

/// A list of keys, as `keys list --json` tells it, or a JSON Web Key Set.
#[derive(Deserialize)]
struct Listing {
    issuer: Option<String>,
    keys: Vec<Value>,
    key_set: Option<Before>,
}

#[derive(Deserialize)]
struct Before {
    serial: i64,
}

/// Signs the list of keys.
pub fn sign(common: &Common, args: &SignArgs) -> anyhow::Result<ExitCode> {
    let pem = Zeroizing::new(read(&args.root, "root_file")?);
    let root =
        RootKey::from_pem(&pem).map_err(|error| coded("root_file", format!("{}: {error}", args.root.display())))?;
    let wrong = |reason: String| coded("keys_file", format!("{}: {reason}", args.keys.display()));
    let listing: Listing = serde_json::from_str(&read(&args.keys, "keys_file")?).map_err(|error| {
        wrong(format!("it is no list of keys, as `counterfoil keys list --json` writes it ({error})"))
    })?;
    let issuer = args.issuer.clone().or(listing.issuer).ok_or_else(|| {
        wrong("it does not say whose keys these are: name the server's public URL with --issuer".to_owned())
    })?;
    let mut keys = Vec::new();
    for entry in &listing.keys {
        keys.push(listed(entry).map_err(&wrong)?);
    }
    if keys.is_empty() {
        return Err(wrong("there is no key in it".to_owned()));
    }
    let now = Clock::system().now().as_unix_seconds();
    // The time as serial rises by itself, also where the server's database is a backup that knows an older one.
    let serial = now.max(listing.key_set.map_or(0, |before| before.serial.saturating_add(1)));
    let expires_at = now + i64::from(args.valid_days) * 86_400;
    let set = SignedKeySet {
        issuer,
        issued_at: now,
        expires_at,
        serial: u64::try_from(serial).map_err(|_| wrong("its serial is negative".to_owned()))?,
        keys: to_be_signed(&keys),
    };
    let token = root.sign(&set);
    std::fs::write(&args.out, format!("{token}\n"))
        .map_err(|error| coded("out_file", format!("{}: {error}", args.out.display())))?;
    let (public, ends) = (root.public().to_string(), Timestamp::from_unix_seconds(expires_at));
    let value = json!({
        "root": public, "issuer": set.issuer, "serial": serial, "keys": set.keys.len(), "expires_at": ends,
        "file": args.out.display().to_string(),
    });
    output::show(common.json, &value, || {
        format!(
            "{} of {} signed by {public}, to {}; take {} to the server: `counterfoil keys root install`",
            output::count(set.keys.len(), "key"),
            set.issuer,
            ends.date_in_words(),
            args.out.display()
        )
    });
    Ok(ExitCode::SUCCESS)
}

/// One entry of the list. A plain JSON Web Key says nothing of its state, and is one to trust.
fn listed(entry: &Value) -> Result<(PublicKey, KeyState, Option<Timestamp>), String> {
    let key = PublicKey::from_jwk(entry).map_err(|error| error.to_string())?;
    let state = match entry.get("state").map(|state| state.as_str().and_then(KeyState::parse)) {
        None => KeyState::Active,
        Some(Some(state)) => state,
        Some(None) => return Err(format!("the key {} has a state that this release does not know", key.key_id())),
    };
    let ended = entry.get("retired_at").and_then(Value::as_str).map(str::parse).transpose();
    let ended = ended.map_err(|_| format!("`retired_at` of the key {} is no time", key.key_id()))?;
    Ok((key, state, ended))
}

fn read(path: &Path, code: &'static str) -> anyhow::Result<String> {
    std::fs::read_to_string(path).map_err(|error| coded(code, format!("{}: {error}", path.display())))
}

/// Takes a signed set in, beside the running service.
pub async fn install(common: &Common, file: &Path, root: Option<&str>, why: &Why) -> anyhow::Result<ExitCode> {
    let by = why.by()?;
    let text = read(file, "key_set_file")?;
    let (_config, app) = open_app(common).await?;
    let installed = app.install_key_set(&text, root, &by).await?;
    let value = json!({ "root": installed.root, "serial": installed.serial, "expires_at": installed.expires_at });
    output::show(common.json, &value, || {
        format!(
            "serves the key set of {} at /.well-known/counterfoil-keys.jwt, to {}",
            installed.root,
            installed.expires_at.date_in_words()
        )
    });
    Ok(ExitCode::SUCCESS)
}
