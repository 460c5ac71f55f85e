//! The rule that keeps old ledgers readable: migration 0001 is frozen, and later ones only add, so that the version before
//! each of them can still run on the schema.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ledger/migrations")
}

#[test]
fn migration_0001_is_frozen() {
    let frozen = "ded05815bcdc4e28e089c2e21c9ed390b23fb9e67060b8558947fc5a8e551ddb";
    let sql = fs::read(folder().join("0001_first.sql")).unwrap();
    assert_eq!(
        hex::encode(Sha256::digest(sql)),
        frozen,
        "write a new migration; ledgers have this one already"
    );
}

#[test]
fn every_later_migration_only_adds() {
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap() != "0001_first.sql" {
            let objections = objections(&fs::read_to_string(&path).unwrap());
            assert_eq!(objections, Vec::<String>::new(), "{}", path.display());
        }
    }
}

#[test]
fn a_migration_that_takes_something_away_is_rejected() {
    let fine = "
        -- DROP TABLE meta; is only a remark
        CREATE TABLE people (id SERIAL KEY, name TEXT NOT NULL);
        CREATE UNIQUE INDEX people_name ON people (name);
        INSERT INTO people (name) SELECT DISTINCT holder FROM leases;
        ALTER TABLE audit ADD COLUMN by_whom TEXT NOT NULL DEFAULT '; x';
        ALTER TABLE audit ADD COLUMN via TEXT;
        CREATE INDEX audit_via ON audit (via) WHERE via IS NOT NULL;
        UPDATE audit SET via = CASE WHEN cause = 'person' THEN COALESCE(via, 'cli') END, by_whom = 'x' WHERE via IS NULL;
        INSERT INTO meta (name, value) VALUES ('people', '');";
    assert_eq!(objections(fine), Vec::<String>::new());
    for wrong in [
        "DROP TABLE meta",
        "DROP INDEX audit_at",
        "ALTER TABLE audit DROP COLUMN proof",
        "ALTER TABLE audit RENAME TO trail",
        "ALTER TABLE audit RENAME COLUMN proof TO evidence",
        "ALTER TABLE audit ALTER COLUMN proof SET NOT NULL",
        "ALTER TABLE audit ADD COLUMN via TEXT NOT NULL",
        "ALTER TABLE audit ADD CONSTRAINT once UNIQUE (at)",
        "DELETE FROM audit",
        "UPDATE audit SET cause = 'pass'",
        "ALTER TABLE audit ADD COLUMN via TEXT; UPDATE audit SET via = cause, cause = 'pass'",
        "ALTER TABLE audit ADD COLUMN via TEXT; UPDATE teams SET via = 1",
        "INSERT INTO teams (org_id) VALUES (1)",
        "CREATE UNIQUE INDEX once ON audit (at)",
        "CREATE TRIGGER t AFTER INSERT ON audit BEGIN DELETE FROM meta; END",
        "CREATE TABLE x AS SELECT 1 AS one",
        "TRUNCATE audit",
        "WITH gone AS (DELETE FROM audit RETURNING id) INSERT INTO meta SELECT 'a', 'b'",
    ] {
        assert!(!objections(wrong).is_empty(), "{wrong}");
    }
}

/// Lists what is wrong with a migration. It may create tables and indexes, add columns that need no value, fill what it
/// added, and add rows to `meta`.
fn objections(sql: &str) -> Vec<String> {
    let mut seen = Added::default();
    let statements = statements(sql);
    statements
        .iter()
        .filter_map(|statement| Some(format!("{}: {statement}", seen.objection(statement)?)))
        .collect()
}

/// The statements without comments and with their texts emptied, each in one line and in upper case.
fn statements(sql: &str) -> Vec<String> {
    let mut plain = String::new();
    for line in sql.lines() {
        // In this schema's SQL, no text has a quote or `--` in it.
        let mut within = false;
        for part in line.split("--").next().unwrap().split_inclusive('\'') {
            match (within, part.strip_suffix('\'')) {
                (false, Some(code)) => plain += &format!("{code}''"),
                (false, None) => plain += part,
                (true, _) => {}
            }
            within ^= part.ends_with('\'');
        }
        plain.push(' ');
    }
    let words = |statement: &str| statement.split_whitespace().collect::<Vec<_>>().join(" ").to_uppercase();
    plain.split(';').map(words).filter(|statement| !statement.is_empty()).collect()
}

/// What the migration has added so far.
#[derive(Default)]
struct Added {
    tables: BTreeSet<String>,
    columns: BTreeSet<(String, String)>,
}

impl Added {
    fn objection(&mut self, statement: &str) -> Option<&'static str> {
        let words: Vec<&str> =
            statement.split([' ', '(', ')', ',']).filter(|word| !word.is_empty()).collect();
        if ["DROP", "RENAME", "DELETE", "TRUNCATE", "TRIGGER"].iter().any(|word| words.contains(word)) {
            return Some("it takes away, renames, or does so later");
        }
        match *words.as_slice() {
            ["CREATE", "TABLE", table, ..] if statement.contains(&format!("{table} (")) => {
                self.tables.insert(table.to_owned());
                None
            }
            ["CREATE", "INDEX", ..] => None,
            ["CREATE", "UNIQUE", "INDEX", _, "ON", table, ..] => {
                let columns = words.iter().skip(6).take_while(|word| **word != "WHERE");
                let added = |column: &&str| self.columns.contains(&(table.to_owned(), (*column).to_owned()));
                let may = self.tables.contains(table) || columns.clone().any(added);
                (!may).then_some("the version before it may write what this index rejects")
            }
            ["ALTER", "TABLE", table, "ADD", "COLUMN", column, ..] => {
                self.columns.insert((table.to_owned(), column.to_owned()));
                let needs = statement.contains("NOT NULL") && !words.contains(&"DEFAULT");
                needs.then_some("the version before it does not fill this column")
            }
            ["INSERT", "INTO", table, ..] if table == "META" || self.tables.contains(table) => None,
            ["UPDATE", table, "SET", ..] => {
                let added = |column: String| self.columns.contains(&(table.to_owned(), column));
                let fills = self.tables.contains(table) || assigned(statement).into_iter().all(added);
                (!fills).then_some("it changes what this migration did not add")
            }
            _ => Some("a migration may create tables and indexes, add columns, and fill them"),
        }
    }
}

/// The columns that an UPDATE assigns to.
fn assigned(update: &str) -> Vec<String> {
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for c in update.split_once(" SET ").unwrap().1.chars() {
        depth += i32::from(c == '(') - i32::from(c == ')');
        if depth == 0 && c == ',' {
            parts.push(String::new());
        } else {
            parts.last_mut().unwrap().push(c);
        }
    }
    let name = |part: &String| part.split('=').next().unwrap().trim().to_owned();
    parts.iter().map(name).collect()
}
