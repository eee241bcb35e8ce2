//! What the workload's tables look like: to the database, to the engine, and to whoever compares the two.

use serde_json::Value;

use super::{mariadb_tables, postgres_tables};
use crate::sql::Sql;

/// The schema of every table on Postgres.
pub const POSTGRES_SCHEMA: &str = "public";
/// The database of every table on MariaDB.
pub const MARIADB_DATABASE: &str = "shop";

/// Whose SQL is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL 15.
    Postgres,
    /// MariaDB 10.11.
    MariaDb,
}

/// One table.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name, without schema.
    pub name: &'static str,
    /// The server's kind.
    pub dialect: Dialect,
    /// The columns in order.
    pub columns: Vec<Column>,
    /// The primary key's columns; empty if it has none.
    pub key: Vec<&'static str>,
    /// Whether `before` of an event is a full image (`REPLICA IDENTITY FULL`; always so on MariaDB).
    pub full_identity: bool,
    /// Statements before `CREATE TABLE`.
    pub(super) before_create: Vec<String>,
    /// Statements after it.
    pub(super) after_create: Vec<String>,
}

/// One column.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name, in lower case.
    pub name: &'static str,
    /// The type to write in the engine's `columns:`, e.g. `DECIMAL(12,2)`. For pipelines on JSON without schemas.
    pub declared: &'static str,
    /// The SQL expression of the value as `readers/canonical.py` prints it, once JSON. Floats are numbers whose text may
    /// differ (`1e+16`, `1e16`): they are equal as numbers.
    pub canonical: String,
    /// The type in the database, with `NOT NULL`.
    pub sql_type: &'static str,
    /// The values that are written to it.
    pub values: Values,
}

/// The kinds of values that a column gets.
#[derive(Debug, Clone, Copy)]
pub enum Values {
    /// Numbers from the first to the second, the ends often.
    Int(i128, i128),
    /// Precision and scale.
    Decimal(u32, u32),
    /// Any finite double.
    Float64,
    /// Any finite 32-bit float.
    Float32,
    /// True and false.
    Bool,
    /// Up to so many characters of every awkward kind.
    Text(usize),
    /// From nothing to some 20,000 characters: beyond the 2 kB from which Postgres stores a value out of line.
    Large,
    /// JSON documents, sometimes large.
    Json,
    /// Up to so many bytes.
    Bytes(usize),
    /// Years 1583 to 9999, and older ones if asked for.
    Date,
    /// Digits after the second.
    Timestamp(usize),
    /// Digits after the second; years that an instant of the dialect can have.
    Instant(usize),
    /// UUIDs.
    Uuid,
    /// One of these SQL literals.
    Literals(&'static [&'static str]),
}

/// The tables of a database. Those that hold only values of which the connector or the engine loses something are
/// not among them: see [`Table::oddities`].
pub fn tables(dialect: Dialect) -> Vec<Table> {
    match dialect {
        Dialect::Postgres => postgres_tables::all(),
        Dialect::MariaDb => mariadb_tables::all(),
    }
}

/// The table of that name.
///
/// # Panics
/// If there is none.
pub fn table(dialect: Dialect, name: &str) -> Table {
    let mut tables = tables(dialect);
    if dialect == Dialect::Postgres {
        tables.push(Table::oddities());
    }
    let found = tables.into_iter().find(|table| table.name == name);
    found.unwrap_or_else(|| panic!("the workload has no table {name}"))
}

impl Table {
    /// The table of values that no lake type can hold (Postgres only).
    pub fn oddities() -> Self {
        postgres_tables::oddities()
    }

