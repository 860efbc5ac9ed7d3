//! Programs on the server, each on a channel of its own beside SFTP.
//!
//! SSH hands a command line to the user's shell, so everything that is not ours in it is quoted here; names travel through the program's input.

use crate::sftp::connect::broken;
use crate::sftp::pool::Lent;
use crate::sftp::root::Host;
use bytes::{Bytes, BytesMut};
use ports::{ConnectorError, ErrorKind, Result};
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, client};
use tokio_util::task::AbortOnDropHandle;

/// What a script says when the root is not there: no program's own word.
pub(in crate::sftp) const NO_ROOT: u32 = 71;
/// Bytes of complaints that are kept.
const COMPLAINTS: usize = 16 << 10;
/// How programs say that something is not there (any more).
const VANISHED: &str = "No such file or directory";
/// Names are sent in messages of about this size.
const MESSAGE: usize = 32 << 10;

/// Quoted for a POSIX shell.
pub(in crate::sftp) fn quoted(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    out.push(b'\'');
    for byte in text {
        match byte {
            b'\'' => out.extend_from_slice(b"'\\''"),
            other => out.push(*other),
        }
    }
    out.push(b'\'');
    out
}

/// A program that runs. Dropped: its channel is closed, and it ends at its next word.
pub(in crate::sftp) struct Running {
    input: ChannelWriteHalf<client::Msg>,
    pub(super) output: Output,
}

/// What a program says.
pub(super) struct Output {
    channel: ChannelReadHalf,
    complaints: Vec<u8>,
    status: Option<u32>,
    subject: String,
    _lent: Lent,
}

/// What programs say where a disk is full. The last one: tar, of a write that the disk took only a part of.
const FULL: [&str; 3] = ["No space left on device", "Disk quota exceeded", ": Wrote only "];

/// How a program ended.
#[derive(Debug)]
pub(in crate::sftp) struct Ended {
    pub(in crate::sftp) status: u32,
    /// What it said of errors, one line each.
    pub(super) complaints: String,
}

impl Ended {
    /// The first line that is not about something that vanished.
    pub(super) fn complaint(&self) -> Option<&str> {
        self.complaints.lines().find(|line| !line.trim().is_empty() && !line.contains(VANISHED))
    }

    /// The letter, when it did not end well.
    pub(super) fn letter(&self, operation: &str, subject: &str) -> ConnectorError {
        let said = self.complaint().map_or_else(|| format!("the program on the server ended with {} and said nothing", self.status), str::to_owned);
        if FULL.iter().any(|words| self.complaints.contains(words)) {
            let full = format!("the disk is full or a quota is reached (the server says: {said})");
            return ConnectorError::new(ErrorKind::NoSpace, operation, subject, full).advice("Make room there, then try again");
        }
        if self.complaints.contains("Permission denied") || self.complaints.contains("Operation not permitted") {
            return ConnectorError::new(ErrorKind::Permission, operation, subject, said).advice("Give the SSH user access to it, or use root");
        }
        ConnectorError::new(ErrorKind::Invalid, operation, subject, said).advice("Check the programs, the disk and the log of the server")
    }
}

/// Adds to what a program said of errors. Where it said a lot, whole lines go: first those about what vanished, so that they hide nothing else.
fn complain(complaints: &mut Vec<u8>, more: &[u8]) {
    complaints.extend_from_slice(more);
    if complaints.len() <= COMPLAINTS {
        return;
    }
    let begun = complaints.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let mut kept = Vec::new();
    for line in complaints[..begun].split_inclusive(|b| *b == b'\n') {
        if !String::from_utf8_lossy(line).contains(VANISHED) && kept.len() + line.len() <= COMPLAINTS {
            kept.extend_from_slice(line);
        }
    }
    kept.extend_from_slice(&complaints[begun..(begun + COMPLAINTS).min(complaints.len())]);
    *complaints = kept;
}

/// Starts `script` in the root of `host`.
pub(in crate::sftp) async fn start(host: &Host, script: &str) -> Result<Running> {
    start_bytes(host, script.as_bytes()).await
}

/// The same for a script that holds names.
pub(super) async fn start_bytes(host: &Host, script: &[u8]) -> Result<Running> {
    start_on(host, host.session().await?, &in_root(host, script)).await
}

/// The same on a connection of its own, for output that may have to wait for its reader while other programs run.
pub(super) async fn start_alone(host: &Host, script: &str) -> Result<Running> {
    start_on(host, host.session_alone().await?, &in_root(host, script.as_bytes())).await
}

fn in_root(host: &Host, script: &[u8]) -> Vec<u8> {
    let root = quoted(&host.absolute(&ports::files::FilePath::default()));
    [b"LC_ALL=C; export LC_ALL; cd -- ", root.as_slice(), b" 2>/dev/null || exit 71; ", script].concat()
}

/// Starts a script in the user's home directory, with the plain shell whatever the user's own is.
pub(in crate::sftp) async fn start_anywhere(host: &Host, script: &[u8]) -> Result<Running> {
    start_on(host, host.session().await?, script).await
}

