//! Keys found in files: right by comparison with reading everything, cheap by counting.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::object_store::ObjectStoreExt as _;
use datafusion::object_store::memory::InMemory;
use datafusion::object_store::path::Path;
use datafusion::parquet::arrow::{ArrowWriter, PARQUET_FIELD_ID_META_KEY};
use datafusion::parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use engine::lake::keys::KeySet;
use engine::lake::locate::{DataFile, Hit, KeyColumn, Located, Search, StoreFiles};
use proptest::prelude::*;
use sql::ErrorKind;

const PAGE: usize = 100;
const GROUP: usize = 1_000;

fn small() -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_max_row_group_row_count(Some(GROUP))
        .set_data_page_row_count_limit(PAGE)
        .set_write_batch_size(PAGE)
        .set_dictionary_enabled(false)
}

struct Folder {
    store: Arc<InMemory>,
    files: Vec<DataFile>,
}

impl Folder {
    fn new() -> Self {
        Self {
            store: Arc::new(InMemory::new()),
            files: Vec::new(),
        }
    }

    async fn add(&mut self, batch: &RecordBatch, properties: WriterPropertiesBuilder) {
        let mut bytes = Vec::new();
        let properties = Some(properties.build());
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), properties).unwrap();
        writer.write(batch).unwrap();
        writer.close().unwrap();
        let path = format!("{}.parquet", self.files.len());
        self.files.push(DataFile {
            path: path.clone(),
            size: bytes.len() as u64,
            constants: Vec::new(),
        });
        self.store
            .put(&Path::from(path), bytes.into())
            .await
            .unwrap();
    }

    async fn try_find(&self, names: &[&str], keys: Vec<ArrayRef>) -> sql::Result<Located> {
        let columns: Vec<_> = names
            .iter()
            .map(|name| KeyColumn {
                name: (*name).to_owned(),
                field_id: None,
            })
            .collect();
        self.search(columns, keys).await
    }

    async fn search(&self, columns: Vec<KeyColumn>, keys: Vec<ArrayRef>) -> sql::Result<Located> {
        let named = keys
            .into_iter()
            .enumerate()
            .map(|(at, key)| (format!("k{at}"), key));
        let keys = RecordBatch::try_from_iter(named).unwrap();
        let search = Search {
            files: Arc::new(StoreFiles(self.store.clone())),
            keys: Arc::new(KeySet::try_new(&keys).unwrap()),
            columns,
            parallel: 2,
        };
        search.locate(self.files.clone()).await
    }

    async fn find(&self, names: &[&str], keys: Vec<ArrayRef>) -> Located {
        self.try_find(names, keys).await.unwrap()
    }
}

