//! A macro as a scalar function that dissolves into its body.

use std::any::Any;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use async_trait::async_trait;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result as DfResult, internal_err, plan_err};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::execution::context::{FunctionFactory, RegisterFunction};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, CreateFunction, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, TypeSignature, Volatility, cast,
};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;

/// A function whose body is a SQL expression over its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Macro {
    name: String,
    arguments: Vec<(String, DataType)>,
    returns: DataType,
    body: Expr,
    signature: Signature,
}

impl Macro {
    /// The body, with columns named `$1`, `$2`, … for the arguments, types coerced, other macros inlined.
    pub fn body(&self) -> &Expr {
        &self.body
    }

    /// `body` has placeholders `$1`, `$2`, … for the arguments.
    fn try_new(
        name: String,
        arguments: Vec<(String, DataType)>,
        returns: Option<DataType>,
        body: Expr,
    ) -> DfResult<Self> {
        let fields = arguments
            .iter()
            .enumerate()
            .map(|(i, (_, t))| (None, Arc::new(Field::new(slot(i), t.clone(), true))));
        let schema = DFSchema::new_with_metadata(fields.collect(), Default::default())?;
        let body = inline(placeholders_to_columns(body, arguments.len())?)?;
        let simplifier =
            ExprSimplifier::new(SimplifyContext::default().with_schema(Arc::new(schema.clone())));
        let body = simplifier.coerce(body, &schema)?;
        let has = body.get_type(&schema)?;
        let returns = returns.unwrap_or_else(|| has.clone());
        let body = if has == returns {
            body
        } else {
            cast(body, returns.clone())
        };
        Ok(Self {
            name,
            arguments,
            returns,
            body,
            signature: Signature::new(TypeSignature::UserDefined, Volatility::Immutable),
        })
    }

    fn apply(&self, arguments: &[Expr]) -> DfResult<Expr> {
        let replaced = self.body.clone().transform_up(|expr| match &expr {
            Expr::Column(Column {
                relation: None,
                name,
                ..
            }) => match index_of(name).and_then(|i| arguments.get(i)) {
                Some(argument) => Ok(Transformed::yes(argument.clone())),
                None => Ok(Transformed::no(expr)),
            },
            _ => Ok(Transformed::no(expr)),
        });
        Ok(replaced?.data)
    }
}

impl ScalarUDFImpl for Macro {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DfResult<DataType> {
        Ok(self.returns.clone())
    }

    fn coerce_types(&self, given: &[DataType]) -> DfResult<Vec<DataType>> {
        if given.len() != self.arguments.len() {
            return plan_err!(
                "`{}` takes {} arguments, but {} were given",
                self.name,
                self.arguments.len(),
                given.len()
            );
        }
        let pairs = self.arguments.iter().zip(given);
        for (i, ((name, wanted), given)) in pairs.enumerate() {
            if !converts(given, wanted) {
                let name = if name.is_empty() {
                    slot(i)
                } else {
                    name.clone()
                };
                return plan_err!(
                    "the argument `{name}` of `{}` is {wanted}, but {given} was given",
                    self.name
                );
            }
        }
        Ok(self.arguments.iter().map(|(_, t)| t.clone()).collect())
    }

    fn simplify(&self, args: Vec<Expr>, _: &SimplifyContext) -> DfResult<ExprSimplifyResult> {
        Ok(ExprSimplifyResult::Simplified(self.apply(&args)?))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        internal_err!("the SQL function `{}` was not inlined", self.name)
    }
}

/// Conversions that lose nothing by their kind: any number to a number, anything to text, dates to timestamps.
fn converts(given: &DataType, wanted: &DataType) -> bool {
    let number = |t: &DataType| t.is_numeric();
    let text =
        |t: &DataType| matches!(t, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8);
    let instant = |t: &DataType| {
        matches!(
            t,
            DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, _)
        )
    };
    given == wanted
        || given.is_null()
        || (number(given) && number(wanted))
        || (text(wanted) && !given.is_nested())
        || (instant(given) && instant(wanted))
}

/// What the argument `index` is called in a body.
fn slot(index: usize) -> String {
    format!("${}", index + 1)
}

fn index_of(slot: &str) -> Option<usize> {
    slot.strip_prefix('$')?
        .parse::<usize>()
        .ok()?
        .checked_sub(1)
}

fn placeholders_to_columns(body: Expr, arguments: usize) -> DfResult<Expr> {
    let replaced = body.transform_up(|expr| match &expr {
        Expr::Placeholder(placeholder) => match index_of(&placeholder.id) {
            Some(index) if index < arguments => Ok(Transformed::yes(Expr::Column(
                Column::new_unqualified(slot(index)),
            ))),
            _ => plan_err!("the body names `{}`, which is no argument", placeholder.id),
        },
        _ => Ok(Transformed::no(expr)),
    });
    Ok(replaced?.data)
}

/// Dissolves macros inside a macro's body, so that inlining one level is enough for any query.
fn inline(body: Expr) -> DfResult<Expr> {
    let inlined = body.transform_up(|expr| match &expr {
        Expr::ScalarFunction(call) => match call.func.inner().as_any().downcast_ref::<Macro>() {
            Some(inner) => {
                let typed = inner.arguments.iter().map(|(_, t)| t.clone());
                let arguments: Vec<Expr> = call
                    .args
                    .iter()
                    .zip(typed)
                    .map(|(argument, t)| cast(argument.clone(), t))
                    .collect();
                Ok(Transformed::yes(inner.apply(&arguments)?))
            }
            None => Ok(Transformed::no(expr)),
        },
        _ => Ok(Transformed::no(expr)),
    });
    Ok(inlined?.data)
}

/// Makes macros out of `CREATE FUNCTION`.
#[derive(Debug, Clone, Copy, Default)]
pub struct MacroFactory;

#[async_trait]
impl FunctionFactory for MacroFactory {
    async fn create(
        &self,
        state: &SessionState,
        statement: CreateFunction,
    ) -> DfResult<RegisterFunction> {
        let name = statement.name;
        if let Some(known) = state.scalar_functions().get(&name)
            && !known.inner().as_any().is::<Macro>()
        {
            return plan_err!("a function `{name}` is there already");
        }
        if state.scalar_functions().contains_key(&name) && !statement.or_replace {
            return plan_err!("the function `{name}` is defined twice");
        }
        let Some(body) = statement.params.function_body else {
            return plan_err!("the function `{name}` has no body: write RETURN and an expression");
        };
        if matches!(body, Expr::Literal(_, _)) && statement.params.language.is_some() {
            return plan_err!("the function `{name}` is in a language that is not SQL");
        }
        let arguments = statement.args.unwrap_or_default().into_iter().map(|arg| {
            if arg.default_expr.is_some() {
                return Err(DataFusionError::Plan(format!(
                    "an argument of `{name}` has a DEFAULT, which is not supported"
                )));
            }
            let argument = arg.name.map_or_else(String::new, |ident| ident.value);
            Ok((argument, arg.data_type))
        });
        let arguments = arguments.collect::<DfResult<Vec<_>>>()?;
        let function = Macro::try_new(name, arguments, statement.return_type, body)?;
        Ok(RegisterFunction::Scalar(Arc::new(ScalarUDF::from(
            function,
        ))))
    }
}
