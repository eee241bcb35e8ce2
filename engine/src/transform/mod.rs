//! The pipeline's SQL: planned once, run for every batch.
//!
//! The plan carries the index of the source row through the query, so that every output row is known to come from one
//! source row, and operation, order and offsets stay beside the source rows. Output rows come in the order of their
//! source rows, whatever joins and unions did to them.
//!
//! A plan is made for one schema of the source: a changed schema makes a new [`Transform`]. The physical plan is run
//! again after its state was reset; without that, joins would keep the first batch.

pub mod lookups;
mod order;

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt64Array};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::error::DataFusionError;
use datafusion::execution::{SessionState, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{ExecutionPlan, collect, displayable};
use datafusion::prelude::SessionContext;
use datafusion::sql::TableReference;
use sql::change::metadata_names;
use sql::plan::{Lineage, Script};
use sql::session::{Role, session};
use sql::table::{ROW, SlotTable, Slots, SourceExec};
use sql::{Error, ErrorKind, Result};

use crate::quality::rules::Rules;
use crate::spec::model::{Located, RuleSpec};

/// A lookup table by its name in SQL.
pub type Lookup = (String, Arc<dyn TableProvider>);

/// The SQL of a pipeline and its rules, planned for one schema of the source.
#[derive(Debug)]
pub struct Transform {
    inputs: Inputs,
    plan: Planned,
    rules: Rules,
}

/// What a plan is made of: kept to plan again when lookups are read again.
#[derive(Debug, Clone)]
struct Inputs {
    script: Script,
    source: String,
    schema: SchemaRef,
    functions: Vec<Script>,
    rules: Vec<RuleSpec>,
}

struct Planned {
    state: SessionState,
    logical: LogicalPlan,
    optimised: LogicalPlan,
    physical: Arc<dyn ExecutionPlan>,
    output: SchemaRef,
    source_columns: Vec<String>,
}

impl std::fmt::Debug for Planned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Planned")
            .field("optimised", &self.optimised)
            .field("output", &self.output)
            .finish_non_exhaustive()
    }
}

/// What the SQL made of a batch.
#[derive(Debug, Clone)]
pub struct Transformed {
    /// Output rows in the order of their source rows, with the columns of [`Transform::output_schema`].
    pub rows: Vec<RecordBatch>,
    /// For each output row the index of the source row that it came from; ascending, and the same one again where a
    /// lookup or `unnest` made several rows of one.
    pub source_rows: UInt64Array,
}

impl Transform {
    /// Parses, expands, plans and optimises the SQL over the source `source_name` with row and metadata columns
    /// `schema`. `None` as SQL means the row's own columns as they are.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] at a place in the pipeline's file.
    pub async fn plan(
        sql: Option<&Located<String>>,
        source_name: &str,
        schema: &SchemaRef,
        functions: &[Located<String>],
        lookups: Vec<Lookup>,
        rules: &[RuleSpec],
    ) -> Result<Self> {
        let script = match sql {
            Some(sql) => located(sql),
            None => Script::new(format!(
                "SELECT * FROM \"{}\"",
                source_name.replace('"', "\"\"")
            )),
        };
        let inputs = Inputs {
            script,
            source: source_name.to_owned(),
            schema: Arc::clone(schema),
            functions: functions.iter().map(located).collect(),
            rules: rules.to_vec(),
        };
        Self::build(inputs, lookups).await
    }

    async fn build(inputs: Inputs, lookups: Vec<Lookup>) -> Result<Self> {
        let session = inputs.session(lookups).await?;
        let plan = inputs.plan(session.state()).await?;
        let rules = Rules::plan(&plan.state, &inputs.rules, &plan.output, &inputs.schema)?;
        Ok(Self {
            inputs,
            plan,
            rules,
        })
    }

    /// The columns that the SQL returns, as the plan that runs has them.
    pub fn output_schema(&self) -> &SchemaRef {
        &self.plan.output
    }

    /// The columns that the decoder must deliver, in the order of the source's schema: those that the optimised SQL
    /// reads and those that rules read beside it.
    pub fn source_columns(&self) -> Vec<String> {
        let wanted = |name: &String| {
            self.plan.source_columns.contains(name) || self.rules.source_columns().contains(name)
        };
        let fields = self.inputs.schema.fields().iter();
        fields.map(|f| f.name().clone()).filter(wanted).collect()
    }

    /// Where the SQL starts in the pipeline's file.
    pub fn place(&self) -> String {
        self.inputs.script.start()
    }

    /// The rules, planned over this transform's output.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Which source columns the output is made of.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] for a query whose columns cannot be followed.
    pub fn lineage(&self) -> Result<Lineage> {
        sql::plan::lineage(&self.plan.logical, &self.inputs.script)
    }

    /// The optimised query and the plan that runs, for a person.
    pub fn explain(&self, verbose: bool) -> String {
        let physical = displayable(self.plan.physical.as_ref());
        format!(
            "logical plan\n{}\n\nphysical plan\n{}",
            self.plan.optimised.display_indent(),
            physical.indent(verbose).to_string().trim_end()
        )
    }