    /// The schema on Postgres, the database on MariaDB.
    pub fn schema(&self) -> &'static str {
        match self.dialect {
            Dialect::Postgres => POSTGRES_SCHEMA,
            Dialect::MariaDb => MARIADB_DATABASE,
        }
    }

    /// `schema.name`, as SQL and Debezium's options write it.
    pub fn qualified(&self) -> String {
        format!("{}.{}", self.schema(), self.name)
    }

    /// The topic of its changes.
    pub fn topic(&self, prefix: &str) -> String {
        format!("{prefix}.{}", self.qualified())
    }

    /// The engine's `columns:` for messages without schemas, with the primary key.
    pub fn declared(&self) -> String {
        let columns = self.columns.iter();
        let mut parts: Vec<String> = columns
            .map(|column| format!("{} {}", column.name, column.declared))
            .collect();
        if !self.key.is_empty() {
            parts.push(format!("PRIMARY KEY ({})", self.key.join(", ")));
        }
        parts.join(", ")
    }

    /// The query for the whole table: one column, a JSON object a row in `readers/canonical.py`'s spelling, ordered by
    /// the key (without a key by that text). [`rows`](Self::rows) runs it; or `execute` and [`parse`](Self::parse).
    pub fn select(&self) -> String {
        let key = match (self.key.is_empty(), self.dialect) {
            (false, _) => self.key.join(", "),
            (true, Dialect::Postgres) => "row_to_json(q)::text COLLATE \"C\"".to_owned(),
            (true, Dialect::MariaDb) => "1".to_owned(),
        };
        let columns = self.columns.iter();
        match self.dialect {
            Dialect::Postgres => {
                let columns: Vec<String> = columns
                    .map(|column| format!("{} AS {}", column.canonical, column.name))
                    .collect();
                format!(
                    "SELECT row_to_json(q)::text AS row FROM (SELECT {} FROM {}) q ORDER BY {key}",
                    columns.join(", "),
                    self.qualified()
                )
            }
            Dialect::MariaDb => {
                let columns: Vec<String> = columns
                    .map(|column| format!("'{}', {}", column.name, column.canonical))
                    .collect();
                format!(
                    "SELECT JSON_OBJECT({}) AS `row` FROM {} ORDER BY {key}",
                    columns.join(", "),
                    self.qualified()
                )
            }
        }
    }

    /// The whole table now, as [`select`](Self::select) prints it.
    ///
    /// # Panics
    /// If the server refuses the query, or prints something else than JSON.
    pub fn rows(&self, sql: &dyn Sql) -> Vec<Value> {
        self.parse(&sql.execute(&self.select()))
    }

    /// The rows that [`select`](Self::select) printed, one a line.
    ///
    /// # Panics
    /// If a line is no JSON.
    pub fn parse(&self, printed: &str) -> Vec<Value> {
        let rows = printed.lines().filter(|line| !line.is_empty());
        rows.map(|line| {
            serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{}: {error}: {line}", self.name))
        })
        .collect()
    }

    /// The columns by which the workload finds a row: the key, or the first column of a table without one.
    pub(super) fn identity(&self) -> Vec<&'static str> {
        if self.key.is_empty() {
            self.columns
                .iter()
                .take(1)
                .map(|column| column.name)
                .collect()
        } else {
            self.key.clone()
        }
    }

    /// The other columns.
    pub(super) fn values(&self) -> Vec<&Column> {
        let identity = self.identity();
        let columns = self.columns.iter();
        columns
            .filter(|column| !identity.contains(&column.name))
            .collect()
    }

    /// The table without the columns that may hold more than Postgres keeps in a row; none if there are none.
    pub(super) fn without_large(&self) -> Option<Self> {
        let large = |column: &Column| matches!(column.values, Values::Large);
        if !self.columns.iter().any(large) {
            return None;
        }
        let mut small = self.clone();
        small
            .columns
            .retain(|column| !matches!(column.values, Values::Large | Values::Json));
        Some(small)
    }

    /// The statements that make it; the schema is there.
    pub fn create(&self) -> String {
        let mut parts: Vec<String> = self
            .columns
            .iter()
            .map(|column| format!("{} {}", column.name, column.sql_type))
            .collect();
        if !self.key.is_empty() {
            parts.push(format!("PRIMARY KEY ({})", self.key.join(", ")));
        }
        let tail = match self.dialect {
            Dialect::Postgres => "",
            Dialect::MariaDb => " ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        };
        let mut statements = self.before_create.clone();
        statements.push(format!(
            "CREATE TABLE {} ({}){tail};",
            self.qualified(),
            parts.join(", ")
        ));
        statements.extend(self.after_create.iter().cloned());
        statements.join("\n")
    }
}
