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
//! window. An event below the mark that is not known is a **jump**: it is applied, the mark starts again there, and a
//! [`sql::change::Jump`] is reported. One of three things has happened, and no event says which:
//!
//! - the window is too short for what was sent again: the event was applied before, and is forgotten;
//! - the connector skipped the event, and fills the gap late (MariaDB's, when it reconnects in mid-transaction);
//! - the source counts anew, because it was restored or failed over.
//!
//! What follows a jump depends on the target.
//!
//! - **A target that is appended to** ([`AfterJump::DropKnown`]) has each event once, in the order of arrival, which has a
//!   column. The identities stay, and for a while twice as many: they are exact, and what is sent again after events older
//!   than the window may still be in it.
//! - **A target that is kept by key** ([`AfterJump::ApplyAgain`]) is as its last events say, so their order counts. To
//!   apply the event and to drop the later ones that are known would leave rows as they were before those: a deleted row
//!   would live, a value would go back, for ever. So everything from the jump on is applied again: the window forgets what
//!   it has. What a source sends after it went back is its log in order, without gaps, up to where it had been and on.
//!   Meanwhile the target goes back in time, key by key, and then comes forward again.
//!
//! **Why that ends at the source's rows.** Be *h* what was applied already, and *R* what comes after the jump: R holds all
//! of h, in order. For each key and column, look for the last event in R that says something of it (its value, a delete, a
//! truncate). If there is one, it decides, whatever the target had before. If there is none, there is none in h either,
//! and the target still has the value of before both. A second way back, before R is over, begins either within R, and
//! what of R has come by then is known and dropped, for it was applied in order; or before it, and that is a jump again.
//!
//! **Where it does not hold** are values that were not sent because they had not changed (TOAST) in events whose key
//! changes. Their value is that of the row under the old key *at that time*, and the target is ahead of it: after a swap of
//! two keys, to apply it again would exchange the two rows without a word. Such events are told from others
//! ([`Fate::Again`]): from the jump on, up to the highest mark before it, as far as they were committed no later than what
//! had been seen (a restored source commits later, and is not ahead of itself). Of these,
//! - a changed key whose unsent values did not come again before it, within the batch, has values that are nowhere:
//!   `sink.unavailable` says what becomes of it, and by default the pipeline stops and says to take a snapshot;
//! - an update with unsent values of a row that is gone by now has not happened: something later in R takes the row away,
//!   or has all values;
//! - any other update with unsent values keeps what the target has: no event in R says anything else of it, or a later one
//!   does.
//!
//! Sources that send whole rows (MySQL and MariaDB, Postgres with REPLICA IDENTITY FULL) have no such events.
//!
//! **Tombstones** have no source. One shares the fate of the delete just before it in its partition if it has that
//! delete's key: it is dropped with it, and counted with it.

mod memory;
mod origin;
mod segment;
mod store;
mod strays;

pub use memory::{AfterJump, Fate, Memory};
pub use origin::{Numbered, Origin, hash64, hash128};
pub use segment::{Part, Retired, Segment};
pub use store::WindowStore;
pub use strays::{folder, strays};
