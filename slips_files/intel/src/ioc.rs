//! Indicators of compromise, as lists write them.

use std::net::IpAddr;

use slips_core::addr::{self, Net};

use crate::snapshot::decode;

/// One indicator in its one form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ioc {
    /// An address or a network.
    Net(Net),
    /// A domain: lower case, no final dot. It stands for all below it, unless it is one under which anybody may register.
    Domain(Box<str>),
    /// `host`, `:port` where it is not 80, and the path: see [`Ioc::url`].
    Url(Box<str>),
    /// Digest of a file.
    Md5([u8; 16]),
    /// Digest of a file.
    Sha1([u8; 20]),
    /// Digest of a file.
    Sha256([u8; 32]),
    /// Fingerprint of a TLS client.
    Ja3([u8; 16]),
    /// Fingerprint of a TLS server.
    Ja3s([u8; 16]),
    /// Fingerprint of a TLS client.
    Ja4(Box<str>),
    /// Fingerprint of a TLS server that was asked ten times.
    Jarm([u8; 31]),
    /// SHA-1 of a certificate.
    Certificate([u8; 20]),
    /// An autonomous system.
    Asn(u32),
}

/// Why a text is no indicator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnIoc {
    /// Nothing that is known.
    #[error("`{0}` is no address, network, domain, URL, digest, fingerprint or autonomous system (AS64496)")]
    Unknown(Box<str>),
    /// The network is a large part of the address space.
    #[error("{0} is too wide a network to be malicious as a whole")]
    TooWide(Net),
    /// The network is multicast, loopback or the like.
    #[error("{0} is no host's address")]
    Nobody(Net),
}

/// Shortest prefixes that are taken.
pub(crate) const WIDEST_V4: u8 = 8;
pub(crate) const WIDEST_V6: u8 = 16;
/// Longest URL that is kept.
const MAX_URL: usize = 2048;

impl Ioc {
    /// What a text is, by its looks: a plain digest is that of a file. `hxxp`, `[.]` and `[:]`, by which people make texts harmless, are
    /// undone.
    ///
    /// # Errors
    /// When it is nothing that is known, or a network that cannot be meant.
    pub fn guess(text: &str) -> Result<Self, NotAnIoc> {
        let text = text.trim();
        // Before anything is made of it: lists are written by others.
        if text.len() > MAX_URL {
            return Err(unknown(text));
        }
        let text = &*refang(text);
        if let Ok(net) = text.parse::<Net>() {
            return Self::net(net);
        }
        let asn = text.get(..2).filter(|head| head.eq_ignore_ascii_case("as")).and(text.get(2..));
        if let Some(number) = asn.and_then(|digits| digits.trim().parse().ok()) {
            return Ok(Self::Asn(number));
        }
        if text.contains("://") {
            return Self::url(text).ok_or_else(|| unknown(text));
        }
        match text.len() {
            32 => decode(text).map(Self::Md5),
            40 => decode(text).map(Self::Sha1),
            64 => decode(text).map(Self::Sha256),
            62 => decode(text).map(Self::Jarm),
            36 => Self::ja4(text),
            _ => None,
        }
        .or_else(|| domain(text).map(Self::Domain))
        // As lists of servers write them; the port is left out.
        .or_else(|| {
            let host = without_port(text)?;
            let net = host.parse::<Net>().ok().map(Self::net);
            net.map_or_else(|| domain(host).map(Self::Domain), Result::ok)
        })
        // `host/path` and `host:port/path`, as lists of URLs without a scheme write them.
        .or_else(|| is_bare_url(text).then(|| Self::url(text)).flatten())
        .ok_or_else(|| unknown(text))
    }

    /// A network, unless it cannot be meant.
    ///
    /// # Errors
    /// When it is wider than /8 (IPv6 /16), or of addresses that are no host's.
    pub fn net(net: Net) -> Result<Self, NotAnIoc> {
        let widest = if net.addr().is_ipv4() { WIDEST_V4 } else { WIDEST_V6 };
        if net.prefix() < widest {
            Err(NotAnIoc::TooWide(net))
        } else if addr::is_interesting(net.addr()) {
            Ok(Self::Net(net))
        } else {
            Err(NotAnIoc::Nobody(net))
        }
    }

