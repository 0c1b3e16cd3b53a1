//! HTTP, as the process that fetches speaks it: every answer bounded in bytes, headers, hops and time, every certificate looked at.

use std::fs;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;
use slips_core::addr;
use ureq::http::{HeaderMap, Request, Response, Uri, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body, Proxy};

use super::wire::PART;
use super::{Ask, Head, Missed, shown, unpack};
use crate::daemon::clocks::Clocks;
use crate::services::Subject;

/// Most servers that send on to the next.
const HOPS: usize = 5;
/// Most bytes of the headers of an answer.
const HEADERS: usize = 32 << 10;
/// Longest wait for a connection, and between two parts of an answer.
const CONNECT: Duration = Duration::from_secs(15);
const SILENCE: Duration = Duration::from_secs(30);
/// Longest header that is told on.
const WORD: usize = 512;
/// Where distributions keep the certificates of authorities.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
];

/// Asks servers.
pub(super) struct Client {
    agent: Agent,
    guard: Arc<Guard>,
}

/// What a server's addresses are, and may be.
#[derive(Debug, Default)]
struct Guard {
    /// Whether the next server must have an address that everybody can reach.
    only_public: AtomicBool,
    /// Whether the last one had another.
    was_inside: AtomicBool,
}

impl Client {
    /// With the authorities of a file, else those of this system, else those of Mozilla that are built in.
    pub(super) fn new(certificates: Option<&Path>, proxy: Option<&str>) -> Result<Self, String> {
        let roots = match certificates {
            Some(file) => read_roots(file).map_err(|error| format!("{}: {error}", file.display()))?,
            None => {
                BUNDLES.iter().find_map(|file| read_roots(Path::new(file)).ok()).unwrap_or(RootCerts::WebPki)
            }
        };
        let proxy = proxy.map(Proxy::new).transpose().map_err(|error| format!("the proxy: {error}"))?;
        let config = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .proxy(proxy)
            .max_redirects(0)
            .http_status_as_error(false)
            .max_response_header_size(HEADERS)
            .max_idle_connections(0)
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(SILENCE))
            .user_agent(concat!("slips/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("gzip")
            .build();
        let guard = Arc::new(Guard::default());
        let resolver = Guarded { usual: DefaultResolver::default(), guard: Arc::clone(&guard) };
        Ok(Self { agent: Agent::with_parts(config, DefaultConnector::default(), resolver), guard })
    }

    /// Asks, and hands on what comes.
    pub(super) fn ask(&self, ask: &Ask, to: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<Head, Missed> {
        let clock = Clocks::default().steady;
        let until = clock().saturating_add(ask.within);
        let mut url: Uri = ask.url.parse().map_err(|_| Missed::Wrong("no URL".into()))?;
        http_only(&url).map_err(Missed::Wrong)?;
        let first = url.clone();
        let mut from_inside = true;
        for hop in 0..=HOPS {
            let left = until.saturating_sub(clock());
            if left.is_zero() {
                return Err(Missed::Slow(ask.within));
            }
            let elsewhere = url.host() != first.host();
            // The name of a server outside that leads to itself may be one of a neighbour's addresses by now.
            self.guard.only_public.store(elsewhere || !from_inside, Ordering::Relaxed);
            let abroad = elsewhere || port(&url) != port(&first);
            let answer = self.send(ask, &url, left, abroad).map_err(|error| missed(error, ask))?;
            if hop == 0 {
                from_inside = self.guard.was_inside.load(Ordering::Relaxed);
            }
            let status = answer.status().as_u16();
            if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                return receive(answer, ask, to);
            }
            let location = word(answer.headers(), &header::LOCATION).unwrap_or_default();
            if ask.form.is_some() {
                return Err(Missed::Redirected("what is posted is not sent elsewhere".into()));
            }
            url = next(&url, &location).map_err(Missed::Redirected)?;
        }
        Err(Missed::Redirected(format!("more than {HOPS} times")))
    }

    fn send(
        &self,
        ask: &Ask,
        url: &Uri,
        left: Duration,
        abroad: bool,
    ) -> Result<Response<Body>, ureq::Error> {
        let mut request = Request::builder().uri(url);
        for (name, value) in ask.headers.iter().filter(|_| !abroad) {
            request = request.header(name, value);
        }
        let with_time = |body| self.agent.configure_request(body).timeout_global(Some(left)).build();
        match &ask.form {
            None => self.agent.run(with_time(request.body(String::new())?)),
            Some(form) => {
                let request = request.method("POST").header(header::CONTENT_TYPE, FORM).body(form.clone())?;
                self.agent.run(with_time(request))
            }
        }
    }
}

/// At which port a server is asked.
fn port(url: &Uri) -> Option<u16> {
    url.port_u16().or(match url.scheme_str() {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    })
}

const FORM: &str = "application/x-www-form-urlencoded";

/// The addresses of a name.
pub(super) fn addresses(name: &str, within: Duration) -> Result<Vec<IpAddr>, Missed> {
    let (to, from) = sync_channel(1);
    let name = format!("{name}:0");
    // The resolver cannot be told to hurry; its thread ends when it has given up.
    thread::spawn(move || to.send(name.to_socket_addrs().map(|all| all.map(|at| at.ip()).collect())).ok());
    match from.recv_timeout(within) {
        Ok(Ok(addresses)) => Ok(addresses),
        // The resolver tells by a text only whether there is no such name, or nobody who could say so.
        Ok(Err(error)) if error.to_string().contains("Temporary") => {
            Err(Missed::Unreachable(error.to_string()))
        }
        Ok(Err(_)) => Ok(Vec::new()),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Err(Missed::Slow(within)),
    }
}

fn read_roots(file: &Path) -> io::Result<RootCerts> {
    let pem = fs::read(file)?;
    // One that is not understood is not believed; the others are.
    let found: Vec<Certificate<'static>> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "holds no certificate"));
    }
    Ok(RootCerts::new_with_certs(&found))
}

