//! Help, versions and arguments.

use super::case::{Case, assert_calm, assert_says};

/// Words of the help, wherever its lines break.
fn assert_helps(args: &[&str], words: &[&str]) {
    let outcome = Case::delta().call(args);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert_eq!(outcome.stderr, "");
    let help = outcome
        .stdout
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    for word in words {
        assert!(
            help.contains(word),
            "{args:?} does not say `{word}`:\n{}",
            outcome.stdout
        );
    }
}

#[test]
fn the_help_names_every_command_examples_and_exit_codes() {
    for args in [&["--help"][..], &["-h"], &["help"]] {
        assert_helps(
            args,
            &[
                "Usage: engine <COMMAND>",
                "run Run pipelines",
                "validate Check pipeline files",
                "explain Show what a pipeline would do",
                "sql Query what pipelines wrote",
                "changes Show what changed in a Delta or Iceberg table",
                "maintain Keep tables fast",
                "engine run pipelines/customers.yaml --once",
                "Exit codes: 0 ok, 2 bad configuration or SQL, 3 cannot connect or write, 4 stopped by a data policy",
            ],
        );
    }
    assert_helps(
        &["--version"],
        &[concat!("engine ", env!("CARGO_PKG_VERSION"))],
    );
}

#[test]
fn each_commands_help_names_its_arguments() {
    assert_helps(
        &["run", "--help"],
        &["<FILE|DIR>", "--once", "--set <KEY=VALUE>", "SIGTERM"],
    );
    assert_helps(
        &["validate", "--help"],
        &[
            "<FILE|DIR>",
            "--connect",
            "--show-defaults",
            "--set <KEY=VALUE>",
        ],
    );
    assert_helps(
        &["explain", "--help"],
        &["<FILE>", "--set <KEY=VALUE>", "its plan"],
    );
    assert_helps(
        &["sql", "--help"],
        &[
            "-c, --command <SQL>",
            "-f, --file <SCRIPT>",
            "--format <FORMAT>",
            "-o, --output <FILE>",
            "\\d [NAME] the tables; or a table's columns",
            "\\watch [SECONDS] run the last query again",
            "\\?, \\h this help",
            "Ctrl-C stops a query",
            "`delta.<pipeline>`",
            "`quarantine.<pipeline>`",
            "`<pipeline>.<source>`",
            "[default: ./pipelines]",
        ],
    );
    assert_helps(
        &["changes", "--help"],
        &[
            "<TABLE>",
            "--from <VERSION|TIME>",
            "--to <VERSION|TIME>",
            "--follow",
            "--key <COLUMN=VALUE>",
            "--type <TYPE>",
            "--report <FORMAT>",
            "update_preimage",
            "engine changes customers --report table",
        ],
    );
    assert_helps(
        &["maintain", "--help"],
        &[
            "<FILE|DIR>",
            "--set <KEY=VALUE>",
            "--dry-run",
            "--retention <DURATION>",
            "--shorten-retention",
            "Rows, positions and change feeds stay as they are",
        ],
    );
}

#[test]
fn wrong_arguments_exit_2_with_the_nearest() {
    let case = Case::delta();
    for (args, says) in [
        (
            &["run", "--onec", "pipeline.yaml"][..],
            "a similar argument exists: '--once'",
        ),
        (
            &["rum", "pipeline.yaml"],
            "a similar subcommand exists: 'run'",
        ),
        (&["run"], "<FILE|DIR>..."),
        (
            &["sql", "--format", "jsn", "-c", "SELECT 1"],
            "a similar value exists: 'json'",
        ),
        (
            &["sql", "-c", "SELECT 1", "-f", "x.sql"],
            "cannot be used with",
        ),
        (&["run", "pipeline.yaml", "--set", "=3"], "is not KEY=VALUE"),
        (
            &["maintain", "pipeline.yaml", "--retention", "soon"],
            "`soon` is no duration",
        ),
        (
            &["maintain", "pipeline.yaml", "--shorten-retention"],
            "--retention <DURATION>",
        ),
    ] {
        assert_says(
            &case.call(args),
            2,
            &[says, "For more information, try '--help'"],
        );
    }
    let nothing = case.call(&[]);
    assert_eq!(nothing.code(), Some(2));
    assert!(
        nothing.stderr.contains("Usage: engine <COMMAND>"),
        "{}",
        nothing.stderr
    );
    assert!(case.files().is_empty());
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    for args in [
        &["--help"][..],
        &["validate", "--show-defaults", "pipeline.yaml"],
        &["validate", "pipeline.yaml"],
        &["explain", "pipeline.yaml"],
        &["sql", "pipeline.yaml", "-c", "SHOW TABLES"],
        &[
            "sql",
            "pipeline.yaml",
            "--format",
            "csv",
            "-c",
            "SELECT customer_id FROM customers_delta.customers",
        ],
        &[
            "sql",
            "pipeline.yaml",
            "--format",
            "json",
            "-c",
            "SELECT a.value FROM generate_series(1, 5000) a",
        ],
        &[
            "sql",
            "pipeline.yaml",
            "-c",
            "SELECT a.value FROM generate_series(1, 5000) a",
        ],
    ] {
        // `true` reads nothing and is gone at once; the shell's exit code is the engine's.
        let script = r#"{ "$@"; echo $? >&3; } 3>"$0" | true"#;
        let case = Case::delta();
        let code = case.path("code").display().to_string();
        let case = case.under(&["sh", "-c", script, &code]);
        let outcome = case.call(args);
        assert_calm(&outcome);
        let code = std::fs::read_to_string(case.path("code")).unwrap();
        assert_eq!(code, "0\n", "{args:?}: {}", outcome.stderr);
        assert_eq!(outcome.stderr, "", "{args:?}");
    }
}
