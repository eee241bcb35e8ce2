//! Tables that remember what changed: what their versions and changes are.

mod iceberg;
