//! Where changes come from: Kafka topics, or captured messages of them; Delta tables and Iceberg tables ([`lake`]).
//!
//! A [`RecordLog`] is partitions of raw records with offsets; a [`TopicFeed`] turns it into decoded batches with
//! positions, through a [`Decoder`](crate::format::Decoder). What a batch may hold, where partitions start, what is
//! lost and when a bounded run is done is decided once, in the feed; the logs only fetch.
//!
//! | log | records come from |
//! |---|---|
//! | [`KafkaLog`] | brokers, through librdkafka |
//! | [`ReplayLog`] | a file of captured messages, JSON lines |
//! | [`MemoryLog`] | memory: the double for tests |

mod decoder;
mod feed;
mod kafka;
pub mod lake;
mod memory;
mod moves;
mod open;
mod positions;
mod reader;
mod records;
mod replay;
mod topics;

pub use tokio_util::sync::CancellationToken;

use crate::spec::model::SchemaChange;

pub use decoder::{discover_schema, open};
pub use feed::{FeedOptions, TopicFeed};
pub use kafka::{KafkaLog, KafkaTimeouts};
pub use lake::describe_table;
pub use memory::{MemoryLog, MemoryTopics};
pub use open::{Discovered, discover_schema_with, learn_schema, open_log, open_with};
pub use records::{Flow, LogEvent, RecordLog, Watermarks};
pub use replay::ReplayLog;
pub use topics::TopicFilter;
pub(crate) use topics::{glob, is_glob};

/// How a source is opened.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    /// Stop at the ends that the partitions had at `seek` (`--once`).
    pub bounded: bool,
    /// Bounded, of topics: the last offset to read of each partition, where it has more.
    pub until: Option<i64>,
    /// Keep each row's raw record beside it, for rules that may set the row aside.
    pub keep_raw: bool,
    /// The target is kept by key: [`DecoderOptions::keyed`](crate::format::debezium::DecoderOptions::keyed).
    pub keyed: bool,
    /// What a changed schema does.
    pub schema_change: SchemaChange,
    /// Who reads, so that maintenance of a table keeps what the reader needs; `None`: nobody that comes again.
    pub reader: Option<String>,
    /// Told to stop: `next` returns what it has, then `None`.
    pub stop: CancellationToken,
}
