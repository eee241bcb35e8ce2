//! What TAB offers.

use sql::repl::{Names, Relation, complete};

fn names() -> Names {
    let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    Names {
        tables: owned(&[
            "iceberg.analytics.customers",
            "customers.customers",
            "delta.orders",
            "delta.\"my-orders\"",
        ]),
        functions: owned(&["count", "concat", "concat_nonblank", "lower"]),
        table_functions: owned(&["table_changes", "snapshots", "at"]),
        formats: owned(&["table", "json", "csv", "parquet"]),
    }
}

fn columns(relation: &Relation) -> Vec<String> {
    let columns: &[&str] = match relation {
        Relation::Table(name) if name.ends_with("customers") => {
            &["customer_id", "city", "firstName", "order"]
        }
        Relation::Table(name) if name == "delta.orders" => &["order_id", "customer_id"],
        Relation::Function { name, argument } if name == "table_changes" => {
            assert_eq!(argument.as_deref(), Some("delta.orders"));
            &["order_id", "_change_type"]
        }
        _ => &[],
    };
    columns.iter().map(|&name| name.to_owned()).collect()
}

/// `|` is the cursor; lines before the last one were typed before. Gives the line with each word in its place.
fn offered(text: &str) -> Vec<String> {
    let (before, line) = match text.rsplit_once('\n') {
        Some((before, line)) => (format!("{before}\n"), line),
        None => (String::new(), text),
    };
    let at = line.find('|').expect("a cursor");
    let line = line.replace('|', "");
    let completion = complete(&before, &line, at, &names(), &mut columns);
    assert!(completion.start <= at, "{text}");
    completion
        .words
        .iter()
        .map(|word| format!("{}{word}", &line[..completion.start]))
        .collect()
}

fn offers(text: &str, expected: &[&str]) {
    assert_eq!(offered(text), expected, "{text}");
}

fn offers_among_others(text: &str, expected: &[&str]) {
    let offered = offered(text);
    for word in expected {
        assert!(
            offered.iter().any(|found| found == word),
            "{text}: no {word} in {offered:?}"
        );
    }
}

#[test]
fn statements_begin_with_keywords() {
    offers("sel|", &["select"]);
    offers("SEL|", &["SELECT"]);
    offers("EXPLAIN SEL|", &["EXPLAIN SELECT"]);
    offers("SELECT 1; SH|", &["SELECT 1; SHOW"]);
    offers_among_others("|", &["SELECT", "WITH", "SHOW"]);
}

#[test]
fn tables_stand_after_from_and_join() {
    offers(
        "SELECT * FROM ic|",
        &["SELECT * FROM iceberg.analytics.customers"],
    );
    offers(
        "select 1 from iceberg.ana|",
        &["select 1 from iceberg.analytics.customers"],
    );
    // By the last part, too; and in quotes where SQL needs them.
    offers(
        "SELECT * FROM cust|",
        &[
            "SELECT * FROM customers.customers",
            "SELECT * FROM iceberg.analytics.customers",
        ],
    );
    offers("SELECT * FROM my|", &["SELECT * FROM delta.\"my-orders\""]);
    offers(
        "SELECT * FROM delta.m|",
        &["SELECT * FROM delta.\"my-orders\""],
    );
    offers(
        "SELECT * FROM delta.\"my|",
        &["SELECT * FROM delta.\"my-orders\""],
    );
    offers(
        "SELECT * FROM delta.orders o JOIN ice|",
        &["SELECT * FROM delta.orders o JOIN iceberg.analytics.customers"],
    );
    offers(
        "SELECT * FROM delta.orders, ice|",
        &["SELECT * FROM delta.orders, iceberg.analytics.customers"],
    );
    offers(
        "SELECT * FROM (SELECT * FROM ice|",
        &["SELECT * FROM (SELECT * FROM iceberg.analytics.customers"],
    );
    offers("SELECT *\nFROM ice|", &["FROM iceberg.analytics.customers"]);
    offers("DESCRIBE ice|", &["DESCRIBE iceberg.analytics.customers"]);
    offers("SELECT * FROM table_|", &["SELECT * FROM table_changes("]);
    offers(
        "SELECT * FROM table_changes('delta.o|",
        &["SELECT * FROM table_changes('delta.orders"],
    );
    offers(
        "SELECT * FROM delta.orders whe|",
        &[
            "SELECT * FROM delta.orders when",
            "SELECT * FROM delta.orders where",
        ],
    );
}

#[test]
fn columns_are_those_of_the_tables_that_the_statement_names() {
    offers(
        "SELECT cit| FROM iceberg.analytics.customers",
        &["SELECT city"],
    );
    offers(
        "SELECT * FROM customers WHERE cit|",
        &["SELECT * FROM customers WHERE city"],
    );
    // The name that SQL reads is another one without quotes; a keyword needs them, too.
    offers("SELECT firstn| FROM customers", &["SELECT \"firstName\""]);
    offers_among_others("SELECT ord| FROM customers", &["SELECT \"order\""]);
    offers(
        "SELECT c.cu| FROM customers c JOIN delta.orders AS o ON true",
        &["SELECT c.customer_id"],
    );
    offers(
        "SELECT o.| FROM customers c JOIN delta.orders AS o ON true",
        &["SELECT o.customer_id", "SELECT o.order_id"],
    );
    offers(
        "SELECT orders.o| FROM delta.orders",
        &["SELECT orders.order_id"],
    );
    offers("SELECT x.c| FROM customers c", &[]);
    offers(
        "SELECT *\nFROM delta.orders\nWHERE order_|",
        &["WHERE order_id"],
    );
    offers(
        "SELECT _c| FROM table_changes('delta.orders', 1, 2)",
        &["SELECT _change_type"],
    );
    offers(
        "SELECT c.\"fi| FROM customers c",
        &["SELECT c.\"firstName\""],
    );
    // Before there is a table there are functions and keywords.
    offers(
        "SELECT conc|",
        &["SELECT concat(", "SELECT concat_nonblank("],
    );
    offers_among_others(
        "SELECT co| FROM customers",
        &["SELECT count(", "SELECT concat("],
    );
    offers(
        "SELECT | FROM delta.orders",
        &["SELECT customer_id", "SELECT order_id"],
    );
}

#[test]
fn nothing_stands_in_strings_and_comments() {
    for text in [
        "SELECT 'sel|",
        "SELECT 1 -- sel|",
        "SELECT /* sel|",
        "SELECT * FROM t WHERE a = 'ice|",
    ] {
        offers(text, &[]);
    }
}

#[test]
fn commands_and_what_follows_them() {
    offers("\\ti|", &["\\timing"]);
    offers("\\d|", &["\\d", "\\df"]);
    offers("\\d ice|", &["\\d iceberg.analytics.customers"]);
    offers("\\df conc|", &["\\df concat", "\\df concat_nonblank"]);
    offers("\\format p|", &["\\format parquet"]);
    offers("\\x o|", &["\\x off", "\\x on"]);
    offers("\\i scr|", &[]);
    // In a statement a backslash is no command.
    offers("SELECT 1\n\\ti|", &[]);
}
