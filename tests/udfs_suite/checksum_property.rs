//! `row_checksum` over random tables: what may not matter does not, what must matter does.

use std::sync::Arc;

use arrow::array::types::Int32Type;
use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Int32Array, Int64Array, LargeStringArray,
    RecordBatch, StringArray, StringViewArray,
};
use arrow::array::{DictionaryArray, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::{query, session_with, texts};

type Row = (Option<i16>, Option<String>);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let text = prop_oneof![
        Just(None),
        Just(Some(String::new())),
        "[ab\u{e9} ]{0,14}".prop_map(Some)
    ];
    prop::collection::vec((prop::option::of(-3_i16..3), text), 1..40)
}

/// How a table is held: all of it must not matter.
#[derive(Debug, Clone)]
struct Held {
    numbers: u8,
    texts: u8,
    order: Vec<prop::sample::Index>,
    batch_rows: usize,
    partitions: usize,
}

fn held() -> impl Strategy<Value = Held> {
    (
        0_u8..3,
        0_u8..4,
        prop::collection::vec(any::<prop::sample::Index>(), 40),
        1_usize..12,
        1_usize..4,
    )
        .prop_map(|(numbers, texts, order, batch_rows, partitions)| Held {
            numbers,
            texts,
            order,
            batch_rows,
            partitions,
        })
}

fn numbers(rows: &[Row], encoding: u8) -> ArrayRef {
    let values = rows.iter().map(|(number, _)| *number);
    match encoding {
        0 => Arc::new(values.map(|v| v.map(i32::from)).collect::<Int32Array>()),
        1 => Arc::new(values.map(|v| v.map(i64::from)).collect::<Int64Array>()),
        _ => {
            let decimals: Decimal128Array =
                values.map(|v| v.map(|v| i128::from(v) * 100)).collect();
            Arc::new(decimals.with_precision_and_scale(12, 2).unwrap())
        }
    }
}

fn letters(rows: &[Row], encoding: u8) -> ArrayRef {
    let values = rows.iter().map(|(_, text)| text.as_deref());
    match encoding {
        0 => Arc::new(values.collect::<StringArray>()),
        1 => Arc::new(values.collect::<LargeStringArray>()),
        2 => Arc::new(values.collect::<StringViewArray>()),
        _ => Arc::new(values.collect::<DictionaryArray<Int32Type>>()),
    }
}

/// The rows as a session's table `t`, held as `held` says.
fn table(rows: &[Row], held: &Held) -> SessionContext {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    for (position, swap) in held.order.iter().enumerate().take(rows.len()) {
        order.swap(position, swap.index(rows.len()));
    }
    let rows: Vec<Row> = order.into_iter().map(|row| rows[row].clone()).collect();
    let (a, b) = (numbers(&rows, held.numbers), letters(&rows, held.texts));
    let schema: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("a", a.data_type().clone(), true),
        Field::new("b", b.data_type().clone(), true),
    ]));
    let whole = RecordBatch::try_new(schema.clone(), vec![a, b]).unwrap();
    let mut partitions = vec![Vec::new(); held.partitions];
    for (number, start) in (0..rows.len()).step_by(held.batch_rows).enumerate() {
        let length = held.batch_rows.min(rows.len() - start);
        partitions[number % held.partitions].push(whole.slice(start, length));
    }
    let config = SessionConfig::new()
        .with_target_partitions(held.partitions)
        .with_batch_size(held.batch_rows);
    let context = session_with(config);
    let provider = MemTable::try_new(schema, partitions).unwrap();
    context.register_table("t", Arc::new(provider)).unwrap();
    context
}

