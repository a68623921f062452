//! Where everything is kept.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::error::Problems;
use super::reading::text;
use super::settings;
use super::source::Values;

const DATA_DIR_DEFAULT: &str = "./data";
const DATABASE_FILE: &str = "counterfoil.db";

/// The settings of files and database.
pub(super) struct Storage {
    pub(super) data_dir: PathBuf,
    pub(super) database_url: SecretString,
}

pub(super) fn storage(values: &Values, problems: &mut Problems) -> Option<Storage> {
    let data_dir = PathBuf::from(text(values, &settings::DATA_DIR).unwrap_or_else(|| DATA_DIR_DEFAULT.to_owned()));
    let database_url = database_url(values, &data_dir, problems)?;
    Some(Storage { data_dir, database_url })
}

fn database_url(values: &Values, data_dir: &Path, problems: &mut Problems) -> Option<SecretString> {
    let Some(given) = values.get(&settings::DATABASE_URL) else {
        return Some(sqlite_url(&data_dir.join(DATABASE_FILE)).into());
    };
    let scheme = given.text.split_once(':').map(|(scheme, _)| scheme);
    match scheme {
        Some("sqlite" | "postgres" | "postgresql") => Some(given.text.clone().into()),
        _ => {
            let message = "must begin with sqlite:// or postgres://, such as postgres://user:password@host/database";
            problems.add("invalid_database_url", &given.name, message);
            None
        }
    }
}

/// A path as URL: what would end it or be decoded is escaped.
fn sqlite_url(path: &Path) -> String {
    let path = path.to_string_lossy().replace('%', "%25").replace('?', "%3F").replace('#', "%23");
    format!("sqlite://{path}")
}
