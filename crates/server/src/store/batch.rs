//! One statement for several rows.
//!
//! What is done for one customer is done for all whose turn it is at the same moment, and a statement costs about the same for one
//! row as for sixteen. The text is written once, as a template: what stands in braces is repeated for each row with commas in
//! between, what stands in brackets with blanks; `@1`, `@2` … are the values of a row, and `$1`, `$2` … those that all rows share.
//! Every text that can come of a template is a constant of the program, and a test prepares it on both engines.

use std::fmt::Write as _;
use std::sync::OnceLock;

use crate::db::{DbError, Query, Row, Tx};

/// How many rows a statement can have. More rows make more statements.
pub const SIZES: [usize; 5] = [1, 2, 4, 8, 16];

const ROWS_MAX: usize = SIZES[SIZES.len() - 1];

/// A statement for several rows.
#[derive(Debug)]
pub struct Batch {
    template: &'static str,
    /// Whether a row may stand there several times.
    padded: bool,
    texts: [OnceLock<String>; SIZES.len()],
}

impl Batch {
    /// A statement that adds rows: each stands in it once.
    #[must_use]
    pub const fn adding(template: &'static str) -> Self {
        Self { template, padded: false, texts: [const { OnceLock::new() }; SIZES.len()] }
    }

    /// A statement about rows that are named by keys. Where there are fewer than it has room for, the last one is named again.
    #[must_use]
    pub const fn about(template: &'static str) -> Self {
        Self { template, padded: true, texts: [const { OnceLock::new() }; SIZES.len()] }
    }

    /// The text for as many rows as a statement can have, but no more than these; and how many that is.
    pub fn largest(&'static self, rows: usize) -> (usize, &'static str) {
        let size = SIZES.iter().rposition(|size| *size <= rows).unwrap_or(0);
        (SIZES[size], self.text(size))
    }

    fn text(&'static self, size: usize) -> &'static str {
        self.texts[size].get_or_init(|| expand(self.template, SIZES[size]))
    }

    /// Executes the statement for these rows, and says how many rows it changed. `shared` binds what all rows share, `each` what
    /// belongs to one.
    ///
    /// # Errors
    /// See [`DbError`].
    pub async fn execute<T>(
        &'static self,
        tx: &mut Tx,
        rows: &[T],
        shared: impl Fn(Query<'_>) -> Query<'_>,
        each: impl for<'q> Fn(Query<'q>, &T) -> Query<'q>,
    ) -> Result<u64, DbError> {
        let mut changed = 0;
        let mut rest = rows;
        while !rest.is_empty() {
            let (part, size, after) = self.split(rest);
            changed += self.fill(tx, part, size, &shared, &each).execute().await?;
            rest = after;
        }
        Ok(changed)
    }

    /// The same for a statement that answers rows.
    ///
    /// # Errors
    /// See [`DbError`].
    pub async fn all<T>(
        &'static self,
        tx: &mut Tx,
        rows: &[T],
        shared: impl Fn(Query<'_>) -> Query<'_>,
        each: impl for<'q> Fn(Query<'q>, &T) -> Query<'q>,
    ) -> Result<Vec<Row>, DbError> {
        let mut found = Vec::new();
        let mut rest = rows;
        while !rest.is_empty() {
            let (part, size, after) = self.split(rest);
            found.extend(self.fill(tx, part, size, &shared, &each).all().await?);
            rest = after;
        }
        Ok(found)
    }

    /// The rows of the next statement, which of [`SIZES`] it has, and what is left.
    fn split<'r, T>(&self, rows: &'r [T]) -> (&'r [T], usize, &'r [T]) {
        let count = rows.len().min(ROWS_MAX);
        let size = match self.padded {
            true => SIZES.iter().position(|size| *size >= count),
            false => SIZES.iter().rposition(|size| *size <= count),
        };
        let size = size.unwrap_or(0);
        let (part, after) = rows.split_at(count.min(SIZES[size]));
        (part, size, after)
    }

    fn fill<'t, T>(
        &'static self,
        tx: &'t mut Tx,
        part: &[T],
        size: usize,
        shared: &impl Fn(Query<'_>) -> Query<'_>,
        each: &impl for<'q> Fn(Query<'q>, &T) -> Query<'q>,
    ) -> Query<'t> {
        let text = self.text(size);
        let again = part.iter().last();
        let rows = part.iter().chain(again.into_iter().cycle()).take(SIZES[size]);
        rows.fold(shared(tx.query(text)), each)
    }
}

/// Binds nothing: the rows of a statement share no value.
pub fn nothing(query: Query<'_>) -> Query<'_> {
    query
}

/// The text of a template for so many rows.
#[must_use]
pub fn expand(template: &str, rows: usize) -> String {
    let (shared, width) = (highest(template, '$'), highest(template, '@'));
    let mut text = String::with_capacity(template.len() * rows);
    let mut rest = template;
    while let Some(open) = rest.find(['{', '[']) {
        let (end, between) = if rest[open..].starts_with('{') { ('}', ", ") } else { (']', " ") };
        let close = rest[open..].find(end).map_or(rest.len(), |close| open + close);
        text.push_str(&rest[..open]);
        for row in 0..rows {
            text.push_str(if row > 0 { between } else { "" });
            number(&mut text, &rest[open + 1..close], shared + row * width);
        }
        rest = rest.get(close + 1..).unwrap_or_default();
    }
    text.push_str(rest);
    text
}

/// Writes a part with its row's values numbered from `before` on.
fn number(text: &mut String, part: &str, before: usize) {
    for (at, piece) in part.split('@').enumerate() {
        if at == 0 {
            text.push_str(piece);
            continue;
        }
        let digits = piece.find(|c: char| !c.is_ascii_digit()).unwrap_or(piece.len());
        let own: usize = piece[..digits].parse().unwrap_or(0);
        // Writing to a string cannot fail.
        let _ = write!(text, "${}{}", before + own, &piece[digits..]);
    }
}

fn highest(template: &str, mark: char) -> usize {
    let number = |piece: &str| piece.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok());
    template.split(mark).skip(1).filter_map(number).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_repeated_and_numbered() {
        assert_eq!(
            expand("update t set x = $1, y = case id [when @1 then cast(@2 as bigint)] end where id in ({@1})", 2),
            "update t set x = $1, y = case id when $2 then cast($3 as bigint) when $4 then cast($5 as bigint) end \
             where id in ($2, $4)"
        );
        assert_eq!(expand("insert into t values {(@1, 'a', @2)}", 1), "insert into t values ($1, 'a', $2)");
        assert_eq!(expand("select 1 where x in ({@1}) and y = $1", 3), "select 1 where x in ($2, $3, $4) and y = $1");
    }

    #[test]
    fn rows_are_split_into_few_statements() {
        let sizes = |batch: &Batch, rows: usize| {
            let all = vec![0; rows];
            let (mut rest, mut sizes) = (all.as_slice(), Vec::new());
            while !rest.is_empty() {
                let (part, size, after) = batch.split(rest);
                sizes.push((part.len(), SIZES[size]));
                rest = after;
            }
            sizes
        };
        let (adding, about) = (Batch::adding(""), Batch::about(""));
        assert_eq!(sizes(&adding, 21), [(16, 16), (4, 4), (1, 1)]);
        assert_eq!(sizes(&about, 21), [(16, 16), (5, 8)]);
        assert_eq!(sizes(&about, 3), [(3, 4)]);
        assert!(sizes(&adding, 0).is_empty());
    }
}