async fn start_on(host: &Host, lent: Lent, script: &[u8]) -> Result<Running> {
    let subject = host.server().to_owned();
    let told = |e: russh::Error| broken("start a program on", &subject, e);
    let channel = lent.channel().await.map_err(told)?;
    channel.exec(true, [b"exec sh -c ".as_slice(), &quoted(script)].concat()).await.map_err(told)?;
    let (output, input) = channel.split();
    Ok(Running { input, output: Output { channel: output, complaints: Vec::new(), status: None, subject: host.location().to_owned(), _lent: lent } })
}

impl Running {
    pub(super) fn split(self) -> (Input, Output) {
        (Input { channel: self.input, subject: self.output.subject.clone() }, self.output)
    }

    /// Feeds `input` while the output is read.
    pub(super) fn fed(self, input: Vec<u8>) -> Fed {
        let (writer, output) = self.split();
        let feeding = tokio::spawn(async move {
            let mut rest = Bytes::from(input);
            while !rest.is_empty() {
                writer.send(rest.split_to(rest.len().min(MESSAGE))).await?;
            }
            writer.end().await
        });
        Fed { output, _feeding: AbortOnDropHandle::new(feeding) }
    }

    /// Feeds `input`, and gives all that is said.
    pub(in crate::sftp) async fn answer(self, input: Vec<u8>) -> Result<(Bytes, Ended)> {
        let mut fed = self.fed(input);
        let mut all = BytesMut::new();
        while let Some(piece) = fed.output.next().await? {
            all.extend_from_slice(&piece);
        }
        Ok((all.freeze(), fed.output.ended()?))
    }
}

/// A program's output, while its input is fed by a task that ends with this.
pub(super) struct Fed {
    pub(super) output: Output,
    _feeding: AbortOnDropHandle<Result<()>>,
}

pub(super) struct Input {
    channel: ChannelWriteHalf<client::Msg>,
    subject: String,
}

impl Input {
    pub(super) async fn send(&self, bytes: Bytes) -> Result<()> {
        self.channel.data_bytes(bytes).await.map_err(|e| broken("write to a program on", &self.subject, e))
    }

    pub(super) async fn end(&self) -> Result<()> {
        self.channel.eof().await.map_err(|e| broken("write to a program on", &self.subject, e))
    }
}

impl Output {
    /// The next bytes; `None` when the program has ended.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        while let Some(message) = self.channel.wait().await {
            match message {
                ChannelMsg::Data { data } => return Ok(Some(data)),
                ChannelMsg::ExtendedData { data, ext: 1 } => {
                    complain(&mut self.complaints, &data);
                }
                ChannelMsg::ExitStatus { exit_status } => self.status = Some(exit_status),
                ChannelMsg::ExitSignal { signal_name, .. } => {
                    self.complaints.extend_from_slice(format!("it was ended by the signal {signal_name:?}\n").as_bytes());
                    self.status = Some(128);
                }
                ChannelMsg::Failure => {
                    return Err(ConnectorError::new(ErrorKind::Unsupported, "start a program on", &self.subject, "the server lets this user start none")
                        .advice("Allow commands for this user (no ForceCommand, a login shell), or do without owners and attributes"));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// How it ended, after [`Self::next`] gave `None`.
    pub(super) fn ended(&self) -> Result<Ended> {
        let complaints = String::from_utf8_lossy(&self.complaints).into_owned();
        match self.status {
            Some(status) => Ok(Ended { status, complaints }),
            None => Err(ConnectorError::new(ErrorKind::Interrupted, "run a program on", &self.subject, "the connection broke in the middle")
                .advice("It is connected again by the next try")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_things_that_vanished_hide_no_other_complaint() {
        let mut said = Vec::new();
        let vanished = |n: u32| format!("find: './orders/{n}': No such file or directory\n");
        let all: String = (0..5000).map(vanished).chain(["find: './x': Permission denied\n".to_owned()]).chain((0..5000).map(vanished)).collect();
        for piece in all.as_bytes().chunks(1000) {
            complain(&mut said, piece);
            assert!(said.len() <= 2 * COMPLAINTS);
        }
        let ended = Ended { status: 1, complaints: String::from_utf8(said).unwrap() };
        assert_eq!(ended.complaint(), Some("find: './x': Permission denied"));
        let mut said = Vec::new();
        (0..5000).for_each(|n| complain(&mut said, vanished(n).as_bytes()));
        assert_eq!(Ended { status: 1, complaints: String::from_utf8(said).unwrap() }.complaint(), None);
    }

    #[test]
    fn a_full_disk_is_recognised_in_every_wording() {
        for said in ["tar: a: Cannot write: No space left on device", "tar: 0: Wrote only 1536 of 65536 bytes", "cp: error writing 'a': Disk quota exceeded"] {
            let letter = Ended { status: 2, complaints: format!("{said}\n") }.letter("unpack files at", "sftp://there");
            assert_eq!((letter.kind, letter.reason.contains(said)), (ErrorKind::NoSpace, true), "{letter}");
        }
    }

    #[test]
    fn nothing_escapes_its_quotes() {
        assert_eq!(quoted(b"a b"), b"'a b'");
        assert_eq!(quoted(b"'; rm -rf / #"), b"''\\''; rm -rf / #'");
        assert_eq!(quoted(b"$(x)`y`\n\xff"), b"'$(x)`y`\n\xff'");
    }
}
