//! Trying the kernel, with an address that nobody has: what it can do, and whether blocking blocks.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use slips_core::addr::Net;

use super::{Features, Nftables};
use crate::{Backend as _, BlockRequest, Change, Count, Error, SelfTest};

impl Nftables {
    /// Finds out what the kernel can do, with an address of TEST-NET that nobody has.
    pub(super) fn probe(&mut self) -> Result<(), Error> {
        let wanted = self.features;
        let before = self.probe_left()?;
        // First: a kernel that cannot destroy refuses all that comes with it.
        self.features = Features { refresh: false, destroy: true, ..wanted };
        let destroyed = self.apply(&[Change::Unblock(Net::host(PROBE.into()))]).is_ok();
        self.features = Features { refresh: true, destroy: destroyed, ..wanted };
        self.apply(&[block_probe(Duration::from_secs(60))])?;
        self.apply(&[block_probe(Duration::from_secs(600))])?;
        let refreshed = self.probe_left()?.is_some_and(|left| left > Duration::from_secs(60));
        self.features.refresh = wanted.refresh && refreshed;
        self.features.destroy = wanted.destroy && destroyed;
        self.end_probe(before)
    }

    fn probe_left(&mut self) -> Result<Option<Duration>, Error> {
        Ok(self.left(&[Net::host(PROBE.into())])?.pop().flatten())
    }

    /// Sends a packet to the probe while it is blocked: what became of it, and whether the entry counted it.
    fn try_probe(&mut self) -> Result<(io::Result<usize>, bool), Error> {
        let probe = Net::host(PROBE.into());
        self.apply(&[block_probe(Duration::from_secs(2))])?;
        // From the first question on it is counted.
        let before = self.count(probe)?;
        let sent = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
            .and_then(|socket| socket.send_to(&[], (PROBE, DISCARD)));
        let after = self.count(probe)?;
        let packets = |count: Option<Count>| count.map_or(0, |count| count.packets);
        Ok((sent, packets(after) > packets(before)))
    }

    /// Leaves the address of the probe as it was, should somebody have blocked it.
    fn end_probe(&mut self, before: Option<Duration>) -> Result<(), Error> {
        let unblock = Change::Unblock(Net::host(PROBE.into()));
        self.apply(&[before.map_or(unblock, block_probe)])
    }

    /// Blocks an address that nobody has for two seconds and sends a packet there: the kernel must refuse it, and the entry must have
    /// counted it, or another program's rule is what refused it.
    pub(super) fn try_blocking(&mut self) -> Result<SelfTest, Error> {
        if self.paused {
            return Ok(SelfTest::Unknown);
        }
        let before = self.probe_left()?;
        let (sent, counted) = self.try_probe()?;
        self.end_probe(before)?;
        match sent {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                Ok(if counted { SelfTest::Blocks } else { SelfTest::Shadowed })
            }
            Err(_) => Ok(SelfTest::Unknown),
            Ok(_) => Err(Error::NotBlocking),
        }
    }
}

fn block_probe(for_: Duration) -> Change {
    Change::Block(BlockRequest {
        exact: true,
        ..BlockRequest::new(Net::host(PROBE.into()), for_, "self-test")
    })
}

/// The last but many of TEST-NET-1, RFC 5737: addresses that nobody has.
pub(crate) const PROBE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
/// The discard service, RFC 863.
const DISCARD: u16 = 9;
