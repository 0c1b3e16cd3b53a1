//! A server of HTTP and HTTPS that behaves as a test says: well, badly, slowly.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What a client asks.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub method: String,
    pub target: String,
    /// Names in small letters.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// What it gets.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    pub manner: Manner,
}

/// How a body is sent.
#[derive(Clone, Copy, Debug)]
pub enum Manner {
    /// At once.
    Whole,
    /// Half of what was announced, then nothing more.
    Half,
    /// A byte now and then, until the client has enough.
    Trickle,
    /// Again and again, until the client has enough.
    Endless,
    /// Nothing at all, not even headers.
    Silent,
}

impl Reply {
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.into(), manner: Manner::Whole }
    }

    pub fn status(status: u16) -> Self {
        Self { status, ..Self::ok("") }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn sent(self, manner: Manner) -> Self {
        Self { manner, ..self }
    }
}

type Answer = dyn Fn(&Asked) -> Reply + Send + Sync;

/// A server on this machine, for as long as the test lives.
pub struct Server {
    pub port: u16,
    scheme: &'static str,
    answer: Arc<Mutex<Arc<Answer>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Without TLS.
    pub fn plain() -> Self {
        Self::start(None)
    }

    /// With the certificate of this name.
    pub fn tls(name: &str) -> Self {
        let at = |end: &str| authority().with_file_name(format!("{name}.{end}"));
        let chain = vec![CertificateDer::from_pem_file(at("pem")).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_file(at("key")).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("they fit");
        Self::start(Some(Arc::new(config)))
    }

    fn start(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("a port").port();
        let answer: Arc<Mutex<Arc<Answer>>> = Arc::new(Mutex::new(Arc::new(|_| Reply::status(404))));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let server = Self {
            port,
            scheme: if tls.is_some() { "https" } else { "http" },
            answer: Arc::clone(&answer),
            asked: Arc::clone(&asked),
        };
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (tls, answer, asked) = (tls.clone(), Arc::clone(&answer), Arc::clone(&asked));
                thread::spawn(move || match tls {
                    // Who goes away in the middle is what some tests are about.
                    None => drop(serve(socket, &answer, &asked)),
                    Some(config) => {
                        let connection = ServerConnection::new(config).expect("a configuration");
                        drop(serve(StreamOwned::new(connection, socket), &answer, &asked));
                    }
                });
            }
        });
        server
    }

    /// From now on this is how it answers.
    pub fn answer(&self, answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) {
        *self.answer.lock().expect("no panic") = Arc::new(answer);
    }

    /// The URL of a target on it.
    pub fn url(&self, target: &str) -> String {
        format!("{}://localhost:{}{target}", self.scheme, self.port)
    }

    /// What was asked since the last time.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().expect("no panic"))
    }
}

/// The authority that signed the certificates.
pub fn authority() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/tls/authority.pem")
}

fn serve(stream: impl Socket, answer: &Mutex<Arc<Answer>>, log: &Mutex<Vec<Asked>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    let mut asked = Asked {
        method: words.next().unwrap_or_default(),
        target: words.next().unwrap_or_default(),
        ..Asked::default()
    };
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        asked.headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = asked.headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = Vec::new();
    stream.by_ref().take(length).read_to_end(&mut body)?;
    asked.body = String::from_utf8_lossy(&body).into_owned();
    let answer = Arc::clone(&answer.lock().expect("no panic"));
    let reply = answer(&asked);
    log.lock().expect("no panic").push(asked);
    send(stream.into_inner(), &reply)
}

fn send(mut to: impl Socket, reply: &Reply) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Because\r\nConnection: close\r\n", reply.status);
    if matches!(reply.manner, Manner::Whole | Manner::Half) && reply.status != 304 {
        head += &format!("Content-Length: {}\r\n", reply.body.len());
    }
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    if !matches!(reply.manner, Manner::Silent) {
        to.write_all(head.as_bytes())?;
    }
    match reply.manner {
        Manner::Whole => to.write_all(&reply.body)?,
        Manner::Half => to.write_all(&reply.body[..reply.body.len() / 2])?,
        Manner::Endless => loop {
            to.write_all(&reply.body)?;
        },
        Manner::Trickle | Manner::Silent => {
            to.pause_after(Duration::from_millis(50))?;
            for byte in reply.body.iter().cycle() {
                if matches!(reply.manner, Manner::Trickle) {
                    to.write_all(&[*byte])?;
                    to.flush()?;
                }
                // The client says nothing more; it hangs up.
                if to.read(&mut [0; 64]).is_ok_and(|read| read == 0) {
                    return Ok(());
                }
            }
        }
    }
    to.flush()?;
    to.close();
    Ok(())
}

trait Socket: Read + Write {
    /// A reading that finds nothing ends after this time.
    fn pause_after(&mut self, wait: Duration) -> std::io::Result<()>;
    /// Says that this is the end.
    fn close(&mut self);
}

impl Socket for TcpStream {
    fn pause_after(&mut self, wait: Duration) -> std::io::Result<()> {
        self.set_read_timeout(Some(wait))
    }
    fn close(&mut self) {}
}

impl Socket for StreamOwned<ServerConnection, TcpStream> {
    fn pause_after(&mut self, wait: Duration) -> std::io::Result<()> {
        self.sock.set_read_timeout(Some(wait))
    }
    fn close(&mut self) {
        self.conn.send_close_notify();
        let _ = self.flush();
    }
}
