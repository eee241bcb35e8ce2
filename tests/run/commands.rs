//! `engine validate` and `engine explain`: what they say, and that they touch no table.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tests::engine::{Engine, Outcome};
use tests::repository;

const LIMIT: Duration = Duration::from_secs(120);

/// Copies of the shipped pipelines, and a warehouse that is not there.
struct Shipped(TempDir);

impl Shipped {
    fn new() -> Self {
        let folder = TempDir::with_prefix("engine-shipped-").unwrap();
        let shipped = repository::root().join("pipelines");
        for file in [
            "customers.yaml",
            "customers_delta.yaml",
            "data/customers.jsonl",
        ] {
            let to = folder.path().join(file);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(shipped.join(file), to).unwrap();
        }
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let file = self.path().join(file);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "no `{from}`");
        fs::write(file, text.replacen(from, to, 1)).unwrap();
    }

    fn engine(&self, args: &[&str]) -> Outcome {
        let outcome = Engine::new(args)
            .current_dir(self.path())
            .env("WAREHOUSE", self.path().join("warehouse"))
            .run(LIMIT);
        assert!(
            !self.path().join("warehouse").exists(),
            "{args:?} touched the warehouse"
        );
        outcome
    }
}

#[test]
fn validate_lists_the_targets_columns_and_touches_nothing() {
    let shipped = Shipped::new();
    let said = shipped.engine(&["validate", "."]).expect_code(0).stdout;
    assert!(
        said.contains(
            "(pipeline customers): 14 columns into Iceberg table iceberg.analytics.customers"
        ),
        "{said}"
    );
    assert!(
        said.contains("(pipeline customers_delta): 14 columns into Delta table"),
        "{said}"
    );
    assert!(said.contains("Decimal128(12, 2)"), "{said}");
}

#[test]
fn validate_finds_what_is_wrong_in_the_sql_with_its_place() {
    for (from, to, words) in [
        (
            "lifetime_value,\n",
            "lifetime_valu,\n",
            ["lifetime_valu", "customers.yaml:"],
        ),
        (
            "concat_nonblank(' '",
            "concat_nonblanc(' '",
            ["concat_nonblanc", "customers.yaml:"],
        ),
        (
            "email IS NOT NULL",
            "emial IS NOT NULL",
            ["emial", "rules[0]"],
        ),
        (
            "day(_ingestion_timestamp)",
            "day(_ingested)",
            ["_ingested", "partition_by"],
        ),
    ] {
        let shipped = Shipped::new();
        shipped.edit("customers.yaml", from, to);
        let outcome = shipped
            .engine(&["validate", "customers.yaml"])
            .expect_code(2);
        outcome.expect_words(&words);
    }
}

#[test]
fn the_file_as_it_takes_effect_is_a_file_that_means_the_same() {
    let shipped = Shipped::new();
    for file in ["customers.yaml", "customers_delta.yaml"] {
        let show = |file: &str| {
            let args = ["validate", "--show-defaults", file];
            shipped.engine(&args).expect_code(0).stdout
        };
        let shown = show(file);
        fs::write(shipped.path().join("shown.yaml"), &shown).unwrap();
        shipped.engine(&["validate", "shown.yaml"]).expect_code(0);
        // What was a default is said now; nothing else may differ.
        let values = |text: &str| -> Vec<String> {
            let lines = text.lines().map(|line| line.split("  # default").next());
            lines
                .map(|line| line.unwrap_or_default().to_owned())
                .collect()
        };
        assert_eq!(values(&show("shown.yaml")), values(&shown), "{file}");
    }
}

#[test]
fn explain_shows_source_columns_target_and_plan_and_touches_nothing() {
    let shipped = Shipped::new();
    shipped.edit(
        "customers.yaml",
        "concat_nonblank(' ', first_name, last_name)",
        "first_name",
    );
    let said = shipped
        .engine(&["explain", "customers.yaml"])
        .expect_code(0)
        .stdout;
    for words in [
        "customers (unbounded): postgres.public.customers from ",
        "target     Iceberg table iceberg.analytics.customers",
        "rule       has_email: email IS NOT NULL or warn",
    ] {
        assert!(said.contains(words), "{words}\n{said}");
    }
    let decodes = said
        .lines()
        .find(|line| line.starts_with("decodes "))
        .unwrap();
    // Only what the SQL names is decoded.
    for (column, named) in [
        (" first_name,", true),
        (" last_name,", false),
        (" phone,", false),
        (" _op,", true),
        (" _before,", false),
    ] {
        assert_eq!(decodes.contains(column), named, "{column} in {decodes}");
    }
    assert!(said.contains("full_name "), "{said}");
}

#[test]
fn explain_says_what_is_wrong_as_validate_does() {
    let shipped = Shipped::new();
    shipped.edit("customers.yaml", "FROM customers\n", "FROM customer\n");
    let outcome = shipped
        .engine(&["explain", "customers.yaml"])
        .expect_code(2);
    outcome.expect_words(&["customer", "customers.yaml:"]);
}
