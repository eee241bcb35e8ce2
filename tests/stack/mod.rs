//! The engine as users run it, on real services, read back by other people's libraries.

mod account;
mod broker;
mod chaos;
mod crash;
mod customers;
mod debezium;
mod flows;
mod full;
mod generator;
mod harness;
mod pipeline;
mod readme;
mod replayer;
mod rest;
mod transactions;
mod truth;
mod workload;
