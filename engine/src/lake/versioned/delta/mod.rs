//! Delta tables: the changes of each version, by the engine's own reader of the log.