fn receive(
    mut answer: Response<Body>,
    ask: &Ask,
    to: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<Head, Missed> {
    let headers = answer.headers();
    let head = Head {
        status: answer.status().as_u16(),
        etag: word(headers, &header::ETAG),
        last_modified: word(headers, &header::LAST_MODIFIED),
        retry_after: word(headers, &header::RETRY_AFTER).and_then(|text| text.parse().ok()),
    };
    let encoding = word(headers, &header::CONTENT_ENCODING).unwrap_or_default().to_ascii_lowercase();
    if !matches!(encoding.as_str(), "" | "identity" | "gzip" | "x-gzip") {
        return Err(Missed::Broken(format!("it is packed by {encoding}, which nobody asked for")));
    }
    let failed = |error: io::Error| missed(ureq::Error::from(error), ask);
    // What is packed is never larger than what is allowed of it unpacked.
    let packed = Capped { from: answer.body_mut().with_config().limit(u64::MAX).reader(), left: ask.most };
    let boxed: Box<dyn Read + '_> = Box::new(packed);
    let mut from = if ask.unpack || encoding.contains("gzip") {
        unpack::unpacked(boxed).map_err(failed)?
    } else {
        boxed
    };
    let (mut left, mut part) = (ask.most, vec![0; PART]);
    loop {
        let read = from.read(&mut part).map_err(failed)?;
        if read == 0 {
            return Ok(head);
        }
        left = left.checked_sub(read as u64).ok_or(Missed::Large(ask.most))?;
        to(part.get(..read).unwrap_or_default()).map_err(|error| Missed::Gone(error.to_string()))?;
    }
}

/// Not more than is allowed; the next byte is an error, and not an end.
struct Capped<R> {
    from: R,
    left: u64,
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into)?;
        self.left = self.left.checked_sub(read as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(read)
    }
}

fn word(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?;
    (text.len() <= WORD).then(|| text.to_owned())
}

fn missed(error: ureq::Error, ask: &Ask) -> Missed {
    use ureq::Error;
    match error {
        Error::Timeout(_) => Missed::Slow(ask.within),
        // Its text holds the whole URL, and that may hold a key.
        Error::BadUri(_) => Missed::Wrong("no URL".into()),
        Error::Http(error) => Missed::Wrong(error.to_string()),
        Error::HostNotFound => Missed::Unreachable("nobody knows its name".into()),
        Error::Rustls(error) => Missed::Certificate(error.to_string()),
        Error::Tls(text) => Missed::Certificate(text.into()),
        Error::Io(error) => match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Missed::Slow(ask.within),
            io::ErrorKind::FileTooLarge => Missed::Large(ask.most),
            io::ErrorKind::UnexpectedEof => Missed::Broken("it ends in the middle".into()),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => told_by_tls(&error),
            io::ErrorKind::PermissionDenied if error.to_string() == INSIDE => {
                Missed::Redirected(INSIDE.into())
            }
            _ => Missed::Unreachable(error.to_string()),
        },
        Error::LargeResponseHeader(..) => Missed::Broken("its headers are too long".into()),
        other => Missed::Broken(other.to_string()),
    }
}

/// TLS tells its errors as errors of reading.
fn told_by_tls(error: &io::Error) -> Missed {
    let text = error.to_string();
    match text.contains("certificate") {
        true => Missed::Certificate(text),
        false => Missed::Broken(text),
    }
}

fn http_only(url: &Uri) -> Result<(), String> {
    let host = url.host().filter(|host| !host.is_empty());
    match (url.scheme_str(), host) {
        (Some("http" | "https"), Some(_)) => Ok(()),
        _ => Err(format!("`{}` is neither http:// nor https://", shown(&url.to_string()))),
    }
}

