//! Events that a connector sends again after a crash: recognised by where they come from in their source, and dropped.
//!
//! An event that is sent again has the `source` block of the first time; only the top-level `ts_ms` differs. So each event
//! gets an [`Origin`]: a 128-bit identity out of what its connector says of the change's place, and a mark in the order of
//! the source's log. [`Memory`] remembers the last identities of each topic-partition and says of each event whether it is
//! known. [`WindowStore`] makes that memory durable beside the table, before the commit that moves the positions.
//!
//! | connector | identity | mark |
//! |---|---|---|
//! | PostgreSQL | server name, schema, table, `txId`, `lsn`, `op`, key, commit time; of an insert also the row, since COPY writes several at one LSN | `sequence[0]` (the commit before), `lsn` |
//! | MySQL, MariaDB | server name, database, table, `server_id`, `gtid` or `file`, `pos`, `row`, `op`, key, commit second, both images | number of `file`, `pos`, `row` |
//! | any other | the whole `source` block, `op`, key, both images | none |
//!
//! The commit time is part of it because a source that was set up again counts from the beginning: positions repeat, times
//! do not. The envelope's `transaction` block is not: `total_order` counts from where the connector says it was, which
//! after a crash can be another event of the same position, and Postgres' `transaction.id` has the event's LSN in it.
//!
//! Equal events at one position (a COPY of equal rows into a table without a key) are told apart by their number there,
//! counted anew where the connector's run changes (header `__debezium.context.runId`). Without that header and without a
//! key they are all kept: rather a row twice than a row lost.
//!
//! **What is never dropped**: snapshot rows (they have no place in the log; `source.snapshot` alone does not make one, since
//! connectors that were killed while an incremental snapshot was being read say it of streamed events too), rejects, and whatever is not found in the
//! window. An event below the mark that is not known means that the source's positions went back for another reason (it
//! was restored, or failed over), or that the window is too short for what was sent again: it is applied, the mark starts
//! again there, and a [`sql::change::Jump`] is reported. The identities stay, and for a while twice as many: they are
//! exact, and what is sent again after events older than the window may still be in it.
//!
//! **Tombstones** have no source. One shares the fate of the delete just before it in its partition if it has that
//! delete's key: it is dropped with it, and counted with it.

mod memory;
mod origin;
mod segment;
mod store;
mod strays;

pub use memory::{Fate, Memory};
pub use origin::{Numbered, Origin, hash64, hash128};
pub use segment::{Part, Retired, Segment};
pub use store::WindowStore;
pub use strays::{folder, strays};
