//! The engine as users run it, on real services, read back by other people's libraries.

mod harness;
