//! Cells as bytes ([`RowFormat::SqliteCells`](ports::databases::RowFormat::SqliteCells)) and hashes of rows.

use rusqlite::Row;
use rusqlite::types::ValueRef;

/// Appends a cell.
pub fn encode(cell: ValueRef<'_>, out: &mut Vec<u8>) {
    let sized = |kind: u8, bytes: &[u8], out: &mut Vec<u8>| {
        out.push(kind);
        out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        out.extend_from_slice(bytes);
    };
    match cell {
        ValueRef::Null => out.push(0),
        ValueRef::Integer(n) => {
            out.push(1);
            out.extend_from_slice(&n.to_le_bytes());
        }
        ValueRef::Real(x) => {
            out.push(2);
            out.extend_from_slice(&x.to_le_bytes());
        }
        ValueRef::Text(t) => sized(3, t, out),
        ValueRef::Blob(b) => sized(4, b, out),
    }
}

/// Appends all cells of a row from column `first` on.
pub fn encode_row(row: &Row<'_>, first: usize, columns: usize, out: &mut Vec<u8>) -> rusqlite::Result<()> {
    for column in first..columns {
        encode(row.get_ref(column)?, out);
    }
    Ok(())
}

/// Takes a cell off the front; `None` when the bytes are no cell.
pub fn decode<'a>(bytes: &mut &'a [u8]) -> Option<ValueRef<'a>> {
    let (kind, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(match kind {
        0 => ValueRef::Null,
        1 => ValueRef::Integer(i64::from_le_bytes(take(bytes, 8)?.try_into().ok()?)),
        2 => ValueRef::Real(f64::from_le_bytes(take(bytes, 8)?.try_into().ok()?)),
        3 | 4 => {
            let length = u32::from_le_bytes(take(bytes, 4)?.try_into().ok()?) as usize;
            let data = take(bytes, length)?;
            if *kind == 3 { ValueRef::Text(data) } else { ValueRef::Blob(data) }
        }
        _ => return None,
    })
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(head)
}

/// The hash of one encoded row.
pub fn hash(row: &[u8]) -> u128 {
    let digest = blake3::hash(row);
    let (head, _) = digest.as_bytes().split_at(16);
    head.iter().fold(0, |sum, byte| sum << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_come_back_as_they_were() {
        let cells = [
            ValueRef::Null,
            ValueRef::Integer(i64::MIN),
            ValueRef::Real(-0.0),
            ValueRef::Text(b"a\0\xff"),
            ValueRef::Text(b""),
            ValueRef::Blob(b""),
            ValueRef::Blob(&[0, 255]),
        ];
        let mut bytes = Vec::new();
        for cell in &cells {
            encode(*cell, &mut bytes);
        }
        let mut rest = bytes.as_slice();
        for cell in cells {
            assert_eq!(decode(&mut rest), Some(cell));
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn damaged_bytes_are_refused() {
        assert_eq!(decode(&mut [3, 5, 0, 0, 0, b'x'].as_slice()), None);
        assert_eq!(decode(&mut [9].as_slice()), None);
    }
}
