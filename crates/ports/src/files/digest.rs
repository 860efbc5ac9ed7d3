//! The digest of a file that was written in parts, as object stores compute it.

use md5::{Digest as _, Md5};

/// `hex(md5(md5 of part 1 ‖ md5 of part 2 ‖ …))-N`: what S3 and its relatives report for an upload of N parts, and what
/// [`super::FileTarget::stored_digest`] answers when it is given a part size.
pub fn part_digest(part_md5s: &[[u8; 16]]) -> String {
    let mut whole = Md5::new();
    for part in part_md5s {
        whole.update(part);
    }
    format!("{}-{}", hex::encode(whole.finalize()), part_md5s.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The well-known value for one part of zero bytes: md5(md5("")).
    #[test]
    fn one_empty_part() {
        let empty: [u8; 16] = Md5::digest(b"").into();
        assert_eq!(part_digest(&[empty]), "59adb24ef3cdbe0297f05b395827453f-1");
    }
}
