//! From an address to an authenticated SSH connection with an SFTP channel, through jump servers if need be.

use super::hostkey::{Gate, Trust};
use super::login;
use super::session::{Fault, Session};
use domain::spec::SshAt;
use ports::{ConnectorError, ErrorKind, Result};
use russh::client::{self, Handle};
use russh::{Preferred, cipher};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::net::TcpStream;

/// A dead host is known as such after this time, log-in and jump servers included.
const CONNECT_LIMIT: Duration = Duration::from_secs(9);

/// Bytes taken from a connection by one call of the system.
const READ_AHEAD: usize = 256 << 10;

/// The connections that carry a session; they end when this is dropped.
pub(super) struct Connection {
    handles: Vec<Handle<Gate>>,
}

impl Connection {
    /// A new channel to the wanted server.
    pub(super) async fn channel(&self) -> std::result::Result<russh::Channel<client::Msg>, russh::Error> {
        match self.handles.last() {
            Some(last) => last.channel_open_session().await,
            None => Err(russh::Error::Disconnect),
        }
    }
}

pub(super) fn subject(at: &SshAt) -> String {
    format!("ssh://{}@{}:{}", login::user(&at.login), at.host, at.port)
}

/// A new session with `at`, within ten seconds or with a clear error.
pub(super) async fn session(at: &SshAt) -> Result<Session> {
    let subject = subject(at);
    match tokio::time::timeout(CONNECT_LIMIT, connect_and_start(at, &subject)).await {
        Ok(done) => done,
        Err(_) => Err(ConnectorError::new(ErrorKind::TimedOut, "connect to", subject, "no answer within 9 s").advice("Check host, port and firewall")),
    }
}

async fn connect_and_start(at: &SshAt, subject: &str) -> Result<Session> {
    let handles = connect(at).await?;
    let told = |e: russh::Error| broken("start SFTP on", subject, e);
    let last = handles.last().ok_or_else(|| ConnectorError::new(ErrorKind::Internal, "connect to", subject, "there is no connection"))?;
    let channel = last.channel_open_session().await.map_err(told)?;
    channel.request_subsystem(true, "sftp").await.map_err(told)?;
    Session::start(Connection { handles }, channel).await.map_err(|fault| match fault {
        Fault::Lost => fault.tell("start SFTP on", subject),
        Fault::Odd | Fault::Status { .. } | Fault::Refused(_) => {
            ConnectorError::new(ErrorKind::Unsupported, "start SFTP on", subject, "the server lets the user in but offers no SFTP")
                .advice("Switch on the SFTP subsystem in its sshd_config")
        }
    })
}

/// The chain of connections, the wanted server last.
async fn connect(at: &SshAt) -> Result<Vec<Handle<Gate>>> {
    let subject = subject(at);
    let Some(jump) = &at.jump else {
        let socket = TcpStream::connect((at.host.as_str(), at.port)).await.map_err(|e| unreachable(&subject, e))?;
        // Without it every small request waits for the answer to the one before.
        let _ = socket.set_nodelay(true);
        return Ok(vec![handshake(at, socket, &subject).await?]);
    };
    let mut handles = Box::pin(connect(jump)).await?;
    let through = handles.last().ok_or_else(|| ConnectorError::new(ErrorKind::Internal, "connect to", &subject, "there is no connection"))?;
    let channel = through.channel_open_direct_tcpip(at.host.as_str(), u32::from(at.port), "127.0.0.1", 0).await.map_err(|e| {
        ConnectorError::new(ErrorKind::Unreachable, "connect to", &subject, format!("the jump server {} cannot reach it", jump.host))
            .advice("Check host and port as seen from the jump server, and that it allows TCP forwarding")
            .because(e)
    })?;
    handles.push(handshake(at, channel.into_stream(), &subject).await?);
    Ok(handles)
}

