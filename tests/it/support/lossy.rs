//! A TCP proxy in front of one of Azurite's services that loses what it carries: requests, answers, and the middle of either.
//!
//! It knows just enough of HTTP to tell one request from the next, and nothing of storage.

use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::azurite::{ACCOUNT, Azurite, connection_string};

/// What gets lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// The request does not arrive.
    Request,
    /// Half of the request arrives.
    HalfRequest,
    /// The request is carried out, and nothing of the answer arrives.
    Answer,
    /// The request is carried out, and half of the answer arrives.
    HalfAnswer,
}

const LOSSES: [Loss; 4] = [
    Loss::Request,
    Loss::HalfRequest,
    Loss::Answer,
    Loss::HalfAnswer,
];

/// A running proxy; it lives as long as the test's runtime.
pub(crate) struct Lossy {
    endpoint: String,
    shared: Arc<Shared>,
}

struct Shared {
    /// Host and port.
    target: String,
    random: Mutex<fastrand::Rng>,
    /// Of a hundred requests.
    percent: u8,
    requests: watch::Sender<usize>,
    losses: [AtomicUsize; 4],
}

impl Lossy {
    /// In front of the blob service and of the queue service. Each loses so many of a hundred requests, of which the seed decides.
    pub(crate) async fn pair(random: &mut fastrand::Rng, percent: u8) -> (Self, Self) {
        let azurite = Azurite::start();
        (
            Self::of(&azurite.blob_endpoint(), random.fork(), percent).await,
            Self::of(&azurite.queue_endpoint(), random.fork(), percent).await,
        )
    }

    async fn of(target: &str, random: fastrand::Rng, percent: u8) -> Self {
        let (_, target) = target.split_once("://").unwrap();
        let (target, _) = target.split_once('/').unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let endpoint = format!("http://{}/{ACCOUNT}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            target: target.to_owned(),
            random: Mutex::new(random),
            percent,
            requests: watch::Sender::new(0),
            losses: Default::default(),
        });
        tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { endpoint, shared }
    }

    /// A connection string with the account's key.
    pub(crate) fn connection_string(blobs: &Self, queues: &Self) -> String {
        connection_string(&blobs.endpoint, &queues.endpoint)
    }

    /// How many requests came so far.
    pub(crate) fn requests(&self) -> usize {
        *self.shared.requests.borrow()
    }

    /// Waits until so many requests came since the start.
    pub(crate) async fn requests_reached(&self, requests: usize) {
        let mut count = self.shared.requests.subscribe();
        count.wait_for(|count| *count >= requests).await.unwrap();
    }

    /// How often each kind of loss occurred: of a request, of half of one, of an answer, of half of one.
    pub(crate) fn losses(&self) -> [usize; 4] {
        let losses = &self.shared.losses;
        std::array::from_fn(|kind| losses[kind].load(Ordering::Relaxed))
    }
}

impl Shared {
    /// Counts the request, and decides what becomes of it. Second: whether the connection ends in a reset.
    fn decide(&self) -> Option<(Loss, bool)> {
        let decision = {
            let mut random = self.random.lock().unwrap();
            let kind = random.usize(..LOSSES.len());
            (random.u8(..100) < self.percent).then(|| (kind, random.bool()))
        };
        self.requests.send_modify(|count| *count += 1);
        let (kind, reset) = decision?;
        self.losses[kind].fetch_add(1, Ordering::Relaxed);
        Some((LOSSES[kind], reset))
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let shared = Arc::clone(&shared);
        // A program that was killed leaves broken connections behind, which is in order.
        tokio::spawn(async move { serve(client, &shared).await });
    }
}

/// Carries the requests of one connection until one is lost.
async fn serve(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut received = Vec::new();
    while let Some(request) = read_request(&mut client, &mut received).await? {
        let loss = shared.decide();
        let carried = match loss {
            None | Some((Loss::Answer | Loss::HalfAnswer, _)) => {
                Some(carry(&request, &shared.target).await?)
            }
            Some((Loss::HalfRequest, _)) => {
                carry(&request[..request.len() / 2], &shared.target).await?;
                None
            }
            Some((Loss::Request, _)) => None,
        };
        match (loss, carried) {
            (None, Some(answer)) => client.write_all(&answer).await?,
            (Some((loss, reset)), answer) => {
                if let (Loss::HalfAnswer, Some(answer)) = (loss, answer) {
                    client.write_all(&answer[..answer.len() / 2]).await?;
                    client.flush().await?;
                }
                if reset {
                    client.set_zero_linger()?;
                }
                return Ok(());
            }
            (None, None) => unreachable!("what is not lost is carried"),
        }
    }
    Ok(())
}

/// The next request, head and body; none when the client has closed the connection. Bytes of the one after stay in `received`.
async fn read_request(
    client: &mut TcpStream,
    received: &mut Vec<u8>,
) -> io::Result<Option<Vec<u8>>> {
    loop {
        if let Some(length) = request_length(received)
            && received.len() >= length
        {
            let rest = received.split_off(length);
            return Ok(Some(std::mem::replace(received, rest)));
        }
        if client.read_buf(received).await? == 0 {
            return Ok(None);
        }
    }
}

/// Length of the request at the start of these bytes, once its head is whole.
fn request_length(received: &[u8]) -> Option<usize> {
    let end = received.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&received[..end]).to_ascii_lowercase();
    assert!(
        !head.contains("\r\ntransfer-encoding:"),
        "this proxy knows bodies of a known length only: {head}"
    );
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    Some(end + length.map_or(0, |length| length.trim().parse().unwrap()))
}

/// Sends the bytes to the service on a connection of their own, and gives the answer. To a request that is not whole there is none:
/// then the connection is cut.
async fn carry(request: &[u8], target: &str) -> io::Result<Vec<u8>> {
    let mut service = TcpStream::connect(target).await?;
    service.set_nodelay(true)?;
    let is_whole = request_length(request) == Some(request.len());
    if !is_whole {
        service.write_all(request).await?;
        service.flush().await?;
        return Ok(Vec::new());
    }
    let line = request.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    // The end of the connection is the end of the answer.
    service.write_all(&request[..line]).await?;
    service.write_all(b"Connection: close\r\n").await?;
    service.write_all(&request[line..]).await?;
    let mut answer = Vec::new();
    service.read_to_end(&mut answer).await?;
    Ok(without_connection_header(&answer))
}

/// The client's connection stays open.
fn without_connection_header(answer: &[u8]) -> Vec<u8> {
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let head = String::from_utf8_lossy(&answer[..end]);
    let kept: Vec<&str> = head
        .split("\r\n")
        .filter(|line| !line.to_ascii_lowercase().starts_with("connection:"))
        .collect();
    [kept.join("\r\n").as_bytes(), &answer[end..]].concat()
}
