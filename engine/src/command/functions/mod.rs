//! The table functions of `engine sql`: each call's table, opened before the statement is planned.
//!
//! What they are called and take is in [`sql::function::table`]; here is what needs the world: constants of arguments
//! ([`mod@arguments`]), the table that a name stands for ([`target`]), versions of times ([`range`]).

mod arguments;
mod listings;
mod messages;
pub mod range;
pub mod target;

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use datafusion::sql::TableReference;
use sql::function::table::{Call, TableFunction, compare, history};
use sql::table::{ChangesTable, OpenFeed, Range, Slots};
use sql::{Error, Result};

use arguments::{Arguments, Bound};
use target::{Names, Target, versioned};

use super::query::add;

/// The table that a call stands for.
pub(super) struct Opened {
    /// The table.
    pub(super) provider: Arc<dyn TableProvider>,
    /// Whether its rows may never end.
    pub(super) endless: bool,
    /// What the session's slots must hold for it.
    pub(super) feed: Option<(String, OpenFeed)>,
}

impl Opened {
    /// Registers it in the session that will read it.
    pub(super) fn put_into(self, ctx: &SessionContext, reference: &TableReference) -> Result<()> {
        if let Some((name, feed)) = self.feed {
            let slots = ctx.state().config().get_extension::<Slots>();
            let slots = slots.ok_or_else(|| Error::internal("the session has no slots"))?;
            slots.put_feed(name, feed);
        }
        add(ctx, reference, self.provider)
    }
}

impl From<Arc<dyn TableProvider>> for Opened {
    fn from(provider: Arc<dyn TableProvider>) -> Self {
        Self {
            provider,
            endless: false,
            feed: None,
        }
    }
}

/// Opens what `call` stands for, among the tables `names`.
///
/// # Errors
/// [`sql::ErrorKind::Config`] for arguments that are no constants of the right kind, a table that is not known or not
/// there, and versions that it does not have; of the storage or catalog. Without a place.
pub(super) async fn open(call: &Call, names: &Names<'_>) -> Result<Opened> {
    let arguments = Arguments::of(call);
    let name = arguments.name()?;
    match call.function {
        TableFunction::Positions => return listings::positions(&name, names).await?.try_into(),
        TableFunction::Kafka => return messages::open(&name, &arguments, names).await,
        _ => {}
    }
    let Target { shown, table, key } = versioned(names, &name).await?;
    let readable = table.refresh().await?;
    let version = async |index: usize| -> Result<Option<i64>> {
        match arguments.bound(index).await? {
            None => Ok(None),
            Some(bound) => range::version(table.as_ref(), readable, &bound)
                .await
                .map(Some),
        }
    };
    let one = async |index: usize| -> Result<i64> {
        let version = version(index).await?;
        version.ok_or_else(|| Error::internal("an argument that was counted is not there"))
    };
    match call.function {
        TableFunction::TableChanges => {
            let range = changed(&arguments, table.as_ref(), readable).await?;
            Ok(Opened {
                provider: Arc::new(ChangesTable::try_new(shown, table, range)?),
                endless: range.to.is_none(),
                feed: None,
            })
        }
        TableFunction::NetChanges => {
            let range = changed(&arguments, table.as_ref(), readable).await?;
            let key = arguments.key()?.unwrap_or(key);
            listings::net_changes(shown, table, range, &key).await
        }
        TableFunction::At => Ok(table.at(one(1).await?).await?.into()),
        TableFunction::Snapshots => table.snapshots().await?.try_into(),
        TableFunction::History => {
            let line = table.versions(readable.first, readable.last).await?;
            history(&table.snapshots().await?, &line)?.try_into()
        }
        TableFunction::Files => table.files(version(1).await?).await?.try_into(),
        TableFunction::Compare => {
            let (from, to) = (one(1).await?, one(2).await?);
            let from = table.files(Some(from)).await?;
            compare(&from, &table.files(Some(to)).await?)?.try_into()
        }
        TableFunction::Manifests => listings::manifests(names, &name).await?.try_into(),
        TableFunction::Positions | TableFunction::Kafka => Err(Error::internal(
            "a function without a table's versions came here",
        )),
    }
}

/// The range that a call asks for.
async fn changed(
    arguments: &Arguments<'_>,
    table: &dyn sql::versioned::VersionedTable,
    readable: sql::versioned::Readable,
) -> Result<Range> {
    let from = arguments.bound(1).await?;
    match (from, arguments.bound(2).await?) {
        (None, _) => Ok(range::follow(table, readable, None).await?),
        (Some(from), Some(Bound::Follow)) => range::follow(table, readable, Some(&from)).await,
        (Some(from), to) => range::between(table, readable, &from, to.as_ref()).await,
    }
}

impl TryFrom<RecordBatch> for Opened {
    type Error = Error;

    fn try_from(rows: RecordBatch) -> Result<Self> {
        let table = MemTable::try_new(rows.schema(), vec![vec![rows]]).map_err(|error| {
            Error::internal("a list of a table does not fit together").source(error)
        })?;
        let provider: Arc<dyn TableProvider> = Arc::new(table);
        Ok(provider.into())
    }
}
