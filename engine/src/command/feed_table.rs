//! A pipeline's source as a table of `engine sql`: read live, from where the source's configuration starts.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::prelude::SessionContext;
use futures::FutureExt;
use sql::table::{FeedTable, OpenFeed, Slots};
use sql::{Error, Result};
use tokio_util::sync::CancellationToken;

use crate::source::{self, SourceOptions};
use crate::spec::model::{PipelineSpec, SourceSpec, Topics};

/// The unbounded table of `pipeline`'s source. Its opener is put into the session's slots; each query opens a feed of
/// its own and closes it when its stream is dropped.
///
/// # Errors
/// What connecting says, and a source whose columns are not known yet.
pub async fn feed_table(
    ctx: &SessionContext,
    pipeline: &Arc<PipelineSpec>,
) -> Result<Arc<dyn TableProvider>> {
    let known = source::discover_schema(&pipeline.source, true)
        .await?
        .ok_or_else(|| {
            Error::config("the source's columns are not known")
                .at(pipeline.file.display().to_string())
                .remedy(match pipeline.source {
                    SourceSpec::Kafka(_) => {
                        "declare `source.columns`, or write a message to the topic first"
                    }
                    SourceSpec::Lake(_) => "run the pipeline that writes the table first",
                })
        })?;
    let name = format!("{}.{}", pipeline.pipeline.name, pipeline.source.name());
    let slots = ctx
        .state()
        .config()
        .get_extension::<Slots>()
        .ok_or_else(|| Error::internal("the session has no slots"))?;
    slots.put_feed(name.clone(), opener(pipeline.clone()));
    let topics = match &pipeline.source {
        SourceSpec::Kafka(kafka) => match &kafka.topics {
            Topics::Names(names) => names.clone(),
            Topics::Regex(regex) => vec![regex.clone()],
        },
        SourceSpec::Lake(lake) => vec![source::describe_table(&lake.table)],
    };
    Ok(Arc::new(FeedTable::new(name, known.schema, topics)))
}

fn opener(pipeline: Arc<PipelineSpec>) -> OpenFeed {
    Arc::new(move || {
        let pipeline = pipeline.clone();
        async move {
            let options = SourceOptions {
                bounded: false,
                until: None,
                keep_raw: false,
                keyed: false,
                schema_change: pipeline.pipeline.schema_change,
                reader: None,
                stop: CancellationToken::new(),
            };
            source::open(&pipeline.source, options).await
        }
        .boxed()
    })
}
