//! What the database holds, as far as the generator must know it: the keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::tables::Table;
use crate::sql::Sql;

/// A row's key: the values of the primary key's columns, or the first column of a table without one.
pub type Key = Vec<i64>;

/// The live keys of every table, each with the number of its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Model {
    tables: BTreeMap<&'static str, Arc<BTreeMap<Key, u32>>>,
}

/// One change of the keys.
#[derive(Debug, Clone)]
pub(super) enum Effect {
    /// So many rows more.
    Add(Key, u32),
    /// So many rows less; all of them without a number.
    Remove(Key, Option<u32>),
    /// All rows are gone.
    Clear,
}

impl Model {
    /// The keys that the database holds now.
    ///
    /// # Panics
    /// If the server refuses a query.
    pub fn read(tables: &[Table], sql: &dyn Sql) -> Self {
        let mut model = Self::default();
        for table in tables {
            let key = table.identity().join(", ");
            let query = format!("SELECT concat_ws(' ', {key}) FROM {}", table.qualified());
            let mut keys: BTreeMap<Key, u32> = BTreeMap::new();
            for line in sql.execute(&query).lines().filter(|line| !line.is_empty()) {
                let parts = line.split(' ').map(|part| part.parse().expect("a number"));
                *keys.entry(parts.collect()).or_default() += 1;
            }
            model.tables.insert(table.name, Arc::new(keys));
        }
        model
    }

    /// The keys of a table, each with the number of its rows.
    pub fn keys(&self, table: &str) -> impl Iterator<Item = (&Key, u32)> {
        let keys = self.tables.get(table).into_iter();
        keys.flat_map(|keys| keys.iter().map(|(key, rows)| (key, *rows)))
    }

    /// The number of distinct keys of a table.
    pub fn len(&self, table: &str) -> usize {
        self.tables.get(table).map_or(0, |keys| keys.len())
    }

    /// The rows of that key.
    pub(super) fn rows(&self, table: &str, key: &Key) -> u32 {
        let keys = self.tables.get(table);
        keys.and_then(|keys| keys.get(key)).copied().unwrap_or(0)
    }

    pub(super) fn apply(&mut self, table: &'static str, effect: &Effect) {
        let keys = Arc::make_mut(self.tables.entry(table).or_default());
        match effect {
            Effect::Add(key, rows) => *keys.entry(key.clone()).or_default() += rows,
            Effect::Remove(key, rows) => {
                let there = keys.get(key).copied().unwrap_or(0);
                let left = rows.map_or(0, |rows| there.saturating_sub(rows));
                if left == 0 {
                    keys.remove(key);
                } else {
                    keys.insert(key.clone(), left);
                }
            }
            Effect::Clear => keys.clear(),
        }
    }
}
