//! A feed that never ends as a table.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::MemTable;
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use sql::change::{Partition, Position};
use sql::feed::{BatchLimit, ChangeFeed, MemoryFeed};
use sql::plan::Script;
use sql::session::{Role, session};
use sql::table::{FeedTable, Slots};

fn events() -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("tier", DataType::Utf8, true),
    ]);
    let ids = Int64Array::from_iter_values(0..1000);
    let tiers = StringArray::from_iter_values((0..1000).map(|i| ["gold", "tin"][i % 2]));
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(ids), Arc::new(tiers)]).unwrap()
}

/// A tailing session with the feed `s` of 1000 rows that then waits for ever, and the lookup `tiers`.
fn tail(opened: &Arc<AtomicUsize>) -> SessionContext {
    let context = session(Role::Tail);
    let table = FeedTable::new("s", events().schema(), vec!["shop.s".to_owned()]);
    context.register_table("s", Arc::new(table)).unwrap();
    let opened = Arc::clone(opened);
    let slots: Arc<Slots> = context.state().config().get_extension().unwrap();
    slots.put_feed(
        "s",
        Arc::new(move || {
            opened.fetch_add(1, Ordering::SeqCst);
            Box::pin(async {
                Ok(Box::new(MemoryFeed::unbounded("shop.s", events())) as Box<dyn ChangeFeed>)
            })
        }),
    );
    let lookup = RecordBatch::try_new(
        Arc::new(Schema::new(vec![
            Field::new("tier", DataType::Utf8, false),
            Field::new("n", DataType::Int64, false),
        ])),
        vec![
            Arc::new(StringArray::from(vec!["gold"])),
            Arc::new(Int64Array::from(vec![7])),
        ],
    )
    .unwrap();
    let lookup = MemTable::try_new(lookup.schema(), vec![vec![lookup]]).unwrap();
    context.register_table("tiers", Arc::new(lookup)).unwrap();
    context
}

/// The rows of a query that ends by its LIMIT.
async fn count(context: &SessionContext, sql: &str) -> usize {
    let batches = context
        .sql(sql)
        .await
        .unwrap()
        .collect()
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e}"));
    batches.iter().map(RecordBatch::num_rows).sum()
}

#[tokio::test]
async fn limit_ends_a_query_over_a_feed() {
    let context = tail(&Arc::default());
    for (sql, rows) in [
        ("SELECT * FROM s LIMIT 3", 3),
        ("SELECT id + 1 FROM s WHERE tier = 'gold' LIMIT 20", 20),
        (
            "SELECT s.id, n FROM s LEFT JOIN tiers USING (tier) LIMIT 5",
            5,
        ),
        ("SELECT s.id, n FROM s JOIN tiers USING (tier) LIMIT 5", 5),
        (
            "SELECT id FROM s WHERE tier IN (SELECT tier FROM tiers) LIMIT 4",
            4,
        ),
        (
            "SELECT id FROM s WHERE id > (SELECT max(n) FROM tiers) LIMIT 2",
            2,
        ),
        (
            "SELECT id FROM s WHERE NOT EXISTS (SELECT 1 FROM tiers WHERE n = s.id) LIMIT 10",
            10,
        ),
        ("SELECT a.id FROM s a JOIN s b ON a.id = b.id LIMIT 3", 3),
        ("SELECT id FROM s UNION ALL SELECT n FROM tiers LIMIT 4", 4),
        ("SELECT count(*) FROM (SELECT * FROM s LIMIT 100)", 1),
        (
            "SELECT id FROM (SELECT * FROM s LIMIT 50) ORDER BY id DESC",
            50,
        ),
    ] {
        assert_eq!(count(&context, sql).await, rows, "{sql}");
    }
}

#[tokio::test]
async fn rows_come_before_the_feed_ends_and_dropping_the_stream_drops_it() {
    let context = tail(&Arc::default());
    let mut stream = context
        .sql("SELECT id FROM s WHERE tier = 'gold'")
        .await
        .unwrap()
        .execute_stream()
        .await
        .unwrap();
    let first = stream.next().await.unwrap().unwrap();
    assert!(first.num_rows() > 0 && first.num_rows() < 500);
}

