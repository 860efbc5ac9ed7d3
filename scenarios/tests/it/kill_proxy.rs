//! A proxy in front of an object store that reads the requests as they pass: which there were, and how many bytes of each went through.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Whoever waits for longer than this waits in vain.
const LIMIT: Duration = Duration::from_mins(1);

/// A request whose head went to the store.
#[derive(Debug, Clone)]
pub struct Passed {
    /// `PUT /bucket/key?partNumber=1&uploadId=…`.
    pub line: String,
    /// Bytes of its body that went through so far.
    pub bytes: u64,
}

impl Passed {
    /// The number of the part that it carries.
    pub fn part(&self) -> Option<u64> {
        let rest = self.line.strip_prefix("PUT ")?.split_once("partNumber=")?.1;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    }
}

/// What went through, and whether connections are open.
#[derive(Debug, Default)]
struct Traffic {
    passed: Mutex<Vec<Passed>>,
    part_bytes: watch::Sender<u64>,
    open: watch::Sender<usize>,
    hold: AtomicBool,
    held: watch::Sender<bool>,
}

/// The running proxy; it ends with the test's runtime.
pub struct Proxy {
    pub port: u16,
    traffic: Arc<Traffic>,
}

impl Proxy {
    pub async fn before(store: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let traffic = Arc::new(Traffic::default());
        let shared = traffic.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connection(client, store, shared.clone()));
            }
        });
        Self { port, traffic }
    }

    /// The store's answer to the next request that begins an upload will not arrive.
    pub fn hold_the_next_begin(&self) {
        self.traffic.hold.store(true, Ordering::SeqCst);
    }

    /// Waits until the store has begun an upload that its client does not know of.
    pub async fn held(&self) {
        wait(&self.traffic.held, "a held answer", |held| *held).await;
    }

    /// Waits until that many bytes of parts went through in all.
    pub async fn reached(&self, bytes: u64) {
        wait(&self.traffic.part_bytes, "bytes of parts", |passed| *passed >= bytes).await;
    }

    /// Waits until nobody is connected any more, and gives all requests so far.
    pub async fn silent(&self) -> Vec<Passed> {
        wait(&self.traffic.open, "the end of all connections", |open| *open == 0).await;
        self.passed()
    }

    pub fn passed(&self) -> Vec<Passed> {
        self.traffic.passed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn part_bytes(&self) -> u64 {
        *self.traffic.part_bytes.borrow()
    }
}

async fn wait<T>(sender: &watch::Sender<T>, what: &str, enough: impl FnMut(&T) -> bool) {
    let mut receiver = sender.subscribe();
    tokio::time::timeout(LIMIT, receiver.wait_for(enough)).await.unwrap_or_else(|_| panic!("waited in vain for {what}")).expect("the proxy lives");
}

async fn connection(mut client: TcpStream, store: u16, traffic: Arc<Traffic>) {
    traffic.open.send_modify(|open| *open += 1);
    if let Ok(mut store) = TcpStream::connect(("127.0.0.1", store)).await {
        let ((from_client, to_client), (from_store, to_store)) = (client.split(), store.split());
        let hold = AtomicBool::new(false);
        // Whichever side ends first ends both: nobody here sends after he stopped listening.
        tokio::select! {
            () = forth(from_client, to_store, &traffic, &hold) => {}
            () = back(from_store, to_client, &traffic, &hold) => {}
        }
    }
    traffic.open.send_modify(|open| *open -= 1);
}

async fn forth(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, traffic: &Traffic, hold: &AtomicBool) {
    let (mut buffer, mut reader) = (vec![0; 1 << 17], Reader::default());
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        if to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
        reader.take(&buffer[..n], traffic, hold);
    }
}

async fn back(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, traffic: &Traffic, hold: &AtomicBool) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        if hold.load(Ordering::SeqCst) {
            traffic.held.send_replace(true);
            std::future::pending::<()>().await;
        }
        if to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}

/// Follows one connection's requests: a head, a body as long as the head says, the next head.
#[derive(Default)]
struct Reader {
    head: Vec<u8>,
    body_left: u64,
    request: usize,
}

impl Reader {
    fn take(&mut self, mut bytes: &[u8], traffic: &Traffic, hold: &AtomicBool) {
        while !bytes.is_empty() {
            if self.body_left > 0 {
                let n = bytes.len().min(usize::try_from(self.body_left).unwrap_or(usize::MAX));
                self.body_left -= n as u64;
                self.count(n as u64, traffic);
                bytes = &bytes[n..];
                continue;
            }
            let known = self.head.len();
            self.head.extend_from_slice(bytes);
            let Some(end) = self.head.windows(4).position(|w| w == b"\r\n\r\n") else { return };
            bytes = &bytes[end + 4 - known..];
            let head = String::from_utf8_lossy(&self.head[..end]).into_owned();
            self.begin(&head, traffic, hold);
            self.head.clear();
        }
    }

    fn begin(&mut self, head: &str, traffic: &Traffic, hold: &AtomicBool) {
        let mut lines = head.lines();
        let line = lines.next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
        let length = lines.filter_map(|l| l.split_once(':')).find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        self.body_left = length.and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0);
        if line.starts_with("POST ") && line.contains("?uploads") && traffic.hold.swap(false, Ordering::SeqCst) {
            hold.store(true, Ordering::SeqCst);
        }
        let mut passed = traffic.passed.lock().unwrap_or_else(PoisonError::into_inner);
        self.request = passed.len();
        passed.push(Passed { line, bytes: 0 });
    }

    fn count(&self, bytes: u64, traffic: &Traffic) {
        let mut passed = traffic.passed.lock().unwrap_or_else(PoisonError::into_inner);
        let request = &mut passed[self.request];
        request.bytes += bytes;
        if request.part().is_some() {
            traffic.part_bytes.send_modify(|sum| *sum += bytes);
        }
    }
}
