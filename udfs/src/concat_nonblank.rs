//! `concat_nonblank(sep, a, …)`: joins values with a separator; nulls and blanks are skipped.
//!
//! `concat_ws` keeps empty strings (`Seattle, , USA`) and makes an empty string out of nothing but nulls. Here
//!
//! - a value that is null, empty or only white space (Unicode's `White_Space`) is skipped, with its separator;
//! - other values are kept as they are, with the white space around them;
//! - if nothing is left, the result is null;
//! - if the separator is null, the result is null;
//! - numbers, booleans, dates and times are joined as the text that a cast to text gives.

use std::any::Any;
use std::fmt::Write;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, AsArray, StringArray, StringBuilder};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, internal_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, DocSection, Documentation, ScalarFunctionArgs, ScalarUDFImpl, Signature,
    Volatility,
};

/// First guess of a result's bytes; the builder grows if it is short.
const ROW_BYTES: usize = 24;

static DOC: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        DocSection::default(),
        "Joins values with a separator. Nulls and blank values are skipped; null if every value is, or if the \
         separator is null.",
        "concat_nonblank(separator, value[, ..., value_n])",
    )
    .with_sql_example("SELECT concat_nonblank(', ', city, state, country) FROM customers;")
    .with_argument("separator", "Text between two values.")
    .with_argument("value", "Text, a number, a boolean, a date or a time.")
    .with_related_udf("concat_ws")
    .build()
});

/// The function. See the module.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ConcatNonblank {
    signature: Signature,
}

impl ConcatNonblank {
    /// The function.
    pub fn new() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl Default for ConcatNonblank {
    fn default() -> Self {
        Self::new()
    }
}

impl ScalarUDFImpl for ConcatNonblank {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &str {
        "concat_nonblank"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// One type for every argument, so that the planner casts and the loop reads one kind of array.
    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        if arg_types.len() < 2 {
            return plan_err!(
                "concat_nonblank takes a separator and at least one value, as in concat_nonblank(' ', first_name, last_name); it was given {} argument(s)",
                arg_types.len()
            );
        }
        for (index, data_type) in arg_types.iter().enumerate() {
            if !has_text(data_type) {
                return plan_err!(
                    "argument {} of concat_nonblank is of type {data_type}, which is not joined as text; cast it to TEXT or leave it out",
                    index + 1
                );
            }
        }
        Ok(vec![DataType::Utf8; arg_types.len()])
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let texts = args
            .args
            .iter()
            .map(Text::try_new)
            .collect::<Result<Vec<_>>>()?;
        let Some((separator, values)) = texts.split_first() else {
            return internal_err!("concat_nonblank was called without arguments");
        };
        if matches!(separator, Text::Scalar(None)) {
            return Ok(ColumnarValue::Scalar(ScalarValue::Utf8(None)));
        }
        let all_scalar = texts.iter().all(|text| matches!(text, Text::Scalar(_)));
        let rows = if all_scalar { 1 } else { args.number_rows };
        let joined = join(separator, values, rows)?;
        if all_scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &joined, 0,
            )?));
        }
        Ok(ColumnarValue::Array(Arc::new(joined)))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOC)
    }
}

/// Whether values of the type have a text that a person would want joined.
fn has_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Null
        | DataType::Boolean
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => has_text(values),
        other => other.is_numeric() || other.is_temporal(),
    }
}

/// One argument: the same text for every row, or a text a row.
enum Text<'a> {
    Scalar(Option<&'a str>),
    Column(&'a StringArray),
}

impl<'a> Text<'a> {
    fn try_new(value: &'a ColumnarValue) -> Result<Self> {
        match value {
            ColumnarValue::Scalar(ScalarValue::Utf8(text)) => Ok(Self::Scalar(text.as_deref())),
            ColumnarValue::Array(array) => match array.as_string_opt::<i32>() {
                Some(column) => Ok(Self::Column(column)),
                None => internal_err!("concat_nonblank was called with {}", array.data_type()),
            },
            ColumnarValue::Scalar(other) => {
                internal_err!("concat_nonblank was called with {}", other.data_type())
            }
        }
    }

    fn get(&self, row: usize) -> Option<&'a str> {
        match self {
            Self::Scalar(text) => *text,
            Self::Column(column) => column.is_valid(row).then(|| column.value(row)),
        }
    }
}

fn join(separator: &Text<'_>, values: &[Text<'_>], rows: usize) -> Result<StringArray> {
    let mut joined = StringBuilder::with_capacity(rows, rows * ROW_BYTES);
    for row in 0..rows {
        let Some(separator) = separator.get(row) else {
            joined.append_null();
            continue;
        };
        let mut empty = true;
        for value in values {
            let Some(text) = value.get(row).filter(|text| !text.trim_start().is_empty()) else {
                continue;
            };
            let pieces = if empty { ["", text] } else { [separator, text] };
            for piece in pieces {
                joined
                    .write_str(piece)
                    .map_err(|_| exec_datafusion_err!("concat_nonblank ran out of space"))?;
            }
            empty = false;
        }
        // What was written so far becomes the row's value.
        if empty {
            joined.append_null();
        } else {
            joined.append_value("");
        }
    }
    Ok(joined.finish())
}
