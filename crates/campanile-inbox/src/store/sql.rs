//! Statements that both databases understand.
//!
//! Owns the few words in which the two differ. Never interpolates a value. The invariant: a statement's text is known
//! when the program is built.

use std::sync::OnceLock;

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// A statement, in the words of both.
#[derive(Debug)]
pub(crate) struct Statement {
    text: &'static str,
    sqlite: OnceLock<&'static str>,
    postgres: OnceLock<&'static str>,
}

impl Statement {
    pub(crate) const fn new(text: &'static str) -> Self {
        Self { text, sqlite: OnceLock::new(), postgres: OnceLock::new() }
    }

    pub(crate) fn of(&self, dialect: Dialect) -> &'static str {
        // What is leaked is bounded by the number of statements in the program.
        match dialect {
            Dialect::Sqlite => self.sqlite.get_or_init(|| said(self.text, &SQLITE).leak()),
            Dialect::Postgres => self.postgres.get_or_init(|| said(self.text, &POSTGRES).leak()),
        }
    }
}

/// What stands for each `{..}`. A list is a JSON array of texts, or of numbers, in one value.
type Words = [(&'static str, &'static str); 7];

const SQLITE: Words = [
    ("{serial}", "INTEGER PRIMARY KEY AUTOINCREMENT"),
    ("{for update}", ""),
    ("{skip locked}", ""),
    // Left to itself, SQLite takes the primary key, and looks at every row above the floor.
    ("{unread index}", "INDEXED BY campanile_inbox_unread"),
    ("{unseen index}", "INDEXED BY campanile_inbox_unseen"),
    ("{list ", "(SELECT value FROM json_each("),
    ("{numbers ", "(SELECT value FROM json_each("),
];
const POSTGRES: Words = [
    ("{serial}", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
    ("{for update}", "FOR UPDATE"),
    ("{skip locked}", "FOR UPDATE SKIP LOCKED"),
    ("{unread index}", ""),
    ("{unseen index}", ""),
    ("{list ", "(SELECT json_array_elements_text(CAST("),
    ("{numbers ", "(SELECT CAST(json_array_elements_text(CAST("),
];

fn said(text: &str, words: &Words) -> String {
    let is_postgres = words[1].1 == "FOR UPDATE";
    let mut said = text.to_owned();
    for (word, meaning) in words {
        if !word.ends_with(' ') {
            said = said.replace(word, meaning);
            continue;
        }
        while let Some(at) = said.find(word) {
            let end = at + said[at..].find('}').expect("a list ends");
            let value = said[at + word.len()..end].to_owned();
            let tail = match (is_postgres, *word) {
                (false, _) => "))",
                (true, "{list ") => " AS JSON)))",
                (true, _) => " AS JSON)) AS BIGINT))",
            };
            said.replace_range(at..=end, &format!("{meaning}{value}{tail}"));
        }
    }
    said
}

/// A [`Statement`] of its own for each place in the program.
macro_rules! sql {
    ($($text:expr),+ $(,)?) => {{
        static STATEMENT: $crate::store::sql::Statement = $crate::store::sql::Statement::new(concat!($($text),+));
        &STATEMENT
    }};
}
pub(crate) use sql;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_database_hears_its_own_words() {
        let statement = Statement::new("SELECT 1 WHERE a IN {list $1} AND b IN {numbers $2} {for update}");
        assert_eq!(
            statement.of(Dialect::Sqlite),
            "SELECT 1 WHERE a IN (SELECT value FROM json_each($1)) AND b IN (SELECT value FROM json_each($2)) "
        );
        assert_eq!(
            statement.of(Dialect::Postgres),
            "SELECT 1 WHERE a IN (SELECT json_array_elements_text(CAST($1 AS JSON))) \
             AND b IN (SELECT CAST(json_array_elements_text(CAST($2 AS JSON)) AS BIGINT)) FOR UPDATE"
        );
    }
}
