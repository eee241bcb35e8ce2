//! Netting: whatever a source does, and wherever batches are cut, the net changes keep a table equal to it.

mod cases;
mod fixtures;
mod model;
