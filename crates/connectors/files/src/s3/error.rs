//! From an SDK error to a letter.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use ports::{ConnectorError, ErrorKind, Result};
use std::error::Error;
use std::future::Future;
use std::time::Duration;

/// Runs one call with a time limit and tells its error as a letter. `payload` is the number of bytes that travel with it.
pub(super) async fn call<T, E>(operation: &str, subject: &str, payload: u64, work: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>) -> Result<T>
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    // A minute, and time for a line of 64 KiB per second.
    let limit = Duration::from_secs(60 + payload / (64 << 10));
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(e)) => Err(tell(operation, subject, e)),
        Err(_) => Err(ConnectorError::new(ErrorKind::TimedOut, operation, subject, format!("the store gave no answer within {} s", limit.as_secs()))
            .advice("Check the network; the call is tried again")),
    }
}

/// The letter for any SDK error.
pub(super) fn tell<E>(operation: &str, subject: &str, error: SdkError<E, HttpResponse>) -> ConnectorError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let (kind, reason, advice) = match &error {
        SdkError::ServiceError(e) => {
            let meta = e.err().meta();
            by_code(meta.code().unwrap_or_default(), meta.message().unwrap_or_default(), e.raw().status().as_u16())
        }
        SdkError::TimeoutError(_) => (ErrorKind::TimedOut, "the store did not answer in time".to_owned(), "Check the endpoint and the network"),
        SdkError::DispatchFailure(e) if e.is_timeout() => (ErrorKind::TimedOut, "no connection within 9 s".to_owned(), "Check the endpoint and the firewall"),
        SdkError::DispatchFailure(_) => by_chain(&error),
        SdkError::ResponseError(e) => {
            let (kind, reason, advice) = by_chain(&error);
            let status = e.raw().status().as_u16();
            if kind == ErrorKind::Unreachable {
                (ErrorKind::Protocol, format!("its answer (status {status}) could not be understood"), "Check that the endpoint is an S3 interface")
            } else {
                (kind, reason, advice)
            }
        }
        SdkError::ConstructionFailure(_) => (ErrorKind::Name, "no request can be built for this name".to_owned(), "Rename it, or leave it out"),
        _ => (ErrorKind::Internal, "the request could not be built".to_owned(), ""),
    };
    ConnectorError::new(kind, operation, subject, reason).advice(advice).because(error)
}

/// The code of the store's answer; empty for HEAD, which has no body.
pub(super) fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> (String, u16) {
    match error {
        SdkError::ServiceError(e) => (e.err().meta().code().unwrap_or_default().to_owned(), e.raw().status().as_u16()),
        _ => (String::new(), 0),
    }
}

