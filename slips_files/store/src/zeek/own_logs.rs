//! Logs that Zeek does not have, in its form: attempts to log in, requests, neighbour discovery.

use slips_core::event::Event;
use slips_core::exchange::{Auth, Operation};
use slips_core::neighbour::{Discovery, Neighbour, RouterAdvertisement};

use super::logs::about;
use super::row::{Field, IfEmpty, Row, fields};

pub(super) const AUTH: &[Field] = fields! { about;
    "proto": "enum", "service": "string", "user": "string", "domain": "string", "host": "string", "method": "string",
    "outcome": "string", "reason": "string", "clear_password": "bool",
};
pub(super) const OPERATION: &[Field] = fields! { about;
    "proto": "enum", "service": "string", "action": "string", "object": "string", "subject": "string", "detail": "string",
    "status": "string",
};
pub(super) const NEIGHBOUR: &[Field] = fields! {
    "ts": "time", "orig_h": "addr", "resp_h": "addr", "src_mac": "string", "message": "string", "target": "addr",
    "link_addr": "string", "router": "bool", "solicited": "bool", "override": "bool", "destination": "addr",
    "lifetime": "interval", "prefixes": "vector[string]", "dns": "vector[addr]", "managed": "bool", "other": "bool",
    "preference": "string", "mtu": "count",
};

/// Writes the values of an event of these logs.
pub(super) fn fill(row: &mut Row<'_>, event: &Event) {
    match event {
        Event::Auth(attempt) => auth(row, attempt),
        Event::Operation(asked) => operation(row, asked),
        Event::Neighbour(message) => neighbour(row, message),
        _ => {}
    }
}

fn auth(row: &mut Row<'_>, auth: &Auth) {
    about(row, &auth.about);
    row.shown("proto", Some(auth.about.proto));
    row.shown("service", Some(auth.app.name()));
    row.text("user", &auth.user);
    row.text("domain", &auth.domain);
    row.text("host", &auth.host);
    row.text("method", &auth.method);
    row.shown("outcome", Some(auth.outcome.name()));
    row.text("reason", &auth.reason);
    row.flag("clear_password", Some(auth.clear_password));
}

fn operation(row: &mut Row<'_>, asked: &Operation) {
    about(row, &asked.about);
    row.shown("proto", Some(asked.about.proto));
    row.shown("service", Some(asked.app.name()));
    row.shown("action", Some(asked.action));
    row.text("object", &asked.object);
    row.text("subject", &asked.subject);
    row.text("detail", &asked.detail);
    row.text("status", &asked.status);
}

fn neighbour(row: &mut Row<'_>, said: &Neighbour) {
    row.time("ts", said.at);
    row.addr("orig_h", Some(said.src));
    row.addr("resp_h", Some(said.dst));
    row.shown("src_mac", said.frame_src);
    row.shown("message", Some(said.message.name()));
    row.shown("target", said.message.target());
    row.shown("link_addr", said.message.link());
    match &said.message {
        Discovery::Advertisement { is_router, is_solicited, overrides, .. } => {
            row.flag("router", Some(*is_router));
            row.flag("solicited", Some(*is_solicited));
            row.flag("override", Some(*overrides));
        }
        Discovery::Redirect { destination, .. } => row.shown("destination", Some(*destination)),
        Discovery::RouterAdvertisement(router) => router_row(row, router),
        Discovery::Solicitation { .. } | Discovery::RouterSolicitation { .. } => {}
    }
}

fn router_row(row: &mut Row<'_>, router: &RouterAdvertisement) {
    row.span("lifetime", Some(router.lifetime));
    let prefixes = router.prefixes.iter().map(|prefix| format!("{}/{}", prefix.net, prefix.len));
    row.texts("prefixes", prefixes, IfEmpty::Unset);
    row.texts("dns", router.dns.iter().map(ToString::to_string), IfEmpty::Unset);
    row.flag("managed", Some(router.is_managed));
    row.flag("other", Some(router.has_other));
    let preference = match router.preference {
        1 => "high",
        -1 => "low",
        _ => "medium",
    };
    row.shown("preference", Some(preference));
    row.number("mtu", router.mtu.map(u64::from));
}
