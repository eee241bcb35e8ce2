//! The windows beside the table: `_engine/<pipeline>/resends/<topic>/<partition>/<next offset>.window`.
//!
//! **One file a partition and commit**, named after the position that the commit brings the partition to, and written
//! before it: so whatever position is found in the table, its window is there. A file holds what its batch added and
//! names the files before it; every [`CHAIN`]-th holds the whole window. So what a commit writes follows the batch, and
//! a start reads at most so many files. Files are never changed. Two engines, or an engine that starts again, may write
//! the same file twice: from one position and the same records comes the same window.
//!
//! **Old files** stay for a while after a whole one replaced them, for tables that are restored to an older version; then
//! they are deleted. What a crash left behind beside the chain goes with the table's maintenance: [`super::strays`].
//!
//! | at start, for a partition that the table has a position of | |
//! |---|---|
//! | its file is there | the window |
//! | not, and the partition never had a window | `resends: drop` is new here: an empty window, said at `info` |
//! | not, but it had one once (the marker file `on`) | an empty window, and a warning that says what that means |
//! | it is damaged | [`sql::ErrorKind::Storage`]: the pipeline does not start |

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use sql::change::{Partition, Position, Recollection, Remembered, Span, Tail};
use sql::{Error, Result};
use tracing::{debug, info, warn};

use super::segment::{Part, Retired, Segment};
use super::strays::folder;
use crate::clock;
use crate::sink::sidecar::Sidecar;

/// A window is written whole after so many files.
const CHAIN: usize = 50;
/// How long files are kept that the newest window does not need: as long as Delta keeps removed files.
const KEEP: Duration = Duration::from_secs(7 * 24 * 3600);
/// Files that are read or written at one time.
const AT_ONCE: usize = 8;
const MARKER: &str = "The pipeline drops events that are sent again. Windows of this partition are beside this file.\n";

/// The windows of one pipeline's table, as of its last commit.
#[derive(Debug)]
pub struct WindowStore {
    files: Arc<dyn Sidecar>,
    pipeline: String,
    window: usize,
    keep: Duration,
    partitions: BTreeMap<Partition, Kept>,
    /// What becomes of them when the commit under way lands.
    pending: Vec<Step>,
}

/// A partition as of a commit.
#[derive(Debug, Default)]
struct Kept {
    at: Option<i64>,
    identities: VecDeque<u128>,
    tail: Tail,
    /// The files of the window, the newest first.
    chain: Vec<Part>,
    retired: Vec<Retired>,
    /// Whether the marker is certainly there.
    marked: bool,
}

/// What a commit changes in a partition.
#[derive(Debug)]
struct Step {
    partition: Partition,
    part: Part,
    new: Vec<u128>,
    tail: Tail,
    /// What was remembered before is forgotten.
    anew: bool,
    /// Set if the commit's file holds the whole window: what it says of files that are no longer needed.
    whole: Option<Vec<Retired>>,
}