    /// A URL without its scheme, its user, the port 80 of `http` and 443 of `https`, and what follows `#`; the host in lower case, the
    /// path at least `/`.
    pub fn url(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at_checked(end)?;
        let host = host.rsplit('@').next().unwrap_or_default();
        let usual = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
        let host = host.strip_suffix(usual).unwrap_or(host);
        let host = host.strip_suffix('.').unwrap_or(host);
        let slash = if path.starts_with('/') { "" } else { "/" };
        let name = host_of(host);
        let good = rest.len() <= MAX_URL
            && !rest.contains(|c: char| c.is_ascii_control() || c == ' ')
            && (name.parse::<IpAddr>().is_ok() || domain(name).is_some());
        good.then(|| Self::Url(format!("{}{slash}{path}", host.to_ascii_lowercase()).into()))
    }

    /// A JA4 fingerprint: three parts, as in `t13d1516h2_8daaf6152771_b186095e22b6`.
    pub fn ja4(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let lengths: Vec<usize> = text.split('_').map(str::len).collect();
        let good = lengths == [10, 12, 12] && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        good.then(|| Self::Ja4(text.into()))
    }
}

/// The host without a port and brackets.
pub(crate) fn host_of(host: &str) -> &str {
    if let Some(inner) = host.strip_prefix('[') {
        return inner.split(']').next().unwrap_or_default();
    }
    match host.split_once(':') {
        Some((name, port)) if !port.contains(':') => name,
        _ => host,
    }
}

/// Has a path, and is no network with a prefix that is too long.
fn is_bare_url(text: &str) -> bool {
    text.split_once('/').is_some_and(|(host, path)| {
        host_of(host).parse::<IpAddr>().is_err() || !path.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// The host of `host:port`.
fn without_port(text: &str) -> Option<&str> {
    let (host, port) = text.rsplit_once(':')?;
    let is_port = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    let host = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
    (is_port && (host.contains('.') || host.contains(':'))).then_some(host)
}

fn unknown(text: &str) -> NotAnIoc {
    NotAnIoc::Unknown(excerpt(text))
}

pub(crate) fn excerpt(text: &str) -> Box<str> {
    text.chars().take(64).collect::<String>().into()
}

fn refang(text: &str) -> std::borrow::Cow<'_, str> {
    let defanged = text.contains("[.]")
        || text.contains("[:]")
        || text.contains("(.)")
        || text.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("hxxp"));
    if !defanged {
        return text.into();
    }
    let text = text.replace("[.]", ".").replace("(.)", ".").replace("[:]", ":");
    match text.get(..4) {
        Some(head) if head.eq_ignore_ascii_case("hxxp") => {
            format!("http{}", text.get(4..).unwrap_or_default()).into()
        }
        _ => text.into(),
    }
}

/// A domain name in its one form: lower case, no final dot, no leading `*.`.
pub(crate) fn domain(text: &str) -> Option<Box<str>> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let name = name.strip_suffix('.').unwrap_or(name);
    let label_is_good = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last_is_a_name =
        name.rsplit('.').next().is_some_and(|label| label.bytes().any(|b| !b.is_ascii_digit()));
    let good =
        name.len() <= 253 && name.contains('.') && last_is_a_name && name.split('.').all(label_is_good);
    good.then(|| name.to_ascii_lowercase().into())
}

/// Whether anybody may register below this name (`co.uk`, `github.io`): then it says nothing of what is below it.
pub(crate) fn is_public_suffix(name: &str) -> bool {
    psl::suffix(name.as_bytes())
        .is_some_and(|suffix| suffix.is_known() && suffix.as_bytes() == name.as_bytes())
}

/// Whether there are names in this zone: in the public suffix list, or Tor's.
pub fn is_known_zone(name: &str) -> bool {
    name.ends_with(".onion") || psl::suffix(name.as_bytes()).is_some_and(|suffix| suffix.is_known())
}

