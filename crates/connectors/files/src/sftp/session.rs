//! One SFTP conversation on one SSH channel: many requests under way at once, answers found by their id.
//!
//! Two tasks belong to a session and end with it: one packs requests into SSH messages (small ones share a message), one takes
//! answers apart. When the channel ends, everybody who waits is told [`Fault::Lost`]; the session stays dead.

use super::connect::Connection;
use super::wire::{INIT, Packet, Reply, parse};
use bytes::{Bytes, BytesMut};
use ports::{ConnectorError, ErrorKind};
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, client};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Small requests are packed together up to this size.
const MESSAGE: usize = 32 << 10;
/// Larger answers are a sign that we do not speak the same protocol.
const LARGEST_ANSWER: usize = 4 << 20;

/// Why a request had no good answer.
#[derive(Debug)]
pub(super) enum Fault {
    Lost,
    Status {
        code: u32,
        message: String,
    },
    Odd,
    /// The server refuses to set this.
    Refused(&'static str),
}

type Waiting = HashMap<u32, oneshot::Sender<Reply>>;

/// Those who wait for an answer; `None` when the session is dead.
struct Pending {
    waiting: Mutex<Option<Waiting>>,
    /// The server itself ended or refused the channel; the line did not break.
    hung_up: AtomicBool,
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Session {
    requests: mpsc::Sender<Bytes>,
    pending: Arc<Pending>,
    next: AtomicU32,
    tasks: [JoinHandle<()>; 2],
    pub(super) features: Features,
    /// Calls that use this session now.
    pub(super) users: AtomicUsize,
    connection: Connection,
}

/// What the server can do beyond version 3.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Features {
    pub(super) posix_rename: bool,
    pub(super) statvfs: bool,
    pub(super) limits: bool,
    pub(super) fsync: bool,
    /// Largest read and write in bytes.
    pub(super) read: u32,
    pub(super) write: u32,
}

/// A request under way.
pub(super) struct Answer(Option<oneshot::Receiver<Reply>>);

impl Answer {
    pub(super) async fn wait(self) -> Result<Reply, Fault> {
        match self.0 {
            Some(answer) => answer.await.map_err(|_| Fault::Lost),
            None => Err(Fault::Lost),
        }
    }
}

impl Session {
    /// Starts the conversation on a fresh channel. [`Fault::Lost`] when the line broke, [`Fault::Odd`] when the server speaks no SFTP.
    pub(super) async fn start(connection: Connection, channel: russh::Channel<client::Msg>) -> Result<Self, Fault> {
        let (read, write) = channel.split();
        let (requests, queue) = mpsc::channel(256);
        let pending = Arc::new(Pending { waiting: Mutex::new(Some(HashMap::new())), hung_up: AtomicBool::new(false) });
        let tasks = [tokio::spawn(send_all(write, queue)), tokio::spawn(receive_all(read, pending.clone()))];
        let mut session = Self { requests, pending, next: AtomicU32::new(1), tasks, features: Features::default(), users: AtomicUsize::new(0), connection };
        let extensions = session.greet().await?;
        let has = |name: &str| extensions.iter().any(|(n, _)| n == name.as_bytes());
        session.features = Features {
            posix_rename: has("posix-rename@openssh.com"),
            statvfs: has("statvfs@openssh.com"),
            limits: has("limits@openssh.com"),
            fsync: has("fsync@openssh.com"),
            read: 32 << 10,
            write: 32 << 10,
        };
        if session.features.limits {
            session.ask_limits().await?;
        }
        Ok(session)
    }

    async fn greet(&self) -> Result<Vec<(Bytes, Bytes)>, Fault> {
        let answer = self.expect(0);
        self.requests.send(Packet::new(INIT, 0).u32(3).finish()).await.map_err(|_| Fault::Lost)?;
        match answer.wait().await {
            Ok(Reply::Version(extensions)) => Ok(extensions),
            Err(Fault::Lost) if !self.pending.hung_up.load(Ordering::Acquire) => Err(Fault::Lost),
            _ => Err(Fault::Odd),
        }
    }

    /// Another channel of the same connection, for a program.
    pub(super) async fn channel(&self) -> Result<russh::Channel<client::Msg>, russh::Error> {
        self.connection.channel().await
    }

    pub(super) fn is_dead(&self) -> bool {
        self.pending.lock().is_none()
    }

    fn expect(&self, id: u32) -> Answer {
        let (sender, receiver) = oneshot::channel();
        let mut pending = self.pending.lock();
        match pending.as_mut() {
            Some(waiting) => {
                waiting.insert(id, sender);
                Answer(Some(receiver))
            }
            None => Answer(None),
        }
    }

    /// Sends a request; `fill` puts the fields after type and id. Returns when it is queued, not when it is answered.
    pub(super) async fn send(&self, kind: u8, room: usize, fill: impl FnOnce(Packet) -> Packet) -> Answer {
        let id = self.next.fetch_add(1, Ordering::Relaxed).max(1);
        let packet = fill(Packet::new(kind, room).u32(id)).finish();
        let answer = self.expect(id);
        if self.requests.send(packet).await.is_err() {
            return Answer(None);
        }
        answer
    }

