//! `kafka('topic' [, from [, to]])`: the messages of a topic, decoded as the pipeline does that reads it.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::logical_expr::Expr;
use datafusion::prelude::{col, lit};
use futures::FutureExt;
use sql::change::OFFSET;
use sql::session::{Role, session};
use sql::table::{FeedTable, OpenFeed};
use sql::{Error, Result};
use tokio_util::sync::CancellationToken;

use super::Opened;
use super::arguments::Arguments;
use super::target::Names;
use crate::source::{self, SourceOptions, TopicFilter};
use crate::spec;
use crate::spec::model::{KafkaSpec, OffsetReset, PipelineSpec, SourceSpec, Topics};

/// Opens the messages of `topic` up to its ends as they are when the query starts; of each partition the offsets from …
/// to, both included.
pub(super) async fn open(
    topic: &str,
    arguments: &Arguments<'_>,
    names: &Names<'_>,
) -> Result<Opened> {
    let (from, to) = (arguments.offset(1).await?, arguments.offset(2).await?);
    if let (Some(from), Some(to)) = (from, to)
        && to < from
    {
        return Err(Error::config("the range ends before it starts")
            .expected("offsets from … to, both included")
            .remedy("exchange the two"));
    }
    let (pipeline, kafka) = reader_of(topic, names)?;
    let source = SourceSpec::Kafka(KafkaSpec {
        topics: Topics::Names(vec![topic.to_owned()]),
        // All that is there, wherever the pipeline would begin.
        auto_offset_reset: OffsetReset::Earliest,
        ..kafka
    });
    let known = source::discover_schema(&source, true).await?;
    let known = known.ok_or_else(|| {
        Error::config("the topic's columns are not known")
            .at(pipeline.file.display().to_string())
            .remedy("declare `source.columns`, or write a message to the topic first")
    })?;
    let name = format!("kafka('{topic}')");
    let table = FeedTable::new(name.clone(), known.schema, vec![topic.to_owned()]).ending();
    let table: Arc<dyn TableProvider> = Arc::new(table);
    let mut bounds = Vec::new();
    bounds.extend(from.map(|from| col(OFFSET).gt_eq(lit(from))));
    bounds.extend(to.map(|to| col(OFFSET).lt_eq(lit(to))));
    let provider = match bounds.into_iter().reduce(Expr::and) {
        None => table,
        Some(bounds) => session(Role::Query)
            .read_table(table)
            .and_then(|frame| frame.filter(bounds))
            .map_err(|error| {
                Error::internal("a range of messages cannot be planned").source(error)
            })?
            .into_view(),
    };
    Ok(Opened {
        provider,
        endless: false,
        feed: Some((name, opener(source, &pipeline))),
    })
}

fn opener(source: SourceSpec, pipeline: &PipelineSpec) -> OpenFeed {
    let schema_change = pipeline.pipeline.schema_change;
    Arc::new(move || {
        let source = source.clone();
        async move {
            let options = SourceOptions {
                bounded: true,
                keep_raw: false,
                keyed: false,
                schema_change,
                reader: None,
                stop: CancellationToken::new(),
            };
            source::open(&source, options).await
        }
        .boxed()
    })
}

/// The first pipeline that reads `topic`, and its source.
fn reader_of(topic: &str, names: &Names<'_>) -> Result<(Arc<PipelineSpec>, KafkaSpec)> {
    let mut topics = Vec::new();
    for table in names.known.iter() {
        let SourceSpec::Kafka(kafka) = &table.pipeline.source else {
            continue;
        };
        if TopicFilter::try_new(kafka)?.matches(topic) {
            return Ok((Arc::clone(&table.pipeline), kafka.clone()));
        }
        let own = match &kafka.topics {
            Topics::Names(names) => names.clone(),
            Topics::Regex(regex) => vec![regex.clone()],
        };
        topics.extend(own);
    }
    topics.sort_unstable();
    topics.dedup();
    let error = Error::config(format!("no pipeline reads the topic `{topic}`"));
    if topics.is_empty() {
        return Err(error
            .expected("a topic that a pipeline reads; no pipeline file is known here")
            .remedy("name pipeline files or their folder: engine sql FILE|DIR… -c 'SELECT …'"));
    }
    let error = error.expected(format!("one of {}", topics.join(", ")));
    Err(
        match spec::nearest(topic, topics.iter().map(String::as_str)) {
            Some(nearest) => error.remedy(format!("did you mean `{nearest}`?")),
            None => error.remedy(
                "a pipeline's source says where its brokers are and how its messages are decoded",
            ),
        },
    )
}
