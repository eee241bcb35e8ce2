//! run

pub mod policy;
