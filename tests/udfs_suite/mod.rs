//! udfs_suite
