//! What a service can be asked about, in a form that tells nothing of our own hosts.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use slips_core::addr;

/// Something that our hosts met.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A public address.
    Address(IpAddr),
    /// A registered domain, or a name below one.
    Domain(Box<str>),
    /// A page, without its query and what looks like one, which may hold what is private.
    Page(Box<str>),
    /// A file, by its MD5, SHA-1 or SHA-256 in small hexadecimal digits.
    File(Box<str>),
    /// A TLS server at a public address.
    Server(SocketAddr),
}

/// Ends of names that belong to nobody in the whole internet, or to everybody.
const LOCAL: [&str; 12] = [
    "local",
    "localhost",
    "lan",
    "home",
    "internal",
    "intranet",
    "corp",
    "private",
    "arpa",
    "test",
    "example",
    "invalid",
];
/// Longest page.
const LONGEST: usize = 1024;

impl Subject {
    /// An address of the whole internet.
    pub fn address(addr: IpAddr) -> Option<Self> {
        let addr = addr::canonical(addr);
        let documented = match addr {
            IpAddr::V4(v4) => v4.is_unspecified() || v4.is_broadcast() || v4.octets()[0] >= 224,
            IpAddr::V6(v6) => v6.is_unspecified() || v6.segments()[0] & 0xe000 != 0x2000,
        };
        let public = addr::is_interesting(addr) && !addr::is_private(addr) && !documented;
        public.then_some(Self::Address(addr))
    }

    /// A server at an address of the whole internet.
    pub fn server(addr: IpAddr, port: u16) -> Option<Self> {
        match Self::address(addr)? {
            Self::Address(addr) if port > 0 => Some(Self::Server(SocketAddr::new(addr, port))),
            _ => None,
        }
    }

    /// A name in a zone that there is for everybody.
    pub fn domain(name: &str) -> Option<Self> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.len() > 253 || !name.chars().all(plain) || name.parse::<IpAddr>().is_ok() {
            return None;
        }
        let zone = name.rsplit('.').next().unwrap_or_default();
        if LOCAL.contains(&zone) || !name.contains('.') || !slips_intel::is_known_zone(&name) {
            return None;
        }
        Some(Self::Domain(name.into()))
    }

    /// The part of a name that somebody registered.
    pub fn registered(name: &str) -> Option<Self> {
        let Self::Domain(name) = Self::domain(name)? else { return None };
        slips_intel::registered(&name).map(|domain| Self::Domain(domain.into()))
    }

    /// A page of a server that everybody reaches, without its query, parameters and addresses of mail.
    pub fn page(host: &str, path: &str) -> Option<Self> {
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (name, Some(port)),
            _ => (host, None),
        };
        let name = match name.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(addr) => match Self::address(addr)? {
                Self::Address(addr @ IpAddr::V6(_)) => format!("[{addr}]"),
                other => other.to_string(),
            },
            Err(_) => Self::domain(name)?.to_string(),
        };
        let path = path.split(['?', '#', ';', '=']).next().unwrap_or_default();
        // Before an `@` is who somebody is.
        let path = match path.split_once('@') {
            Some((who, _)) => who.rsplit_once('/').map_or("", |(folder, _)| folder),
            None => path,
        };
        let path = if path.starts_with('/') { path } else { "/" };
        if path.len() > LONGEST || path.bytes().any(|byte| byte <= b' ' || byte >= 0x7f) {
            return None;
        }
        let port = port.filter(|port| *port != "80").map(|port| format!(":{port}")).unwrap_or_default();
        Some(Self::Page(format!("http://{name}{port}{path}").into()))
    }

    /// What a person writes.
    pub fn read(text: &str) -> Option<Self> {
        if let Some((scheme, rest)) = text.split_once("://") {
            let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            return matches!(scheme, "http" | "https").then(|| Self::page(host, path)).flatten();
        }
        match text.parse() {
            Ok(addr) => Self::address(addr),
            Err(_) => Self::file(text).or_else(|| Self::registered(text)),
        }
    }

    /// A file by its digest.
    pub fn file(digest: &str) -> Option<Self> {
        let fits =
            matches!(digest.len(), 32 | 40 | 64) && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        fits.then(|| Self::File(digest.to_ascii_lowercase().into()))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(addr) => addr.fmt(f),
            Self::Server(at) => at.fmt(f),
            Self::Domain(text) | Self::Page(text) | Self::File(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(subject: Option<Subject>) -> Option<String> {
        subject.map(|subject| subject.to_string())
    }

    #[test]
    fn nothing_private_can_be_asked_about() {
        for addr in [
            "10.0.0.1",
            "192.168.1.1",
            "172.16.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.1.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:192.168.1.1",
            "64:ff9b::a00:1",
        ] {
            assert_eq!(Subject::address(addr.parse().expect(addr)), None, "{addr}");
        }
        for name in [
            "printer.local",
            "nas.lan",
            "router.home.arpa",
            "1.1.168.192.in-addr.arpa",
            "intranet",
            "wiki.corp",
            "192.168.1.1",
            "a b.com",
            "x.internal",
            "",
            ".",
            "com",
            "host.notazone",
        ] {
            assert_eq!(Subject::domain(name), None, "{name}");
        }
        for host in ["192.168.1.1", "nas.lan", "10.0.0.1:8080", "[fd00::1]", "", "user@example.org"] {
            assert_eq!(Subject::page(host, "/x"), None, "{host}");
        }
        assert_eq!(Subject::file("0123"), None);
        assert_eq!(Subject::file(&"g".repeat(32)), None);
    }

    #[test]
    fn what_is_public_is_asked_about_in_one_form() {
        assert_eq!(text(Subject::address("::ffff:8.8.8.8".parse().expect("ip"))).as_deref(), Some("8.8.8.8"));
        assert_eq!(text(Subject::domain("WWW.Wikipedia.org.")).as_deref(), Some("www.wikipedia.org"));
        assert_eq!(text(Subject::registered("a.b.bbc.co.uk")).as_deref(), Some("bbc.co.uk"));
        assert_eq!(Subject::registered("co.uk"), None);
        for (host, path, page) in [
            ("bad.example.org:80", "/a?token=secret#x", "http://bad.example.org/a"),
            ("bad.example.org:8080", "no path", "http://bad.example.org:8080/"),
            ("bad.example.org", "/a;session=secret/b", "http://bad.example.org/a"),
            ("bad.example.org", "/a/token=secret", "http://bad.example.org/a/token"),
            ("bad.example.org", "/leave/me@example.org/b", "http://bad.example.org/leave"),
            ("bad.example.org", "/@me", "http://bad.example.org/"),
            ("8.8.8.8", "/bin.sh", "http://8.8.8.8/bin.sh"),
            ("[2001:4860::8888]:81", "/x", "http://[2001:4860::8888]:81/x"),
        ] {
            assert_eq!(text(Subject::page(host, path)).as_deref(), Some(page));
        }
        let md5 = "D41D8CD98F00B204E9800998ECF8427E";
        assert_eq!(text(Subject::file(md5)).as_deref(), Some("d41d8cd98f00b204e9800998ecf8427e"));
    }
}
