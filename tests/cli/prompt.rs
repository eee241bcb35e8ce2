//! The prompt as a person meets it: on a terminal, key by key.

use std::fs::{self, OpenOptions};
use std::io::Write;

use tests::engine::Outcome;
use tests::need;
use tests::terminal::{self, CTRL_C, CTRL_D, TAB, Terminal, UP};

use super::case::{Case, FILE, SHIPPED_ROWS, assert_calm};

const PROMPT: &str = "engine> ";
const MORE: &str = "     -> ";

/// A prompt over the pipeline's tables, at its first line.
fn prompt(case: &Case) -> Terminal {
    let mut terminal = case.terminal(&["sql", FILE]);
    terminal.shows("? for help, \\q or Ctrl-D to leave");
    terminal.shows(PROMPT);
    terminal
}

fn ends(terminal: Terminal) -> Outcome {
    let outcome = terminal.ends();
    assert_calm(&outcome);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stdout);
    outcome
}

#[test]
fn statements_are_typed_over_several_lines_and_errors_do_not_end_it() {
    let case = Case::iceberg().under(&need!(terminal::wrapper()).each_ref().map(String::as_str));
    let mut terminal = prompt(&case);
    terminal.type_line("SELECT 40 + 2 AS answer;");
    terminal.shows(" answer\n--------\n     42\n(1 row)\n");
    terminal.shows(PROMPT);
    terminal.type_line("SELECT 'one;");
    terminal.shows(MORE);
    terminal.type_line("two' AS text,");
    terminal.shows(MORE);
    terminal.type_line("NULL AS nothing; SELECT 7 AS b;");
    terminal.shows(" text | nothing\n------+---------\n one; | NULL\n two  |\n(1 row)\n");
    terminal.shows(" b\n---\n 7\n(1 row)\n");
    terminal.shows(PROMPT);
    terminal.type_line("SELECT 1 AS a, emial");
    terminal.shows(MORE);
    terminal.type_line("FROM (SELECT 'x' AS email) t;");
    terminal.shows("error: unknown column `emial`\n  at: line 1, column 16\n");
    terminal.shows("      SELECT 1 AS a, emial\n                     ^\n");
    terminal.shows("next: did you mean `email`?");
    terminal.shows(PROMPT);
    terminal.type_line("SELECT FROM;");
    terminal.shows("error: SQL syntax: ");
    terminal.shows(PROMPT);
    terminal.type_line("\\nonsense");
    terminal.shows("error: there is no command \\nonsense");
    terminal.shows(PROMPT);
    terminal.type_line("SELECT 6 * 7 AS still_here;");
    terminal.shows("         42\n(1 row)\n");
    terminal.shows(PROMPT);
    terminal.type_line("\\q");
    ends(terminal);
}

#[test]
fn tab_completes_tables_columns_and_commands_and_up_is_the_line_before() {
    let case = Case::iceberg();
    case.runs(0, &[]);
    let case = case.under(&need!(terminal::wrapper()).each_ref().map(String::as_str));
    let mut terminal = prompt(&case);
    // The words before the table's name are written again when the table's name is.
    terminal.press("SELECT count(*) AS n FROM iceb");
    terminal.press(TAB);
    terminal.shows("FROM iceberg.analytics.customers");
    terminal.press(" WHERE lifet");
    terminal.press(TAB);
    terminal.shows("WHERE lifetime_value");
    terminal.type_line(" IS NOT NULL;");
    terminal.shows(" n\n------\n");
    terminal.shows(" 1473\n(1 row)\n");
    terminal.shows(PROMPT);
    // Two names begin so: they are listed.
    terminal.press("DESCRIBE cust");
    terminal.press(TAB);
    terminal.shows("customers.customers");
    terminal.shows("iceberg.analytics.customers");
    terminal.shows("quarantine.customers");
    // And the line is written again, below them.
    terminal.shows("DESCRIBE cust");
    terminal.press(CTRL_C);
    terminal.shows(PROMPT);
    terminal.press("\\tim");
    terminal.press(TAB);
    terminal.shows("\\timing");
    terminal.type_line("");
    terminal.shows("timing is on");
    terminal.shows(PROMPT);
    terminal.press(UP);
    terminal.shows("\\timing");
    terminal.press(UP);
    terminal.shows(
        "SELECT count(*) AS n FROM iceberg.analytics.customers WHERE lifetime_value IS NOT NULL;",
    );
    terminal.type_line("");
    terminal.shows(" 1473\n(1 row)\n");
    terminal.shows("Time: ");
    terminal.shows(" ms\n");
    terminal.shows(PROMPT);
    terminal.press(CTRL_D);
    ends(terminal);
    let history = fs::read_to_string(case.path("history")).unwrap();
    assert!(
        history.contains("lifetime_value IS NOT NULL;\n"),
        "{history}"
    );
    // The next one knows it.
    let mut terminal = prompt(&case);
    terminal.press(UP);
    terminal.shows("lifetime_value IS NOT NULL;");
    terminal.press(CTRL_C);
    terminal.shows(PROMPT);
    terminal.press(CTRL_D);
    ends(terminal);
}

