//! Maintenance: tables become fast again, and no row, position or change feed notices.

mod delta;
mod vacuum;
