//! Where values come from: the file, and the environment on top. Here they are still text; their meaning is checked later.

use std::collections::BTreeMap;
use std::path::Path;

use counterfoil_core::Plan;
use toml::{Table, Value};

use super::error::Problems;
use super::settings::{ALL, PLAN_KEYS, PLANS, PREFIX, PRICE_KEYS, Setting, TEST_PREFIX, closest};

/// Environment variables by name. A value of its own, so that a test has an environment to itself.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The variables of this process. Those that are not UTF-8 are none of ours.
    #[must_use]
    pub fn of_process() -> Self {
        Self(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
        )
    }

    /// A variable; blank is the same as unset, because `compose.yaml` and CI systems cannot unset one.
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.trim().is_empty())
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl std::fmt::Debug for Environment {
    /// Names only: values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A value as it was given.
#[derive(Clone)]
pub(super) struct Given {
    /// Trimmed; several are separated by commas.
    pub(super) text: String,
    /// The name it was given under, for messages.
    pub(super) name: String,
}

/// All values by the setting's key, and the plans where the file has some.
#[derive(Default)]
pub(super) struct Values {
    given: BTreeMap<&'static str, Given>,
    pub(super) plans: Option<Vec<Plan>>,
}

impl Values {
    pub(super) fn get(&self, setting: &Setting) -> Option<&Given> {
        self.given.get(setting.key)
    }

    /// The name to complain about: the one that was used, or the variable's.
    pub(super) fn name(&self, setting: &Setting) -> String {
        self.get(setting).map_or_else(|| setting.variable.to_owned(), |given| given.name.clone())
    }
}

/// Reads the file's text, if there is a file, and lays the environment over it.
pub(super) fn gather(file: Option<&str>, environment: &Environment, problems: &mut Problems) -> Values {
    let mut values = Values::default();
    if let Some(text) = file {
        read_file(text, &mut values, problems);
    }
    for setting in ALL {
        let inline = environment.get(setting.variable).map(str::to_owned);
        let file_variable = setting.file_variable();
        let path = file_variable.as_deref().and_then(|name| environment.get(name)).map(str::to_owned);
        take(setting, (setting.variable, inline), (file_variable.as_deref(), path), &mut values, problems);
    }
    refuse_unknown_variables(environment, problems);
    values
}

/// Takes one setting from one source: given itself, or by the name of a file that holds it, but not both.
fn take(
    setting: &'static Setting,
    (name, inline): (&str, Option<String>),
    (file_name, path): (Option<&str>, Option<String>),
    values: &mut Values,
    problems: &mut Problems,
) {
    let file_name = file_name.unwrap_or_default();
    let (text, name) = match (inline, path) {
        (Some(_), Some(_)) => {
            return problems.add("set_twice", name, format!("is set, and {file_name} too: keep one of them"));
        }
        (Some(text), None) => (text, name),
        (None, Some(path)) => match std::fs::read_to_string(&path) {
            Ok(text) => (text, file_name),
            Err(error) => {
                return problems.add("secret_file_unreadable", file_name, format!("{path} cannot be read: {error}"));
            }
        },
        (None, None) => return,
    };
    let text = text.trim().to_owned();
    if text.is_empty() {
        // An empty secret file is an accident; taking it for "not set" could start the sandbox where Stripe was meant.
        return problems.add("empty_value", name, "is empty: give a value or remove it");
    }
    values.given.insert(setting.key, Given { text, name: name.to_owned() });
}

fn refuse_unknown_variables(environment: &Environment, problems: &mut Problems) {
    let known: Vec<String> =
        ALL.iter().flat_map(|setting| [Some(setting.variable.to_owned()), setting.file_variable()]).flatten().collect();
    for name in environment.0.keys().filter(|name| name.starts_with(PREFIX) && !name.starts_with(TEST_PREFIX)) {
        if !known.contains(name) {
            unknown(name, known.iter().map(String::as_str).filter(|name| name.starts_with(PREFIX)), problems);
        }
    }
}

fn unknown<'c>(name: &str, known: impl IntoIterator<Item = &'c str>, problems: &mut Problems) {
    let known: Vec<&str> = known.into_iter().collect();
    let message = match closest(name, known.iter().copied()) {
        Some(meant) => format!("is no setting; did you mean {meant}?"),
        None => format!("is no setting; known are {}", known.join(", ")),
    };
    problems.add("unknown_setting", name, message);
}