fn longs(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

fn of(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

/// `id`s with a wide column beside.
fn wide(ids: impl IntoIterator<Item = i64>) -> RecordBatch {
    let ids = longs(ids);
    let payload: StringArray = (0..ids.len())
        .map(|row| Some(format!("{row:x}").repeat(40)))
        .collect();
    of(vec![("payload", Arc::new(payload)), ("id", ids)])
}

fn rows(located: &Located) -> Vec<(usize, u64, u32)> {
    located
        .files
        .iter()
        .flat_map(|file| {
            file.hits
                .iter()
                .map(|Hit { row, key }| (file.file, *row, *key))
        })
        .collect()
}

#[tokio::test]
async fn one_key_of_a_sorted_table_costs_one_page() {
    let mut folder = Folder::new();
    for start in [0, 10_000] {
        folder.add(&wide(start..start + 10_000), small()).await;
    }
    let located = folder.find(&["id"], vec![longs([12_345])]).await;
    assert_eq!(rows(&located), [(1, 2_345, 0)]);
    assert_eq!(located.files[0].rows, 10_000);
    assert_eq!((located.cost.files, located.cost.row_groups), (2, 20));
    assert_eq!((located.cost.row_groups_read, located.cost.rows), (1, 100));
    let size: u64 = folder.files.iter().map(|file| file.size).sum();
    assert!(
        located.cost.bytes < size / 10,
        "{:?} of {size}",
        located.cost
    );
}

#[tokio::test]
async fn of_an_unsorted_table_only_the_key_is_read() {
    let mut folder = Folder::new();
    folder
        .add(&wide((0..10_000).map(|i| i * 7_919 % 10_000)), small())
        .await;
    let located = folder
        .find(&["id"], vec![longs((0..5_000).map(|i| i * 2))])
        .await;
    assert_eq!(rows(&located).len(), 5_000);
    assert_eq!(
        (located.cost.row_groups_read, located.cost.rows),
        (10, 10_000)
    );
    let size = folder.files[0].size;
    let key = 8 * 10_000;
    assert!(
        located.cost.bytes > key && located.cost.bytes < size / 3,
        "{:?} of {size}",
        located.cost
    );
}

#[tokio::test]
async fn bloom_filters_spare_reading_keys_that_are_not_there() {
    let uuid = |n: u64| format!("{:016x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let texts: StringArray = (0..4_000).map(|n| Some(uuid(n))).collect();
    let binaries = BinaryArray::from_iter_values((0..4_000).map(uuid));
    let batch = of(vec![
        ("text", Arc::new(texts)),
        ("binary", Arc::new(binaries)),
        ("number", longs((0..4_000).map(|n| n * 1_000))),
    ]);
    let mut with = Folder::new();
    with.add(&batch, small().set_bloom_filter_enabled(true))
        .await;
    let mut without = Folder::new();
    without.add(&batch, small()).await;
    let absent: [ArrayRef; 3] = [
        Arc::new(StringArray::from(vec![uuid(4_001)])),
        Arc::new(BinaryArray::from_iter_values([uuid(4_001)])),
        longs([1_500_500]),
    ];
    for (name, key) in ["text", "binary", "number"].into_iter().zip(absent) {
        let filtered = with.find(&[name], vec![key.clone()]).await;
        assert_eq!(
            (rows(&filtered).len(), filtered.cost.row_groups_read),
            (0, 0),
            "{name}"
        );
        let unfiltered = without.find(&[name], vec![key]).await;
        assert_eq!(rows(&unfiltered).len(), 0);
        assert!(unfiltered.cost.row_groups_read > 0, "{name}");
    }
    let there = Arc::new(StringArray::from(vec![uuid(2_222)]));
    let located = with.find(&["text"], vec![there]).await;
    assert_eq!(rows(&located), [(0, 2_222, 0)]);
    assert!(located.cost.row_groups_read <= 2, "{:?}", located.cost);
}

#[tokio::test]
async fn a_promoted_column_is_searched_with_its_old_files() {
    let mut folder = Folder::new();
    let narrow = Int32Array::from_iter((0..2_000).map(|id| (id != 7).then_some(id)));
    let properties = small().set_bloom_filter_enabled(true);
    folder
        .add(&of(vec![("id", Arc::new(narrow))]), properties)
        .await;
    folder.add(&wide(0..2_000), small()).await;
    let located = folder
        .find(&["id"], vec![longs([7, 1_500, i64::MAX])])
        .await;
    assert_eq!(rows(&located), [(0, 1_500, 1), (1, 7, 0), (1, 1_500, 1)]);
}

#[tokio::test]
async fn files_without_a_key_column_hold_no_key_unless_it_is_a_constant() {
    let mut folder = Folder::new();
    folder
        .add(&of(vec![("other", longs(0..10))]), small())
        .await;
    folder.add(&wide(0..10), small()).await;
    folder.add(&wide(0..10), small()).await;
    folder.add(&wide(0..10), small()).await;
    let region = |name: Option<&str>| Arc::new(StringArray::from(vec![name])) as ArrayRef;
    folder.files[1].constants = vec![(0, region(Some("eu")))];
    folder.files[2].constants = vec![(0, region(Some("us")))];
    folder.files[3].constants = vec![(0, region(None))];
    let regions: ArrayRef = Arc::new(StringArray::from(vec!["eu", "us", "us", "asia"]));
    let keys = vec![regions, longs([3, 4, 5, 6])];
    let located = folder.find(&["region", "id"], keys).await;
    assert_eq!(rows(&located), [(1, 3, 0), (2, 4, 1), (2, 5, 2)]);
    let constants_only = folder.find(&["region"], vec![region(Some("us"))]).await;
    assert_eq!(rows(&constants_only).len(), 10);
}

#[tokio::test]
async fn field_ids_outlive_names() {
    let named = |name: &str, id: Option<i32>| {
        let metadata = id.map(|id| (PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string()));
        Field::new(name, DataType::Int64, true).with_metadata(HashMap::from_iter(metadata))
    };
    let mut folder = Folder::new();
    for fields in [
        vec![named("old_id", Some(1)), named("id", Some(2))],
        vec![named("id", None), named("x", None)],
        vec![named("id", Some(3)), named("x", Some(4))],
    ] {
        let columns = vec![longs(0..10), longs(100..110)];
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        folder.add(&batch, small()).await;
    }
    let column = KeyColumn {
        name: "id".to_owned(),
        field_id: Some(1),
    };
    let located = folder
        .search(vec![column], vec![longs([4, 104])])
        .await
        .unwrap();
    assert_eq!(rows(&located), [(0, 4, 0), (1, 4, 0)]);
}

#[tokio::test]
async fn a_key_column_of_another_type_is_refused() {
    let mut folder = Folder::new();
    let text = StringArray::from(vec!["1"]);
    folder.add(&of(vec![("id", Arc::new(text))]), small()).await;
    let error = folder
        .try_find(&["id"], vec![longs([1])])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(
        error.message(),
        "a data file has the key column `id` as Utf8, the table as Int64: the types do not fit"
    );
}

#[tokio::test]
async fn what_is_no_parquet_file_is_said_to_be_none() {
    let mut folder = Folder::new();
    folder.add(&wide(0..1), small()).await;
    let path = Path::from(folder.files[0].path.clone());
    folder
        .store
        .put(&path, vec![7_u8; 100].into())
        .await
        .unwrap();
    folder.files[0].size = 100;
    let error = folder
        .try_find(&["id"], vec![longs([1])])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{}", error.report());
    folder.store.delete(&path).await.unwrap();
    let error = folder
        .try_find(&["id"], vec![longs([1])])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.report());
}

/// A table of two key columns in some files, some sorted, some not, with nulls and repeated keys.
fn table() -> impl Strategy<Value = Vec<Vec<(Option<i64>, Option<String>)>>> {
    let row = (
        prop::option::weighted(0.95, 0_i64..3_000),
        prop::option::weighted(0.95, "[a-d]{1,2}"),
    );
    let file =
        (prop::collection::vec(row, 1..3_000), any::<bool>()).prop_map(|(mut rows, sorted)| {
            if sorted {
                rows.sort();
            }
            rows
        });
    prop::collection::vec(file, 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_found_is_what_reading_everything_finds(
        files in table(),
        keys in prop::collection::btree_set((0_i64..3_000, "[a-d]{1,2}"), 1..60),
        bloom in any::<bool>(),
        by in 0_usize..3,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut folder = Folder::new();
            for rows in &files {
                let ids: Int64Array = rows.iter().map(|row| row.0).collect();
                let texts: StringArray = rows.iter().map(|row| row.1.as_deref()).collect();
                let batch = of(vec![("id", Arc::new(ids)), ("text", Arc::new(texts))]);
                folder.add(&batch, small().set_bloom_filter_enabled(bloom)).await;
            }
            let ids = longs(keys.iter().map(|key| key.0));
            let texts: ArrayRef =
                Arc::new(keys.iter().map(|key| Some(key.1.as_str())).collect::<StringArray>());
            let located = match by {
                0 => folder.find(&["id", "text"], vec![ids, texts]).await,
                1 => folder.find(&["id"], vec![ids]).await,
                _ => folder.find(&["text"], vec![texts]).await,
            };
            let mut expected = Vec::new();
            for (file, rows) in files.iter().enumerate() {
                for (row, (id, text)) in rows.iter().enumerate() {
                    let same = |key: &(i64, String)| {
                        (by == 2 || Some(key.0) == *id) && (by == 1 || Some(&key.1) == text.as_ref())
                    };
                    if let Some(key) = keys.iter().position(same) {
                        expected.push((file, row as u64, key as u32));
                    }
                }
            }
            assert_eq!(rows(&located), expected);
        });
    }
}
