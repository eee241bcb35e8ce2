//! Data quality: conditions that every row must meet.

mod condition;
pub mod rules;