#[tokio::test]
async fn nothing_is_opened_by_planning_and_each_execution_opens_once() {
    let opened = Arc::new(AtomicUsize::new(0));
    let context = tail(&opened);
    let frame = context.sql("SELECT id FROM s LIMIT 1").await.unwrap();
    frame.clone().create_physical_plan().await.unwrap();
    assert_eq!(opened.load(Ordering::SeqCst), 0);
    frame.clone().collect().await.unwrap();
    frame.collect().await.unwrap();
    assert_eq!(opened.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn explain_says_that_the_source_is_infinite() {
    let context = tail(&Arc::default());
    let plan = context
        .sql("SELECT id FROM s")
        .await
        .unwrap()
        .create_physical_plan()
        .await
        .unwrap();
    let text = datafusion::physical_plan::displayable(plan.as_ref())
        .one_line()
        .to_string();
    assert_eq!(
        text.trim(),
        "SourceExec: source=s, projection=[id], infinite_source=true, topics=[shop.s]"
    );
}

#[tokio::test]
async fn queries_that_could_never_answer_are_refused() {
    let context = tail(&Arc::default());
    for (sql, what) in [
        (
            "SELECT count(*) FROM s",
            "GROUP BY, DISTINCT or an aggregate",
        ),
        (
            "SELECT DISTINCT tier FROM s",
            "GROUP BY, DISTINCT or an aggregate",
        ),
        ("SELECT id FROM s ORDER BY id", "ORDER BY"),
        ("SELECT id FROM s ORDER BY id LIMIT 3", "ORDER BY"),
        ("SELECT s.id FROM s, tiers", "a cross join"),
        (
            "SELECT n FROM tiers WHERE n IN (SELECT id FROM s)",
            "this kind of join or subquery",
        ),
        (
            "SELECT n, s.id FROM tiers LEFT JOIN s ON s.id = n",
            "this kind of join or subquery",
        ),
        (
            "SELECT id FROM s WHERE id NOT IN (SELECT n FROM tiers)",
            "this kind of join or subquery",
        ),
        (
            "SELECT a.id FROM s a LEFT JOIN s b ON a.id = b.id",
            "this kind of join or subquery",
        ),
        (
            "SELECT n FROM tiers WHERE n > (SELECT max(id) FROM s)",
            "GROUP BY, DISTINCT or an aggregate",
        ),
    ] {
        let planned = match context.sql(sql).await {
            Ok(frame) => frame.create_physical_plan().await.map(|_| ()),
            Err(e) => Err(e),
        };
        let error = Script::new(sql).error(planned.expect_err(sql));
        assert_eq!(
            error.message(),
            format!("`s` never ends, and {what} over it answers only at the end"),
            "{sql}"
        );
        assert!(
            error
                .next_step()
                .unwrap()
                .contains("FROM (SELECT * FROM s LIMIT 1000)")
        );
    }
}

fn limit(max_records: usize) -> BatchLimit {
    BatchLimit {
        max_records,
        max_bytes: usize::MAX,
        max_wait: std::time::Duration::from_secs(1),
    }
}

#[tokio::test]
async fn the_memory_feed_keeps_the_contract_of_feeds() {
    let mut feed = MemoryFeed::bounded("t", events());
    let partition = Partition::new("t", 0);
    feed.project(&["tier".to_owned()]).unwrap();
    assert!(feed.project(&["nope".to_owned()]).is_err());
    feed.seek(&Position::new()).await.unwrap();
    let mut position = Position::new();
    let mut rows = 0;
    while let Some(batch) = feed.next(&limit(300)).await.unwrap() {
        position.try_advance(batch.span()).unwrap();
        assert_eq!(batch.rows().num_columns(), 1);
        assert_eq!(batch.meta().offsets.first(), Some(&(rows as i64)));
        rows += batch.rows().num_rows();
    }
    assert_eq!(
        (rows, position.get(&partition), feed.lag()),
        (1000, Some(1000), Some(0))
    );
    feed.seek(&Position::from_iter([(partition.clone(), 999)]))
        .await
        .unwrap();
    assert_eq!(
        feed.next(&limit(300))
            .await
            .unwrap()
            .unwrap()
            .meta()
            .offsets,
        [999]
    );
    let lost = feed
        .seek(&Position::from_iter([(partition, 1001)]))
        .await
        .expect_err("past the end");
    assert_eq!(lost.kind(), sql::ErrorKind::DataLoss);
}
