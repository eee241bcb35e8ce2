//! The pipeline file: YAML into typed, checked data.

pub mod model;
