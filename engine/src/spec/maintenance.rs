//! The `maintenance:` block.

use sql::Result;

use super::block::Block;
use super::field::Field;
use super::model::MaintenanceSpec;

/// Reads the block.
pub(super) fn read(root: &mut Block<'_>) -> Result<MaintenanceSpec> {
    let mut block = root.block("maintenance")?;
    let known = [
        "enabled",
        "every",
        "retention",
        "target_file_size",
        "max_rewrite",
        "min_files",
        "max_deleted",
    ];
    block.only(&known, &[])?;
    let spec = MaintenanceSpec {
        enabled: block.value("enabled", "true", Field::boolean)?,
        every: block.value("every", "5m", Field::duration)?,
        retention: block.value("retention", "7d", Field::duration)?,
        target_file_size: block.value("target_file_size", "128MiB", bytes)?,
        max_rewrite: block.value("max_rewrite", "512MiB", bytes)?,
        min_files: block.value("min_files", "10", several)?,
        max_deleted: block.value("max_deleted", "0.2", Field::share)?,
    };
    root.close("maintenance", block);
    Ok(spec)
}

fn bytes(field: &Field<'_>) -> Result<u64> {
    Ok(field.size()? as u64)
}

/// One file cannot be compacted.
fn several(field: &Field<'_>) -> Result<usize> {
    match field.count()? {
        1 => Err(field.wrong_type("2 or more files").remedy(
            "write `2` or more; to compact nothing, write `maintenance: { enabled: false }`",
        )),
        count => Ok(count),
    }
}
