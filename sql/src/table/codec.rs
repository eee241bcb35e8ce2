//! [`SourceExec`] and [`ChangesExec`] as bytes and back.
//!
//! Layout: one version byte, the length of the description (4 bytes, little endian), the description as JSON, the
//! full schema as an Arrow IPC stream without batches. Functions travel by name: the reading session has them.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use datafusion::common::{Result as DfResult, exec_err, not_impl_err};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use serde::{Deserialize, Serialize};

use super::changes::{ChangesExec, Range};
use super::exec::{Ends, SourceExec};

const VERSION: u8 = 1;
const HEADER: usize = 5;

/// What the bytes of a node say beside its schema. No two nodes have the same fields.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Description {
    Source(SourceNode),
    Changes(ChangesNode),
}

impl Description {
    fn projection(&self) -> Option<&[usize]> {
        match self {
            Self::Source(node) => node.projection.as_deref(),
            Self::Changes(node) => node.projection.as_deref(),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangesNode {
    table: String,
    projection: Option<Vec<usize>>,
    versions: Range,
    change_types: Option<Vec<String>>,
    fetch: Option<usize>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceNode {
    name: String,
    projection: Option<Vec<usize>>,
    ends: Ends,
    topics: Vec<String>,
    fetch: Option<usize>,
}

/// Encodes and decodes the plan nodes of this crate.
#[derive(Debug, Clone, Copy, Default)]
pub struct SourceCodec;

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

impl PhysicalExtensionCodec for SourceCodec {
    fn try_decode(
        &self,
        buf: &[u8],
        _inputs: &[Arc<dyn ExecutionPlan>],
        _ctx: &TaskContext,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let [VERSION, a, b, c, d, rest @ ..] = buf else {
            return exec_err!(
                "these bytes are no plan node of version {VERSION}: all processes of a query must run one version of the engine"
            );
        };
        let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
        let Some((json, ipc)) = rest.split_at_checked(length) else {
            return exec_err!("the bytes of a plan node end too early");
        };
        let node: Description = serde_json::from_slice(json).map_err(broken)?;
        let schema = StreamReader::try_new(ipc, None)?.schema();
        if (node.projection().into_iter().flatten()).any(|i| *i >= schema.fields().len()) {
            return exec_err!("a plan node projects a column that it does not have");
        }
        Ok(match node {
            Description::Source(node) => {
                let exec = SourceExec::try_new(
                    node.name,
                    &schema,
                    node.projection,
                    node.ends,
                    node.topics,
                )?;
                Arc::new(exec.limited(node.fetch))
            }
            Description::Changes(node) => {
                let exec = ChangesExec::try_new(
                    node.table,
                    &schema,
                    node.projection,
                    node.versions,
                    node.change_types,
                )?;
                Arc::new(exec.limited(node.fetch))
            }
        })
    }

    fn try_encode(&self, node: Arc<dyn ExecutionPlan>, buf: &mut Vec<u8>) -> DfResult<()> {
        let (description, schema) = describe(&node)?;
        let json = serde_json::to_vec(&description).map_err(broken)?;
        let length = u32::try_from(json.len()).map_err(broken)?;
        buf.reserve(HEADER + json.len());
        buf.push(VERSION);
        buf.extend_from_slice(&length.to_le_bytes());
        buf.extend_from_slice(&json);
        StreamWriter::try_new(&mut *buf, &schema)?.finish()?;
        Ok(())
    }
}

fn describe(node: &Arc<dyn ExecutionPlan>) -> DfResult<(Description, SchemaRef)> {
    if let Some(exec) = node.as_any().downcast_ref::<SourceExec>() {
        let description = Description::Source(SourceNode {
            name: exec.source().to_owned(),
            projection: exec.projection().map(<[usize]>::to_vec),
            ends: exec.ends(),
            topics: exec.topics().to_vec(),
            fetch: node.fetch(),
        });
        return Ok((description, Arc::clone(exec.full_schema())));
    }
    if let Some(exec) = node.as_any().downcast_ref::<ChangesExec>() {
        let description = Description::Changes(ChangesNode {
            table: exec.table().to_owned(),
            projection: exec.projection().map(<[usize]>::to_vec),
            versions: exec.range(),
            change_types: exec.change_types().map(<[String]>::to_vec),
            fetch: node.fetch(),
        });
        return Ok((description, Arc::clone(exec.full_schema())));
    }
    not_impl_err!("{} cannot be sent to another process", node.name())
}
