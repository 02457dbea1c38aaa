//! A certificate authority of the tests' own, and a server certificate for loopback. Made once for each target folder.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Files in PEM format.
pub(crate) struct Certificates {
    /// Whom to trust: for `SSL_CERT_FILE`.
    pub(crate) authority: PathBuf,
    /// The server's certificate.
    pub(crate) server: PathBuf,
    /// The server's key.
    pub(crate) key: PathBuf,
}

impl Certificates {
    /// The certificates, which are made if they do not lie there.
    pub(crate) fn of_loopback() -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tls");
        fs::create_dir_all(&folder).unwrap();
        let file = |name: &str| folder.join(name);
        let certificates = Self {
            authority: file("authority.pem"),
            server: file("server.pem"),
            key: file("server.key"),
        };
        // Other test processes may want to make them at the same moment. The lock goes with the file handle.
        let lock = File::create(file("lock")).unwrap();
        lock.lock().unwrap();
        let complete = file("complete");
        if !complete.exists() {
            certificates.make();
            fs::write(complete, "").unwrap();
        }
        certificates
    }

    fn make(&self) {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let key = KeyPair::generate().unwrap();
        let server = CertificateParams::new(names)
            .unwrap()
            .signed_by(&key, &issuer)
            .unwrap();
        fs::write(&self.authority, authority.pem()).unwrap();
        fs::write(&self.server, server.pem()).unwrap();
        fs::write(&self.key, key.serialize_pem()).unwrap();
    }
}

/// A listener that speaks TLS.
pub(crate) struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl TlsListener {
    pub(crate) fn new(listener: TcpListener) -> Self {
        let certificates = Certificates::of_loopback();
        let chain = CertificateDer::pem_file_iter(&certificates.server).unwrap();
        let chain = chain.collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_file(&certificates.key).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Self {
            listener,
            acceptor: TlsAcceptor::from(Arc::new(config)),
        }
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.listener.accept().await else {
                continue;
            };
            // Who does not trust the certificate hangs up.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
