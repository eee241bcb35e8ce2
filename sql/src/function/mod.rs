//! SQL macros: `CREATE FUNCTION name(a TYPE, …) RETURNS TYPE RETURN expression`.
//!
//! A macro is inlined when a query is planned and costs nothing at run time.

mod define;
mod macros;

pub use define::define;
pub use macros::{Macro, MacroFactory};