/// The checksum of the whole, and of every group of `a`, sorted.
fn checksums(
    runtime: &Runtime,
    rows: &[Row],
    held: &Held,
) -> (Option<String>, Vec<Option<String>>) {
    let context = table(rows, held);
    runtime.block_on(async {
        let whole = texts(&context, "SELECT row_checksum(a, b) FROM t").await;
        let groups = "SELECT row_checksum(a, b) AS c FROM t GROUP BY a ORDER BY c";
        (whole[0].clone(), texts(&context, groups).await)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn order_batches_partitions_and_encodings_do_not_matter(
        rows in rows(), first in held(), second in held()
    ) {
        let runtime = Runtime::new().unwrap();
        prop_assert_eq!(checksums(&runtime, &rows, &first), checksums(&runtime, &rows, &second));
    }

    #[test]
    fn any_other_cell_and_any_other_number_of_rows_does(
        rows in rows(), held in held(), victim in any::<prop::sample::Index>(), replacement in "[xyz]{1,3}"
    ) {
        let runtime = Runtime::new().unwrap();
        let victim = victim.index(rows.len());
        let (whole, _) = checksums(&runtime, &rows, &held);

        let mut number = rows.clone();
        number[victim].0 = Some(number[victim].0.map_or(0, |n| n + 1));
        prop_assert_ne!(&whole, &checksums(&runtime, &number, &held).0);

        let mut text = rows.clone();
        text[victim].1 = Some(replacement);
        prop_assert_ne!(&whole, &checksums(&runtime, &text, &held).0);

        let mut missing = rows.clone();
        missing.remove(victim);
        prop_assert_ne!(&whole, &checksums(&runtime, &missing, &held).0);

        let mut doubled = rows.clone();
        doubled.push(rows[victim].clone());
        prop_assert_ne!(&whole, &checksums(&runtime, &doubled, &held).0);
    }
}

/// More groups than rows a group, so that the partial aggregation gives up and passes rows on as states.
#[tokio::test]
async fn a_partial_aggregation_that_gives_up_grouping_gives_the_same() {
    let n = 4_000_u32;
    let keys: ArrayRef = Arc::new(Int32Array::from_iter_values((0..n).map(|i| i as i32 / 2)));
    let batch = RecordBatch::try_from_iter([("k", keys)]).unwrap();
    let reversed = UInt32Array::from_iter_values((0..n).rev());
    let both = [batch.clone(), take_record_batch(&batch, &reversed).unwrap()];
    let whole = concat_batches(&batch.schema(), &both).unwrap();

    let sql = "SELECT row_checksum(k) FILTER (WHERE k % 3 = 0) AS c FROM t GROUP BY k ORDER BY k";
    let mut results = Vec::new();
    for skip in [true, false] {
        let mut config = SessionConfig::new()
            .with_target_partitions(3)
            .with_batch_size(64);
        let options = &mut config.options_mut().execution;
        options.skip_partial_aggregation_probe_rows_threshold = if skip { 1 } else { usize::MAX };
        options.skip_partial_aggregation_probe_ratio_threshold = 0.0;
        let context = session_with(config);
        let parts = (0..whole.num_rows()).step_by(64);
        let parts = parts
            .map(|at| whole.slice(at, 64.min(whole.num_rows() - at)))
            .collect();
        let provider = MemTable::try_new(whole.schema(), vec![parts]).unwrap();
        context.register_table("t", Arc::new(provider)).unwrap();
        results.push(texts(&context, sql).await);
        if skip {
            assert_skipped(&context, sql).await;
        }
    }
    assert_eq!(results[0].len(), 2_000);
    assert_eq!(results[0], results[1]);
}

async fn assert_skipped(context: &SessionContext, sql: &str) {
    let explained = query(context, &format!("EXPLAIN ANALYZE {sql}"))
        .await
        .unwrap();
    let text: Vec<&str> = explained
        .iter()
        .flat_map(|batch| batch.column(1).as_string::<i32>().iter().flatten())
        .collect();
    let text = text.join("\n");
    let skipped =
        text.contains("skipped_aggregation_rows=") && !text.contains("skipped_aggregation_rows=0,");
    assert!(skipped, "{text}");
    assert_eq!(explained[0].column(1).data_type(), &DataType::Utf8);
}
