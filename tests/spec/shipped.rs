//! The pipelines that the project ships.

use std::fs;

use engine::spec::model::{
    Bootstrap, CatalogKind, Mode, PartitionTransform, PipelineSpec, SinkTarget, SourceSpec,
};

use super::{essence, repository};

fn shipped() -> Vec<PipelineSpec> {
    let mut files: Vec<_> = (fs::read_dir(repository().join("pipelines")).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == "yaml"))
        .collect();
    files.sort();
    assert_eq!(files.len(), 6);
    let no_env = |_: &str| None;
    (files.iter())
        .map(|file| {
            engine::spec::parse(file, &no_env, &[]).unwrap_or_else(|e| panic!("{}", e.report()))
        })
        .collect()
}

fn named(name: &str) -> PipelineSpec {
    let mut specs = shipped();
    specs.retain(|spec| spec.pipeline.name == name);
    specs.pop().unwrap()
}

#[test]
fn every_shipped_pipeline_parses_without_any_variable_set() {
    for spec in shipped() {
        assert_eq!(
            spec.file.file_stem().unwrap().to_str(),
            Some(spec.pipeline.name.as_str())
        );
    }
}

#[test]
fn every_shipped_pipeline_replays_a_file_that_is_there() {
    for spec in shipped() {
        let SourceSpec::Kafka(kafka) = &spec.source else {
            continue;
        };
        let Bootstrap::File(file) = &kafka.bootstrap else {
            panic!("{:?}", kafka.bootstrap);
        };
        assert!(file.is_absolute() && file.is_file(), "{}", file.display());
        let columns = kafka.columns.as_ref().map(Vec::len);
        let (declared, key): (_, &[&str]) = match spec.pipeline.name.as_str() {
            "postgres_orders_delta" => (Some(7), &["order_id"]),
            "mysql_orders_delta" => (None, &[]),
            _ => (Some(12), &["customer_id"]),
        };
        assert_eq!(columns, declared);
        assert_eq!(kafka.key, key);
    }
}

#[test]
fn every_shipped_pipeline_that_reads_a_table_reads_what_another_writes() {
    let specs = shipped();
    let lakes = specs
        .iter()
        .filter(|spec| matches!(spec.source, SourceSpec::Lake(_)));
    let pairs: Vec<(&str, &str)> = lakes
        .flat_map(|reader| {
            let writers = specs
                .iter()
                .filter(|spec| engine::spec::reads(&reader.source, &spec.sink));
            writers.map(|writer| (reader.pipeline.name.as_str(), writer.pipeline.name.as_str()))
        })
        .collect();
    assert_eq!(
        pairs,
        [
            ("delta_to_iceberg_orders", "postgres_orders_delta"),
            ("iceberg_to_delta_customers", "customers")
        ]
    );
}

#[test]
fn the_iceberg_pipeline_has_absolute_places_under_the_working_folder() {
    let spec = named("customers");
    let SinkTarget::Iceberg(table) = &spec.sink.target else {
        panic!("{:?}", spec.sink);
    };
    let working = std::env::current_dir().unwrap();
    let warehouse = working.join("warehouse").display().to_string();
    assert_eq!(table.namespace, ["analytics"]);
    assert_eq!(table.table, "customers");
    assert_eq!(table.catalog.name, "iceberg");
    assert_eq!(
        table.catalog.kind,
        CatalogKind::Sql {
            uri: format!("sqlite://{warehouse}/catalog.db?mode=rwc"),
            warehouse: format!("file://{warehouse}"),
        }
    );
    assert_eq!(spec.sink.mode, Mode::Append);
    assert_eq!(spec.sink.partition_by[0].column, "_ingestion_timestamp");
    assert_eq!(spec.sink.partition_by[0].transform, PartitionTransform::Day);
    let quarantine = spec.pipeline.on_error.table.unwrap();
    assert_eq!(
        quarantine.path,
        format!("{warehouse}/_quarantine/customers")
    );
}

#[test]
fn the_delta_pipeline_is_the_same_sql_into_an_unpartitioned_table() {
    let (delta, iceberg) = (named("customers_delta"), named("customers"));
    let SinkTarget::Delta(table) = &delta.sink.target else {
        panic!("{:?}", delta.sink);
    };
    let working = std::env::current_dir().unwrap();
    let path = working.join("warehouse/delta/customers");
    assert_eq!(table.path, path.display().to_string());
    assert!(delta.sink.partition_by.is_empty());
    let sql = |spec: &PipelineSpec| {
        let text = spec.transform.as_ref().unwrap().value.clone();
        // Comments aside.
        let lines = text
            .lines()
            .map(|l| l.split(" --").next().unwrap().trim_end().to_owned());
        lines.collect::<Vec<_>>()
    };
    assert_eq!(sql(&delta), sql(&iceberg));
}

#[test]
fn the_first_line_of_the_sql_is_the_line_in_the_file() {
    let spec = named("customers");
    let transform = spec.transform.unwrap();
    let text = fs::read_to_string(&spec.file).unwrap();
    let line = text.lines().nth(transform.first_line - 1).unwrap();
    assert_eq!(line.trim(), transform.value.lines().next().unwrap());
}

#[test]
fn the_effective_file_of_a_shipped_pipeline_is_the_same_pipeline() {
    for spec in shipped() {
        let shown = engine::spec::show_defaults(&spec);
        let no_env = |_: &str| None;
        let again = engine::spec::parse_str(&shown, &spec.file, &no_env, &[])
            .unwrap_or_else(|e| panic!("{}\n{shown}", e.report()));
        assert_eq!(essence(&again), essence(&spec), "{shown}");
    }
}
