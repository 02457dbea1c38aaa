//! The fake's core behind a small server of its own that changes the history between two requests, which the
//! fake's fault hook cannot do. One request a connection.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use fake_lastfm::LastFm;

type Script = Box<dyn FnMut(&mut LastFm, usize) + Send>;

/// A running fake whose script is called before each answer with the number of the request, from 1.
pub(crate) struct MovingLastFm {
    address: SocketAddr,
    core: Arc<Mutex<(LastFm, Script)>>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl MovingLastFm {
    pub(crate) fn start(
        lastfm: LastFm,
        script: impl FnMut(&mut LastFm, usize) + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let core: Arc<Mutex<(LastFm, Script)>> = Arc::new(Mutex::new((lastfm, Box::new(script))));
        let stopped = Arc::new(AtomicBool::new(false));
        let shared = (Arc::clone(&core), Arc::clone(&stopped));
        let thread = std::thread::spawn(move || {
            for connection in listener.incoming() {
                if shared.1.load(Ordering::SeqCst) {
                    return;
                }
                // A client that went away is its own affair.
                let _ = connection.and_then(|connection| serve(&connection, &shared.0));
            }
        });
        Self {
            address,
            core,
            stopped,
            thread: Some(thread),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/2.0/", self.address)
    }

    pub(crate) fn with<R>(&self, action: impl FnOnce(&mut LastFm) -> R) -> R {
        action(&mut self.core.lock().unwrap().0)
    }
}

impl Drop for MovingLastFm {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread from its wait for a connection.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn serve(connection: &TcpStream, core: &Mutex<(LastFm, Script)>) -> std::io::Result<()> {
    let mut lines = BufReader::new(connection).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    for header in lines {
        if header?.is_empty() {
            break;
        }
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let answer = {
        let (lastfm, script) = &mut *core.lock().unwrap();
        script(lastfm, lastfm.log.total() + 1);
        lastfm.answer(query, None, jiff::Timestamp::now().as_millisecond())
    };
    let mut connection = connection;
    write!(
        connection,
        "HTTP/1.1 {} Answer\r\ncontent-length: {}\r\nconnection: close\r\n",
        answer.status,
        answer.body.len()
    )?;
    for (name, value) in &answer.headers {
        write!(connection, "{name}: {value}\r\n")?;
    }
    connection.write_all(b"\r\n")?;
    connection.write_all(&answer.body)
}