/// The part of a name (lower case) that somebody registered with a registry: `a.b.example.co.uk` is `example.co.uk`. Names below what a company lets others
/// have (`x.github.io`) are that company's.
pub fn registered(name: &str) -> Option<&str> {
    let mut suffix = psl::suffix(name.as_bytes())?;
    while suffix.typ() == Some(psl::Type::Private) {
        let text = str::from_utf8(suffix.as_bytes()).ok()?;
        suffix = psl::suffix(text.split_once('.')?.1.as_bytes())?;
    }
    let zone = suffix.as_bytes().len();
    let before = name.len().checked_sub(zone + 1).filter(|_| suffix.is_known())?;
    let begin = name.get(..before)?.rfind('.').map_or(0, |dot| dot + 1);
    name.get(begin..).filter(|domain| domain.len() > zone + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_text_that_is_too_long_or_has_port_after_port_is_refused() {
        assert!(Ioc::guess("a.example:1:1:1:1").is_err());
        let long = format!("a.example{}", ":1".repeat(500_000));
        assert!(Ioc::guess(&long).is_err());
        assert!(Ioc::guess(&long[..2047]).is_err());
    }

    #[test]
    fn texts_are_what_they_look_like() {
        let url = |text: &str| Ioc::Url(text.into());
        let domain = |text: &str| Ioc::Domain(text.into());
        for (text, ioc) in [
            ("192.0.2.1", Ioc::Net("192.0.2.1".parse().expect("net"))),
            (" 192[.]0[.]2[.]1 ", Ioc::Net("192.0.2.1".parse().expect("net"))),
            ("2001:db8::/32", Ioc::Net("2001:db8::/32".parse().expect("net"))),
            ("as64496", Ioc::Asn(64496)),
            ("Bad.Example.", domain("bad.example")),
            ("bad[.]example", domain("bad.example")),
            ("profiles-and-urls.type.example", domain("profiles-and-urls.type.example")),
            ("hxxp://Bad[.]Example/A?b=C#d", url("bad.example/A?b=C")),
            ("https://u:p@bad.example:443", url("bad.example/")),
            ("http://bad.example:80?x", url("bad.example/?x")),
            ("http://192.0.2.1:8080/bin.sh", url("192.0.2.1:8080/bin.sh")),
            ("http://[2001:db8::1]:8080/x", url("[2001:db8::1]:8080/x")),
            ("bad.example/file.exe", url("bad.example/file.exe")),
            ("bad.example:8080/file.exe", url("bad.example:8080/file.exe")),
            ("192.0.2.1:4444", Ioc::Net("192.0.2.1".parse().expect("net"))),
            ("[2001:db8::1]:4444", Ioc::Net("2001:db8::1".parse().expect("net"))),
            ("bad.example:4444", domain("bad.example")),
            (
                "D41D8CD98F00B204E9800998ECF8427E",
                Ioc::guess("d41d8cd98f00b204e9800998ecf8427e").expect("md5"),
            ),
            ("t13d1516h2_8daaf6152771_B186095E22B6", Ioc::Ja4("t13d1516h2_8daaf6152771_b186095e22b6".into())),
        ] {
            assert_eq!(Ioc::guess(text), Ok(ioc), "{text}");
        }
        assert!(matches!(Ioc::guess(&"ab".repeat(20)), Ok(Ioc::Sha1(_))));
        assert!(matches!(Ioc::guess(&"ab".repeat(32)), Ok(Ioc::Sha256(_))));
        assert!(matches!(Ioc::guess(&"ab".repeat(31)), Ok(Ioc::Jarm(_))));
    }

    #[test]
    fn what_is_nothing_or_cannot_be_meant() {
        for text in [
            "",
            "x",
            "com",
            "192.0.2.999",
            "192.0.2.1/33",
            "a b.example",
            "http://",
            "http://x/",
            "-a.b",
            "x@y.example",
        ] {
            assert!(matches!(Ioc::guess(text), Err(NotAnIoc::Unknown(_))), "{text}");
        }
        for text in ["0.0.0.0/0", "::/0", "10.0.0.0/7"] {
            assert!(matches!(Ioc::guess(text), Err(NotAnIoc::TooWide(_))), "{text}");
        }
        for text in ["127.0.0.1", "ff02::1", "224.0.0.0/8"] {
            assert!(matches!(Ioc::guess(text), Err(NotAnIoc::Nobody(_))), "{text}");
        }
    }

    #[test]
    fn names_under_which_anybody_may_register() {
        for (name, public) in [
            ("co.uk", true),
            ("github.io", true),
            ("duckdns.org", true),
            ("example.co.uk", false),
            ("bad.example", false),
        ] {
            assert_eq!(is_public_suffix(name), public, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}") {
            let _ = Ioc::guess(&text);
        }
    }

    #[test]
    fn what_somebody_registered_is_told_by_the_suffixes_of_registries() {
        for (name, domain) in [
            ("a.b.example.co.uk", Some("example.co.uk")),
            ("example.com", Some("example.com")),
            ("x.y.github.io", Some("github.io")),
            ("github.io", Some("github.io")),
            ("co.uk", None),
            ("com", None),
            ("host.notazone", None),
            ("", None),
            (".com", None),
        ] {
            assert_eq!(registered(name), domain, "{name}");
        }
    }
}
