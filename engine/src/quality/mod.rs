//! Data quality: conditions that every row must meet.

pub mod rules;
