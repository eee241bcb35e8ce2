//! The prompt without a terminal: where statements end, backslash commands, completion.

mod commands;
mod completion;
mod splitting;
