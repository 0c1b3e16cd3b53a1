//! Netlink sockets: nftables, and the routes. The only place of this crate with `unsafe`.
//!
//! `nftnl` frames a transaction. What is in it and everything that is read is encoded and decoded here in safe code ([`wire`]): `nftnl`
//! lacks most of what our table is made of, and libnftnl's getters dereference null when an attribute is absent. What is left for
//! `unsafe` is one short impl and a few socket options in [`raw`].

mod connections;
mod events;
mod links;
mod neighbours;
#[allow(unsafe_code)]
mod raw;
mod routes;
mod socket;
pub(crate) mod wire;

pub(crate) use connections::{Connections, answered};
pub(crate) use events::{Events, News};
pub(crate) use links::bridged;
pub(crate) use neighbours::{Machines, neighbours};
pub(crate) use routes::gateways;
pub(crate) use socket::{Socket, Transaction};
