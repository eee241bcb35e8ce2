//! `kafka('topic' [, from [, to | 'follow']])`: the messages of a topic, decoded as the pipeline does that reads it.

use std::sync::Arc;

use futures::FutureExt;
use sql::table::{FeedTable, OpenFeed};
use sql::{Error, Result};
use tokio_util::sync::CancellationToken;

use super::Opened;
use super::arguments::{Arguments, Bound};
use super::target::Names;
use crate::source::{self, SourceOptions, TopicFilter};
use crate::spec;
use crate::spec::model::{KafkaSpec, OffsetReset, PipelineSpec, SourceSpec, Topics};

/// Opens the messages of `topic`: of each partition the offsets from … to, both included, and no more than there are when
/// the query starts; or, with `follow`, all that come.
pub(super) async fn open(
    topic: &str,
    arguments: &Arguments<'_>,
    names: &Names<'_>,
) -> Result<Opened> {
    let from = arguments.start(1).await?;
    let (endless, until) = match arguments.bound(2).await? {
        Some(Bound::Follow) => (true, None),
        to => (false, to.map(|to| arguments.offset(2, &to)).transpose()?),
    };
    if let (Some(OffsetReset::At(from)), Some(to)) = (from, until)
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
        auto_offset_reset: from.unwrap_or(OffsetReset::Earliest),
        ..kafka
    });
    let known = source::discover_schema(&source, true).await?;
    let known = known.ok_or_else(|| {
        Error::config("the topic's columns are not known")
            .at(pipeline.file.display().to_string())
            .remedy("declare `source.columns`, or write a message to the topic first")
    })?;
    let name = arguments.text().to_owned();
    let mut table = FeedTable::new(name.clone(), known.schema, vec![topic.to_owned()]);
    if !endless {
        table = table.ending();
    }
    Ok(Opened {
        provider: Arc::new(table),
        endless,
        feed: Some((name, opener(source, &pipeline, endless, until))),
    })
}

fn opener(
    source: SourceSpec,
    pipeline: &PipelineSpec,
    endless: bool,
    until: Option<i64>,
) -> OpenFeed {
    let schema_change = pipeline.pipeline.schema_change;
    Arc::new(move || {
        let source = source.clone();
        async move {
            let options = SourceOptions {
                bounded: !endless,
                until,
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
