//! Where a table is, and what it holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::SessionContext;
use engine::lake::delta::delta_provider;
use engine::lake::iceberg::iceberg_provider;
use engine::lake::schema::{TableFormat, target_schema};
use engine::sink::delta::DeltaUpsert;
use engine::sink::iceberg::IcebergUpsert;
use engine::sink::{Missing, UpsertSink};
use engine::spec::model::{CatalogKind, CatalogSpec, DeltaTableSpec, IcebergTableSpec};

use crate::data::schema;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Delta,
    Iceberg,
}

impl Format {
    pub(crate) fn parse(name: &str) -> Self {
        match name {
            "delta" => Self::Delta,
            "iceberg" => Self::Iceberg,
            other => panic!("unknown format {other}"),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Delta => "delta",
            Self::Iceberg => "iceberg",
        }
    }
}

/// A table in a folder of its own.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) format: Format,
    pub(crate) folder: PathBuf,
}

impl Place {
    pub(crate) fn new(format: Format, folder: &Path) -> Self {
        std::fs::create_dir_all(folder).expect("a folder");
        Self {
            format,
            folder: folder.to_owned(),
        }
    }

    fn delta(&self) -> DeltaTableSpec {
        DeltaTableSpec {
            path: self.folder.join("table").display().to_string(),
            storage_options: BTreeMap::new(),
            properties: BTreeMap::new(),
        }
    }

    fn iceberg(&self) -> IcebergTableSpec {
        let folder = self.folder.display();
        IcebergTableSpec {
            catalog: CatalogSpec {
                name: "lake".to_owned(),
                kind: CatalogKind::Sql {
                    uri: format!("sqlite://{folder}/catalog.db?mode=rwc"),
                    warehouse: format!("file://{folder}"),
                },
                storage_options: BTreeMap::new(),
            },
            namespace: vec!["bench".to_owned()],
            table: "customers".to_owned(),
        }
    }

    /// Opens the table, which is made if it is not there.
    pub(crate) async fn sink(&self) -> Box<dyn UpsertSink> {
        let key = ["id".to_owned()];
        match self.format {
            Format::Delta => {
                let (spec, target) = (self.delta(), schema());
                let sink = DeltaUpsert::open(&spec, "fill", &target, &[], &key, Missing::Refuse);
                Box::new(sink.await.expect("a Delta table"))
            }
            Format::Iceberg => {
                let target = target_schema(&schema(), TableFormat::Iceberg).expect("a schema");
                let spec = self.iceberg();
                let sink = IcebergUpsert::open(&spec, "fill", &target, &[], &key, Missing::Refuse);
                Box::new(sink.await.expect("an Iceberg table"))
            }
        }
    }

    /// Sums over the whole table, as its format's own reader has them.
    pub(crate) async fn sums(&self) -> String {
        let provider = match self.format {
            Format::Delta => delta_provider(&self.delta()).await,
            Format::Iceberg => iceberg_provider(&self.iceberg()).await,
        };
        let context = SessionContext::new();
        context
            .register_table("t", provider.expect("a table"))
            .expect("a name");
        let sql = "SELECT concat_ws(' ', count(*), count(DISTINCT id), sum(id), sum(n), sum(length(name))) AS sums FROM t";
        let rows = context.sql(sql).await.expect("a query").collect().await;
        let shown = pretty_format_batches(&rows.expect("rows")).expect("text");
        let shown = shown.to_string();
        let line = shown.lines().nth(3).unwrap_or_default();
        line.trim_matches(['|', ' ']).to_owned()
    }

    /// What the sink's target is called in a pipeline's file.
    pub(crate) fn yaml(&self) -> String {
        let folder = self.folder.display();
        match self.format {
            Format::Delta => format!("type: delta\n  path: {folder}/table\n"),
            Format::Iceberg => format!(
                "type: iceberg\n  catalog: {{ type: sql, name: lake, uri: \"sqlite://{folder}/catalog.db\", warehouse: \"{folder}\" }}\n  table: bench.customers\n"
            ),
        }
    }
}

/// Files under a folder and their bytes.
pub(crate) fn files(folder: &Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if let Ok(metadata) = entry.metadata() {
            found.insert(path, metadata.len());
        }
    }
    found
}

/// Bytes of the files that `after` has and `before` has not.
pub(crate) fn written(before: &BTreeMap<PathBuf, u64>, after: &BTreeMap<PathBuf, u64>) -> u64 {
    let new = after.iter().filter(|(path, _)| !before.contains_key(*path));
    new.map(|(_, size)| size).sum()
}

pub(crate) fn copy(from: &Path, to: &Path) {
    for file in files(from).keys() {
        let target = to.join(file.strip_prefix(from).expect("a file of the folder"));
        std::fs::create_dir_all(target.parent().expect("a folder")).expect("a folder");
        std::fs::copy(file, target).expect("a copy");
    }
}
