//! Licenses as files: a PEM-like armor that people can read and mail programs cannot break.
//!
//! A `.lic` file is one block; a bundle adds blocks with the key set and the status list, for machines without a network.
//! Lines with a colon are comments for people and mean nothing. Reading proves nothing: what is found is verified like
//! anything else that arrives as a text.

use std::fmt;

use crate::verify::inspect;

/// The longest file that is read.
pub const LICENSE_FILE_BYTES_MAX: usize = 2 * 1024 * 1024;

const LINE_CHARACTERS: usize = 64;
const COMMENT_CHARACTERS_MAX: usize = 60;
const LICENSE: &str = "LICENSE";
const KEY_SET: &str = "KEY SET";
const STATUS_LIST: &str = "STATUS LIST";

/// Why a text is no license file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum LicenseFileError {
    /// Longer than [`LICENSE_FILE_BYTES_MAX`].
    #[error("the license file is longer than {LICENSE_FILE_BYTES_MAX} bytes")]
    TooLarge,
    /// No license in it, a block without an end, twice the same block, or a line that belongs to nothing.
    #[error("this is not a license file; was it copied in full?")]
    Malformed,
}

impl LicenseFileError {
    /// A stable word for programs; it never changes once released.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "file_too_large",
            Self::Malformed => "file_malformed",
        }
    }
}

/// What a `.lic` file or a bundle holds, as texts that nobody has verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LicenseFile {
    /// The license's token.
    pub license: String,
    /// The key set that the root has signed, in a bundle.
    pub key_set: Option<String>,
    /// The status list, in a bundle.
    pub status_list: Option<String>,
}

impl LicenseFile {
    /// Reads a file, a bundle, or a bare token. Windows line ends, spaces around lines, `>` before them, line breaks
    /// anywhere and text around the blocks do no harm; blocks of other names are passed over.
    ///
    /// # Errors
    /// When there is no license in it, or when it is broken.
    pub fn parse(text: &str) -> Result<Self, LicenseFileError> {
        if text.len() > LICENSE_FILE_BYTES_MAX {
            return Err(LicenseFileError::TooLarge);
        }
        let lines = || text.strip_prefix('\u{feff}').unwrap_or(text).split(['\r', '\n']).map(unquoted);
        if !lines().any(|line| line.starts_with("-----BEGIN ")) {
            let license = joined(lines().filter(|line| !line.is_empty()))?;
            return Ok(Self { license, key_set: None, status_list: None });
        }
        let (mut license, mut key_set, mut status_list) = (None, None, None);
        let mut block: Option<(&str, Vec<&str>)> = None;
        for line in lines() {
            if let Some(name) = edge(line, "BEGIN") {
                if block.replace((name, Vec::new())).is_some() {
                    return Err(LicenseFileError::Malformed);
                }
            } else if let Some(name) = edge(line, "END") {
                let (begun, body) = block.take().ok_or(LicenseFileError::Malformed)?;
                let place = match name {
                    LICENSE => &mut license,
                    KEY_SET => &mut key_set,
                    STATUS_LIST => &mut status_list,
                    _ if begun == name => continue,
                    _ => return Err(LicenseFileError::Malformed),
                };
                if begun != name || place.replace(joined(body.into_iter())?).is_some() {
                    return Err(LicenseFileError::Malformed);
                }
            } else if let Some((_, body)) = &mut block
                && !line.is_empty()
                && !line.contains(':')
            {
                body.push(line);
            }
        }
        let license = license.filter(|_| block.is_none()).ok_or(LicenseFileError::Malformed)?;
        Ok(Self { license, key_set, status_list })
    }

    /// The file's text with one comment more, the company that the license was issued to: the license itself names nobody. A name
    /// with letters beyond ASCII is left out, so that the file survives every editor and every mail program.
    #[must_use]
    pub fn to_text_for(&self, company: &str) -> String {
        let line = (!company.is_empty() && company.chars().all(is_plain)).then(|| comment("Company", company));
        let mut text = String::new();
        self.write(&mut text, line).expect("a text takes everything");
        text
    }

    fn write(&self, out: &mut impl fmt::Write, company: Option<String>) -> fmt::Result {
        let lines: Vec<String> = comments(&self.license).into_iter().chain(company).collect();
        write_block(out, LICENSE, &lines, &self.license)?;
        for (name, text) in [(KEY_SET, &self.key_set), (STATUS_LIST, &self.status_list)] {
            if let Some(text) = text {
                write_block(out, name, &[], text)?;
            }
        }
        Ok(())
    }
}

