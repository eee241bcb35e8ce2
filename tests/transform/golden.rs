//! Every `golden/NAME.sql` over the six rows must return `golden/NAME.txt`. Drop two files, get a test.

use super::rows::{names, plan, six};

#[tokio::test]
async fn every_golden_query_returns_its_rows() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("transform/golden");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "sql") {
            continue;
        }
        let sql = std::fs::read_to_string(&path).unwrap();
        let expected = std::fs::read_to_string(path.with_extension("txt")).unwrap();
        let header = names(plan(&sql).await.unwrap().output_schema()).join("|");
        let got = format!("{header}\n{}\n", six(&sql).await.join("\n"));
        assert_eq!(got, expected, "{}", path.display());
        seen += 1;
    }
    assert!(seen > 0, "no golden query was found");
}
