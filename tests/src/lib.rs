//! The harness: real services, the compiled `engine`, and independent readers of what it wrote.
//!
//! A test asks for what it needs (`need!(kafka::Broker::start(..))`). What cannot be had on a machine makes
//! the test *skipped*: a line in the skip report that `.ci/run` prints and counts ([`skip`]). What can be had
//! but does not work is a failure, with the tail of the service's log.
//!
//! Nothing here is shared with the engine: expectations come from `readers/reference.py`, tables are read by
//! other people's libraries.

pub mod cache;
pub mod capture;
pub mod connect;
pub mod debian;
pub mod engine;
pub mod http;
pub mod kafka;
pub mod mariadb;
pub mod maven;
pub mod note;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod python;
pub mod repository;
pub mod skip;
pub mod slots;
pub mod sql;
pub mod wait;
pub mod workload;
