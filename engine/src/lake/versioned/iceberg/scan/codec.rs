//! [`IcebergScanExec`] as bytes and back.
//!
//! Layout: one version byte, the length of the description (4 bytes, little endian), the description as JSON, the full schema as
//! an Arrow IPC stream without batches. Filters are in the description as `datafusion-proto` has them.

use std::sync::Arc;

use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use datafusion::common::{Result as DfResult, exec_err, not_impl_err};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::bytes::Serializeable as _;
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use serde::{Deserialize, Serialize};

use super::Snapshot;
use super::exec::{IcebergScanExec, Scan};
use super::pieces::Piece;

const VERSION: u8 = 1;
const HEADER: usize = 5;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    snapshot: Snapshot,
    projection: Option<Vec<usize>>,
    filters: Vec<Vec<u8>>,
    parts: Vec<Vec<Piece>>,
    files: usize,
    of_files: usize,
    delete_files: usize,
    rows: (usize, bool),
}

/// Encodes and decodes scans of Iceberg tables.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScanCodec;

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

impl PhysicalExtensionCodec for ScanCodec {
    fn try_decode(
        &self,
        buf: &[u8],
        _inputs: &[Arc<dyn ExecutionPlan>],
        ctx: &TaskContext,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let [VERSION, a, b, c, d, rest @ ..] = buf else {
            return exec_err!(
                "these bytes are no IcebergScanExec of version {VERSION}: all processes of a query must run one version of the engine"
            );
        };
        let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
        let Some((json, ipc)) = rest.split_at_checked(length) else {
            return exec_err!("the bytes of an IcebergScanExec end too early");
        };
        let node: Description = serde_json::from_slice(json).map_err(broken)?;
        let schema = StreamReader::try_new(ipc, None)?.schema();
        let filters = node.filters.iter();
        let filters = filters.map(|bytes| Expr::from_bytes_with_registry(bytes, ctx));
        let scan = Scan {
            snapshot: node.snapshot,
            projection: node.projection,
            filters: filters.collect::<DfResult<_>>()?,
            parts: node.parts,
            files: node.files,
            of_files: node.of_files,
            delete_files: node.delete_files,
            rows: node.rows,
        };
        let exec = IcebergScanExec::try_new(scan, &schema, Arc::default())?;
        Ok(Arc::new(exec))
    }

    fn try_encode(&self, node: Arc<dyn ExecutionPlan>, buf: &mut Vec<u8>) -> DfResult<()> {
        let Some(exec) = node.as_any().downcast_ref::<IcebergScanExec>() else {
            return not_impl_err!("{} cannot be sent to another process", node.name());
        };
        let scan = exec.scan().clone();
        let filters = scan.filters.iter();
        let filters = filters.map(|filter| Ok(filter.to_bytes()?.to_vec()));
        let json = serde_json::to_vec(&Description {
            filters: filters.collect::<DfResult<_>>()?,
            snapshot: scan.snapshot,
            projection: scan.projection,
            parts: scan.parts,
            files: scan.files,
            of_files: scan.of_files,
            delete_files: scan.delete_files,
            rows: scan.rows,
        })
        .map_err(broken)?;
        let length = u32::try_from(json.len()).map_err(broken)?;
        buf.reserve(HEADER + json.len());
        buf.push(VERSION);
        buf.extend_from_slice(&length.to_le_bytes());
        buf.extend_from_slice(&json);
        StreamWriter::try_new(&mut *buf, exec.full_schema())?.finish()?;
        Ok(())
    }
}
