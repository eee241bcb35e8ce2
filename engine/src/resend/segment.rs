//! The file of a window: what one commit added to it, or all of it.
//!
//! ```text
//! ENGINE-WINDOW-1\n   a JSON object\n   identities, 16 bytes each, little-endian   checksum, 8 bytes
//! ```
//!
//! The checksum covers everything before it. A file is written once, under the name of the offset that the partition's
//! position has after the commit; it says which files came before it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sql::change::{Again, LastDelete, Mark, Partition, SamePlace, Tail};
use sql::{Error, ErrorKind, Result};

use super::origin::hash64;

const MAGIC: &[u8] = b"ENGINE-WINDOW-1\n";
const CHECKSUM: usize = 8;

/// A file that a window consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The offset that it is named after.
    pub to: i64,
    /// Identities in it.
    pub identities: u64,
}

/// Files that are no longer part of the window: those that the file named after `last` lists, and itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    /// The newest of the files.
    pub last: i64,
    /// When a whole file replaced them, microseconds since the epoch.
    pub at_micros: i64,
}

/// One file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Segment {
    /// Whose window it is.
    pub pipeline: String,
    /// The partition's topic.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The partition's position after the commit.
    pub to: i64,
    /// The files to read before this one, the newest first; none if this one holds the whole window.
    pub older: Vec<Part>,
    /// What can be deleted some day; only in a file that holds the whole window.
    pub retired: Vec<Retired>,
    /// How the partition ends.
    pub tail: Tail,
    /// The oldest first.
    pub identities: Vec<u128>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    pipeline: String,
    topic: String,
    partition: i32,
    to: i64,
    identities: u64,
    older: Vec<Part>,
    #[serde(default)]
    retired: Vec<Retired>,
    marks: Vec<MarkText>,
    last_delete: Option<(String, bool)>,
    same_place: (u64, u64, Vec<(String, u32)>),
    grace: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    latest_micros: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    again: Option<AgainText>,
}

#[derive(Serialize, Deserialize)]
struct AgainText {
    until: MarkText,
    latest_micros: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct MarkText {
    log: u64,
    kind: String,
    at: [u64; 3],
}

impl Segment {
    /// The file's content.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] if it cannot be written down.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let header = Header {
            pipeline: self.pipeline.clone(),
            topic: self.topic.clone(),
            partition: self.partition,
            to: self.to,
            identities: self.identities.len() as u64,
            older: self.older.clone(),
            retired: self.retired.clone(),
            marks: self.tail.marks.iter().map(mark_text).collect(),
            last_delete: self
                .tail
                .last_delete
                .map(|delete| (hex(delete.key), delete.resend)),
            same_place: (
                self.tail.same_place.run,
                self.tail.same_place.place,
                self.tail
                    .same_place
                    .counts
                    .iter()
                    .map(|(identity, count)| (hex(*identity), *count))
                    .collect(),
            ),
            grace: self.tail.grace,
            latest_micros: self.tail.latest_micros,
            again: self.tail.again.map(|again| AgainText {
                until: mark_text((&again.log, &again.until)),
                latest_micros: again.latest_micros,
            }),
        };
        let header = serde_json::to_vec(&header)
            .map_err(|error| Error::internal("a window cannot be written down").source(error))?;
        let mut bytes = Vec::with_capacity(header.len() + 16 * self.identities.len() + 32);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&header);
        bytes.push(b'\n');
        for identity in &self.identities {
            bytes.extend_from_slice(&identity.to_le_bytes());
        }
        bytes.extend_from_slice(&hash64(&bytes).to_le_bytes());
        Ok(bytes)
    }

    /// Reads what [`Self::encode`] wrote; `place` is for the error.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if it is anything else, or another version's.
    pub fn decode(bytes: &[u8], place: &str) -> Result<Self> {
        Self::try_decode(bytes).map_err(|what| {
            Error::new(
                ErrorKind::Storage,
                format!("the window of events sent again is damaged: {what}"),
            )
            .at(place)
            .expected("the file as the engine wrote it")
            .remedy("Restore the file. Or delete it: the pipeline then starts with an empty window, and events that the source sends again from before it become rows a second time.")
        })
    }

    fn try_decode(bytes: &[u8]) -> std::result::Result<Self, String> {
        let Some(rest) = bytes.strip_prefix(MAGIC) else {
            return Err("it does not start as version 1 does".to_owned());
        };
        let body = bytes.len().saturating_sub(CHECKSUM);
        let (content, checksum) = bytes.split_at(body);
        if hash64(content).to_le_bytes() != checksum {
            return Err("its checksum is wrong".to_owned());
        }
        let end = memchr::memchr(b'\n', rest).ok_or("it ends too early")?;
        let (header, rest) = rest.split_at(end);
        let header: Header = serde_json::from_slice(header).map_err(|error| error.to_string())?;
        let identities = rest
            .get(1..rest.len().saturating_sub(CHECKSUM))
            .ok_or("it ends too early")?;
        let (chunks, surplus) = identities.as_chunks::<16>();
        if !surplus.is_empty() || chunks.len() as u64 != header.identities {
            return Err(format!(
                "it says that it has {} identities, but has {}",
                header.identities,
                chunks.len()
            ));
        }
        header.into_segment(chunks.iter().map(|chunk| u128::from_le_bytes(*chunk)))
    }

    /// The partition that it is of.
    pub fn partition(&self) -> Partition {
        Partition::new(self.topic.clone(), self.partition)
    }
}