async fn handshake<S>(at: &SshAt, stream: S, subject: &str) -> Result<Handle<Gate>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let trust = Trust::read(at)?;
    let config = Arc::new(config(&trust));
    let gate = Gate::new(trust, format!("{}:{}", at.host, at.port));
    // A packet is read in two steps, its length first: two calls of the system, were there no buffer.
    let stream = BufReader::with_capacity(READ_AHEAD, stream);
    let mut handle = match client::connect_stream(config, stream, gate.clone()).await {
        Ok(handle) => handle,
        Err(e) => return Err(gate.refusal().unwrap_or_else(|| broken("connect to", subject, e))),
    };
    login::authenticate(&mut handle, &at.login, subject).await?;
    Ok(handle)
}

/// Ciphers that hardware does first; a window and packets that a long line needs.
fn config(trust: &Trust) -> client::Config {
    let preferred = Preferred {
        key: Cow::Owned(trust.algorithms()),
        cipher: Cow::Borrowed(&[
            cipher::AES_128_GCM,
            cipher::AES_256_GCM,
            cipher::CHACHA20_POLY1305,
            cipher::AES_128_CTR,
            cipher::AES_192_CTR,
            cipher::AES_256_CTR,
        ]),
        ..Preferred::DEFAULT
    };
    client::Config {
        window_size: 2 << 20,
        maximum_packet_size: 65_535,
        channel_buffer_size: 256,
        preferred,
        keepalive_interval: Some(Duration::from_secs(15)),
        keepalive_max: 3,
        nodelay: true,
        ..client::Config::default()
    }
}

fn unreachable(subject: &str, error: std::io::Error) -> ConnectorError {
    use std::io::ErrorKind as K;
    let reason = match error.kind() {
        K::ConnectionRefused => "nothing listens on that port".to_owned(),
        K::HostUnreachable | K::NetworkUnreachable => "there is no route to that host".to_owned(),
        K::TimedOut => {
            return ConnectorError::new(ErrorKind::TimedOut, "connect to", subject, "no answer").advice("Check host, port and firewall").because(error);
        }
        _ if error.raw_os_error().is_none() => "its name is unknown".to_owned(),
        _ => format!("the network says: {error}"),
    };
    ConnectorError::new(ErrorKind::Unreachable, "connect to", subject, reason).advice("Check host, port and firewall").because(error)
}

/// An error of the SSH protocol itself.
pub(super) fn broken(operation: &str, subject: &str, error: russh::Error) -> ConnectorError {
    use russh::Error as E;
    let (kind, reason, advice) = match &error {
        E::NoCommonAlgo { kind, theirs, .. } => (
            ErrorKind::Unsupported,
            format!("no common {kind:?} algorithm; the server offers {}", theirs.join(", ")),
            "Update the server's SSH, or allow a modern algorithm there",
        ),
        E::Version | E::PacketSize(_) => (ErrorKind::Protocol, "what answers there is no SSH server".to_owned(), "Check the port"),
        E::ChannelOpenFailure(_) | E::RequestDenied => {
            (ErrorKind::Unsupported, "the server refused to open SFTP".to_owned(), "Switch on the SFTP subsystem in its sshd_config")
        }
        E::IO(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => {
            (ErrorKind::Unreachable, "nothing listens on that port".to_owned(), "Check host and port")
        }
        E::HUP | E::Disconnect | E::IO(_) | E::SendError | E::RecvError | E::KeepaliveTimeout => {
            (ErrorKind::Interrupted, "the connection broke".to_owned(), "It is connected again by the next try")
        }
        E::ConnectionTimeout | E::InactivityTimeout => (ErrorKind::TimedOut, "the server did not answer in time".to_owned(), "Check host, port and firewall"),
        other => (ErrorKind::Protocol, format!("the SSH conversation failed: {other}"), "Check the server's log"),
    };
    ConnectorError::new(kind, operation, subject, reason).advice(advice).because(error)
}
