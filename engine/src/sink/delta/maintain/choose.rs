//! Which files are rewritten together.
//!
//! **Small files.** Those of fewer bytes than [`Rules::small`], from `min_files` in a partition on. Not all of them at each pass:
//! the files are taken from the smallest up, as many as are found before one that is larger than all smaller ones together. So a
//! row is rewritten only into a file of at least twice the size of the one it was in: between the smallest file and the size
//! from which on a file is left alone lie a few doublings, and what the passes write is that many times what the pipeline writes,
//! however often they run. What rests between two passes is less than `min_files` small files and one for each doubling.
//!
//! **Files that lie over each other**, in a table kept by key. An upsert skips a file only by the smallest and largest key in it.
//! Keys that come in no order make files that each span all keys, and an upsert then looks into every one of them. Where a key
//! could be in `min_files` files or more, these are merged in the order of the key and cut into files that lie side by side:
//! afterwards it can be in one. Each such merge of `n` files makes their ranges about `n` times as narrow, so a row is part of few.
//! Files whose statistics cannot tell them apart (keys that only differ after the length that statistics are cut to) are left.
//!
//! **Order.** A table kept by key is merged in its order, so that ranges become narrow. A table that is only appended to keeps the
//! order of its files, so that ranges of time do.
//!
//! **Bounds.** A group reads no more bytes than are allowed, and no more files at once than fit into [`MEMORY`]: files whose ranges
//! lie side by side are read one after the other and count once.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use datafusion::common::ScalarValue;

use crate::lake::encoding::GROUP_ROWS;
use crate::sink::delta::files::LiveFile;
use crate::sink::delta::upsert::bounds::Bounds;
use crate::sink::delta::upsert::read::BATCH_ROWS;

/// What the open files of one merge may hold in memory, by estimate.
const MEMORY: u64 = 256 << 20;
/// How much larger rows are in memory than in a file, by experience.
const INFLATION: u64 = 4;
/// Opening a file costs about as much as reading so many bytes of it.
const OPENING: u64 = 128 << 10;
/// Fewer files over each other are never worth it.
const LEAST_DEPTH: usize = 4;
/// So many keys are looked at to find the one with the most files.
const PROBES: usize = 2_000;

/// A file and its path.
pub(in crate::sink::delta) type Named = (String, LiveFile);

/// What is chosen by.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    /// The place in [`LiveFile::bounds`] of each column that rows are sorted by; empty for tables without a key.
    pub(super) order: Vec<usize>,
    /// Bytes of a new file.
    pub(super) target: u64,
    /// A file of fewer bytes is small.
    pub(super) small: u64,
    pub(super) min_files: usize,
    /// Bytes that may be read.
    pub(super) budget: u64,
}

/// Files of one partition that are rewritten together.
#[derive(Debug)]
pub(in crate::sink::delta) struct Group {
    /// One after the other in each stream; the streams are merged if rows have an order.
    pub(in crate::sink::delta) streams: Vec<Vec<Named>>,
    pub(in crate::sink::delta) partition: Vec<ScalarValue>,
    /// As the log has it.
    pub(in crate::sink::delta) partition_values: HashMap<String, Option<String>>,
    pub(in crate::sink::delta) bytes: u64,
    /// New files that it is cut into.
    pub(in crate::sink::delta) parts: u64,
}

impl Group {
    pub(super) fn files(&self) -> impl Iterator<Item = &Named> {
        self.streams.iter().flatten()
    }

    /// The rows, if the log says how many.
    pub(super) fn rows(&self) -> Option<u64> {
        self.files().map(|(_, file)| file.rows).sum()
    }
}

type Entry<'a> = (&'a String, &'a LiveFile);

