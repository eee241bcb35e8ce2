//! The harness: real services, the compiled `engine`, and independent readers of what it wrote.
//!
//! A test asks for what it needs (`need!(kafka::Broker::start(..))`). What cannot be had on a machine makes
//! the test *skipped*: a line in the skip report that `.ci/run` prints and counts ([`skip`]). What can be had
//! but does not work is a failure, with the tail of the service's log.
//!
//! Nothing here is shared with the engine: expectations come from `readers/reference.py` and `readers/replay.py`, tables
//! are read by other people's libraries.

pub mod cache;
pub mod capture;
pub mod connect;
pub mod debian;
pub mod disk;
pub mod engine;
pub mod faketime;
pub mod http;
pub mod jdk;
pub mod judge;
pub mod kafka;
pub mod library;
pub mod mariadb;
pub mod maven;
pub mod meddler;
pub mod minio;
pub mod mysql;
pub mod note;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod python;
pub mod registry;
pub mod repository;
pub mod rest_catalog;
pub mod skip;
pub mod slots;
pub mod spark;
pub mod sql;
pub mod terminal;
pub mod tier;
pub mod wait;
pub mod workload;