/// As [`LicenseFile::parse`] reads it, with the license's plan and dates as comments.
impl fmt::Display for LicenseFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(formatter, None)
    }
}

fn write_block(out: &mut impl fmt::Write, name: &str, comments: &[String], text: &str) -> fmt::Result {
    writeln!(out, "-----BEGIN COUNTERFOIL {name}-----")?;
    for comment in comments {
        writeln!(out, "{comment}")?;
    }
    if !comments.is_empty() {
        writeln!(out)?;
    }
    let mut rest = text;
    while !rest.is_empty() {
        let (line, more) = rest.split_at_checked(LINE_CHARACTERS).unwrap_or((rest, ""));
        writeln!(out, "{line}")?;
        rest = more;
    }
    writeln!(out, "-----END COUNTERFOIL {name}-----")
}

/// What a person wants to know of the file without opening it with anything.
fn comments(license: &str) -> Vec<String> {
    let Ok((_, claims)) = inspect(license) else { return Vec::new() };
    vec![
        comment("Product", &claims.aud),
        comment("Customer", &claims.customer_id),
        comment("Plan", &claims.plan),
        comment("Issued", &date(claims.iat)),
        comment("Paid until", &date(claims.paid_until)),
        comment("Works until", &date(claims.exp)),
    ]
}

/// One line stays one line, whatever somebody wrote into a claim.
fn comment(name: &str, value: &str) -> String {
    let plain = |c: char| if is_plain(c) { c } else { '?' };
    format!("{name}: {value}").chars().take(COMMENT_CHARACTERS_MAX).map(plain).collect()
}

fn is_plain(c: char) -> bool {
    c == ' ' || c.is_ascii_graphic()
}

/// The day in UTC (proleptic Gregorian calendar), as `2027-01-31`.
fn date(unix_seconds: i64) -> String {
    const DAYS_IN_400_YEARS: i64 = 146_097;
    // Counted from 1 March of the year 0, leap days come last in their year.
    let days = unix_seconds.div_euclid(24 * 60 * 60) + 719_468;
    let (era, day) = (days.div_euclid(DAYS_IN_400_YEARS), days.rem_euclid(DAYS_IN_400_YEARS));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year + next_year)
}

/// A line without what mail programs put around it.
fn unquoted(line: &str) -> &str {
    line.trim_start_matches(['>', ' ', '\t']).trim_end_matches([' ', '\t'])
}

/// The name of the block that begins or ends with this line.
fn edge<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    let name = line.strip_prefix("-----")?.strip_prefix(word)?.strip_prefix(" COUNTERFOIL ")?.strip_suffix("-----")?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte == b' ' || byte.is_ascii_uppercase());
    is_name.then_some(name)
}

/// The text itself; a `=` at the end of a line is what quoted-printable mail puts at a break.
fn joined<'a>(lines: impl Iterator<Item = &'a str>) -> Result<String, LicenseFileError> {
    let mut text = String::new();
    for line in lines {
        let line = line.strip_suffix('=').unwrap_or(line);
        let is_body = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if line.is_empty() || !line.bytes().all(is_body) {
            return Err(LicenseFileError::Malformed);
        }
        text.push_str(line);
    }
    if text.is_empty() { Err(LicenseFileError::Malformed) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        for (unix_seconds, expected) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (951_782_400, "2000-02-29"),
            (1_800_000_000, "2027-01-15"),
            (4_107_542_399, "2100-02-28"),
            (4_107_542_400, "2100-03-01"),
            (253_402_300_799, "9999-12-31"),
        ] {
            assert_eq!(date(unix_seconds), expected);
        }
        assert!(!date(i64::MAX).is_empty() && !date(i64::MIN).is_empty());
    }

    #[test]
    fn what_was_written_is_read_and_no_comment_can_forge_a_line() {
        let full = LicenseFile {
            license: "a.b.c".repeat(40),
            key_set: Some("k".repeat(64)),
            status_list: Some("s".repeat(65)),
        };
        let text = full.to_string();
        assert!(text.lines().all(|line| line.len() <= LINE_CHARACTERS), "{text}");
        assert_eq!(LicenseFile::parse(&text).as_ref(), Ok(&full));
        assert_eq!(comments("a.b.c"), Vec::<String>::new());
    }

    #[test]
    fn the_size_limit_is_exact() {
        let longest = "A".repeat(LICENSE_FILE_BYTES_MAX);
        assert!(LicenseFile::parse(&longest).is_ok());
        assert_eq!(LicenseFile::parse(&(longest + "A")), Err(LicenseFileError::TooLarge));
    }
}
