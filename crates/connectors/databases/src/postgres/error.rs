//! From the server's words to ours: SQLSTATE and connection failures as [`ErrorKind`] with advice.

use ports::{ConnectorError, ErrorKind};
use std::error::Error as _;
use std::io;

/// What we tried and on what; makes the error when it failed.
#[derive(Clone, Copy)]
pub struct Tried<'a> {
    pub operation: &'a str,
    pub subject: &'a str,
}

pub fn tried<'a>(operation: &'a str, subject: &'a str) -> Tried<'a> {
    Tried { operation, subject }
}

impl Tried<'_> {
    /// For `map_err`.
    pub fn failed(self, error: tokio_postgres::Error) -> ConnectorError {
        let (kind, reason) = match error.as_db_error() {
            Some(db) => (kind_of_state(db.code().code()), reason_of(db)),
            None => without_state(&error),
        };
        ConnectorError::new(kind, self.operation, self.subject, reason).advice(advice_for(kind)).because(error)
    }

    pub fn error(self, kind: ErrorKind, reason: impl Into<String>) -> ConnectorError {
        ConnectorError::new(kind, self.operation, self.subject, reason)
    }
}

fn reason_of(db: &tokio_postgres::error::DbError) -> String {
    let mut text = db.message().to_owned();
    // The context of a COPY says which line and column, and then shows the value: that is nobody's business here.
    let place = db.where_().map(|w| w.split(": \"").next().unwrap_or_default());
    for more in [db.detail(), db.hint(), place].into_iter().flatten() {
        text.push_str(" (");
        text.push_str(more.lines().next().unwrap_or_default());
        text.push(')');
    }
    format!("{text} [SQLSTATE {}]", db.code().code())
}

/// The meaning of a SQLSTATE for the one who asked.
fn kind_of_state(state: &str) -> ErrorKind {
    match state {
        "28P01" | "28000" => ErrorKind::Authentication,
        "3D000" | "42P01" | "42703" | "42883" | "42704" | "3F000" => ErrorKind::NotFound,
        "42501" => ErrorKind::Permission,
        "53100" => ErrorKind::NoSpace,
        "53000" | "53200" | "53300" | "53400" | "55P03" | "40001" | "40P01" => ErrorKind::Throttled,
        "42P04" | "42P06" | "42P07" | "42710" | "42723" => ErrorKind::AlreadyExists,
        "0A000" | "58P01" => ErrorKind::Unsupported,
        "XX001" | "XX002" => ErrorKind::Corrupt,
        "42602" | "42622" => ErrorKind::Name,
        s if s.starts_with("08") || s.starts_with("57") => ErrorKind::Interrupted,
        "58030" => ErrorKind::Interrupted,
        s if s.starts_with("XX") => ErrorKind::Protocol,
        _ => ErrorKind::Invalid,
    }
}

fn without_state(error: &tokio_postgres::Error) -> (ErrorKind, String) {
    let cause = error.source();
    let words = cause.map_or_else(|| error.to_string(), |c| c.to_string());
    if let Some(io) = cause.and_then(|c| c.downcast_ref::<io::Error>()) {
        let certificate = io.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
        if let Some(rustls::Error::InvalidCertificate(why)) = certificate {
            return (ErrorKind::HostKey, format!("the server's certificate is not accepted: {why}"));
        }
        return (kind_of_io(io), words);
    }
    let all = format!("{error}: {words}");
    if error.is_closed() {
        (ErrorKind::Interrupted, "the connection was closed".to_owned())
    } else if all.contains("does not support TLS") {
        (ErrorKind::Unsupported, "the server offers no TLS, and 'tls' asks for it".to_owned())
    } else if all.contains("password missing") {
        (ErrorKind::Authentication, "the server wants a password and none was given".to_owned())
    } else if all.contains("authentication") {
        (ErrorKind::Authentication, words)
    } else if all.contains("timed out") || all.contains("timeout") {
        (ErrorKind::TimedOut, words)
    } else if all.contains("connecting") || all.contains("resolve") {
        (ErrorKind::Unreachable, words)
    } else {
        (ErrorKind::Protocol, all)
    }
}

fn kind_of_io(io: &io::Error) -> ErrorKind {
    match io.kind() {
        io::ErrorKind::TimedOut => ErrorKind::TimedOut,
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionAborted => ErrorKind::Interrupted,
        io::ErrorKind::InvalidData => ErrorKind::Protocol,
        _ => ErrorKind::Unreachable,
    }
}

fn advice_for(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Unreachable | ErrorKind::TimedOut => "Check host and port, that the server runs, and that firewalls let us through",
        ErrorKind::Authentication => "Check user name and password, and the server's pg_hba.conf",
        ErrorKind::HostKey => "Give the certificate authority in 'ca', or check that the host name is the certificate's",
        ErrorKind::Permission => "Grant the missing right to this user, or use the owner of the objects",
        ErrorKind::NoSpace => "Free disk space at the server, then resume",
        ErrorKind::Throttled => "Trying again later helps; the server is busy or out of connections or memory",
        ErrorKind::Interrupted => "Trying again helps once the server is back",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_the_meaning_that_callers_act_on() {
        let table = [
            ("28P01", ErrorKind::Authentication),
            ("3D000", ErrorKind::NotFound),
            ("42501", ErrorKind::Permission),
            ("53100", ErrorKind::NoSpace),
            ("53300", ErrorKind::Throttled),
            ("57P01", ErrorKind::Interrupted),
            ("08006", ErrorKind::Interrupted),
            ("23505", ErrorKind::Invalid),
        ];
        for (state, kind) in table {
            assert_eq!(kind_of_state(state), kind, "{state}");
        }
    }
}
