//! The conformance suite of the file doors, called for every connector against real servers, and what is peculiar to each.

mod local;
mod s3;
mod sftp;
mod suite;
mod whole;