impl WindowStore {
    /// Reads the windows that belong to `position`: the last `window` identities of each partition.
    ///
    /// # Errors
    /// [`sql::ErrorKind::Storage`] for a damaged file; whatever the storage says.
    pub async fn load(
        files: Arc<dyn Sidecar>,
        pipeline: &str,
        window: usize,
        position: &Position,
    ) -> Result<(Self, Remembered)> {
        let mut store = Self {
            files,
            pipeline: pipeline.to_owned(),
            window,
            keep: KEEP,
            partitions: BTreeMap::new(),
            pending: Vec::new(),
        };
        let wanted: Vec<(Partition, i64)> = position
            .iter()
            .map(|(partition, next)| (partition.clone(), next))
            .collect();
        let store_ref = &store;
        let found = futures::stream::iter(wanted)
            .map(|(partition, next)| async move {
                let kept = store_ref.read(&partition, next).await?;
                Ok::<_, Error>((partition, kept))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<_>>()
            .await?;
        store.partitions = found.into_iter().collect();
        let remembered = store.remembered();
        Ok((store, remembered))
    }

    /// Keeps files for `keep` after they were replaced, not for seven days.
    #[must_use]
    pub fn keeping(mut self, keep: Duration) -> Self {
        self.keep = keep;
        self
    }

    fn remembered(&self) -> Remembered {
        let recollection = |kept: &Kept| Recollection {
            identities: kept.identities.iter().copied().collect(),
            tail: kept.tail.clone(),
            ..Recollection::default()
        };
        self.partitions
            .iter()
            .map(|(partition, kept)| (partition.clone(), recollection(kept)))
            .collect()
    }

    async fn read(&self, partition: &Partition, next: i64) -> Result<Kept> {
        let Some(newest) = self.segment(partition, next).await? else {
            return self.missing(partition, next).await;
        };
        let mut chain = vec![Part {
            to: next,
            identities: newest.identities.len() as u64,
        }];
        chain.extend(&newest.older);
        let capacity = newest.tail.capacity(self.window);
        let older = self.older(partition, &chain, capacity).await?;
        let retired = match chain.last() {
            Some(whole) if whole.to != next => {
                let whole = self.segment(partition, whole.to).await?;
                whole.map(|whole| whole.retired).unwrap_or_default()
            }
            _ => newest.retired.clone(),
        };
        let mut identities: VecDeque<u128> = older
            .iter()
            .rev()
            .chain([&newest])
            .flat_map(|segment| segment.identities.iter().copied())
            .collect();
        let surplus = identities.len().saturating_sub(capacity);
        identities.drain(..surplus);
        debug!(%partition, next, identities = identities.len(), "window of events sent again read");
        Ok(Kept {
            at: Some(next),
            identities,
            tail: newest.tail,
            chain,
            retired,
            marked: false,
        })
    }

    /// The files of `chain` behind its newest one, as far as the window needs them. One that is gone ends the window
    /// there, with a warning.
    async fn older(
        &self,
        partition: &Partition,
        chain: &[Part],
        capacity: usize,
    ) -> Result<Vec<Segment>> {
        let capacity = capacity as u64;
        let mut newer = 0u64;
        let needed: Vec<Part> = chain
            .iter()
            .take_while(|part| {
                let wanted = newer < capacity;
                newer = newer.saturating_add(part.identities);
                wanted
            })
            .skip(1)
            .copied()
            .collect();
        let read =
            futures::stream::iter(needed)
                .map(|part| async move {
                    Ok::<_, Error>((part, self.segment(partition, part.to).await?))
                })
                .buffered(AT_ONCE)
                .try_collect::<Vec<_>>()
                .await?;
        let mut segments = Vec::with_capacity(read.len());
        for (part, segment) in read {
            let Some(segment) = segment else {
                warn!(
                    pipeline = self.pipeline,
                    %partition,
                    file = self.place(partition, part.to),
                    "a file of the window of events sent again is gone: older events are not recognised if they are sent again"
                );
                break;
            };
            segments.push(segment);
        }
        Ok(segments)
    }

    async fn segment(&self, partition: &Partition, to: i64) -> Result<Option<Segment>> {
        let path = self.path(partition, to);
        let Some(bytes) = self.files.read(&path).await? else {
            return Ok(None);
        };
        let place = self.place(partition, to);
        let segment = Segment::decode(&bytes, &place)?;
        if segment.partition() == *partition
            && segment.to == to
            && segment.pipeline == self.pipeline
        {
            return Ok(Some(segment));
        }
        Err(Error::new(
            sql::ErrorKind::Storage,
            format!(
                "the window of events sent again is that of {}@{} of pipeline {}",
                segment.partition(),
                segment.to,
                segment.pipeline
            ),
        )
        .at(place)
        .expected(format!("{partition}@{to} of pipeline {}", self.pipeline))
        .remedy(
            "Put the files back as they were, or delete this one to start with an empty window.",
        ))
    }

    async fn missing(&self, partition: &Partition, next: i64) -> Result<Kept> {
        let marker = self.files.read(&self.marker(partition)).await?.is_some();
        if marker {
            warn!(
                pipeline = self.pipeline,
                %partition,
                position = next,
                file = self.place(partition, next),
                "the window of events sent again is missing for the table's position: the table was restored to a version \
                 older than the files are kept, its positions were moved, `resends` was `keep` for a while, or the file was \
                 removed. The window starts empty: if the source sends events again from before this position, they become \
                 rows a second time"
            );
        } else {
            info!(
                pipeline = self.pipeline,
                %partition,
                position = next,
                "`resends: drop` is new here: events from before this position are not recognised if they are sent again"
            );
        }
        Ok(Kept {
            at: Some(next),
            marked: marker,
            ..Kept::default()
        })
    }

    /// Makes the windows after `span` durable; `added` is what its batch adds. To be called before the commit of the span,
    /// again if it has to be tried again.
    ///
    /// # Errors
    /// From the storage; [`sql::ErrorKind::Internal`] if the span does not start where the last commit ended.
    pub async fn write(&mut self, span: &Span, added: &Remembered) -> Result<()> {
        let nothing = Kept::default();
        let mut files = Vec::new();
        let mut steps = Vec::new();
        for (partition, to) in span.to().iter() {
            let before = self.partitions.get(partition).unwrap_or(&nothing);
            if before.at != span.after().get(partition) {
                return Err(Error::internal(format!(
                    "the window of {partition} is that of {:?}, the batch starts at {:?}",
                    before.at,
                    span.after().get(partition)
                )));
            }
            let (step, segment) = self.step(partition, before, to, added.get(partition));
            files.push((self.path(partition, to), segment.encode()?));
            steps.push(step);
        }
        self.pending = steps;
        let writes: Vec<_> = files
            .into_iter()
            .map(|(path, bytes)| {
                let sidecar = Arc::clone(&self.files);
                async move { sidecar.write(&path, Bytes::from(bytes)).await }
            })
            .collect();
        futures::stream::iter(writes)
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await
    }

    /// What a commit that brings a partition to `to` changes, and its file.
    fn step(
        &self,
        partition: &Partition,
        before: &Kept,
        to: i64,
        added: Option<&Recollection>,
    ) -> (Step, Segment) {
        let new = added.map_or(&[] as &[u128], |added| &added.identities);
        let tail = added.map_or(&before.tail, |added| &added.tail).clone();
        let mut segment = Segment {
            pipeline: self.pipeline.clone(),
            topic: partition.topic.clone(),
            partition: partition.number,
            to,
            tail: tail.clone(),
            ..Segment::default()
        };
        let anew = added.is_some_and(|added| added.anew);
        let mut whole = None;
        if anew || before.chain.is_empty() || before.chain.len() >= CHAIN {
            let mut retired = before.retired.clone();
            retired.extend(before.chain.first().map(|newest| Retired {
                last: newest.to,
                at_micros: clock::now_micros(),
            }));
            let capacity = tail.capacity(self.window);
            let nothing = VecDeque::new();
            let older = if anew { &nothing } else { &before.identities };
            let surplus = (older.len() + new.len()).saturating_sub(capacity);
            let all = older.iter().chain(new);
            segment.identities = all.skip(surplus).copied().collect();
            segment.retired = retired.clone();
            whole = Some(retired);
        } else {
            segment.identities = new.to_vec();
            segment.older = before.chain.clone();
        }
        let step = Step {
            partition: partition.clone(),
            part: Part {
                to,
                identities: segment.identities.len() as u64,
            },
            new: new.to_vec(),
            tail,
            anew,
            whole,
        };
        (step, segment)
    }

    /// The commit of the last [`Self::write`] landed. Deletes files that are too old; that fails only in the log.
    pub async fn committed(&mut self) {
        for step in std::mem::take(&mut self.pending) {
            let mut kept = self.partitions.remove(&step.partition).unwrap_or_default();
            let folded = step.whole.is_some();
            let partition = step.partition.clone();
            kept.apply(step, self.window);
            if let Err(error) = self.tidy(&partition, &mut kept, folded).await {
                warn!(pipeline = self.pipeline, partition = %partition, error = %error, "cannot tidy up the windows of events sent again");
            }
            self.partitions.insert(partition, kept);
        }
    }

    async fn tidy(&self, partition: &Partition, kept: &mut Kept, folded: bool) -> Result<()> {
        if !kept.marked {
            let marker = self.marker(partition);
            let text = Bytes::from_static(MARKER.as_bytes());
            self.files.write(&marker, text).await?;
            kept.marked = true;
        }
        if !folded {
            return Ok(());
        }
        let keep = i64::try_from(self.keep.as_micros()).unwrap_or(i64::MAX);
        let latest = clock::now_micros().saturating_sub(keep);
        while let Some(oldest) = kept.retired.first()
            && oldest.at_micros <= latest
        {
            self.delete(partition, oldest.last).await?;
            kept.retired.remove(0);
        }
        Ok(())
    }

    /// Deletes the file named after `last` and those that it lists.
    async fn delete(&self, partition: &Partition, last: i64) -> Result<()> {
        let Some(segment) = self.segment(partition, last).await? else {
            return Ok(());
        };
        for part in &segment.older {
            self.files.delete(&self.path(partition, part.to)).await?;
        }
        self.files.delete(&self.path(partition, last)).await
    }

    fn folder(&self, partition: &Partition) -> String {
        format!(
            "{}/{}/{}",
            folder(&self.pipeline),
            partition.topic,
            partition.number
        )
    }

    fn path(&self, partition: &Partition, to: i64) -> String {
        format!("{}/{to:020}.window", self.folder(partition))
    }

    fn marker(&self, partition: &Partition) -> String {
        format!("{}/on", self.folder(partition))
    }

    fn place(&self, partition: &Partition, to: i64) -> String {
        format!("{}/{}", self.files.place(), self.path(partition, to))
    }
}

impl Kept {
    fn apply(&mut self, step: Step, window: usize) {
        self.at = Some(step.part.to);
        if step.anew {
            self.identities.clear();
        }
        self.identities.extend(step.new);
        let capacity = step.tail.capacity(window);
        let surplus = self.identities.len().saturating_sub(capacity);
        self.identities.drain(..surplus);
        self.tail = step.tail;
        if let Some(retired) = step.whole {
            self.retired = retired;
            self.chain.clear();
        }
        self.chain.insert(0, step.part);
    }
}
