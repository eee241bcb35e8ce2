//! Captured messages, replayed offset by offset as a broker would.
//!
//! The file is JSON lines, one message each, as `kcat -J` prints them: `topic`, `partition`, `offset`, `ts`, flat
//! `headers`, `key`, `payload`; `key_base64` and `payload_base64` hold binary data. Offsets grow in each partition, gaps
//! are legal. A growing file is tailed; a last line that is not complete yet waits. One line is in memory at a time.

mod index;
mod line;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind as IoKind, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sql::change::{Partition, Position};
use sql::{Error, ErrorKind, Result};

use self::index::{Cursor, Index};
use super::records::{Flow, LogEvent, RecordLog, Watermarks};
use super::topics::TopicFilter;
use crate::format::RawMessage;

/// How often a tailed file is looked at.
const TAIL: Duration = Duration::from_millis(20);

/// Reads a file of captured messages.
#[derive(Debug)]
pub struct ReplayLog {
    path: PathBuf,
    filter: TopicFilter,
    index: Index,
    reader: BufReader<File>,
    /// Where `reader` stands.
    cursor: Cursor,
    buffer: Vec<u8>,
    /// Bytes of the incomplete last line, as last read.
    incomplete: u64,
    next: BTreeMap<Partition, i64>,
    left: BTreeSet<Partition>,
    /// `End` is owed to every partition when the end of the file is reached.
    at_end: bool,
}

