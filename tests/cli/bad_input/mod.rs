//! Bad input of every kind: where it is, what was expected, what to do next; and nothing lost or half written.

mod broker;
mod catalog;
mod columns;
mod delta_files;
mod environment;
mod messages;
mod replay;
mod shape;
mod spoilt;
mod statements;
mod storage;
mod yaml;