impl Header {
    fn into_segment(
        self,
        identities: impl Iterator<Item = u128>,
    ) -> std::result::Result<Segment, String> {
        let mut marks = BTreeMap::new();
        for mark in self.marks {
            marks.insert(mark.log, mark.read()?);
        }
        let again = self.again.map(|again| {
            Ok::<_, String>(Again {
                log: again.until.log,
                until: again.until.read()?,
                latest_micros: again.latest_micros,
            })
        });
        let (run, place, counts) = self.same_place;
        let counts = counts
            .into_iter()
            .map(|(identity, count)| Ok((unhex(&identity)?, count)))
            .collect::<std::result::Result<_, String>>()?;
        let last_delete = self
            .last_delete
            .map(|(key, resend)| {
                Ok::<_, String>(LastDelete {
                    key: unhex(&key)?,
                    resend,
                })
            })
            .transpose()?;
        Ok(Segment {
            pipeline: self.pipeline,
            topic: self.topic,
            partition: self.partition,
            to: self.to,
            older: self.older,
            retired: self.retired,
            tail: Tail {
                marks,
                last_delete,
                same_place: SamePlace { run, place, counts },
                grace: self.grace,
                latest_micros: self.latest_micros,
                again: again.transpose()?,
            },
            identities: identities.collect(),
        })
    }
}

impl MarkText {
    fn read(&self) -> std::result::Result<Mark, String> {
        let [a, b, c] = self.at;
        match self.kind.as_str() {
            "lsn" => Ok(Mark::Lsn { commit: a, lsn: b }),
            "binlog" => Ok(Mark::Binlog {
                file: a,
                position: b,
                row: c,
            }),
            other => Err(format!("`{other}` is no kind of position")),
        }
    }
}

fn mark_text((log, mark): (&u64, &Mark)) -> MarkText {
    let (kind, at) = match *mark {
        Mark::Lsn { commit, lsn } => ("lsn", [commit, lsn, 0]),
        Mark::Binlog {
            file,
            position,
            row,
        } => ("binlog", [file, position, row]),
    };
    MarkText {
        log: *log,
        kind: kind.to_owned(),
        at,
    }
}

fn hex(value: u128) -> String {
    format!("{value:032x}")
}

fn unhex(text: &str) -> std::result::Result<u128, String> {
    u128::from_str_radix(text, 16).map_err(|_| format!("`{text}` is no identity"))
}
