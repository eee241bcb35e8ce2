//! Whether a decoded event is let through, or was sent again.

use sql::change::Op;
use sql::{Error, ErrorKind};

use super::JsonDecoder;
use super::batch::RowFacts;
use super::event::{Event, Stop};
use super::origin::{Known, key_hash};
use crate::format::RawMessage;
use crate::resend::Fate;

impl JsonDecoder {
    /// A decoded row, unless it was sent again.
    pub(super) fn admit<'a>(
        &mut self,
        message: &RawMessage<'a>,
        facts: RowFacts,
    ) -> Result<Event<'a>, Stop> {
        self.watch_key(message)?;
        let fate = self.fate(message, facts)?;
        if fate == Fate::Resend {
            return Ok(Event::Resend);
        }
        self.note_key(message, facts)?;
        if let Fate::Again { pass } = fate {
            self.pending.note_again(pass);
        }
        Ok(Event::Row(facts))
    }

    /// A tombstone, unless it was sent again. Where the target is kept by key, it is a row.
    pub(super) fn admit_tombstone<'a>(
        &mut self,
        message: &RawMessage<'a>,
    ) -> Result<Event<'a>, Stop> {
        if let (Some(memory), Some(key)) = (&mut self.memory, message.key)
            && memory.tombstone(message.partition, key_hash(key)) == Fate::Resend
        {
            return Ok(Event::Resend);
        }
        if !self.wants_tombstones() {
            return Ok(Event::Null);
        }
        self.pending.rollback();
        self.tombstone(message).map(Event::Tombstone)
    }

    fn fate(&mut self, message: &RawMessage<'_>, facts: RowFacts) -> Result<Fate, Stop> {
        let Some(memory) = &mut self.memory else {
            return Ok(Fate::Fresh);
        };
        let origin = match &facts.known {
            Known::Origin(origin) => Some(origin),
            Known::Snapshot => None,
            Known::Nothing => return Err(no_origin(message).into()),
        };
        let deleted = message.key.filter(|_| facts.op == Op::Delete).map(key_hash);
        Ok(memory.judge(message.partition, message.offset, origin, deleted))
    }
}

fn no_origin(message: &RawMessage<'_>) -> Error {
    Error::new(
        ErrorKind::Policy,
        "the event does not say where in its source it comes from, so nobody can tell whether it was sent again",
    )
    .at(format!("{}@{}", message.partition, message.offset))
    .expected("a Debezium envelope whose `source` has the change's position")
    .remedy("Set `source.resends: keep`; or send envelopes, without the unwrap transformation and without a CloudEvents converter.")
}
