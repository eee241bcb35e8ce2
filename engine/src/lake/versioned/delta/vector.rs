//! Deletion vectors: the rows of a data file that are deleted, by their numbers.
//!
//! <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#deletion-vector-format>

use std::ops::Range;

use deltalake::kernel::{DeletionVectorDescriptor, StorageType};
use roaring::RoaringTreemap;
use sql::{Error, ErrorKind, Result};
use uuid::Uuid;

use super::place::Place;

/// The portable serialization of a 64-bit bitmap.
const PORTABLE: u32 = 1_681_511_377;
/// Characters of a UUID in base 85.
const UUID_TEXT: usize = 20;

/// Reads a deletion vector: one request, of its bytes alone.
pub(super) async fn read(
    place: &Place,
    vector: &DeletionVectorDescriptor,
) -> Result<RoaringTreemap> {
    let size = usize::try_from(vector.size_in_bytes).map_err(|_| broken(place, "its size"))?;
    let rows = match vector.storage_type {
        StorageType::Inline => {
            let bytes = z85(&vector.path_or_inline_dv).ok_or_else(|| broken(place, "its text"))?;
            parse(&bytes)
        }
        StorageType::UuidRelativePath => {
            let path =
                relative(&vector.path_or_inline_dv).ok_or_else(|| broken(place, "its name"))?;
            parse_framed(&place.bytes(&path, range(vector, size)).await?, size)
        }
        StorageType::AbsolutePath => {
            let path = &vector.path_or_inline_dv;
            parse_framed(&place.bytes(path, range(vector, size)).await?, size)
        }
    };
    let rows = rows.map_err(|what| broken(place, what))?;
    if i64::try_from(rows.len()).ok() != Some(vector.cardinality) {
        return Err(broken(place, "its number of rows"));
    }
    Ok(rows)
}

/// In a file, the size comes before the data, and a checksum after it.
fn range(vector: &DeletionVectorDescriptor, size: usize) -> Range<u64> {
    // The first byte of the file is its version.
    let start = vector.offset.map_or(1, |at| u64::try_from(at).unwrap_or(1));
    start..start + 4 + size as u64
}

fn parse_framed(bytes: &[u8], size: usize) -> Result<RoaringTreemap, &'static str> {
    let (stated, data) = bytes.split_first_chunk::<4>().ok_or("its length")?;
    if usize::try_from(u32::from_be_bytes(*stated)) != Ok(size) || data.len() < size {
        return Err("its length");
    }
    parse(data)
}

fn parse(bytes: &[u8]) -> Result<RoaringTreemap, &'static str> {
    let (magic, bitmap) = bytes.split_first_chunk::<4>().ok_or("its length")?;
    if u32::from_le_bytes(*magic) != PORTABLE {
        return Err("its format");
    }
    RoaringTreemap::deserialize_from(bitmap).map_err(|_| "its bitmap")
}

/// The path of a file that is named by a UUID: `<folder>/deletion_vector_<uuid>.bin`.
fn relative(text: &str) -> Option<String> {
    let (folder, uuid) = text.split_at_checked(text.len().checked_sub(UUID_TEXT)?)?;
    let uuid = Uuid::from_slice(&z85(uuid)?).ok()?;
    let file = format!("deletion_vector_{uuid}.bin");
    Some(match folder {
        "" => file,
        folder => format!("{folder}/{file}"),
    })
}

/// Text in base 85, as ZeroMQ spells it.
fn z85(text: &str) -> Option<Vec<u8>> {
    const DIGITS: &[u8; 85] =
        b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
    let mut bytes = Vec::with_capacity(text.len() / 5 * 4);
    let (groups, []) = text.as_bytes().as_chunks::<5>() else {
        return None;
    };
    for group in groups {
        let mut number = 0_u64;
        for byte in group {
            let digit = DIGITS.iter().position(|digit| digit == byte)?;
            number = number * 85 + digit as u64;
        }
        bytes.extend(u32::try_from(number).ok()?.to_be_bytes());
    }
    Some(bytes)
}

fn broken(place: &Place, what: &str) -> Error {
    Error::new(
        ErrorKind::Config,
        format!("a deletion vector of the Delta table cannot be read: {what} is wrong"),
    )
    .at(place.table())
    .remedy("Restore the file, or restore the table to a version before it.")
}
