//! Netlink sockets: nftables, and the routes. The only place of this crate with `unsafe`.
//!
//! `nftnl` frames a transaction and writes chains and rules. What it cannot write (table flags, set flags, element timeouts) and
//! everything that is read is encoded and decoded here in safe code ([`wire`]): libnftnl's getters dereference null when an
//! attribute is absent. What is left for `unsafe` is two short impls in [`raw`].

#[allow(unsafe_code)]
mod raw;
mod routes;
mod socket;
pub(crate) mod wire;

pub(crate) use raw::Objref;
pub(crate) use routes::gateways;
pub(crate) use socket::{Socket, Transaction};