fn read_file(text: &str, values: &mut Values, problems: &mut Problems) {
    let mut table: Table = match toml::from_str(text) {
        Ok(table) => table,
        Err(error) => {
            // The parser's own text quotes the line, and the line may hold a secret.
            let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            let message = error.message().lines().next().unwrap_or("not readable").to_owned();
            return problems.add("file_syntax", format!("line {line}"), format!("is not TOML: {message}"));
        }
    };
    if let Some(plans) = table.remove(PLANS) {
        values.plans = read_plans(plans, problems);
    }
    for setting in ALL {
        let inline = table.remove(setting.key).and_then(|value| text_of(value, setting.key, setting.flag, problems));
        let file_key = setting.file_key();
        let path = file_key.as_deref().and_then(|key| text_of(table.remove(key)?, key, false, problems));
        take(setting, (setting.key, inline), (file_key.as_deref(), path), values, problems);
    }
    let known: Vec<String> =
        ALL.iter().flat_map(|setting| [Some(setting.key.to_owned()), setting.file_key()]).flatten().collect();
    for name in table.keys() {
        // Whoever writes a variable's name into the file is told the key.
        let variable = ALL.iter().find(|setting| setting.variable == name.as_str());
        match variable {
            Some(setting) => unknown(name, [setting.key], problems),
            None => unknown(name, known.iter().map(String::as_str).chain([PLANS]), problems),
        }
    }
}

/// A text, a list of texts, or a flag. The value itself is not repeated in a complaint, as it may be a secret.
fn text_of(value: Value, key: &str, flag: bool, problems: &mut Problems) -> Option<String> {
    match value {
        Value::Boolean(on) if flag => return Some(on.to_string()),
        Value::String(text) => return Some(text),
        Value::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            if let Some(texts) = texts {
                return (!texts.is_empty()).then(|| texts.join(","));
            }
        }
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) | Value::Table(_) => {}
    }
    let wanted = if flag { "must be true or false" } else { "must be a text in quotes, or a list of them" };
    problems.add("wrong_type", key, wanted);
    None
}

fn read_plans(value: Value, problems: &mut Problems) -> Option<Vec<Plan>> {
    let Value::Array(items) = &value else {
        problems.add("wrong_type", PLANS, "must be tables, each under a line [[plans]]");
        return None;
    };
    let mut spelled = true;
    for plan in items.iter().filter_map(Value::as_table) {
        spelled &= check_keys(plan, &PLAN_KEYS, "[[plans]]", problems);
        let prices = plan.get("prices").and_then(Value::as_array).into_iter().flatten();
        for price in prices.filter_map(Value::as_table) {
            spelled &= check_keys(price, &PRICE_KEYS, "[[plans.prices]]", problems);
        }
    }
    if !spelled {
        return None;
    }
    match value.try_into() {
        Ok(plans) => Some(plans),
        Err(error) => {
            let message = error.message().trim().to_owned();
            problems.add("catalog_invalid", "[[plans]]", message);
            None
        }
    }
}

fn check_keys(table: &Table, known: &[&str], place: &str, problems: &mut Problems) -> bool {
    let mut spelled = true;
    for name in table.keys().filter(|name| !known.contains(&name.as_str())) {
        spelled = false;
        let meant = closest(name, known.iter().copied());
        let hint =
            meant.map_or_else(|| format!("known are {}", known.join(", ")), |meant| format!("did you mean {meant}?"));
        problems.add("unknown_setting", format!("{name} in {place}"), format!("is no setting; {hint}"));
    }
    spelled
}

/// The file's text: a path that was asked for must be there, the usual one may be missing.
pub(super) fn file_text(path: Option<&Path>, problems: &mut Problems) -> Option<String> {
    let (path, asked) = match path {
        Some(path) => (path, true),
        None => (Path::new(super::FILE_NAME), false),
    };
    match std::fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !asked => None,
        Err(error) => {
            problems.add(
                "file_unreadable",
                path.display().to_string(),
                format!("cannot be read: {error}; see that --config names the right file, and that you may read it"),
            );
            None
        }
    }
}