#[test]
fn a_history_that_cannot_be_written_is_no_reason_to_fail() {
    // A folder stands where the file would be.
    let case = Case::iceberg()
        .folder("history")
        .under(&need!(terminal::wrapper()).each_ref().map(String::as_str));
    let mut terminal = prompt(&case);
    terminal.type_line("SELECT 1 AS one;");
    terminal.shows("(1 row)");
    terminal.shows(PROMPT);
    terminal.press(UP);
    terminal.shows("SELECT 1 AS one;");
    terminal.press(CTRL_C);
    terminal.shows(PROMPT);
    terminal.press(CTRL_D);
    ends(terminal);
}

#[test]
fn tables_and_functions_are_told_and_files_are_read_again() {
    let case = Case::iceberg().file("script.sql", "SELECT 'from' AS a;\n\\timing\nSELECT b;\n");
    case.runs(0, &[]);
    let case = case.under(&need!(terminal::wrapper()).each_ref().map(String::as_str));
    let mut terminal = prompt(&case);
    terminal.type_line("\\d");
    terminal.shows("iceberg.analytics.customers | iceberg");
    terminal.shows("(3 rows)");
    terminal.shows(PROMPT);
    terminal.type_line("\\d analytics.customers");
    terminal.shows("iceberg.analytics.customers: Iceberg table of the pipeline customers (");
    terminal.shows("\nat file://");
    terminal.shows(" customer_id ");
    terminal.shows("Int64");
    terminal.shows(PROMPT);
    terminal.type_line("\\d customers.customers");
    terminal.shows("source, read live, of the pipeline customers (");
    terminal.shows("customers.jsonl\n");
    terminal.shows(" _offset ");
    terminal.shows(PROMPT);
    terminal.type_line("\\d nothing");
    terminal.shows("error: no table is named `nothing`");
    terminal.shows(PROMPT);
    terminal.type_line("\\df concat_non");
    terminal.shows("concat_nonblank | scalar");
    terminal.shows("(1 row)");
    terminal.shows(PROMPT);
    terminal.type_line("\\i script.sql");
    terminal.shows("from\n(1 row)");
    terminal.shows("timing is on");
    terminal.shows("at: script.sql:3");
    terminal.shows(PROMPT);
    terminal.type_line("\\x");
    terminal.shows("expanded display is on");
    terminal.shows(PROMPT);
    terminal.type_line("SELECT 1 AS a, 'x' AS longer;");
    terminal.shows("-[ record 1 ]-\na      | 1\nlonger | x\n(1 row)\n");
    terminal.shows(PROMPT);
    terminal.type_line("\\format json");
    terminal.shows(PROMPT);
    terminal.type_line("SELECT 1 AS a, NULL AS b;");
    terminal.shows("[{\"a\":1,\"b\":null}]\n");
    terminal.shows(PROMPT);
    terminal.type_line("\\o out.json");
    terminal.shows(PROMPT);
    terminal.type_line("SELECT 2 AS a; SELECT 3 AS a;");
    terminal.shows(PROMPT);
    terminal.type_line("\\o");
    terminal.shows(PROMPT);
    assert_eq!(
        fs::read_to_string(case.path("out.json")).unwrap(),
        "[{\"a\":2}]\n[{\"a\":3}]\n"
    );
    let pipeline = fs::read_to_string(case.path(FILE)).unwrap();
    let renamed = pipeline.replace("name: customers\n", "name: clients\n");
    assert_ne!(pipeline, renamed);
    fs::write(case.path(FILE), renamed).unwrap();
    terminal.type_line("\\refresh");
    terminal.shows("3 tables");
    terminal.shows(PROMPT);
    terminal.type_line("\\d");
    terminal.shows("quarantine.clients");
    terminal.shows(PROMPT);
    terminal.type_line("\\?");
    terminal.shows("\\watch [SECONDS]");
    terminal.shows("leave; so does Ctrl-D");
    terminal.shows(PROMPT);
    terminal.type_line("\\q");
    ends(terminal);
}