/// The groups to rewrite: the partition with the most files first.
pub(super) fn choose(live: &BTreeMap<String, LiveFile>, rules: &Rules) -> Vec<Group> {
    let mut partitions: HashMap<&[ScalarValue], Vec<Entry<'_>>> = HashMap::new();
    for entry in live {
        let partition = partitions.entry(&entry.1.partition).or_default();
        partition.push(entry);
    }
    let mut partitions: Vec<_> = partitions.into_values().collect();
    partitions.sort_by_key(|files| (usize::MAX - files.len(), files.first().map(|f| f.0)));
    let mut left = rules.budget;
    let mut groups = Vec::new();
    let mut take = |chosen: Vec<Entry<'_>>| {
        let group = bounded(chosen, rules, left)?;
        left = left.saturating_sub(group.bytes);
        groups.push(group);
        Some(())
    };
    for files in &mut partitions {
        let small = small(files, rules);
        let chosen: BTreeSet<&String> = small.iter().map(|(path, _)| *path).collect();
        files.retain(|(path, _)| !chosen.contains(path));
        take(small);
    }
    // Small files come anew all the time: they are not all that is ever done.
    for files in &partitions {
        take(deep(files, rules));
    }
    groups
}

/// The small files that are worth it now.
fn small<'a>(files: &[Entry<'a>], rules: &Rules) -> Vec<Entry<'a>> {
    let weight = |file: &LiveFile| file.bytes().max(OPENING.min(rules.small / 4));
    let mut small: Vec<Entry<'a>> = files.to_vec();
    small.retain(|(_, file)| file.bytes() < rules.small);
    small.sort_by_key(|(path, file)| (weight(file), *path));
    let mut sums = Vec::with_capacity(small.len());
    let mut sum = 0_u64;
    for (_, file) in &small {
        let others = sum;
        sum = sum.saturating_add(weight(file));
        sums.push(weight(file) <= others);
    }
    let worth = sums.iter().rposition(|worth| *worth);
    let count = worth.map_or(0, |at| at + 1);
    if count < rules.min_files.max(2) {
        return Vec::new();
    }
    small.truncate(count);
    // Where not all fit, neighbours stay together.
    let lead = rules.order.first().copied();
    small.sort_by(|a, b| in_order(a, b, lead));
    small
}

/// The files in which the key could be that could be in the most files.
fn deep<'a>(files: &[Entry<'a>], rules: &Rules) -> Vec<Entry<'a>> {
    let Some(lead) = rules.order.first() else {
        return Vec::new();
    };
    let known = |file: &LiveFile| {
        let bounds = file.bounds().get(*lead);
        bounds.is_some_and(|bounds| !bounds.min.is_null() && !bounds.max.is_null())
    };
    let files: Vec<Entry<'a>> = files.iter().copied().filter(|f| known(f.1)).collect();
    let least = rules.min_files.max(LEAST_DEPTH);
    if files.len() < least {
        return Vec::new();
    }
    let mut best: Vec<Entry<'a>> = Vec::new();
    for (_, probe) in files.iter().step_by(files.len().div_ceil(PROBES).max(1)) {
        let here = files
            .iter()
            .filter(|(_, file)| rules.order.iter().all(|at| covers(file, probe, *at)));
        let here: Vec<_> = here.copied().collect();
        if here.len() > best.len() {
            best = here;
        }
    }
    let boxes: BTreeSet<String> = best
        .iter()
        .map(|(_, file)| {
            let chosen = rules.order.iter().filter_map(|at| file.bounds().get(*at));
            let shown = chosen.map(|bounds| format!("{:?} {:?}", bounds.min, bounds.max));
            shown.collect::<Vec<_>>().join(" ")
        })
        .collect();
    if best.len() < least || boxes.len() * 2 < best.len() {
        return Vec::new();
    }
    // Where not all fit, many are better than large ones.
    best.sort_by_key(|(path, file)| (file.bytes(), *path));
    best
}

/// Whether the smallest value of `probe` in a column lies within the range of `file`.
fn covers(file: &LiveFile, probe: &LiveFile, column: usize) -> bool {
    let (Some(own), Some(probe)) = (file.bounds().get(column), probe.bounds().get(column)) else {
        return true;
    };
    let value = &probe.min;
    if value.is_null() {
        return true;
    }
    (own.min.is_null() || own.min <= *value) && (own.max.is_null() || own.max >= *value)
}

