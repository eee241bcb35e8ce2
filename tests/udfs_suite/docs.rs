//! docs/functions.md is right: every example gives what it says, and every function is there.

use std::path::Path;

use super::table;

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/functions.md");
    std::fs::read_to_string(path).unwrap()
}

/// Fenced blocks in order, with their language.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let body: Vec<&str> = lines.by_ref().take_while(|l| *l != "```").collect();
            blocks.push((language.to_owned(), body.join("\n")));
        }
    }
    blocks
}

#[tokio::test]
async fn every_example_gives_what_the_page_says() {
    let blocks = blocks(&page());
    assert!(blocks.len() >= 8 && blocks.len().is_multiple_of(2));
    for pair in blocks.chunks(2) {
        let [(sql, query), (text, expected)] = pair else {
            panic!("an example without a result");
        };
        assert_eq!((sql.as_str(), text.as_str()), ("sql", "text"));
        let got = table(query).await;
        let got: Vec<&str> = got.lines().map(str::trim_end).collect();
        assert_eq!(got.join("\n"), *expected, "{query}");
    }
}

#[test]
fn every_function_has_a_section_and_its_own_documentation() {
    let page = page();
    let functions = udfs::all();
    let scalar = functions
        .scalar
        .iter()
        .map(|f| (f.name(), f.documentation()));
    let aggregate = functions
        .aggregate
        .iter()
        .map(|f| (f.name(), f.documentation()));
    for (name, documentation) in scalar.chain(aggregate) {
        assert!(page.contains(&format!("\n## {name}\n")), "{name}");
        assert!(
            documentation.is_some_and(|d| d.syntax_example.contains(name)),
            "{name}"
        );
    }
}
