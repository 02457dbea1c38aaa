//! The same core over real HTTP.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use fake_lastfm::{Fault, Server};

use crate::{alice, play};

const PATIENCE: Duration = Duration::from_secs(10);

/// Sends a request and leaves the answer to the caller.
fn send(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let path = "/2.0/?method=user.getRecentTracks&user=alice&api_key=k&format=json";
    let head = "Host: fake\r\nUser-Agent: tester/2\r\nConnection: close\r\n\r\n";
    write!(stream, "GET {path} HTTP/1.1\r\n{head}").unwrap();
    stream
}

/// Everything the server sent, and how the connection ended.
fn receive(mut stream: TcpStream) -> (String, Result<usize, ErrorKind>) {
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    (text, end.map_err(|error| error.kind()))
}

#[test]
fn a_server_answers_logs_and_takes_changes() {
    let server = Server::start(alice([10])).unwrap();
    assert!(server.url().starts_with("http://127.0.0.1:"));
    assert!(server.url().ends_with("/2.0/"));
    server.with(|lastfm| lastfm.user_mut("alice").history.add(play(20)));
    // Three centuries ahead: no mistake for a date of the HTTP library.
    server.with(|lastfm| lastfm.config.date_skew_seconds = 10_000_000_000);
    let (text, _) = receive(send(&server));
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"));
    let dates: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("date: "))
        .collect();
    assert!(
        matches!(dates[..], [date] if date.contains(" 23")),
        "{dates:?}"
    );
    assert!(text.contains("\"total\":\"2\""));
    assert!(server.wait_until_requests(1, PATIENCE));
    server.with(|lastfm| {
        let entry = &lastfm.log.entries()[0];
        assert_eq!(entry.request.user_agent.as_deref(), Some("tester/2"));
        assert!(entry.request.at_ms > 1_700_000_000_000);
    });
}

#[test]
fn a_reset_comes_before_any_byte() {
    let server = Server::start(alice([10])).unwrap();
    server.with(|lastfm| lastfm.faults.push(Fault::Reset));
    let (text, end) = receive(send(&server));
    assert_eq!((text.as_str(), end), ("", Err(ErrorKind::ConnectionReset)));
    assert!(receive(send(&server)).0.contains("t10"));
}

#[test]
fn a_cut_body_arrives_half_and_ends_in_a_reset() {
    let server = Server::start(alice(0..50)).unwrap();
    server.with(|lastfm| lastfm.faults.push(Fault::CutInBody));
    let (whole, end) = {
        let cut = receive(send(&server));
        let whole = receive(send(&server)).0;
        assert!(cut.0.starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(cut.0.len() < whole.len() * 6 / 10);
        assert!(cut.0.len() > whole.len() * 4 / 10);
        (whole, cut.1)
    };
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
    assert!(whole.contains("t49"));
}

#[test]
fn a_hanging_request_neither_ends_nor_blocks_others() {
    let server = Server::start(alice([10])).unwrap();
    server.with(|lastfm| lastfm.faults.push(Fault::Hang));
    let mut hanging = send(&server);
    assert!(server.wait_until_requests(1, PATIENCE));
    assert!(receive(send(&server)).0.contains("t10"));
    hanging.set_nonblocking(true).unwrap();
    let nothing = hanging.read(&mut [0; 8]).map_err(|error| error.kind());
    assert_eq!(nothing, Err(ErrorKind::WouldBlock));
    hanging.set_nonblocking(false).unwrap();
    drop(server);
    assert_eq!(receive(hanging).0, "");
}

#[test]
fn a_delayed_answer_is_whole() {
    let server = Server::start(alice([10])).unwrap();
    let delay = Duration::from_millis(20);
    server.with(|lastfm| lastfm.faults.push(Fault::Delay(delay)));
    let start = std::time::Instant::now();
    assert!(receive(send(&server)).0.contains("t10"));
    assert!(start.elapsed() >= delay);
}

#[test]
fn waiting_ends_with_the_condition_or_with_the_time() {
    let server = Server::start(alice([10])).unwrap();
    assert!(!server.wait_until_requests(1, Duration::ZERO));
    thread::scope(|scope| {
        scope.spawn(|| receive(send(&server)));
        assert!(server.wait_until(PATIENCE, |lastfm| {
            lastfm.log.entries().iter().any(|entry| entry.rows == 1)
        }));
    });
}

#[test]
fn asynchronous_programs_can_wait_too() {
    let server = Server::start(alice([10])).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2 {
                assert!(receive(send(&server)).0.contains("t10"));
            }
        });
        runtime.block_on(server.requests_reached(2));
    });
    assert_eq!(server.with(|lastfm| lastfm.log.count()), 2);
}