fn by_code(code: &str, message: &str, status: u16) -> (ErrorKind, String, &'static str) {
    let says = |kind, text: &str, advice| (kind, if message.is_empty() { text.to_owned() } else { format!("{text} ({message})") }, advice);
    match code {
        "NoSuchBucket" => says(ErrorKind::NotFound, "the bucket does not exist", "Check the bucket's name and region"),
        "NoSuchKey" | "NotFound" => says(ErrorKind::NotFound, "it does not exist", ""),
        "NoSuchUpload" => says(ErrorKind::NotFound, "the upload is gone", "The file is sent again from its beginning"),
        "InvalidAccessKeyId" => says(ErrorKind::Authentication, "the access key is unknown", "Check access_key_id"),
        "SignatureDoesNotMatch" => says(ErrorKind::Authentication, "the secret key is wrong", "Check secret_access_key"),
        "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => {
            says(ErrorKind::Authentication, "the session token is not valid any more", "Get fresh credentials")
        }
        "RequestTimeTooSkewed" => says(ErrorKind::Authentication, "the clocks of the worker and the store differ too much", "Set the worker's clock"),
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" => {
            says(ErrorKind::Permission, "access is denied", "Give the key the missing right in the bucket policy")
        }
        "BucketAlreadyExists" => {
            says(ErrorKind::AlreadyExists, "a bucket of that name belongs to somebody else", "Choose another name: bucket names are shared by all customers")
        }
        "PreconditionFailed" => says(ErrorKind::AlreadyExists, "something with that name is already there", ""),
        "ConditionalRequestConflict" => says(ErrorKind::Interrupted, "somebody else writes the same object at this moment", "It is tried again"),
        "BucketNotEmpty" => says(ErrorKind::AlreadyExists, "the bucket is not empty", "Move its content away first"),
        "InvalidBucketName" => says(ErrorKind::Name, "that is no possible bucket name", "Use 3 to 63 of a-z, 0-9, '-' and '.'"),
        "KeyTooLongError" => says(ErrorKind::Name, "the key is longer than 1024 bytes", "Rename the file at the source, or leave it out"),
        "QuotaExceeded" | "XMinioStorageFull" | "InsufficientStorage" => says(ErrorKind::NoSpace, "the store is full", "Free some space or raise the quota"),
        "BadDigest" | "InvalidDigest" | "XAmzContentSHA256Mismatch" | "IncompleteBody" => {
            says(ErrorKind::Interrupted, "what arrived is not what was sent", "It is sent again")
        }
        "SlowDown" | "ThrottlingException" | "Throttling" | "RequestLimitExceeded" | "TooManyRequests" => {
            says(ErrorKind::Throttled, "the store asks us to slow down", "")
        }
        "RequestTimeout" => says(ErrorKind::TimedOut, "the store waited too long for our data", ""),
        "NotImplemented" | "MethodNotAllowed" => says(ErrorKind::Unsupported, "the store cannot do this", ""),
        "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" => {
            says(ErrorKind::Invalid, "the bucket is in another region", "Correct region")
        }
        _ => by_status(code, message, status),
    }
}

fn by_status(code: &str, message: &str, status: u16) -> (ErrorKind, String, &'static str) {
    let text = [code, message].into_iter().filter(|t| !t.is_empty()).collect::<Vec<_>>().join(": ");
    let reason = if text.is_empty() { format!("the store answered with status {status}") } else { format!("the store answered with status {status}, {text}") };
    match status {
        301 | 307 => (ErrorKind::Invalid, "the bucket is in another region".to_owned(), "Correct region or endpoint"),
        401 => (ErrorKind::Authentication, reason, "Check the access key"),
        403 => (ErrorKind::Permission, reason, "Check the access key and its rights"),
        404 => (ErrorKind::NotFound, "it does not exist".to_owned(), ""),
        408 => (ErrorKind::TimedOut, reason, ""),
        409 | 412 => (ErrorKind::AlreadyExists, reason, ""),
        429 | 503 => (ErrorKind::Throttled, reason, ""),
        405 | 501 => (ErrorKind::Unsupported, reason, ""),
        507 => (ErrorKind::NoSpace, reason, "Free some space or raise the quota"),
        500.. => (ErrorKind::Interrupted, reason, "It is tried again"),
        _ => (ErrorKind::Invalid, reason, ""),
    }
}

/// No answer of the store: the words of the deepest cause decide.
fn by_chain(error: &(dyn Error + 'static)) -> (ErrorKind, String, &'static str) {
    let mut words = String::new();
    let mut broken = false;
    let mut next = Some(error);
    while let Some(e) = next {
        words = e.to_string();
        if let Some(io) = e.downcast_ref::<std::io::Error>() {
            use std::io::ErrorKind as K;
            broken |= matches!(io.kind(), K::ConnectionReset | K::BrokenPipe | K::UnexpectedEof | K::ConnectionAborted);
        }
        next = e.source();
    }
    let lower = words.to_lowercase();
    if lower.contains("certificate") {
        (
            ErrorKind::HostKey,
            format!("its TLS certificate is not trusted: {words}"),
            "Install the authority's certificate on the worker, or correct the endpoint",
        )
    } else if broken || ["connection closed", "incomplete", "reset", "broken pipe", "end of file", "canceled"].iter().any(|w| lower.contains(w)) {
        (ErrorKind::Interrupted, "the connection broke in the middle".to_owned(), "It is tried again")
    } else {
        (ErrorKind::Unreachable, format!("nobody answers there: {words}"), "Check the endpoint, the network and the firewall")
    }
}
