//! Deletion vectors: `deletion-vector-v1` blobs of Puffin files.
//!
//! | bytes | |
//! |---|---|
//! | 4, big endian | length of the next two |
//! | 4 | `D1 D3 39 64` |
//! | … | the rows as a 64-bit Roaring bitmap: how many 32-bit ones (8, little endian), then each behind its high half |
//! | 4, big endian | CRC-32 of the two before |

use std::sync::atomic::Ordering;

use roaring::RoaringTreemap;
use sql::{Error, Result};

use crate::lake::iceberg::iceberg_error;
use crate::lake::live::LakeReader;

const MAGIC: [u8; 4] = [0xD1, 0xD3, 0x39, 0x64];

/// The rows that the vector at these bytes of the file at `path` deletes.
///
/// # Errors
/// Of the storage; [`sql::ErrorKind::Config`] for bytes that are no such vector.
pub(super) async fn read(
    reader: &LakeReader,
    path: &str,
    offset: u64,
    length: u64,
) -> Result<RoaringTreemap> {
    let failed = |error| iceberg_error("read a deletion vector", path, error);
    let input = reader.file_io.new_input(path).map_err(failed)?;
    let input = input.reader().await.map_err(failed)?;
    let range = offset..offset.saturating_add(length);
    let bytes = input.read(range).await.map_err(failed)?;
    reader.read.fetch_add(length, Ordering::Relaxed);
    decode(&bytes).map_err(|why| {
        Error::config(format!("a deletion vector cannot be understood: {why}"))
            .at(path)
            .remedy("Restore the file from a copy, or restore the table to a version without it.")
    })
}

fn decode(bytes: &[u8]) -> Result<RoaringTreemap, String> {
    let cut = || "it is too short".to_owned();
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(cut)?;
    let length = u32::from_be_bytes(*length) as usize;
    let (body, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
    let (sum, rest) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
    if !rest.is_empty() {
        return Err("it is too long".to_owned());
    }
    if u32::from_be_bytes(*sum) != crc32(body) {
        return Err("its checksum is wrong".to_owned());
    }
    let (magic, bitmap) = body.split_first_chunk::<4>().ok_or_else(cut)?;
    if *magic != MAGIC {
        return Err("it is of an unknown version".to_owned());
    }
    RoaringTreemap::deserialize_from(bitmap).map_err(|error| error.to_string())
}

/// CRC-32 as gzip has it, bit by bit: vectors are small.
fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = if sum & 1 == 1 { 0xEDB8_8320 } else { 0 };
            sum = (sum >> 1) ^ carry;
        }
    }
    !sum
}
