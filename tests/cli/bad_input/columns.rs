//! The declared columns of a source, as SQL DDL.

use super::super::case::Case;

#[test]
fn a_type_that_is_not_known_is_placed_on_its_line() {
    Case::iceberg()
        .edit("tier            TEXT", "tier            TEXXT")
        .refused(&[
            "error: column `tier`: the type `TEXXT` is not known",
            "\n  at: pipeline.yaml:50:5 (source.columns)",
            "\n  next: declare the type as what is sent",
        ]);
}

#[test]
fn a_decimal_that_no_lake_format_has_is_refused_with_a_way_out() {
    Case::iceberg()
        .edit("DECIMAL(12,2)", "DECIMAL(50,2)")
        .refused(&[
            "error: column `lifetime_value`: a decimal of 50 digits",
            "\n  at: pipeline.yaml:51:5 (source.columns)",
            "\n  expected: `DECIMAL(precision, scale)` with a precision of 1 to 38",
            "\n  next: declare `TEXT`",
        ]);
}

#[test]
fn a_column_declared_twice_is_refused() {
    Case::iceberg()
        .edit("    tier            TEXT,", "    email           TEXT,")
        .refused(&[
            "error: column `email` is declared twice",
            "\n  at: pipeline.yaml:50:5 (source.columns)",
            "\n  next: remove one of them",
        ]);
}

#[test]
fn a_forgotten_comma_is_placed() {
    Case::iceberg()
        .edit("    city            TEXT,", "    city            TEXT")
        .refused(&[
            "error: ",
            "\n  at: pipeline.yaml:4",
            "(source.columns)",
            "\n  next: ",
        ]);
}

#[test]
fn a_name_of_a_metadata_column_is_refused() {
    Case::iceberg()
        .edit("    tier            TEXT,", "    _offset         TEXT,")
        .refused(&[
            "error: ",
            "`_offset`",
            "\n  at: pipeline.yaml:50:5",
            "\n  next: ",
        ]);
}

#[test]
fn a_key_that_is_no_column_names_the_nearest() {
    Case::delta()
        .edit("  columns: |", "  key: [customerid]\n  columns: |")
        .refused(&[
            "error: `customerid` is not one of `columns`",
            "(source.key[0])",
            "\n  next: did you mean `customer_id`?",
        ]);
}
