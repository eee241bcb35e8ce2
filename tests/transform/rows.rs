//! Rows, lookups and the short way from SQL to text that the tests of this folder share.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, Int32Array, Int64Array, ListBuilder, RecordBatch,
    RecordBatchOptions, StringArray, StringBuilder, TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::catalog::{MemTable, TableProvider};
use engine::spec::model::{Located, RuleSpec};
use engine::transform::{Lookup, Transform, Transformed};
use sql::change::{Op, Partition, RowMeta, kafka_metadata_fields};

pub const FILE: &str = "pipelines/customers.yaml:10:1 (transform)";

pub fn located(text: &str) -> Located<String> {
    Located {
        value: text.to_owned(),
        at: FILE.to_owned(),
        first_line: 11,
    }
}

pub fn source_schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let item = Arc::new(Field::new("item", DataType::Utf8, true));
    let row = Fields::from(vec![
        Field::new("id", DataType::Int64, false),
        text("first_name"),
        text("last_name"),
        text("city"),
        text("country"),
        text("tier"),
        Field::new("amount", DataType::Decimal128(12, 2), true),
        Field::new("tags", DataType::List(item), true),
    ]);
    let mut fields: Vec<_> = row.iter().cloned().collect();
    fields.extend(kafka_metadata_fields(&row));
    Arc::new(Schema::new(fields))
}

const FIRST: [Option<&str>; 6] = [
    Some("Ann"),
    Some("Bob"),
    Some(""),
    None,
    Some("Eve"),
    Some("Zed"),
];
const LAST: [Option<&str>; 6] = [
    Some("Lee"),
    Some(""),
    Some("Ray"),
    None,
    Some("Ode"),
    Some("Que"),
];
const CITY: [Option<&str>; 6] = [
    Some("Seattle"),
    None,
    Some(""),
    Some("Oslo"),
    Some("Bonn"),
    Some("Rome"),
];
const COUNTRY: [&str; 6] = ["USA", "USA", "Peru", "Norway", "Germany", "Italy"];
const TIER: [Option<&str>; 6] = [
    Some("gold"),
    Some("silver"),
    Some("gold"),
    None,
    Some("bronze"),
    Some("tin"),
];
const AMOUNT: [Option<i128>; 6] = [Some(1000), Some(2050), None, Some(0), Some(725), Some(110)];
const TAGS: [Option<&[&str]>; 6] = [
    Some(&["a", "b"]),
    Some(&[]),
    None,
    Some(&["c"]),
    Some(&["d"]),
    Some(&["e", "e"]),
];

fn column(field: &Field, n: usize) -> ArrayRef {
    fn cycle<T: Copy>(values: [T; 6], n: usize) -> impl Iterator<Item = T> {
        (0..n).map(move |i| values[i % 6])
    }
    let count = n as i64;
    match field.name().as_str() {
        "id" => Arc::new(Int64Array::from_iter_values(1..=count)),
        "first_name" => Arc::new(StringArray::from_iter(cycle(FIRST, n))),
        "last_name" => Arc::new(StringArray::from_iter(cycle(LAST, n))),
        "city" => Arc::new(StringArray::from_iter(cycle(CITY, n))),
        "country" => Arc::new(StringArray::from_iter_values(cycle(COUNTRY, n))),
        "tier" => Arc::new(StringArray::from_iter(cycle(TIER, n))),
        "amount" => Arc::new(
            Decimal128Array::from_iter(cycle(AMOUNT, n))
                .with_precision_and_scale(12, 2)
                .unwrap(),
        ),
        "tags" => {
            let mut lists = ListBuilder::new(StringBuilder::new());
            for tags in cycle(TAGS, n) {
                if let Some(tags) = tags {
                    tags.iter().for_each(|tag| lists.values().append_value(tag));
                }
                lists.append(tags.is_some());
            }
            Arc::new(lists.finish())
        }
        "_op" => Arc::new(StringArray::from_iter_values(
            (0..n).map(|i| ["c", "u"][i % 2]),
        )),
        "_topic" => Arc::new(StringArray::from_iter_values(
            (0..n).map(|_| "shop.customers"),
        )),
        "_partition" => Arc::new(Int32Array::from(vec![0; n])),
        "_offset" => Arc::new(Int64Array::from_iter_values((0..count).map(|i| 100 + i))),
        "_ingested_at" => Arc::new(
            TimestampMicrosecondArray::from(vec![1_700_000_000_000_000; n]).with_timezone("UTC"),
        ),
        _ => new_null_array(field.data_type(), n),
    }
}