    /// Runs the SQL over one batch, which has at least the columns of [`Transform::source_columns`].
    ///
    /// # Errors
    /// [`ErrorKind::Policy`] if an expression cannot be computed for a row.
    pub async fn run(&self, rows: &RecordBatch) -> Result<Transformed> {
        let script = &self.inputs.script;
        let failed = |e: DataFusionError| run_error(e, script);
        let slots = Slots::default();
        slots.put_rows(self.inputs.source.clone(), rows.clone());
        let state = &self.plan.state;
        let config = state.config().clone().with_extension(Arc::new(slots));
        let task = TaskContext::from(state).with_session_config(config);
        let plan = reset_plan_states(Arc::clone(&self.plan.physical)).map_err(failed)?;
        let batches = collect(plan, Arc::new(task)).await.map_err(failed)?;
        order::in_source_order(batches, &self.plan.output)
    }

    /// Plans again over lookups that were read again.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the SQL does not fit them any more, or returns other columns; the old plan stays.
    pub async fn refresh_lookups(&mut self, lookups: Vec<Lookup>) -> Result<()> {
        let fresh = Self::build(self.inputs.clone(), lookups).await?;
        if fresh.plan.output != self.plan.output {
            return Err(Error::config(
                "the SQL returns other columns since a lookup was read again",
            )
            .at(self.inputs.script.start())
            .expected(describe(&self.plan.output))
            .remedy("restore the lookup's columns, or restart the pipeline"));
        }
        *self = fresh;
        Ok(())
    }
}

impl Inputs {
    /// A session with the slot, the lookups and the functions.
    async fn session(&self, lookups: Vec<Lookup>) -> Result<SessionContext> {
        let session = session(Role::Pipeline);
        let slot = SlotTable::new(self.source.clone(), &self.schema);
        register(&session, &self.source, Arc::new(slot))?;
        for (name, provider) in lookups {
            if name == self.source {
                return Err(Error::config(format!(
                    "the lookup `{name}` has the name of the source"
                ))
                .remedy("give one of them another name"));
            }
            register(&session, &name, provider)?;
        }
        for function in &self.functions {
            sql::function::define(&session, function).await?;
        }
        Ok(session)
    }

    async fn plan(&self, state: SessionState) -> Result<Planned> {
        let script = &self.script;
        let metadata = metadata_names(&self.schema);
        let logical = sql::plan::logical(&state, script, &self.source, &metadata).await?;
        let carried = sql::plan::carry(&logical, &self.source, script)?;
        let (optimised, physical) = sql::plan::physical(&state, script, &carried).await?;
        let output = output_schema(&physical.schema(), script)?;
        let mut source_columns = Vec::new();
        columns_read(&physical, &mut source_columns);
        Ok(Planned {
            state,
            logical,
            optimised,
            physical,
            output,
            source_columns,
        })
    }
}

fn located(text: &Located<String>) -> Script {
    Script::located(text.value.clone(), &text.at, text.first_line)
}

fn register(session: &SessionContext, name: &str, provider: Arc<dyn TableProvider>) -> Result<()> {
    let before = session
        .register_table(TableReference::bare(name), provider)
        .map_err(|e| Error::config(format!("the table `{name}` cannot be registered")).source(e))?;
    match before {
        None => Ok(()),
        Some(_) => Err(Error::config(format!("two tables are called `{name}`"))
            .remedy("give one of them another name")),
    }
}

/// The plan's columns without the hidden one.
fn output_schema(physical: &Schema, script: &Script) -> Result<SchemaRef> {
    let fields: Vec<_> = physical
        .fields()
        .iter()
        .filter(|field| field.name() != ROW)
        .map(|field| Arc::new(field.as_ref().clone().with_metadata(Default::default())))
        .collect();
    if fields.len() + 1 != physical.fields().len() {
        return Err(Error::internal(format!("the plan lost the column `{ROW}`")));
    }
    for (i, field) in fields.iter().enumerate() {
        if fields
            .iter()
            .skip(i + 1)
            .any(|other| other.name() == field.name())
        {
            let error =
                Error::config(format!("two output columns are called `{}`", field.name())).remedy(
                    format!("rename one of them, as in `… AS other_{}`", field.name()),
                );
            return Err(script.locate(error, field.name()));
        }
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// The columns that the scans of the source read.
fn columns_read(plan: &Arc<dyn ExecutionPlan>, columns: &mut Vec<String>) {
    if plan.as_any().is::<SourceExec>() {
        for field in plan.schema().fields() {
            if field.name() != ROW && !columns.contains(field.name()) {
                columns.push(field.name().clone());
            }
        }
    }
    for child in plan.children() {
        columns_read(child, columns);
    }
}

fn describe(schema: &Schema) -> String {
    let fields = schema.fields().iter();
    let columns: Vec<String> = fields
        .map(|field| format!("{} {}", field.name(), field.data_type()))
        .collect();
    columns.join(", ")
}

/// An error of a running query: the data is to blame, not the plan.
pub(crate) fn run_error(error: DataFusionError, script: &Script) -> Error {
    const SHOWN: usize = 160;
    if let DataFusionError::Internal(_) = error.find_root() {
        return Error::internal("the SQL engine broke while it ran the plan").source(error);
    }
    let error = script.error(error);
    if matches!(error.kind(), ErrorKind::Config) {
        let shown: String = error.message().chars().take(SHOWN).collect();
        return Error::new(ErrorKind::Policy, format!("the SQL failed on a row: {shown}"))
            .at(script.start())
            .remedy("make the expression total, as with TRY_CAST and NULLIF, or filter such rows with WHERE");
    }
    error
}
