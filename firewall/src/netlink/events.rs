//! What others change: of our table in nftables, and of this host's addresses and routes. Reads without waiting.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, SockProtocol, recv};

use super::Socket;
use super::raw;
use super::wire;
use crate::Error;

/// The news since it was asked last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// Somebody else changed our table, or it cannot be told.
    pub(crate) table: bool,
    /// This host's addresses or routes changed.
    pub(crate) host: bool,
}

/// The sockets that hear of changes.
#[derive(Debug)]
pub(crate) struct Events {
    tables: Socket,
    /// Changes of tables are heard.
    listens: bool,
    host: Socket,
    datagram: Vec<u8>,
}

impl Events {
    /// In the network namespace of the calling thread. `own` is the socket whose own changes are no news.
    pub(crate) fn open(own: &Socket) -> Result<Self, Error> {
        let tables = Socket::open(SockProtocol::NetlinkNetFilter)?;
        let host = Socket::open(SockProtocol::NetlinkRoute)?;
        // Before it hears anything: of our own changes, each entry would come back as a message of its own.
        heard(raw::ignore_port(tables.fd(), own.port()))?;
        for group in GROUPS_HOST {
            heard(raw::join_group(host.fd(), group))?;
        }
        let mut this = Self { tables, listens: false, host, datagram: vec![0; DATAGRAM] };
        this.join_tables()?;
        Ok(this)
    }

    /// Whether changes of tables are heard.
    pub(crate) const fn hear_tables(&self) -> bool {
        self.listens
    }

    /// Hears of changes of tables from now on.
    pub(crate) fn join_tables(&mut self) -> Result<(), Error> {
        heard(raw::join_group(self.tables.fd(), GROUP_NFTABLES))?;
        self.listens = true;
        Ok(())
    }

    /// Hears of changes of tables no longer: what the kernel need not tell it does not write.
    pub(crate) fn leave_tables(&mut self) -> Result<(), Error> {
        heard(raw::leave_group(self.tables.fd(), GROUP_NFTABLES))?;
        self.listens = false;
        Ok(())
    }

    /// What can be read when there is news.
    pub(crate) fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.tables.fd().as_fd(), self.host.fd().as_fd()]
    }

    /// What has changed since the last time.
    pub(crate) fn news(&mut self, table: &str) -> News {
        let mut news = News::default();
        for _ in 0..READ_AT_ONCE {
            match recv(self.tables.fd().as_raw_fd(), &mut self.datagram, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => {
                    let datagram = self.datagram.get(..length).unwrap_or_default();
                    news.table |= wire::messages_of(datagram).any(|(kind, body)| concerns(kind, body, table));
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                // More was said than there is room for: check now.
                Err(_) => news.table = true,
            }
        }
        for _ in 0..READ_AT_ONCE {
            match recv(self.host.fd().as_raw_fd(), &mut self.datagram, MsgFlags::MSG_DONTWAIT) {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                Ok(_) | Err(_) => news.host = true,
            }
        }
        news
    }
}

fn heard(result: nix::Result<()>) -> Result<(), Error> {
    result.map_err(|errno| match errno {
        Errno::EPERM => Error::Denied,
        other => Error::Socket(other.into()),
    })
}

/// Whether a message tells of a change of the table with this name. All messages of nftables name their table in their first attribute;
/// that of a new generation, which ends each transaction, names none.
fn concerns(kind: u16, body: &[u8], table: &str) -> bool {
    let name = body.get(GENERIC_HEADER..).and_then(|attributes| wire::attribute(attributes, TABLE_NAME));
    kind >> 8 == SUBSYSTEM && name.and_then(|name| name.strip_suffix(&[0])) == Some(table.as_bytes())
}

/// So many datagrams are read before other work goes on; what is left is news the next time.
const READ_AT_ONCE: usize = 256;
/// Larger than any datagram of these groups.
const DATAGRAM: usize = 32 << 10;
const GENERIC_HEADER: usize = 4;
// linux/netfilter/nfnetlink.h: NFNLGRP_NFTABLES, NFNL_SUBSYS_NFTABLES; linux/rtnetlink.h: RTNLGRP_….
const GROUP_NFTABLES: u32 = 7;
const SUBSYSTEM: u16 = 10;
const TABLE_NAME: u16 = 1;
/// Addresses and routes of both families.
const GROUPS_HOST: [u32; 4] = [5, 7, 9, 11];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::wire::{Kind, Message};

    #[test]
    fn only_what_names_our_table_is_news() {
        let mut ours = Message::new(Kind::DelTable, 0);
        ours.text(1, "slips").text(2, "x");
        let mut theirs = Message::new(Kind::DelSetElem, 0);
        theirs.text(1, "slips2");
        let datagram = [theirs.finished(1), ours.finished(2)].concat();
        let told = |bytes: &[u8]| {
            wire::messages_of(bytes).map(|(kind, body)| concerns(kind, body, "slips")).collect::<Vec<_>>()
        };
        assert_eq!(told(&datagram), [false, true]);
        for at in 0..datagram.len() {
            told(&datagram[..at]);
            for value in 0..=255 {
                let mut changed = datagram.clone();
                changed[at] = value;
                told(&changed);
            }
        }
    }
}
