//! To be written: see the crate's comment.