    /// Sends a request whose answer nobody needs; given up when the queue is full.
    pub(super) fn send_and_forget(&self, kind: u8, fill: impl FnOnce(Packet) -> Packet) {
        let id = self.next.fetch_add(1, Ordering::Relaxed).max(1);
        // A full queue leaves one handle open on the server until the session ends.
        let _ = self.requests.try_send(fill(Packet::new(kind, 64).u32(id)).finish());
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn send_all(channel: ChannelWriteHalf<client::Msg>, mut queue: mpsc::Receiver<Bytes>) {
    let mut packed = BytesMut::with_capacity(2 * MESSAGE);
    while let Some(packet) = queue.recv().await {
        if packet.len() >= MESSAGE {
            if channel.data_bytes(packet).await.is_err() {
                return;
            }
            continue;
        }
        packed.extend_from_slice(&packet);
        while packed.len() < MESSAGE {
            match queue.try_recv() {
                Ok(packet) => packed.extend_from_slice(&packet),
                Err(_) => break,
            }
        }
        if channel.data_bytes(packed.split().freeze()).await.is_err() {
            return;
        }
    }
}

async fn receive_all(mut channel: ChannelReadHalf, pending: Arc<Pending>) {
    let mut buffer = BytesMut::new();
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::Data { data } => {
                buffer.extend_from_slice(&data);
                if !deliver(&mut buffer, &pending) {
                    pending.hung_up.store(true, Ordering::Release);
                    break;
                }
            }
            ChannelMsg::Eof | ChannelMsg::Close | ChannelMsg::Failure => {
                pending.hung_up.store(true, Ordering::Release);
                break;
            }
            _ => {}
        }
    }
    // Dropping the senders tells everybody.
    *pending.lock() = None;
}

/// Hands out all whole packets; false when what comes is no SFTP.
fn deliver(buffer: &mut BytesMut, pending: &Pending) -> bool {
    while let Some(head) = buffer.first_chunk::<4>() {
        let length = u32::from_be_bytes(*head) as usize;
        if length > LARGEST_ANSWER {
            return false;
        }
        if buffer.len() < 4 + length {
            buffer.reserve(4 + length - buffer.len());
            return true;
        }
        let packet = buffer.split_to(4 + length).freeze().slice(4..);
        let Some((id, reply)) = parse(packet) else { return false };
        let waiting = pending.lock().as_mut().and_then(|w| w.remove(&id));
        if let Some(waiting) = waiting {
            // Whoever asked may have gone.
            let _ = waiting.send(reply);
        }
    }
    true
}

impl Fault {
    pub(super) fn code(&self) -> Option<u32> {
        if let Self::Status { code, .. } = self { Some(*code) } else { None }
    }

    /// Whether the server says that it will not or cannot, rather than that something else went wrong.
    pub(super) fn is_refusal(&self) -> bool {
        use super::wire::{FAILURE, OP_UNSUPPORTED, PERMISSION_DENIED};
        matches!(self.code(), Some(FAILURE | OP_UNSUPPORTED | PERMISSION_DENIED))
    }

    pub(super) fn is_absent(&self) -> bool {
        self.code() == Some(super::wire::NO_SUCH_FILE)
    }

    /// The letter.
    pub(super) fn tell(self, operation: &str, subject: &str) -> ConnectorError {
        use super::wire::{BAD_MESSAGE, FILE_ALREADY_EXISTS, NO_SUCH_FILE, OP_UNSUPPORTED, PERMISSION_DENIED};
        let (kind, reason, advice) = match &self {
            Self::Lost => (ErrorKind::Interrupted, "the connection broke in the middle".to_owned(), "It is connected again by the next try"),
            Self::Refused(what) => (ErrorKind::Unsupported, format!("the server refuses to set {what} here"), "Check the server's settings and file system"),
            Self::Odd => (ErrorKind::Protocol, "the server's answer does not fit the question".to_owned(), "Check that the SFTP subsystem of the server works"),
            Self::Status { code, message } => match *code {
                NO_SUCH_FILE => (ErrorKind::NotFound, "it does not exist".to_owned(), "Check the path"),
                PERMISSION_DENIED => (ErrorKind::Permission, "this user may not do that".to_owned(), "Give the SSH user access to it"),
                BAD_MESSAGE => (ErrorKind::Name, "the server cannot hold that name".to_owned(), "Rename it at the source, or leave it out"),
                FILE_ALREADY_EXISTS => (ErrorKind::AlreadyExists, "something with that name is already there".to_owned(), ""),
                6 | 7 => (ErrorKind::Interrupted, format!("the server says: {message}"), "It is tried again"),
                OP_UNSUPPORTED => (ErrorKind::Unsupported, "the server cannot do this".to_owned(), ""),
                _ => (ErrorKind::Invalid, format!("the server refused it and said only '{message}'"), "Check space, quota and rights on the server"),
            },
        };
        ConnectorError::new(kind, operation, subject, reason).advice(advice)
    }
}