/// `n` rows of the source with only the columns that the transform asks the decoder for.
pub fn rows(transform: &Transform, n: usize) -> RecordBatch {
    rows_of(&transform.source_columns(), n)
}

pub fn rows_of(names: &[String], n: usize) -> RecordBatch {
    let schema = source_schema();
    let fields: Vec<Field> = names
        .iter()
        .map(|name| {
            schema
                .field_with_name(name)
                .unwrap()
                .clone()
                .with_nullable(true)
        })
        .collect();
    let columns = fields.iter().map(|field| column(field, n)).collect();
    RecordBatch::try_new_with_options(
        Arc::new(Schema::new(fields)),
        columns,
        &RecordBatchOptions::new().with_row_count(Some(n)),
    )
    .unwrap()
}

fn table(fields: Vec<Field>, columns: Vec<ArrayRef>) -> Arc<dyn TableProvider> {
    let schema = Arc::new(Schema::new(fields));
    let rows = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    Arc::new(MemTable::try_new(schema, vec![vec![rows]]).unwrap())
}

fn tiers(values: &[(&str, i64)], second: &str) -> Arc<dyn TableProvider> {
    table(
        vec![
            Field::new("tier", DataType::Utf8, false),
            Field::new(second, DataType::Int64, false),
        ],
        vec![
            Arc::new(StringArray::from_iter_values(values.iter().map(|v| v.0))),
            Arc::new(Int64Array::from_iter_values(values.iter().map(|v| v.1))),
        ],
    )
}

/// `tiers(tier, discount)`, `bonus(tier, points)` with two rows for gold, `vips(id, _op)`.
pub fn lookups() -> Vec<Lookup> {
    let vips = table(
        vec![
            Field::new("id", DataType::Int64, false),
            Field::new("_op", DataType::Utf8, false),
        ],
        vec![
            Arc::new(Int64Array::from(vec![1, 5])),
            Arc::new(StringArray::from(vec!["v", "w"])),
        ],
    );
    vec![
        (
            "tiers".to_owned(),
            tiers(&[("gold", 10), ("silver", 5), ("bronze", 1)], "discount"),
        ),
        (
            "bonus".to_owned(),
            tiers(&[("gold", 7), ("gold", 8)], "points"),
        ),
        ("vips".to_owned(), vips),
    ]
}

pub async fn plan(sql: &str) -> sql::Result<Transform> {
    plan_with(sql, &[], &[]).await
}

pub async fn plan_with(
    sql: &str,
    functions: &[&str],
    rules: &[RuleSpec],
) -> sql::Result<Transform> {
    let functions: Vec<_> = functions.iter().map(|text| located(text)).collect();
    let sql = located(sql);
    Transform::plan(
        Some(&sql),
        "customers",
        &source_schema(),
        &functions,
        lookups(),
        rules,
    )
    .await
}

/// One line a row: source row, then the values.
pub fn lines(transformed: &Transformed) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let mut lines = Vec::new();
    for batch in &transformed.rows {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            let values: Vec<String> = columns.iter().map(|c| c.value(row).to_string()).collect();
            let source = transformed.source_rows.value(lines.len());
            lines.push(format!("{source}: {}", values.join("|")));
        }
    }
    assert_eq!(lines.len(), transformed.source_rows.len());
    lines
}

/// The six rows through `sql`.
pub async fn six(sql: &str) -> Vec<String> {
    let transform = plan(sql)
        .await
        .unwrap_or_else(|e| panic!("{sql}\n{}", e.report()));
    lines(&transform.run(&rows(&transform, 6)).await.unwrap())
}

pub fn names(schema: &Schema) -> Vec<&str> {
    schema.fields().iter().map(|f| f.name().as_str()).collect()
}

pub fn meta(ops: &[Op]) -> RowMeta {
    RowMeta {
        ops: ops.to_vec(),
        partition: vec![0; ops.len()],
        offsets: (0..ops.len() as i64).map(|i| 100 + i).collect(),
        partitions: vec![Partition::new("shop.customers", 3)],
        commit_micros: vec![i64::MIN; ops.len()],
        ..RowMeta::default()
    }
}
