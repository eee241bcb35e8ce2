//! Functions that SQL knows beside DataFusion's and the scalar ones of `udfs`.
//!
//! [`mod@table`]: functions that return tables, such as `table_changes('t', 3, 7)`.
//!
//! SQL macros: `CREATE FUNCTION name(a TYPE, …) RETURNS TYPE RETURN expression`.
//!
//! A macro is inlined when a query is planned and costs nothing at run time.

mod define;
mod macros;
pub mod table;

pub use define::define;
pub use macros::{Macro, MacroFactory};
