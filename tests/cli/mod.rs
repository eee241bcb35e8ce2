//! The command line as a user meets it: what it prints, what it exits with.

mod bad_input;
mod case;
mod help;
mod live;
mod maintain;
mod maintain_delta;
mod output;
mod piped;
mod prompt;
mod queries;
