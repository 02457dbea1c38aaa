//! HTTP/1.1 by hand on a socket, so that every byte of a request is the test's own.

use std::net::SocketAddr;

use reqwest::StatusCode;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::functions_host::RawAnswer;

/// A connection that is kept alive.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(address).await.unwrap()))
    }

    /// Sends a request and reads its answer, which must say how long it is.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> RawAnswer {
        self.send(request).await;
        self.answer().await
    }

    /// Sends a request, or a part of one.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).await.unwrap();
    }

    async fn answer(&mut self) -> RawAnswer {
        let status_line = self.line().await;
        let (version, status) = status_line.split_once(' ').unwrap();
        assert_eq!(version, "HTTP/1.1", "{status_line}");
        let (mut content_type, mut length) = (None, None);
        loop {
            let line = self.line().await;
            let Some((name, value)) = line.split_once(':') else {
                assert_eq!(line, "", "a header without a colon");
                break;
            };
            let value = value.trim().to_owned();
            match name.to_ascii_lowercase().as_str() {
                "content-type" => content_type = Some(value),
                "content-length" => length = Some(value.parse().unwrap()),
                _ => {}
            }
        }
        let mut body = vec![0; length.unwrap_or_else(|| panic!("no length: {status_line}"))];
        self.0.read_exact(&mut body).await.unwrap();
        RawAnswer {
            status: StatusCode::from_bytes(&status.as_bytes()[..3]).unwrap(),
            content_type,
            body,
        }
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).await.unwrap();
        assert!(read > 0, "the connection ended within an answer");
        line.trim_end().to_owned()
    }
}

/// A body in chunks of so many bytes at most, as a client sends one whose length it does not know.
pub(crate) fn chunked(body: &[u8], bytes_max: usize) -> Vec<u8> {
    let mut encoded = Vec::new();
    for chunk in body.chunks(bytes_max) {
        encoded.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        encoded.extend_from_slice(chunk);
        encoded.extend_from_slice(b"\r\n");
    }
    encoded.extend_from_slice(b"0\r\n\r\n");
    encoded
}
