//! Lookup files: types, refusals, refresh.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use engine::spec::model::{DeltaTableSpec, TableKind, TableSpec};
use engine::transform::{Lookup, Transform, lookups};
use sql::Error;

use super::rows::{lines, located, rows, source_schema};

const AT: &str = "pipelines/customers.yaml:30:3 (tables[0])";

fn spec(kind: TableKind) -> TableSpec {
    TableSpec {
        name: "tiers".to_owned(),
        kind,
        refresh: None,
        at: AT.to_owned(),
    }
}

fn csv(folder: &Path, text: &str) -> TableSpec {
    let path = folder.join("tiers.csv");
    std::fs::write(&path, text).unwrap();
    spec(TableKind::Csv(path.to_str().unwrap().to_owned()))
}

async fn open(spec: TableSpec) -> sql::Result<Vec<Lookup>> {
    lookups::open(&[spec], &|spec: TableSpec| {
        Box::pin(async move { Err(Error::config(format!("{} is in the lake", spec.name))) })
    })
    .await
}

#[tokio::test]
async fn csv_columns_get_types_that_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let text = "tier,n,code,rate,since,on,note\ngold,10,007,0.5,2024-01-31,true,\nsilver,-5,12,1,2024-02-01,false,\"a, b\"\n";
    let tables = open(csv(folder.path(), text)).await.unwrap();
    let schema = tables[0].1.schema();
    let types: Vec<_> = schema
        .fields()
        .iter()
        .map(|f| f.data_type().clone())
        .collect();
    use DataType::{Boolean, Date32, Float64, Int64, Utf8};
    assert_eq!(types, [Utf8, Int64, Utf8, Float64, Date32, Boolean, Utf8]);
}

#[tokio::test]
async fn a_lookup_read_again_changes_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let sql = located("SELECT id, t.n FROM customers JOIN tiers t USING (tier) WHERE id < 3");
    let first = open(csv(folder.path(), "tier,n\ngold,1\nsilver,2\n"))
        .await
        .unwrap();
    let mut transform = Transform::plan(Some(&sql), "customers", &source_schema(), &[], first, &[])
        .await
        .unwrap();
    let batch = rows(&transform, 6);
    assert_eq!(
        lines(&transform.run(&batch).await.unwrap()),
        ["0: 1|1", "1: 2|2"]
    );
    let second = open(csv(folder.path(), "tier,n\ngold,9\n")).await.unwrap();
    assert_eq!(
        lines(&transform.run(&batch).await.unwrap()),
        ["0: 1|1", "1: 2|2"]
    );
    transform.refresh_lookups(second).await.unwrap();
    assert_eq!(lines(&transform.run(&batch).await.unwrap()), ["0: 1|9"]);

    let renamed = open(csv(folder.path(), "tier,m\ngold,9\n")).await.unwrap();
    assert!(transform.refresh_lookups(renamed).await.is_err());
    let retyped = open(csv(folder.path(), "tier,n\ngold,x\n")).await.unwrap();
    let error = transform
        .refresh_lookups(retyped)
        .await
        .expect_err("n is text now");
    assert_eq!(
        error.message(),
        "the SQL returns other columns since a lookup was read again"
    );
    assert_eq!(lines(&transform.run(&batch).await.unwrap()), ["0: 1|9"]);
}

#[tokio::test]
async fn parquet_files_and_folders_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
    let batch = RecordBatch::try_new(
        Arc::clone(&schema),
        vec![Arc::new(Int64Array::from(vec![1, 2]))],
    )
    .unwrap();
    let context = sql::session::session(sql::session::Role::Query);
    let file = folder.path().join("part-0.parquet");
    let frame = context.read_batch(batch).unwrap();
    frame
        .write_parquet(file.to_str().unwrap(), Default::default(), None)
        .await
        .unwrap();
    for path in [file.as_path(), folder.path()] {
        let tables = open(spec(TableKind::Parquet(path.to_str().unwrap().to_owned())))
            .await
            .unwrap();
        let frame = context.read_table(Arc::clone(&tables[0].1)).unwrap();
        assert_eq!(frame.count().await.unwrap(), 2, "{}", path.display());
    }
}

#[tokio::test]
async fn wrong_files_are_refused_at_their_entry() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiers.csv").display().to_string();
    for (text, message) in [
        ("", format!("{path} is empty")),
        (
            "tier,n,tier\na,1,b\n",
            format!("the header of {path} names `tier` twice"),
        ),
        (
            "tier,\na,1\n",
            format!("the header of {path} has a column without a name"),
        ),
        (
            "tier,n\na,1,2\n",
            format!("{path} is no CSV file with a header"),
        ),
    ] {
        let error = open(csv(folder.path(), text))
            .await
            .map(|_| ())
            .expect_err(text);
        assert_eq!(
            (error.message(), error.place()),
            (message.as_str(), Some(AT)),
            "{text:?}"
        );
    }
    let missing = folder.path().join("none").display().to_string();
    for kind in [
        TableKind::Csv(missing.clone()),
        TableKind::Parquet(missing.clone()),
    ] {
        let error = open(spec(kind)).await.map(|_| ()).expect_err("missing");
        assert_eq!(
            error.message(),
            format!("the lookup's file {missing} cannot be read")
        );
        assert_eq!(error.place(), Some(AT));
    }
    let lake = TableKind::Delta(DeltaTableSpec {
        path: "/x".into(),
        storage_options: Default::default(),
        properties: Default::default(),
    });
    let error = open(spec(lake))
        .await
        .map(|_| ())
        .expect_err("asked the lake");
    assert_eq!(error.message(), "tiers is in the lake");
}
