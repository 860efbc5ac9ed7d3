//! Turning the driver's errors into letters: what kind of trouble it is, whether a retry helps, and what to do.

use mysql_async::{DriverError, Error, IoError};
use ports::{ConnectorError, ErrorKind};
use std::io;

/// The letter for an error of the driver or the server. `operation` and `subject` complete "could not … …".
pub(super) fn failure(operation: impl Into<String>, subject: impl Into<String>, error: Error) -> ConnectorError {
    let (kind, reason, advice) = match &error {
        Error::Server(e) => {
            let (kind, advice) = verdict(e.code);
            let kind = if e.message.contains("errno: 28") || e.message.contains("No space left") { ErrorKind::NoSpace } else { kind };
            (kind, format!("the server says: {} (error {})", e.message, e.code), advice)
        }
        Error::Io(IoError::Tls(e)) => {
            (ErrorKind::HostKey, format!("the encrypted connection could not be set up: {e}"), "Check the certificate of the server, 'ca', or the 'tls' mode")
        }
        Error::Io(IoError::Io(e)) => broken(e),
        Error::Driver(DriverError::ConnectionClosed) => (ErrorKind::Interrupted, "the server closed the connection".to_owned(), "Trying again usually helps"),
        Error::Driver(DriverError::NoClientSslFlagFromServer) => {
            (ErrorKind::Unsupported, "the server offers no encrypted connections".to_owned(), "Switch TLS on at the server, or use tls: prefer")
        }
        Error::Driver(DriverError::PacketTooLarge) => {
            (ErrorKind::Invalid, "a row is larger than the packets that the server allows".to_owned(), "Raise max_allowed_packet at the server")
        }
        // MySQL 9 answers like this also to a user that it does not know, so as not to tell who exists.
        Error::Driver(DriverError::UnknownAuthPlugin { name }) => (
            ErrorKind::Authentication,
            format!("the server asks for the log-in method '{name}', which this client does not speak"),
            "Check the user name first: some servers ask unknown users for a method that nobody has. Otherwise let the user log in with caching_sha2_password",
        ),
        Error::Driver(e) => (ErrorKind::Protocol, format!("the server answered something unexpected: {e}"), ""),
        Error::Other(e) => (ErrorKind::Protocol, e.to_string(), ""),
        Error::Url(e) => (ErrorKind::Invalid, e.to_string(), ""),
    };
    ConnectorError::new(kind, operation, subject, reason).advice(advice).because(error)
}

fn broken(error: &io::Error) -> (ErrorKind, String, &'static str) {
    if let Some(tls) = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
        return (
            ErrorKind::HostKey,
            format!("the encrypted connection could not be set up: {tls}"),
            "Check the server's certificate and 'ca', or choose another 'tls' mode",
        );
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            (ErrorKind::Unreachable, "nobody accepts connections there (refused)".to_owned(), "Check host and port, and that the server is running")
        }
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => {
            (ErrorKind::Unreachable, format!("the host cannot be reached: {error}"), "Check the address, the network and the firewalls")
        }
        io::ErrorKind::TimedOut => (ErrorKind::TimedOut, "the server did not answer in time".to_owned(), "Check the network and the firewalls"),
        _ if error.to_string().contains("lookup address") || error.to_string().contains("resolve") => {
            (ErrorKind::Unreachable, format!("the host name is unknown: {error}"), "Check the spelling of the host")
        }
        _ => (ErrorKind::Interrupted, format!("the connection broke: {error}"), "Trying again usually helps"),
    }
}

/// Kind and advice for a server error number (MySQL and MariaDB share them).
fn verdict(code: u16) -> (ErrorKind, &'static str) {
    match code {
        1045 | 1698 | 1524 | 1862 | 1820 | 3118 => (ErrorKind::Authentication, "Check user name and password, and that the user may connect from this host"),
        1044 | 1142 | 1143 | 1227 | 1370 | 1410 | 3878 => (ErrorKind::Permission, "Grant the missing privilege to this user"),
        1418 | 1419 => (ErrorKind::Permission, "Ask an administrator of the server to set log_bin_trust_function_creators = 1"),
        1290 | 1792 | 1836 => (ErrorKind::Permission, "The server is read-only: use a server that may be written"),
        3159 => (ErrorKind::Permission, "This server wants encrypted connections: use tls: require"),
        1130 | 1129 => (ErrorKind::Permission, "The server does not accept connections from this host: allow it there"),
        1049 => (ErrorKind::NotFound, "Check the name of the database"),
        1051 | 1109 | 1146 | 1305 | 1360 | 1091 => (ErrorKind::NotFound, ""),
        1007 | 1050 | 1061 | 1062 | 1304 | 1359 | 1537 | 1826 => (ErrorKind::AlreadyExists, ""),
        1021 | 1114 => (ErrorKind::NoSpace, "Make room at the server"),
        1040 | 1203 | 1226 => (ErrorKind::Throttled, "The server has no free connections: use fewer in parallel, or try again later"),
        1205 | 1213 | 1614 => (ErrorKind::Throttled, "Other work at the server is in the way: trying again helps"),
        1053 | 1077 | 1079 | 1152 | 1158..=1161 | 1317 | 1927 => (ErrorKind::Interrupted, "Trying again usually helps"),
        1028 | 1969 | 3024 => (ErrorKind::TimedOut, "The server ended the statement: raise its time limit for statements"),
        1412 | 1054 => (ErrorKind::Changed, "The table was altered meanwhile: try again"),
        1153 | 1301 => (ErrorKind::Invalid, "Raise max_allowed_packet at the server"),
        1059 | 1102 | 1103 | 1166 => (ErrorKind::Name, ""),
        1115 | 1193 | 1235 | 1272 | 1273 | 1286 | 1289 | 3750 => (ErrorKind::Unsupported, ""),
        _ => (ErrorKind::Invalid, ""),
    }
}

/// The server's own words, when it was the server that refused.
pub(super) fn server_words(error: &Error) -> Option<(u16, String)> {
    if let Error::Server(e) = error { Some((e.code, e.message.clone())) } else { None }
}

/// Whether the server refused the statement itself: another try will not help, and nothing is wrong with the connection, the
/// rights or the disk. Such an object is named in the report instead of stopping the migration.
pub(super) fn refuses_definition(error: &Error) -> bool {
    match error {
        Error::Server(e) => {
            matches!(verdict(e.code).0, ErrorKind::Invalid | ErrorKind::Unsupported | ErrorKind::NotFound | ErrorKind::Name)
                || matches!(e.code, 1418 | 1419 | 1054)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: u16, message: &str) -> ConnectorError {
        failure("read", "shop", Error::Server(mysql_async::ServerError { code, message: message.to_owned(), state: "HY000".to_owned() }))
    }

    #[test]
    fn error_numbers_become_kinds() {
        for (code, kind) in [
            (1045, ErrorKind::Authentication),
            (1049, ErrorKind::NotFound),
            (1142, ErrorKind::Permission),
            (1114, ErrorKind::NoSpace),
            (1213, ErrorKind::Throttled),
            (1053, ErrorKind::Interrupted),
            (1064, ErrorKind::Invalid),
        ] {
            assert_eq!(server(code, "x").kind, kind, "{code}");
        }
        assert_eq!(server(1030, "Got error 28 \"No space left on device\" from storage engine").kind, ErrorKind::NoSpace);
        assert!(server(1205, "x").temporary);
        let refused = failure("connect to", "h", io::Error::from(io::ErrorKind::ConnectionRefused).into());
        assert_eq!(refused.kind, ErrorKind::Unreachable);
    }
}
