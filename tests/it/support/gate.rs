//! A door in front of a service: whoever connects is let in and waits there until it is opened.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Longer than anything here may take; nothing is decided by it.
const PATIENCE: Duration = Duration::from_mins(1);

/// A closed or open door; it lives as long as the test's runtime.
pub(crate) struct Gate {
    address: SocketAddr,
    inside: Arc<watch::Sender<usize>>,
    service: watch::Sender<Option<SocketAddr>>,
}

impl Gate {
    /// A door that nobody has opened yet.
    pub(crate) async fn closed() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let inside = Arc::new(watch::Sender::new(0));
        let (service, opened) = watch::channel(None);
        let count = Arc::clone(&inside);
        tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                count.send_modify(|count| *count += 1);
                tokio::spawn(pass(caller, opened.clone()));
            }
        });
        Self {
            address,
            inside,
            service,
        }
    }

    /// Where to connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The value of `LASTFM_API_URL` for a Last.fm behind the door.
    pub(crate) fn lastfm_url(&self) -> String {
        format!("http://{}/2.0/", self.address)
    }

    /// How many connections have come so far.
    pub(crate) fn connections(&self) -> usize {
        *self.inside.borrow()
    }

    /// Waits until so many connections have come since the start; fails the test when they never do.
    pub(crate) async fn reached(&self, connections: usize) {
        let mut count = self.inside.subscribe();
        let reached = count.wait_for(|count| *count >= connections);
        let waited = tokio::time::timeout(PATIENCE, reached).await;
        let problem = || format!("{} of {connections} connections came", self.connections());
        waited.unwrap_or_else(|_| panic!("{}", problem())).unwrap();
    }

    /// Lets everybody through to this service, those who wait and those who come later.
    pub(crate) fn open_to(&self, service: SocketAddr) {
        self.service.send_replace(Some(service));
    }
}

async fn pass(mut caller: TcpStream, mut opened: watch::Receiver<Option<SocketAddr>>) {
    let Ok(service) = opened
        .wait_for(Option::is_some)
        .await
        .map(|service| *service)
    else {
        return;
    };
    if let Ok(mut service) = TcpStream::connect(service.unwrap()).await {
        tokio::io::copy_bidirectional(&mut caller, &mut service)
            .await
            .ok();
    }
}