impl ReplayLog {
    /// Opens the file. Nothing is read yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if there is no such file, or it is a folder, or may not be read.
    pub fn open(path: &Path, filter: TopicFilter) -> Result<Self> {
        let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, error))?;
        if metadata.is_dir() {
            return Err(Error::config("captured messages are a file, not a folder")
                .at(path.display().to_string())
                .expected("a file of JSON lines as `kcat -J` prints them")
                .remedy("Name the file in `source.bootstrap_servers: file:PATH`."));
        }
        let file = File::open(path).map_err(|error| unreadable(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            filter,
            index: Index::default(),
            reader: BufReader::with_capacity(1 << 18, file),
            cursor: Cursor::default(),
            buffer: Vec::new(),
            incomplete: 0,
            next: BTreeMap::new(),
            left: BTreeSet::new(),
            at_end: false,
        })
    }

    fn go_to(&mut self, cursor: Cursor) -> Result<()> {
        self.reader
            .seek(SeekFrom::Start(cursor.byte))
            .map_err(|error| unreadable(&self.path, error))?;
        self.cursor = cursor;
        Ok(())
    }

    /// Reads the next line into `buffer`; returns where it ends. `None` at the end of the file, where an incomplete line waits.
    fn read_line(&mut self) -> Result<Option<Cursor>> {
        loop {
            self.buffer.clear();
            let n = self
                .reader
                .read_until(b'\n', &mut self.buffer)
                .map_err(|error| unreadable(&self.path, error))?;
            self.incomplete = 0;
            if n == 0 {
                return Ok(None);
            }
            let complete = self.buffer.last() == Some(&b'\n');
            // A prefix of a JSON object is never an object: one that parses was only not ended by a line feed.
            if !complete && serde_json::from_slice::<serde::de::IgnoredAny>(&self.buffer).is_err() {
                self.go_to(self.cursor)?;
                self.incomplete = n as u64;
                return Ok(None);
            }
            let after = Cursor {
                byte: self.cursor.byte + n as u64,
                lines: self.cursor.lines + u64::from(complete),
            };
            if self.buffer.iter().all(u8::is_ascii_whitespace) {
                self.cursor = after;
                continue;
            }
            return Ok(Some(after));
        }
    }

    fn size(&self) -> Result<u64> {
        std::fs::metadata(&self.path)
            .map(|metadata| metadata.len())
            .map_err(|error| unreadable(&self.path, error))
    }

    fn check_not_shrunk(&self) -> Result<u64> {
        let size = self.size()?;
        let read = self.cursor.byte.max(self.index.seen.byte);
        if size < read {
            return Err(Error::new(
                ErrorKind::DataLoss,
                format!("the file is {size} bytes long, but {read} bytes of it were read"),
            )
            .at(self.path.display().to_string())
            .expected("a file that only grows")
            .remedy("Restore the file, or replay it into a new table."));
        }
        Ok(size)
    }

    /// Indexes what was not seen yet.
    fn scan(&mut self) -> Result<()> {
        self.check_not_shrunk()?;
        self.go_to(self.index.seen)?;
        while let Some(after) = self.read_line()? {
            let at = || at(&self.path, self.cursor);
            let place = line::place(&self.buffer, &at)?;
            self.index.add(&place, after, &at)?;
            self.cursor = after;
        }
        Ok(())
    }

    /// Hands over the next line's record. `None` at the end of the file.
    fn step(&mut self, take: &mut dyn FnMut(LogEvent<'_>) -> Result<Flow>) -> Result<Option<Flow>> {
        let Some(after) = self.read_line()? else {
            return Ok(None);
        };
        let start = self.cursor;
        let at = || at(&self.path, start);
        if start.byte >= self.index.seen.byte {
            let place = line::place(&self.buffer, &at)?;
            self.index.add(&place, after, &at)?;
        }
        let message = line::message(&self.buffer, &at)?;
        self.cursor = after;
        if !self.filter.matches(&message.topic) {
            return Ok(Some(Flow::Continue));
        }
        let partition = Partition::new(message.topic.as_ref(), message.partition);
        if self.left.contains(&partition) {
            return Ok(Some(Flow::Continue));
        }
        let mut flow = Flow::Continue;
        match self.next.get(&partition) {
            Some(next) if message.offset < *next => return Ok(Some(flow)),
            Some(_) => {}
            None => {
                flow = take(LogEvent::Appeared {
                    partition: &partition,
                    start: message.offset,
                })?;
            }
        }
        if !flow.leaves() {
            let headers = message.headers();
            let taken = take(LogEvent::Record(&RawMessage {
                partition: &partition,
                offset: message.offset,
                timestamp_ms: message.timestamp_ms,
                key: message.key.as_deref(),
                value: message.value.as_deref(),
                headers: &headers,
            }))?;
            flow = if flow.stops() {
                taken.and_stop()
            } else {
                taken
            };
        }
        if flow.leaves() {
            self.left.insert(partition.clone());
        }
        self.next.insert(partition, message.offset + 1);
        self.at_end = false;
        Ok(Some(flow))
    }

    fn tell_ends(&mut self, take: &mut dyn FnMut(LogEvent<'_>) -> Result<Flow>) -> Result<Flow> {
        self.at_end = true;
        let mut answer = Flow::Continue;
        for (partition, next) in &mut self.next {
            if self.left.contains(partition) {
                continue;
            }
            if let Some(extent) = self.index.extents().get(partition) {
                *next = (*next).max(extent.high);
            }
            let flow = take(LogEvent::End {
                partition,
                next: *next,
            })?;
            if flow.leaves() {
                self.left.insert(partition.clone());
            }
            if flow.stops() {
                answer = Flow::Stop;
            }
        }
        Ok(answer)
    }
}

impl RecordLog for ReplayLog {
    fn partitions(&mut self) -> Result<Vec<Watermarks>> {
        let back = self.cursor;
        self.scan()?;
        self.go_to(back)?;
        let found: Vec<Watermarks> = self
            .index
            .extents()
            .iter()
            .filter(|(partition, _)| self.filter.matches(&partition.topic))
            .map(|(partition, extent)| Watermarks {
                partition: partition.clone(),
                low: extent.low,
                high: extent.high,
            })
            .collect();
        // A file that is empty may be about to grow; one with other topics only is the wrong one.
        if found.is_empty() && !self.index.extents().is_empty() {
            let mut known: Vec<String> = self
                .index
                .extents()
                .keys()
                .map(|p| p.topic.clone())
                .collect();
            known.dedup();
            self.filter
                .check(&[], &known, &self.path.display().to_string())?;
        }
        Ok(found)
    }

    fn assign(&mut self, start: &Position) -> Result<()> {
        self.next = start.iter().map(|(p, next)| (p.clone(), next)).collect();
        self.left.clear();
        self.at_end = false;
        self.go_to(self.index.cursor(start))
    }

    fn poll(
        &mut self,
        timeout: Duration,
        take: &mut dyn FnMut(LogEvent<'_>) -> Result<Flow>,
    ) -> Result<()> {
        let deadline = Instant::now() + timeout;
        loop {
            let flow = match self.step(take)? {
                Some(flow) => flow,
                None if !self.at_end => self.tell_ends(take)?,
                None => {
                    // An incomplete last line is read again only when there is more of it.
                    while self.check_not_shrunk()? <= self.cursor.byte + self.incomplete {
                        let now = Instant::now();
                        if now >= deadline {
                            return Ok(());
                        }
                        std::thread::sleep(TAIL.min(deadline - now));
                    }
                    Flow::Continue
                }
            };
            if flow.stops() || Instant::now() >= deadline {
                return Ok(());
            }
        }
    }

    fn requires(&self, topic: &str) -> bool {
        self.filter.names(topic)
    }

    fn end(&self, partition: &Partition) -> Option<i64> {
        self.index.extents().get(partition).map(|e| e.high)
    }

    /// A file has no group.
    fn commit(&mut self, _position: &Position) {}
}

fn at(path: &Path, cursor: Cursor) -> String {
    format!("{}:{}", path.display(), cursor.lines + 1)
}

fn unreadable(path: &Path, error: std::io::Error) -> Error {
    let message = match error.kind() {
        IoKind::NotFound => "there is no file of captured messages here",
        IoKind::PermissionDenied => "the file of captured messages may not be read",
        _ => "the file of captured messages cannot be read",
    };
    Error::config(message)
        .at(path.display().to_string())
        .expected("a file of JSON lines as `kcat -J` prints them")
        .remedy("Correct `source.bootstrap_servers`: `file:PATH` is relative to the pipeline's file; or name brokers as `host:port`.")
        .source(error)
}
