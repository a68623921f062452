//! `counterfoil license`: reading and verifying tokens, files and bundles, and what operators do to
//! licences.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use counterfoil_core::Timestamp;
use counterfoil_license::{
    Claims, Expectations, KeySet, LicenseFile, Phase, SignedKeySet, State, StatusList, Trust, Verified, Verifier,
    inspect, state_at, timeline,
};

use super::operator::day_or_instant;
use super::output::coded;
use super::status_lists::{self, StatusListsArgs};
use super::{Common, database, license_changes, log_quietly, output};
use crate::clock::Clock;
use crate::config::Config;
use crate::store;

/// Commands of `license`.
#[derive(Debug, Subcommand)]
pub enum LicenseCommand {
    /// Verify a license with the public keys; exit with 1 where the product may not be used with it.
    Verify(VerifyArgs),
    /// Show what a license says and draw its life; verify it only where keys are given.
    Inspect(InspectArgs),
    /// Write the signed status lists as files, for a static host; run it from a timer.
    StatusLists(StatusListsArgs),
    #[command(flatten)]
    Change(license_changes::ChangeCommand),
}

/// Arguments of `license verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    given: Given,
    /// The issuer to expect [default: COUNTERFOIL_PUBLIC_URL].
    #[arg(long)]
    issuer: Option<String>,
    /// The product to expect [default: COUNTERFOIL_PRODUCT].
    #[arg(long)]
    audience: Option<String>,
}

/// Arguments of `license inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    #[command(flatten)]
    given: Given,
}

/// The license, and what is known beside it.
#[derive(Debug, Args)]
struct Given {
    /// The license, or a file with it (.lic file or bundle), or `-` to read it from standard input.
    #[arg(value_name = "TOKEN|FILE")]
    token: String,
    /// A file with the key set (JWKS) [default for verify: the keys of the database].
    #[arg(long, value_name = "FILE", conflicts_with = "root")]
    jwks: Option<PathBuf>,
    /// The pinned root key (cfroot1:…), which has signed the key set.
    #[arg(long, value_name = "KEY")]
    root: Option<String>,
    /// A file with the key set that the root has signed [default: the one in the bundle].
    #[arg(long, value_name = "FILE", requires = "root")]
    key_set: Option<PathBuf>,
    /// A file with the status list [default: the one in the bundle].
    #[arg(long, value_name = "FILE")]
    status_list: Option<PathBuf>,
    /// Answer for this time, 2026-12-24 or 2026-12-24T18:00:00Z, instead of now.
    #[arg(long, value_name = "DATE", value_parser = parse_date)]
    at: Option<Timestamp>,
}

/// Keys from one of the places where they can come from.
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

impl Given {
    fn at(&self) -> Timestamp {
        self.at.unwrap_or_else(|| Clock::system().now())
    }

    /// The keys that were given on the command line.
    fn keys(&self, file: &LicenseFile) -> anyhow::Result<Option<Keys>> {
        if let Some(path) = &self.jwks {
            let keys = KeySet::from_jwks(&read_file(path, "jwks_file")?)
                .map_err(|error| coded("jwks_file", format!("{}: {error}", path.display())))?;
            return Ok(Some(Keys::Plain(keys)));
        }
        let Some(root) = &self.root else { return Ok(None) };
        let root = root.trim().parse().map_err(|error| coded("root_key", format!("--root: {error}")))?;
        let text = match &self.key_set {
            Some(path) => Some(read_file(path, "key_set_file")?),
            None => file.key_set.clone(),
        };
        let text = text.ok_or_else(|| {
            coded(
                "key_set_file",
                "there is no key set that the root has signed: name a file with --key-set, or a bundle",
            )
        })?;
        let keys =
            SignedKeySet::open(text.trim(), &root, None).map_err(|error| coded(error.code(), error.to_string()))?;
        Ok(Some(Keys::Signed(keys)))
    }

    fn status_list(&self, file: &LicenseFile, keys: &Keys) -> anyhow::Result<Option<StatusList>> {
        let text = match &self.status_list {
            Some(path) => Some(read_file(path, "status_list_file")?),
            None => file.status_list.clone(),
        };
        text.map(|text| StatusList::open(text.trim(), keys.trust()))
            .transpose()
            .map_err(|error| coded(error.code(), error.to_string()))
    }

