//! `slips intel jarm`: the fingerprint of a TLS server that a person names.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde_json::json;
use slips_core::intel::{Intelligence, Key};
use slips_store::Answers;

use super::{Exit, Failure, print_object, print_out, unreadable, wall_clock};
use crate::config::Config;
use crate::lists::{self, Copy, Lists};
use crate::outside::process::Restarting;
use crate::outside::{Asks, Missed, Reach};
use crate::services::{self, KEPT, jarm};

pub(super) fn run(config: &Config, lists: &Lists, server: &str, json: bool) -> Result<(), Failure> {
    let (host, port) = parts(server).ok_or_else(|| {
        Failure::new(Exit::Usage, format!("`{server}` is no server; write HOST, HOST:PORT or [IPv6]:PORT"))
    })?;
    let mut process =
        Restarting::started(config.outside.means(), Arc::default()).map_err(Failure::software)?;
    let asked = process.jarm(&jarm::question(host.clone(), port, Reach::Anywhere));
    let found = asked.map_err(|missed| {
        let exit = if matches!(missed, Missed::Wrong(_)) { Exit::Usage } else { Exit::TryAgain };
        Failure::new(exit, format!("{server}: {missed}"))
    })?;
    let at = SocketAddr::new(found.address, port);
    keep(config, at, &found.fingerprint);
    let loaded = lists.load(Copy::Leave).map_err(unreadable)?;
    let listed = loaded.indicators.look_up(Key::Jarm(&found.fingerprint));
    if json {
        let row = |listed: slips_core::intel::Listed<'_>| {
            json!({
                "level": listed.level.name(), "description": listed.description, "sources": listed.sources,
                "tags": listed.tags,
            })
        };
        let told = json!({
            "host": host, "address": found.address, "port": port, "jarm": found.fingerprint,
            "listed": listed.map(row).into_iter().collect::<Vec<_>>(),
        });
        return print_object(&told);
    }
    let listed = match listed {
        Some(listed) => format!("listed as {listed}"),
        None if found.fingerprint == slips_intel::jarm::NOTHING => {
            "speaks no TLS that it was asked for".into()
        }
        None => "not listed".into(),
    };
    print_out(&format!("{at}: {}: {listed}\n", found.fingerprint))
}

/// So that a profile shows it, where whoever asks may write there.
fn keep(config: &Config, at: SocketAddr, fingerprint: &str) {
    let path = config.output.directory.join(services::ANSWERS);
    let now = wall_clock() / 1_000_000;
    let until = now.saturating_add(jarm::HOLDS.as_secs().cast_signed());
    let kept = serde_json::to_string(&jarm::opinion(fingerprint)).unwrap_or_default();
    let written = lists::make_directory(&config.output.directory).is_ok()
        && lists::open_or_make(&path).is_ok()
        && Answers::open(path)
            .and_then(|mut answers| answers.put(jarm::NAME, &jarm::subject(at), &kept, (now, until), KEPT))
            .is_ok();
    if !written {
        eprintln!(
            "slips: not kept for the profile, since {} cannot be written to",
            config.output.directory.display()
        );
    }
}

/// Host and port, 443 where there is none.
fn parts(server: &str) -> Option<(String, u16)> {
    let bare = server.trim_start_matches('[').trim_end_matches(']');
    if let Ok(addr) = bare.parse::<IpAddr>() {
        return Some((addr.to_string(), 443));
    }
    if let Ok(at) = server.parse::<SocketAddr>() {
        return Some((at.ip().to_string(), at.port())).filter(|(_, port)| *port > 0);
    }
    let (name, port) = match server.rsplit_once(':') {
        Some((name, port)) => (name, port.parse().ok().filter(|port| *port > 0)?),
        None => (server, 443),
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let good = !name.is_empty() && name.len() <= slips_intel::jarm::LONGEST_HOST && name.bytes().all(plain);
    good.then(|| (name.to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn servers_as_people_write_them() {
        for (text, parsed) in [
            ("Bad.example", Some(("bad.example", 443))),
            ("bad.example:8443", Some(("bad.example", 8443))),
            ("203.0.113.9", Some(("203.0.113.9", 443))),
            ("203.0.113.9:1", Some(("203.0.113.9", 1))),
            ("2001:db8::1", Some(("2001:db8::1", 443))),
            ("[2001:db8::1]", Some(("2001:db8::1", 443))),
            ("[2001:db8::1]:8443", Some(("2001:db8::1", 8443))),
            ("bad.example:", None),
            ("bad.example:0", None),
            ("bad.example:70000", None),
            ("https://bad.example", None),
            ("", None),
        ] {
            assert_eq!(parts(text), parsed.map(|(host, port)| (host.to_owned(), port)), "{text}");
        }
    }
}
