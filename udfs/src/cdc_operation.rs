//! `cdc_operation(op)`: Debezium's letter of an operation as a word.
//!
//! | letter | word |
//! |---|---|
//! | `c` | `INSERT` |
//! | `u` | `UPDATE` |
//! | `d` | `DELETE` |
//! | `r` | `SNAPSHOT` |
//! | `t` | `TRUNCATE` |
//! | null | null |
//!
//! Any other value is an error and not a null: a log of operations must not lose one without saying so.

use std::any::Any;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use arrow::compute::{cast, take};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err, internal_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, DocSection, Documentation, ScalarFunctionArgs, ScalarUDFImpl, Signature,
    Volatility,
};

/// Longest part of an unknown value that an error shows.
const SHOWN_CHARS: usize = 20;

static DOC: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        DocSection::default(),
        "The word of a Debezium operation: c INSERT, u UPDATE, d DELETE, r SNAPSHOT, t TRUNCATE. Null for null; any \
         other value is an error.",
        "cdc_operation(op)",
    )
    .with_sql_example("SELECT cdc_operation(_op) FROM customers;")
    .with_argument("op", "A letter, as in the column `_op`.")
    .build()
});

/// The function. See the module.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct CdcOperation {
    signature: Signature,
}

impl CdcOperation {
    /// The function.
    pub fn new() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl Default for CdcOperation {
    fn default() -> Self {
        Self::new()
    }
}

impl ScalarUDFImpl for CdcOperation {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &str {
        "cdc_operation"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match arg_types {
            [DataType::Null] => Ok(vec![DataType::Utf8]),
            [letter] if is_text(letter) => Ok(vec![letter.clone()]),
            [other] => plan_err!(
                "cdc_operation takes the operation's letter as text, as in cdc_operation(_op); its argument is of type {other}"
            ),
            _ => plan_err!(
                "cdc_operation takes one argument, as in cdc_operation(_op); it was given {}",
                arg_types.len()
            ),
        }
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [ColumnarValue::Scalar(scalar)] => {
                let Some(letter) = scalar.try_as_str() else {
                    return internal_err!("cdc_operation was called with {}", scalar.data_type());
                };
                let text = letter.map(word).transpose()?.map(str::to_owned);
                Ok(ColumnarValue::Scalar(ScalarValue::Utf8(text)))
            }
            [ColumnarValue::Array(letters)] => Ok(ColumnarValue::Array(words(letters)?)),
            other => internal_err!("cdc_operation was called with {} arguments", other.len()),
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOC)
    }
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// The words of a column of letters.
fn words(letters: &ArrayRef) -> Result<ArrayRef> {
    match letters.data_type() {
        DataType::Utf8 => map(letters.len(), letters.as_string::<i32>().iter()),
        DataType::LargeUtf8 => map(letters.len(), letters.as_string::<i64>().iter()),
        DataType::Utf8View => map(letters.len(), letters.as_string_view().iter()),
        DataType::Dictionary(_, _) => dictionary_words(letters),
        other => internal_err!("cdc_operation was called with {other}"),
    }
}

/// Looks each distinct letter up once. A dictionary may hold values that no row has, and those must not fail: when the
/// lookup of the dictionary does, the rows decide.
fn dictionary_words(letters: &ArrayRef) -> Result<ArrayRef> {
    let dictionary = letters.as_any_dictionary();
    match words(dictionary.values()) {
        Ok(values) => Ok(take(&values, dictionary.keys(), None)?),
        Err(_) => words(&cast(letters, &DataType::Utf8)?),
    }
}

fn map<'a>(rows: usize, letters: impl Iterator<Item = Option<&'a str>>) -> Result<ArrayRef> {
    let mut words = StringBuilder::with_capacity(rows, rows * "SNAPSHOT".len());
    for letter in letters {
        match letter {
            Some(letter) => words.append_value(word(letter)?),
            None => words.append_null(),
        }
    }
    let words: StringArray = words.finish();
    Ok(Arc::new(words))
}

fn word(letter: &str) -> Result<&'static str> {
    match letter {
        "c" => Ok("INSERT"),
        "u" => Ok("UPDATE"),
        "d" => Ok("DELETE"),
        "r" => Ok("SNAPSHOT"),
        "t" => Ok("TRUNCATE"),
        other => unknown(other),
    }
}

fn unknown(value: &str) -> Result<&'static str> {
    let mut shown: String = value.chars().take(SHOWN_CHARS).collect();
    if shown.len() < value.len() {
        shown.push('…');
    }
    exec_err!(
        "cdc_operation does not know the operation '{shown}'; it knows c (insert), u (update), d (delete), r (snapshot read) and t (truncate)"
    )
}
