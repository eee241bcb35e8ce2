//! A table emptied, and what the change puts into it.
//!
//! Without a change feed nothing is read: all files go. With one the whole table is read once, file by file, because the feed must
//! tell of every row that went, and of those that only changed.

use arrow::array::ArrayRef;
use std::collections::{BTreeMap, HashSet};

use sql::{Error, Result};

use super::output::Image;
use super::plan::removal;
use super::rewrite::{Rewrite, mixed};
use crate::sink::delta::files::LiveFile;

impl Rewrite {
    /// Takes out all of `live` and writes all rows of the change.
    pub(super) async fn run_anew(
        &mut self,
        key: &[String],
        live: &BTreeMap<String, LiveFile>,
    ) -> Result<()> {
        let mut known = HashSet::new();
        // Rows whose old image stands in another partition: where their new image belongs.
        let mut moved = Vec::new();
        for (path, file) in live {
            self.plan.removes.push(removal(path, file));
            if self.on.output.feed {
                self.tell_of(path, file, key, &mut known, &mut moved)
                    .await?;
            } else {
                self.plan.counts.deleted += file.rows.unwrap_or(0);
            }
        }
        let keys: Vec<u32> = (0_u32..).take(self.on.change.rows.num_rows()).collect();
        let new = keys.iter().filter(|key| !known.contains(*key));
        let mut events: Vec<_> = new.map(|key| (*key, Image::Insert)).collect();
        self.plan.counts.inserted += events.len() as u64;
        events.extend(moved.into_iter().map(|key| (key, Image::After)));
        self.place(keys).await?;
        if self.on.output.feed {
            self.tell(events)?;
        }
        self.write_feed().await
    }

    /// Writes the feed of one file that goes.
    async fn tell_of(
        &mut self,
        path: &str,
        file: &LiveFile,
        key: &[String],
        known: &mut HashSet<u32>,
        moved: &mut Vec<u32>,
    ) -> Result<()> {
        let mut stored = self.on.reader.rows(path, file, None).await?;
        let mut feed = self.on.output.feed_file(&file.partition);
        while let Some(batch) = stored.next().await? {
            let columns = key.iter().map(|name| batch.column_by_name(name).cloned());
            let columns: Option<Vec<ArrayRef>> = columns.collect();
            let columns = columns.ok_or_else(|| Error::internal("a file's rows have no key"))?;
            let mut keys = vec![None; batch.num_rows()];
            self.on.change.keys.probe(&columns, |row, key| {
                if let (Some(slot), Ok(key)) = (keys.get_mut(row), u32::try_from(key)) {
                    *slot = Some(key);
                }
            })?;
            let (mut events, mut images) = (Vec::new(), Vec::new());
            for (row, key) in keys.into_iter().enumerate() {
                let Some(key) = key.filter(|key| self.on.change.is_row(*key) && known.insert(*key))
                else {
                    self.plan.counts.deleted += 1;
                    events.push((0, row));
                    images.push(Image::Delete);
                    continue;
                };
                if self.on.change.partition(key) != file.partition {
                    self.plan.counts.updated += 1;
                    moved.push(key);
                    events.push((0, row));
                    images.push(Image::Before);
                } else if self
                    .on
                    .change
                    .differs(&batch.slice(row, 1), &[key])?
                    .contains(&true)
                {
                    self.plan.counts.updated += 1;
                    events.extend([(0, row), (1, key as usize)]);
                    images.extend([Image::Before, Image::After]);
                } else {
                    self.plan.counts.copied += 1;
                }
            }
            if !events.is_empty() {
                let events = mixed(&[&batch, &self.on.change.rows], &events)?;
                self.on
                    .output
                    .write(&mut feed, &events, Some(&images))
                    .await?;
            }
        }
        let written = &mut self.plan.written;
        let files = self.on.output.close_feed(feed, written).await?;
        self.plan.feed.extend(files);
        Ok(())
    }
}