/// Where a server that was asked for `url` sends us.
fn next(url: &Uri, location: &str) -> Result<Uri, String> {
    let location = location.split('#').next().unwrap_or_default();
    let scheme = url.scheme_str().unwrap_or("https");
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let text = if location.is_empty() {
        return Err("without a place".into());
    } else if location.contains("://") {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        let folder = url.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    };
    let next: Uri = text.parse().map_err(|_| format!("`{}` is no URL", shown(location)))?;
    http_only(&next)?;
    match (scheme, next.scheme_str()) {
        ("https", Some("http")) => Err(format!("from https to `{}`", shown(&next.to_string()))),
        _ => Ok(next),
    }
}

/// Why a server was not asked to which another one sent us.
const INSIDE: &str = "to an address of a private network";

/// Whether an address is one of the whole internet, and none of `own`. Addresses with another one in them lead wherever that one does, and
/// of those only a translator's are in use.
pub(super) fn is_public(addr: IpAddr, own: &[IpAddr]) -> bool {
    let addr = addr::canonical(addr);
    let addr = match addr {
        IpAddr::V6(v6) => match v6.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                IpAddr::from((u32::from(high) << 16 | u32::from(low)).to_be_bytes())
            }
            [0x2002, ..] | [0x2001, 0, ..] => return false,
            _ => addr,
        },
        IpAddr::V4(_) => addr,
    };
    Subject::address(addr).is_some() && !own.contains(&addr)
}

/// The addresses of this machine: what listens there may believe whoever comes from here.
pub(super) fn own_addresses() -> Vec<IpAddr> {
    let all = getifaddrs().into_iter().flatten().filter_map(|at| at.address);
    let ip = |at: SockaddrStorage| match (at.as_sockaddr_in(), at.as_sockaddr_in6()) {
        (Some(v4), _) => Some(IpAddr::V4(v4.ip())),
        (_, Some(v6)) => Some(IpAddr::V6(v6.ip())),
        _ => None,
    };
    all.filter_map(ip).collect()
}

/// The resolver of this host, which lets no server send us to a neighbour of ours.
#[derive(Debug)]
struct Guarded {
    usual: DefaultResolver,
    guard: Arc<Guard>,
}

impl Resolver for Guarded {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.usual.resolve(uri, config, timeout)?;
        // The proxy was chosen by the owner.
        if config.proxy().is_some_and(|proxy| proxy.uri() == uri) {
            return Ok(found);
        }
        let own = own_addresses();
        let inside = found.iter().any(|at: &SocketAddr| !is_public(at.ip(), &own));
        self.guard.was_inside.store(inside, Ordering::Relaxed);
        if inside && self.guard.only_public.load(Ordering::Relaxed) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, INSIDE).into());
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_with_a_neighbour_in_it_is_public() {
        let own = ["9.9.9.9".parse().expect("ip")];
        for (addr, public) in [
            ("8.8.8.8", true),
            ("9.9.9.9", false),
            ("::ffff:9.9.9.9", false),
            ("192.168.1.1", false),
            ("0.0.0.0", false),
            ("2001:4860::8888", true),
            ("64:ff9b::808:808", true),
            ("64:ff9b::c0a8:101", false),
            ("64:ff9b:1::808:808", false),
            ("2002:c0a8:101::1", false),
            ("2001:0:808:808::1", false),
            ("::192.168.1.1", false),
            ("::8.8.8.8", false),
            ("fd00::1", false),
        ] {
            assert_eq!(is_public(addr.parse().expect("ip"), &own), public, "{addr}");
        }
        assert!(own_addresses().iter().any(IpAddr::is_loopback));
    }

    #[test]
    fn a_server_leads_on_as_browsers_follow_it_and_never_out_of_tls() {
        let from: Uri = "https://a.example:8443/lists/all.txt?x=1".parse().expect("url");
        for (location, to) in [
            ("https://b.example/x", "https://b.example/x"),
            ("//b.example/x", "https://b.example/x"),
            ("/x?y#z", "https://a.example:8443/x?y"),
            ("x.txt", "https://a.example:8443/lists/x.txt"),
        ] {
            assert_eq!(next(&from, location).expect(location).to_string(), to);
        }
        for location in [
            "",
            "#top",
            "http://a.example:8443/x",
            "ftp://a.example/",
            "file:///etc/passwd",
            "https://",
            "\u{0}",
        ] {
            assert!(next(&from, location).is_err(), "{location}");
        }
        let plain: Uri = "http://a.example/x".parse().expect("url");
        assert_eq!(next(&plain, "https://a.example/x").expect("up").scheme_str(), Some("https"));
        assert!(next(&plain, "http://a.example/y").is_ok(), "it was never safe");
    }
}