#[test]
fn ctrl_c_stops_an_endless_query_and_nothing_else() {
    let case = Case::iceberg();
    let data = case.path("data/customers.jsonl");
    let messages = fs::read_to_string(&data).unwrap();
    let lines: Vec<&str> = messages.lines().collect();
    let (last, first) = lines.split_last().unwrap();
    fs::write(&data, first.join("\n") + "\n").unwrap();
    let case = case.under(&need!(terminal::wrapper()).each_ref().map(String::as_str));
    let mut terminal = prompt(&case);
    // On a line, it clears the line, and the lines before it.
    terminal.type_line("SELECT 1");
    terminal.shows(MORE);
    terminal.press("+ 2");
    terminal.press(CTRL_C);
    terminal.shows(PROMPT);
    terminal.type_line("SELECT _offset AS o FROM customers.customers;");
    let rows = first.len();
    terminal.shows(&format!(" {}\n", rows - 1));
    // A record that comes now is shown now.
    let mut file = OpenOptions::new().append(true).open(&data).unwrap();
    writeln!(file, "{last}").unwrap();
    terminal.shows(&format!(" {rows}\n"));
    terminal.press(CTRL_C);
    terminal.shows(&format!("({SHIPPED_ROWS} rows)\nstopped\n"));
    terminal.shows(PROMPT);
    // One that only computes is stopped, too.
    terminal.type_line("SELECT count(*) FROM generate_series(1, 1000000000000) WHERE value < 0;");
    terminal.shows("0 rows so far; Ctrl-C stops it");
    terminal.press(CTRL_C);
    terminal.shows("stopped\n");
    terminal.shows(PROMPT);
    terminal.type_line("SELECT 40 + 2 AS a;");
    terminal.shows(" 42\n(1 row)");
    terminal.shows(PROMPT);
    terminal.press(CTRL_D);
    ends(terminal);
}

#[test]
fn watch_runs_the_last_query_again_until_ctrl_c() {
    let case = Case::iceberg().under(&need!(terminal::wrapper()).each_ref().map(String::as_str));
    let mut terminal = prompt(&case);
    terminal.type_line("\\watch");
    terminal.shows("error: there is no query to run again");
    terminal.shows(PROMPT);
    terminal.type_line("SELECT 40 + 2 AS a;");
    terminal.shows(" 42\n");
    terminal.shows(PROMPT);
    terminal.type_line("\\watch 0.1");
    for _ in 0..3 {
        terminal.shows("every 0.1 s");
        terminal.shows(" 42\n(1 row)\n");
    }
    terminal.press(CTRL_C);
    terminal.shows(PROMPT);
    terminal.type_line("SELECT 40 + 3 AS a;");
    terminal.shows(" 43\n");
    terminal.shows(PROMPT);
    terminal.press(CTRL_D);
    ends(terminal);
}

#[test]
fn a_wide_table_is_cut_to_the_terminal_and_colours_go_by_no_color() {
    let case = Case::iceberg().under(&need!(terminal::wrapper()).each_ref().map(String::as_str));
    let mut terminal = prompt(&case);
    terminal.type_line("SELECT repeat('x', 500) AS wide, NULL AS nothing, 1 AS a;");
    terminal.shows("x…");
    terminal.shows("(1 row)");
    terminal.shows(PROMPT);
    terminal.press(CTRL_D);
    let outcome = ends(terminal);
    let rule = outcome.stdout.lines().find(|line| line.starts_with("---"));
    assert_eq!(rule.unwrap().trim_end().len(), 160);
    assert!(outcome.stdout.contains("\u{1b}[2mNULL\u{1b}[0m"));
    let case = case.env("NO_COLOR", "1");
    let mut terminal = prompt(&case);
    terminal.type_line("SELECT NULL AS nothing;");
    terminal.shows(" NULL\n(1 row)");
    terminal.shows(PROMPT);
    terminal.press(CTRL_D);
    assert!(!ends(terminal).stdout.contains("\u{1b}[2m"));
}
