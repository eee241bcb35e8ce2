//! Opens a source: connects, and learns its schema.

use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use sql::change::Position;
use sql::feed::ChangeFeed;
use sql::{Error, ErrorKind, Result};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::SourceOptions;
use super::feed::{FeedOptions, TopicFeed};
use super::kafka::{KafkaLog, KafkaTimeouts};
use super::lake;
use super::records::{Flow, LogEvent, RecordLog};
use super::replay::ReplayLog;
use super::topics::TopicFilter;
use crate::format::{Decoder, Pushed};
use crate::spec::model::{Bootstrap, KafkaSpec, SchemaChange, SourceSpec};

/// Records read for the schema before what they left in the decoder is thrown away.
const SAMPLE: u64 = 1000;

/// Connects a source and learns its schema with the decoder of `make_decoder`: the declared columns, or those of its first data records. Where the feed
/// starts is only decided by the `seek` that follows.
///
/// # Errors
/// [`ErrorKind::Config`] for what the file says wrongly, for a topic that does not exist, and for a bounded source
/// without declared columns that has no data record yet; [`ErrorKind::Unavailable`] if brokers do not answer, or if
/// `options.stop` came while waiting; [`ErrorKind::Denied`] if they refuse us.
pub async fn open_with<M>(
    spec: &SourceSpec,
    options: SourceOptions,
    make_decoder: M,
) -> Result<Box<dyn ChangeFeed>>
where
    M: FnOnce(&KafkaSpec, &SourceOptions) -> Result<Box<dyn Decoder>> + Send + 'static,
{
    let spec = match spec {
        SourceSpec::Kafka(spec) => spec.clone(),
        SourceSpec::Lake(spec) => return lake::open(spec, options).await,
    };
    let feed = blocking(move || {
        let mut decoder = make_decoder(&spec, &options)?;
        let mut log = open_log(&spec, KafkaTimeouts::of(&spec), options.stop.clone())?;
        // A topic that does not exist is found here, not at the first read.
        log.partitions()?;
        learn_schema(
            log.as_mut(),
            decoder.as_mut(),
            &spec,
            options.bounded,
            &options.stop,
        )?;
        TopicFeed::new(
            log,
            decoder,
            FeedOptions {
                bounded: options.bounded,
                until: options.until,
                schema_change: options.schema_change,
                auto_offset_reset: spec.auto_offset_reset,
                fail_on_data_loss: spec.fail_on_data_loss,
                keyed: options.keyed,
                stop: options.stop,
                clock: || chrono::Utc::now().timestamp_micros(),
            },
        )
    })
    .await?;
    Ok(Box::new(feed))
}

/// What is known of a source before it is read.
#[derive(Debug, Clone)]
pub struct Discovered {
    /// Row and metadata columns.
    pub schema: SchemaRef,
    /// The row's columns that identify it; none if that is not known.
    pub key: Vec<String>,
}

/// The schema and key of a source: those of a table, if it can be opened (on another machine only if `connect`); declared columns without any I/O; otherwise what captured messages say, and what brokers
/// say if `connect`. `None` if it is not known.
///
/// # Errors
/// As [`open_with`], but for a topic without data records.
pub async fn discover_schema_with<M>(
    spec: &SourceSpec,
    connect: bool,
    make_decoder: M,
) -> Result<Option<Discovered>>
where
    M: FnOnce(&KafkaSpec, &SourceOptions) -> Result<Box<dyn Decoder>> + Send + 'static,
{
    let spec = match spec {
        SourceSpec::Kafka(spec) => spec.clone(),
        SourceSpec::Lake(spec) => return lake::discover(spec, connect).await,
    };
    blocking(move || {
        let options = SourceOptions {
            bounded: true,
            until: None,
            keep_raw: false,
            keyed: false,
            schema_change: SchemaChange::Evolve,
            reader: None,
            stop: CancellationToken::new(),
        };
        let mut decoder = make_decoder(&spec, &options)?;
        let reads = connect || matches!(spec.bootstrap, Bootstrap::File(_));
        if decoder.schema().is_none() && reads {
            let mut log = open_log(&spec, KafkaTimeouts::of(&spec), options.stop.clone())?;
            read_schema(log.as_mut(), decoder.as_mut(), &spec, true, &options.stop)?;
        }
        Ok(decoder.schema().map(|schema| Discovered {
            schema,
            key: decoder.key().to_vec(),
        }))
    })
    .await
}

