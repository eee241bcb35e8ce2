//! Which data files are written again.

use std::collections::HashMap;

use iceberg::spec::{DataFileFormat, Struct};

use super::super::upsert::files::{LiveDelete, LiveFile, Scope, State};
use super::super::upsert::lookup::DeleteIndex;
use crate::maintain::Policy;

/// Data files of one partition that become one file, or a few.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) spec: i32,
    pub(super) partition: Struct,
    /// In the order in which they came into the table.
    pub(super) files: Vec<LiveFile>,
    /// All deletes that apply to one of them.
    pub(super) deletes: Vec<LiveDelete>,
}

/// What a pass rewrites.
#[derive(Debug, Default)]
pub(super) struct Choice {
    pub(super) groups: Vec<Group>,
    /// Whether there is more than the pass may rewrite.
    pub(super) more: bool,
    /// Data files that only their own writer can read.
    pub(super) foreign: usize,
}

struct Candidate<'s> {
    file: &'s LiveFile,
    deletes: Vec<&'s LiveDelete>,
    /// The share of its rows that is deleted, as far as the manifests tell.
    deleted: f64,
    small: bool,
    heavy: bool,
}

impl Candidate<'_> {
    /// What it will be about in the new file.
    fn live_bytes(&self) -> u64 {
        (self.file.size as f64 * (1.0 - self.deleted)) as u64
    }
}

impl Group {
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Whether a snapshot still has all of its files, and no delete of their rows that was not applied.
    pub(super) fn holds(&self, state: &State) -> bool {
        let live: HashMap<&str, &LiveFile> = state
            .data()
            .map(|file| (file.path.as_str(), file))
            .collect();
        let index = DeleteIndex::new(state);
        self.files.iter().all(|file| {
            live.contains_key(file.path.as_str())
                && index.of(file).all(|delete| {
                    let own = &delete.file.path;
                    self.deletes.iter().any(|known| known.file.path == *own)
                })
        })
    }
}

/// Chooses among the live files of a snapshot.
pub(super) fn choose(state: &State, policy: &Policy) -> Choice {
    let mut choice = Choice::default();
    let index = DeleteIndex::new(state);
    let mut places: HashMap<(i32, &Struct), usize> = HashMap::new();
    let mut partitions: Vec<Vec<Candidate<'_>>> = Vec::new();
    for file in state.data() {
        if file.format != DataFileFormat::Parquet {
            choice.foreign += 1;
            continue;
        }
        let candidate = candidate(file, &index, policy);
        if candidate.small || candidate.heavy {
            let next = partitions.len();
            let place = *places.entry((file.spec, &file.partition)).or_insert(next);
            if place == next {
                partitions.push(Vec::new());
            }
            if let Some(partition) = partitions.get_mut(place) {
                partition.push(candidate);
            }
        }
    }
    let mut bins: Vec<Vec<Candidate<'_>>> = Vec::new();
    for partition in partitions {
        bins.extend(packed(partition, policy));
    }
    // What takes the most files away comes first, then what has the most deleted rows.
    bins.sort_by(|a, b| {
        let worst = |bin: &[Candidate<'_>]| bin.iter().map(|c| c.deleted).fold(0.0, f64::max);
        (b.len().cmp(&a.len())).then(worst(b).total_cmp(&worst(a)))
    });
    let mut bytes = 0_u64;
    for bin in bins {
        let own: u64 = bin.iter().map(|candidate| candidate.file.size).sum();
        // The first one always: else a file larger than the bound would never be rewritten.
        if !choice.groups.is_empty() && bytes.saturating_add(own) > policy.max_rewrite {
            choice.more = true;
            continue;
        }
        bytes = bytes.saturating_add(own);
        choice.groups.extend(group(bin));
    }
    choice
}

fn candidate<'s>(file: &'s LiveFile, index: &DeleteIndex<'s>, policy: &Policy) -> Candidate<'s> {
    let deletes: Vec<&LiveDelete> = index.of(file).collect();
    // A delete file about several data files does not tell how many rows of this one it deletes.
    let own = deletes.iter().filter(|d| matches!(d.scope, Scope::File(_)));
    let rows: u64 = own.map(|delete| delete.file.rows).sum();
    let deleted = (rows as f64 / file.rows.max(1) as f64).min(1.0);
    Candidate {
        small: file.size < policy.small(),
        heavy: rows > 0 && deleted >= policy.max_deleted,
        file,
        deletes,
        deleted,
    }
}

/// The candidates of one partition in bins of about the target size.
fn packed<'s>(candidates: Vec<Candidate<'s>>, policy: &Policy) -> Vec<Vec<Candidate<'s>>> {
    let small = candidates
        .iter()
        .filter(|candidate| candidate.small)
        .count();
    let many = small >= policy.min_files.max(2);
    let mut bins: Vec<Vec<Candidate<'s>>> = Vec::new();
    let mut pool = Vec::new();
    for candidate in candidates {
        if candidate.small && (many || candidate.heavy) {
            pool.push(candidate);
        } else if candidate.heavy {
            bins.push(vec![candidate]);
        }
    }
    pool.sort_by(|a, b| {
        (a.file.sequence.cmp(&b.file.sequence)).then(a.file.path.cmp(&b.file.path))
    });
    let mut open: Vec<Candidate<'s>> = Vec::new();
    let (mut live, mut read) = (0_u64, 0_u64);
    for candidate in pool {
        live = live.saturating_add(candidate.live_bytes());
        read = read.saturating_add(candidate.file.size);
        if !open.is_empty() && (live > policy.target_file_size || read > policy.max_rewrite) {
            bins.push(std::mem::take(&mut open));
            (live, read) = (candidate.live_bytes(), candidate.file.size);
        }
        open.push(candidate);
    }
    bins.push(open);
    // One file that has nothing to lose would be written as it is.
    bins.retain(|bin| bin.len() > 1 || bin.iter().any(|candidate| candidate.heavy));
    bins
}

fn group(bin: Vec<Candidate<'_>>) -> Option<Group> {
    let first = bin.first()?;
    let mut deletes: Vec<LiveDelete> = Vec::new();
    for delete in bin.iter().flat_map(|candidate| &candidate.deletes) {
        if !deletes.iter().any(|d| d.file.path == delete.file.path) {
            deletes.push((*delete).clone());
        }
    }
    Some(Group {
        spec: first.file.spec,
        partition: first.file.partition.clone(),
        files: bin.iter().map(|candidate| candidate.file.clone()).collect(),
        deletes,
    })
}
