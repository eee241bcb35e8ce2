//! Rows without envelope: what the unwrap transformation (`ExtractNewRecordState`) leaves of an event.

use sql::change::{Op, RejectReason};

use super::JsonDecoder;
use super::batch::RowFacts;
use super::envelope::keys_of;
use super::event::{Event, Stop};
use super::fault::{Fault, shown};
use super::key::wrapper;
use super::origin::Known;
use super::plan::Plan;
use super::row::{self, RowSeen};
use super::scan::Cursor;
use super::top::unquoted;
use crate::format::RawMessage;

impl JsonDecoder {
    /// A row without envelope, as the unwrap transformation writes it.
    pub(super) fn flattened<'a>(
        &mut self,
        plan: &mut Plan,
        message: &RawMessage<'a>,
        cursor: &mut Cursor<'a>,
    ) -> Result<Event<'a>, Stop> {
        cursor.peek();
        let start = cursor.at();
        let seen = self.image(&mut plan.flat, cursor, true)?;
        self.flat_row(plan, message, cursor.since(start), seen)
    }

    /// The same, of an image that is already in the columns.
    pub(super) fn flat_row<'a>(
        &mut self,
        plan: &mut Plan,
        message: &RawMessage<'a>,
        image: &'a [u8],
        seen: RowSeen<'a>,
    ) -> Result<Event<'a>, Stop> {
        self.need_columns(plan, message, Some(image))?;
        if !seen.any {
            return Err(Fault::new(
                RejectReason::UnknownShape,
                match keys_of(image).as_slice() {
                    [] => "no envelope and none of the columns: the message is {}".to_owned(),
                    keys => format!(
                        "no envelope and none of the columns; the message's keys are: {}",
                        keys.join(", ")
                    ),
                },
            )
            .expected("`op` with `before`, `after` and `source`, or a row")
            .into());
        }
        let added = |slot: usize| seen.added.get(slot).copied().flatten();
        let deleted = added(row::DELETED).is_some_and(|value| unquoted(value) == b"true");
        let raw_op = added(row::OP).or_else(|| header(message, "__op"));
        let op = match raw_op.map(unquoted) {
            _ if deleted => Op::Delete,
            // The transformation adds no operation unless told to: the row is what the table holds now.
            None | Some(b"" | b"null") => Op::Update,
            Some(b"m") => return Ok(Event::Control),
            Some(letter) => Op::from_letter(letter).ok_or_else(|| {
                Fault::new(
                    RejectReason::UnknownShape,
                    format!("the operation {} is not known", shown(letter)),
                )
                .expected("`__op` c, r, u, d or t")
            })?,
        };
        match op {
            Op::Delete => {
                self.pending.rollback_row();
                self.delete(plan, message, Some(image), true)?;
            }
            Op::Truncate => self.pending.rollback_row(),
            _ => self.settle(&mut plan.flat, image, op, message)?,
        }
        let time = |slot: usize, name: &str, factor: i64| {
            let raw = added(slot).or_else(|| header(message, name))?;
            let text = std::str::from_utf8(unquoted(raw)).ok()?;
            text.parse::<i64>().ok()?.checked_mul(factor)
        };
        Ok(Event::Row(RowFacts {
            op,
            commit_micros: time(row::SOURCE_TS_US, "__source_ts_us", 1)
                .or_else(|| time(row::SOURCE_TS_MS, "__source_ts_ms", 1_000)),
            known: Known::Nothing,
        }))
    }
}

/// A header's value, without the schema that a `JsonConverter` puts around it.
pub(super) fn header<'a>(message: &RawMessage<'a>, name: &str) -> Option<&'a [u8]> {
    let (_, value) = message.headers.iter().find(|(known, _)| *known == name)?;
    let value = (*value)?;
    match wrapper(Cursor::new(value)) {
        Ok(Some((_, payload, _))) => Some(payload),
        _ => Some(value),
    }
}