/// Opens the log that `spec.bootstrap` names.
///
/// # Errors
/// As [`KafkaLog::connect`] and [`ReplayLog::open`].
pub fn open_log(
    spec: &KafkaSpec,
    timeouts: KafkaTimeouts,
    stop: CancellationToken,
) -> Result<Box<dyn RecordLog>> {
    let filter = TopicFilter::try_new(spec)?;
    Ok(match &spec.bootstrap {
        Bootstrap::File(path) => Box::new(ReplayLog::open(path, filter)?),
        Bootstrap::Brokers(brokers) => {
            Box::new(KafkaLog::connect(spec, brokers, filter, timeouts, stop)?)
        }
    })
}

/// Makes sure that `decoder` knows its schema: reads the log from its start until a record tells. Blocks; without
/// `bounded` it waits for the first record.
///
/// # Errors
/// [`ErrorKind::Config`] if a bounded log has no data record, [`ErrorKind::Unavailable`] if `stop` came first, and what
/// the log returns.
pub fn learn_schema(
    log: &mut dyn RecordLog,
    decoder: &mut dyn Decoder,
    spec: &KafkaSpec,
    bounded: bool,
    stop: &CancellationToken,
) -> Result<()> {
    if decoder.schema().is_some() {
        return Ok(());
    }
    read_schema(log, decoder, spec, bounded, stop)?;
    if decoder.schema().is_some() {
        return Ok(());
    }
    if stop.is_cancelled() {
        return Err(Error::new(
            ErrorKind::Unavailable,
            format!(
                "told to stop while waiting for the first record of `{}`",
                spec.name
            ),
        )
        .at(spec.at.clone()));
    }
    Err(Error::config(format!(
        "the columns of `{}` are not known: its topics have no data record yet",
        spec.name
    ))
    .at(spec.at.clone())
    .expected("a record that tells its columns, or declared columns")
    .remedy("Declare `source.columns`, or run when the topic has its first record."))
}

fn read_schema(
    log: &mut dyn RecordLog,
    decoder: &mut dyn Decoder,
    spec: &KafkaSpec,
    bounded: bool,
    stop: &CancellationToken,
) -> Result<()> {
    let found = log.partitions()?;
    let start: Position = found
        .iter()
        .map(|marks| (marks.partition.clone(), marks.low))
        .collect();
    let mut open: Vec<_> = found
        .into_iter()
        .filter(|marks| marks.low < marks.high)
        .map(|marks| (marks.partition, marks.high))
        .collect();
    log.assign(&start)?;
    let mut learned = None;
    let mut pushed = 0_u64;
    let (began, mut told) = (Instant::now(), false);
    while !(stop.is_cancelled() || bounded && open.is_empty()) {
        log.poll(Duration::from_millis(100), &mut |event| {
            match event {
                LogEvent::Record(message) => {
                    pushed += 1;
                    if let Pushed::NewSchema(schema) = decoder.push(message)? {
                        learned = Some(schema);
                    }
                    open.retain(|(p, end)| p != message.partition || message.offset + 1 < *end);
                }
                LogEvent::End { partition, next } => {
                    open.retain(|(p, end)| p != partition || next < *end);
                }
                LogEvent::Lost { watermarks, .. } => {
                    open.retain(|(p, end)| *p != watermarks.partition || watermarks.low < *end);
                }
                LogEvent::Appeared { .. } => {}
            }
            let done = learned.is_some() || decoder.schema().is_some();
            let pause = done || pushed >= SAMPLE || (bounded && open.is_empty());
            Ok(if pause { Flow::Stop } else { Flow::Continue })
        })?;
        if pushed > 0 {
            // Nothing of what was read here is a row: the feed reads it again.
            decoder.finish(0)?;
            pushed = 0;
        }
        if let Some(schema) = learned.take() {
            decoder.adopt(schema)?;
        }
        if decoder.schema().is_some() {
            return Ok(());
        }
        if !bounded && !told && began.elapsed() > Duration::from_secs(1) {
            told = true;
            info!(
                source = spec.name,
                "waiting for the first data record: `source.columns` are not declared, so it tells the columns"
            );
        }
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal("the thread that opens the source died").source(error))?
}