    fn verify(&self, file: &LicenseFile, keys: &Keys, expect: Expectations<'_>) -> anyhow::Result<Verified> {
        let list = self.status_list(file, keys)?;
        let verifier = Verifier::new(keys.trust(), expect).status_list(list.as_ref());
        Ok(verifier.verify(&file.license, self.at().as_unix_seconds()))
    }
}

/// Runs one of them.
pub async fn run(common: &Common, command: LicenseCommand) -> anyhow::Result<ExitCode> {
    log_quietly();
    match command {
        LicenseCommand::Verify(args) => verify(common, &args).await,
        LicenseCommand::Inspect(args) => show(common, &args.given),
        LicenseCommand::StatusLists(args) => status_lists::run(common, &args).await,
        LicenseCommand::Change(command) => license_changes::run(common, command).await,
    }
}

async fn verify(common: &Common, args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let config = common.load_config()?;
    let file = read(&args.given.token)?;
    let keys = match args.given.keys(&file)? {
        Some(keys) => keys,
        None => Keys::Plain(keys_of_database(&config).await?),
    };
    let issuer = args.issuer.as_deref().unwrap_or(config.public_url.as_str());
    let audience = args.audience.as_deref().unwrap_or(&config.product);
    let verified = args.given.verify(&file, &keys, Expectations::new(issuer, audience))?;
    let value = serde_json::json!({
        "state": verified.state.name(),
        "code": verified.state.code(),
        "entitled": verified.entitled(),
        "claims": verified.claims,
    });
    output::show(common.json, &value, || {
        let claims = verified.claims.as_ref().map(|claims| format!("\n{}", describe(claims))).unwrap_or_default();
        format!("{}{claims}", sentence(&verified.state))
    });
    Ok(if verified.entitled() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(common: &Common, given: &Given) -> anyhow::Result<ExitCode> {
    let file = read(&given.token)?;
    let (header, claims) =
        inspect(&file.license).map_err(|reason| coded(reason.code(), format!("this is no license: {reason}")))?;
    let at = given.at();
    // Whose license it is, is what is asked here: the signature is looked at, and nobody is expected.
    let verified = match given.keys(&file)? {
        Some(keys) => Some(given.verify(&file, &keys, Expectations::new(&claims.iss, &claims.aud))?),
        None => None,
    };
    let state = verified.as_ref().map_or_else(|| state_at(&claims, at.as_unix_seconds()), |verified| verified.state);
    let phases = timeline(&claims);
    let steps = |phase: &Phase| {
        let begins_at = phase.begins_at.map(Timestamp::from_unix_seconds);
        serde_json::json!({ "begins_at": begins_at, "state": phase.state.code() })
    };
    let value = serde_json::json!({
        "verified": verified.as_ref().is_some_and(|verified| verified.claims.is_some()),
        "header": header,
        "claims": claims,
        "at": at,
        "code": state.code(),
        "timeline": phases.iter().map(steps).collect::<Vec<_>>(),
    });
    output::show(common.json, &value, || {
        let head =
            if verified.is_some() { sentence(&state) } else { "Not verified; this is what it says of itself.".into() };
        format!("{head}\n{}\n\n{}", describe(&claims), draw(&phases, at, &state))
    });
    Ok(ExitCode::SUCCESS)
}

/// The timeline, with the asked time between its phases.
fn draw(phases: &[Phase], at: Timestamp, state: &State) -> String {
    let begun = |phase: &&Phase| phase.begins_at.is_none_or(|begins_at| begins_at <= at.as_unix_seconds());
    let line = |phase: &Phase| {
        let begins = phase.begins_at.map(|at| Timestamp::from_unix_seconds(at).date_time_in_words());
        format!("  | {:<30} {}", begins.unwrap_or_else(|| "before".to_owned()), phase.state.code())
    };
    let next = phases.iter().find(|phase| !begun(phase));
    let left = next.and_then(|next| Some((next.begins_at?.saturating_sub(at.as_unix_seconds()), next.state.code())));
    let left = left.map(|(seconds, code)| format!(", {} to {code}", duration(seconds))).unwrap_or_default();
    let mut lines: Vec<String> = phases.iter().filter(begun).map(line).collect();
    lines.push(format!("  > {:<30} {}{left}", at.date_time_in_words(), state.code()));
    lines.extend(phases.iter().filter(|phase| !begun(phase)).map(line));
    lines.join("\n")
}

fn duration(seconds: i64) -> String {
    const HOUR: i64 = 60 * 60;
    const DAY: i64 = 24 * HOUR;
    let whole = |number: i64| usize::try_from(number).unwrap_or(0);
    match seconds {
        ..HOUR => output::count(whole(seconds / 60), "minute"),
        HOUR..DAY => output::count(whole(seconds / HOUR), "hour"),
        DAY.. => output::count(whole(seconds / DAY), "day"),
    }
}

fn parse_date(text: &str) -> Result<Timestamp, String> {
    day_or_instant(text, "00:00:00")
}

/// What stands on the command line, in the file of this name, or in standard input.
fn read(given: &str) -> anyhow::Result<LicenseFile> {
    let text = match given {
        "-" => std::io::read_to_string(std::io::stdin())?,
        path if Path::new(path).is_file() => read_file(Path::new(path), "license_file")?,
        path if looks_like_a_path(path) => {
            let message =
                format!("there is no file {path}: give a file, `-` for standard input, or the license itself");
            return Err(coded("license_file", message));
        }
        token => token.to_owned(),
    };
    match LicenseFile::parse(&text) {
        Ok(file) => Ok(file),
        Err(error) if text.contains("-----BEGIN ") => Err(coded(error.code(), error.to_string())),
        Err(_) => Ok(LicenseFile { license: text.trim().to_owned(), key_set: None, status_list: None }),
    }
}

/// What is meant as the name of a file: neither the parts of a token nor the blocks of a license file have a slash or such an end.
fn looks_like_a_path(given: &str) -> bool {
    let ends = |end: &str| given.to_ascii_lowercase().ends_with(end);
    !given.contains("-----BEGIN ") && (given.contains('/') || [".lic", ".jwt", ".txt"].into_iter().any(ends))
}

fn read_file(path: &Path, code: &'static str) -> anyhow::Result<String> {
    std::fs::read_to_string(path).map_err(|error| coded(code, format!("{}: {error}", path.display())))
}

async fn keys_of_database(config: &Config) -> anyhow::Result<KeySet> {
    let db = database::open_to_read(config).await?;
    let mut tx = db.begin_read().await?;
    let stored = store::signing_keys::list(&mut tx).await?;
    tx.rollback().await?;
    crate::app::licenses::key_set_of(&stored).map_err(anyhow::Error::from)
}

fn sentence(state: &State) -> String {
    format!("{}: {state}", state.code())
}

fn describe(claims: &Claims) -> String {
    let time = |seconds: i64| Timestamp::from_unix_seconds(seconds).date_time_in_words();
    output::table(&[
        ("customer", claims.customer_id.clone()),
        ("license", format!("{} (version {})", claims.jti, claims.ver)),
        ("product", claims.aud.clone()),
        ("issuer", claims.iss.clone()),
        ("plan", format!("{} ({})", claims.plan, claims.status)),
        ("features", claims.features.join(", ")),
        ("limits", claims.limits.iter().map(|(name, n)| format!("{name} {n}")).collect::<Vec<_>>().join(", ")),
        ("issued", time(claims.iat)),
        ("refresh after", time(claims.refresh_after)),
        ("paid until", time(claims.paid_until)),
        ("works until", time(claims.exp)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_in_the_largest_unit_that_it_fills() {
        for (seconds, words) in [
            (59, "0 minutes"),
            (3_599, "59 minutes"),
            (60, "1 minute"),
            (3_600, "1 hour"),
            (86_399, "23 hours"),
            (86_400, "1 day"),
            (30 * 86_400, "30 days"),
        ] {
            assert_eq!(duration(seconds), words, "{seconds}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_told_from_a_license() {
        for (given, expected) in [
            ("acme.lic", true),
            ("ACME.LIC", true),
            ("folder/license", true),
            ("eyJhbGciOiJFZERTQSJ9.eyJpc3MiOiJ4In0.c2lnbmF0dXJl", false),
            ("-", false),
        ] {
            assert_eq!(looks_like_a_path(given), expected, "{given}");
        }
        let missing = read("acme.lic").err().map(|error| error.to_string()).unwrap_or_default();
        assert!(missing.starts_with("there is no file acme.lic"), "{missing}");
    }

    #[test]
    fn a_day_is_meant_from_its_beginning() {
        assert_eq!(parse_date("2026-12-31").unwrap().to_string(), "2026-12-31T00:00:00.000000Z");
    }
}