/// As many of the first of `chosen` as may be read, in the order that they are read in.
fn bounded(chosen: Vec<Entry<'_>>, rules: &Rules, budget: u64) -> Option<Group> {
    let lead = rules.order.first().copied();
    let mut taken = Vec::new();
    let (mut bytes, mut held) = (0_u64, Held::default());
    for entry in chosen {
        let size = entry.1.bytes();
        if bytes.saturating_add(size) > budget || !held.take(entry, lead) {
            break;
        }
        bytes += size;
        taken.push(entry);
    }
    if taken.len() < 2 {
        return None;
    }
    taken.sort_by(|a, b| in_order(a, b, lead));
    let first = taken.first()?.1;
    let (partition, partition_values) = (first.partition.clone(), first.partition_values.clone());
    Some(Group {
        streams: streams(taken, lead),
        partition,
        partition_values,
        bytes,
        parts: bytes.div_ceil(rules.target.max(1)).max(1),
    })
}

/// By the key where there is one, else by age.
fn in_order(a: &Entry<'_>, b: &Entry<'_>, lead: Option<usize>) -> Ordering {
    let by_key = lead.and_then(|at| {
        let (a, b) = (a.1.bounds().get(at)?, b.1.bounds().get(at)?);
        // An unknown bound may be the smallest.
        match (a.min.is_null(), b.min.is_null()) {
            (false, false) => a.min.partial_cmp(&b.min),
            (a, b) => Some(b.cmp(&a)),
        }
    });
    by_key
        .unwrap_or(Ordering::Equal)
        .then_with(|| a.1.modified.cmp(&b.1.modified))
        .then_with(|| a.0.cmp(b.0))
}

/// Whether all keys of a file with these bounds come after `last`.
fn follows(bounds: Option<&Bounds>, last: Option<&ScalarValue>) -> bool {
    let (Some(bounds), Some(last)) = (bounds, last) else {
        return false;
    };
    !bounds.min.is_null() && !last.is_null() && bounds.min > *last
}

/// Files in order as streams in which every file follows the one before; without an order all in one.
fn streams(files: Vec<Entry<'_>>, lead: Option<usize>) -> Vec<Vec<Named>> {
    let named = |(path, file): Entry<'_>| (path.clone(), file.clone());
    let Some(lead) = lead else {
        return vec![files.into_iter().map(named).collect()];
    };
    let mut streams: Vec<(Option<ScalarValue>, Vec<Named>)> = Vec::new();
    for entry in files {
        let bounds = entry.1.bounds().get(lead);
        let max = bounds.map(|bounds| bounds.max.clone());
        let free = streams
            .iter_mut()
            .find(|(last, _)| follows(bounds, last.as_ref()));
        match free {
            Some((last, stream)) => {
                *last = max;
                stream.push(named(entry));
            }
            None => streams.push((max, vec![named(entry)])),
        }
    }
    streams.into_iter().map(|(_, stream)| stream).collect()
}

/// What the streams of a merge hold in memory, by estimate.
#[derive(Default)]
struct Held {
    /// For each stream its last key and its largest file.
    streams: Vec<(Option<ScalarValue>, u64)>,
    sum: u64,
}

impl Held {
    /// Adds a file, unless it would be too much. The first two always fit: rows are not split.
    fn take(&mut self, (_, file): Entry<'_>, lead: Option<usize>) -> bool {
        let Some(lead) = lead else {
            return true;
        };
        let own = held(file);
        let bounds = file.bounds().get(lead);
        let max = bounds.map(|bounds| bounds.max.clone());
        let free = self
            .streams
            .iter_mut()
            .find(|(last, _)| follows(bounds, last.as_ref()));
        if let Some((last, most)) = free {
            let more = own.saturating_sub(*most);
            if self.sum + more > MEMORY {
                return false;
            }
            self.sum += more;
            *most = (*most).max(own);
            *last = max;
            return true;
        }
        if self.streams.len() >= 2 && self.sum + own > MEMORY {
            return false;
        }
        self.sum += own;
        self.streams.push((max, own));
        true
    }
}

/// A row group as it is in the file, and a batch of its rows.
fn held(file: &LiveFile) -> u64 {
    let rows = file.rows.unwrap_or(1).max(1);
    let share = |most: usize| {
        let most = (most as u64).min(rows);
        u64::try_from(u128::from(file.bytes()) * u128::from(most) / u128::from(rows))
            .unwrap_or(u64::MAX)
    };
    share(GROUP_ROWS).saturating_add(share(BATCH_ROWS).saturating_mul(INFLATION))
}
