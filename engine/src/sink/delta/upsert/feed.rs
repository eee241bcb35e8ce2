//! The change feed's rows of one commit, by partition.
//!
//! Both images of an update stand side by side, unless the update moves the row to another partition: then each stands in the
//! file of its own. Memory: the rows of both images, about twice the batch.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use datafusion::common::ScalarValue;
use deltalake::kernel::AddCDCFile;
use sql::Result;

use super::output::{Image, Output};

type Rows = Vec<(RecordBatch, Vec<Image>)>;

/// Rows that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Feed {
    partitions: Vec<(Vec<ScalarValue>, Rows)>,
    places: HashMap<Vec<ScalarValue>, usize>,
}

impl Feed {
    /// Adds rows of `partition`, each with what it is.
    pub(super) fn push(
        &mut self,
        partition: &[ScalarValue],
        rows: RecordBatch,
        images: Vec<Image>,
    ) {
        if images.is_empty() {
            return;
        }
        let place = match self.places.get(partition) {
            Some(place) => *place,
            None => {
                self.places
                    .insert(partition.to_vec(), self.partitions.len());
                self.partitions.push((partition.to_vec(), Vec::new()));
                self.partitions.len() - 1
            }
        };
        if let Some((_, waiting)) = self.partitions.get_mut(place) {
            waiting.push((rows, images));
        }
    }

    /// Adds all rows of `other`.
    pub(super) fn append(&mut self, other: Self) {
        for (partition, waiting) in other.partitions {
            for (rows, images) in waiting {
                self.push(&partition, rows, images);
            }
        }
    }

    /// Writes one file for each partition. Adds what was written to `written`.
    pub(super) async fn write(
        self,
        output: &Output,
        written: &mut Vec<String>,
    ) -> Result<Vec<AddCDCFile>> {
        let mut files = Vec::new();
        for (partition, waiting) in self.partitions {
            let mut file = output.feed_file(&partition);
            for (rows, images) in waiting {
                output.write(&mut file, &rows, Some(&images)).await?;
            }
            files.extend(output.close_feed(file, written).await?);
        }
        Ok(files)
    }
}
