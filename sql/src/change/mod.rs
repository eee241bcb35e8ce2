//! What a change is: its operation, where it stands in its source, and the batch it travels in.

mod batch;
mod columns;
mod fold;
mod keyed;
mod net;
mod netting;
mod op;
mod position;
mod resend;

pub use batch::{BatchCounts, ChangeBatch, RawRecord, Reject, RejectReason, RowMeta};
pub use columns::{
    BEFORE, CHANGE_TYPE, COMMIT_TIMESTAMP, COMMIT_VERSION, INGESTED_AT, LAKE_METADATA, METADATA,
    OFFSET, OP, PARTITION, SOURCE, TOPIC, UNAVAILABLE_COLUMNS, is_metadata, kafka_metadata_fields,
    lake_metadata_fields, metadata_names, source_struct_fields, utc_micros,
};
pub use fold::{Folded, MissingValue, fold};
pub use keyed::KeyedMeta;
pub use net::NetChange;
pub use netting::{Fill, NetEvent, NetRow, Netted, Origin, net};
pub use op::Op;
pub use position::{Partition, Position, Span};
pub use resend::{Again, Jump, LastDelete, Mark, Recollection, Remembered, SamePlace, Tail};
