//! What an attempt at a commit came to: the part of the protocol that appends and upserts share.

use sql::change::Span;
use sql::{Error, ErrorKind, Result};
use uuid::Uuid;

use super::IcebergSink;
use super::progress::{has_commit, positions};
use crate::lake::catalog::Failed;
use crate::sink::Receipt;
use crate::sink::protocol::{MAX_ATTEMPTS, Standing, standing};

/// In a snapshot's summary: tells our own commit from another engine's of the same span.
pub(super) const COMMIT: &str = "engine.commit";
/// Attempts whose end nobody knows. Each may have waited for the catalog's lock.
const MAX_UNCLEAR: u32 = 5;

/// The attempts at one commit.
#[derive(Debug)]
pub(super) struct Tries<'a> {
    pub(super) span: &'a Span,
    /// In the summary of each attempt's snapshot, under [`COMMIT`].
    pub(super) mark: String,
    /// Attempts lost to other writers, or whose answer was lost.
    pub(super) lost: u64,
    unclear: u32,
}

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum Settled {
    /// It landed, or an earlier one of these did.
    Ours,
    /// It did not, and the table is where the batch starts: try again on the table as it is now.
    Again,
    /// An earlier call's attempt had landed.
    Before,
    /// There is nothing more to try.
    Failed(Error),
}

impl<'a> Tries<'a> {
    pub(super) fn new(span: &'a Span) -> Self {
        Self {
            span,
            mark: Uuid::new_v4().to_string(),
            lost: 0,
            unclear: 0,
        }
    }

    /// Whether no attempt can land any more, so that its files are in nobody's way.
    pub(super) fn certain(&self) -> bool {
        self.unclear == 0
    }

    pub(super) fn exhausted(&self) -> bool {
        self.lost >= MAX_ATTEMPTS
    }
}

impl IcebergSink {
    pub(super) fn standing(&self, span: &Span) -> Result<Standing> {
        let stored = positions(&self.table.metadata_ref(), &self.pipeline);
        standing(&stored, span, self.sent.as_ref(), &self.place)
    }

    /// Finds out what `done`, an attempt from the sink's table, came to, and reads the table again if it is not there.
    ///
    /// # Errors
    /// Of the storage and the catalog while looking.
    pub(super) async fn settle(
        &mut self,
        done: Result<(), Failed>,
        tries: &mut Tries<'_>,
    ) -> Result<Settled> {
        let Err(failed) = done else {
            return Ok(Settled::Ours);
        };
        if failed.is_unclear() {
            self.sent = Some(tries.span.clone());
            tries.unclear += 1;
        } else if !failed.is_conflict() {
            // The catalog certainly did not make it.
            return Ok(Settled::Failed(self.commit_error(failed)));
        }
        self.refresh().await?;
        let ours = has_commit(&self.table.metadata_ref(), COMMIT, &tries.mark);
        if ours {
            self.sent = Some(tries.span.clone());
        }
        Ok(match self.standing(tries.span) {
            Ok(Standing::Landed) if ours => Settled::Ours,
            Ok(Standing::Ready) if tries.unclear < MAX_UNCLEAR => {
                tries.lost += 1;
                if tries.exhausted() {
                    Settled::Failed(self.exhausted())
                } else {
                    Settled::Again
                }
            }
            Ok(Standing::Ready) => Settled::Failed(self.commit_error(failed)),
            Ok(Standing::Landed) => {
                tries.lost += 1;
                Settled::Before
            }
            Err(fenced) => Settled::Failed(fenced),
        })
    }

    pub(super) fn commit_error(&self, failed: Failed) -> Error {
        match failed.error.place() {
            Some(place) if !place.is_empty() => failed.error,
            _ => failed.error.at(&self.place),
        }
    }

    fn exhausted(&self) -> Error {
        Error::new(
            ErrorKind::Conflict,
            format!("the commit lost against other writers {MAX_ATTEMPTS} times"),
        )
        .at(&self.place)
    }

    pub(super) fn landed_before(&self) -> Receipt {
        Receipt {
            already_landed: true,
            ..self.receipt(&[])
        }
    }
}
