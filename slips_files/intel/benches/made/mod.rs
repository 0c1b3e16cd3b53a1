//! A million indicators as lists have them, the same in every run.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use slips_core::addr::Net;
use slips_core::evidence::ThreatLevel;
use slips_intel::{Builder, Indicators, Ioc, Saying};

const INDICATORS: usize = 1_000_000;

/// Numbers that look random and are the same in every run.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub fn v4(&mut self) -> IpAddr {
        // Routed, unicast.
        let bits = 0x0b00_0000 + (self.next() as u32) % 0x7000_0000;
        IpAddr::V4(Ipv4Addr::from_bits(bits))
    }

    pub fn v6(&mut self) -> IpAddr {
        let bits = 0x2000_u128 << 112 | u128::from(self.next()) << 50 | u128::from(self.next());
        IpAddr::V6(Ipv6Addr::from_bits(bits))
    }

    /// As lists have them: 18 characters on average.
    pub fn domain(&mut self) -> String {
        let (n, zones) = (self.next(), ["com", "net", "top", "xyz", "ru", "info", "co.uk", "org"]);
        let length = 6 + n as usize % 12;
        let name: String = (0..length).map(|_| char::from(b'a' + (self.next() % 26) as u8)).collect();
        format!("{name}.{}", zones[n as usize % zones.len()])
    }
}

/// Half addresses, a third domains, the rest URLs, digests, networks and addresses of version 6, of ten feeds.
pub fn rows() -> Vec<(Ioc, usize)> {
    let mut numbers = Numbers(1);
    let row = |n: usize, numbers: &mut Numbers| match n % 20 {
        0..10 => Ioc::Net(Net::host(numbers.v4())),
        10..16 => Ioc::Domain(numbers.domain().into()),
        16 => Ioc::Url(format!("{}/{:x}.exe", numbers.domain(), numbers.next()).into()),
        17 => {
            let mut digest = [0; 32];
            digest.iter_mut().for_each(|byte| *byte = numbers.next() as u8);
            Ioc::Sha256(digest)
        }
        18 => Ioc::Net(Net::new(numbers.v4(), 24).expect("a prefix")),
        _ => Ioc::Net(Net::host(numbers.v6())),
    };
    (0..INDICATORS).map(|n| (row(n, &mut numbers), n % 10)).collect()
}

/// The snapshot of them.
pub fn build(rows: &[(Ioc, usize)]) -> Indicators {
    let mut builder = Builder::new();
    for (n, (ioc, feed)) in rows.iter().enumerate() {
        // A tenth of the feeds' rows have a description of their own.
        let description = if n % 10 == 0 { format!("sample {}", n % 1000) } else { "botnet".into() };
        let source = format!("feed {feed}");
        let (level, tags) = (ThreatLevel::Medium, "malicious");
        let saying =
            Saying { level, description: &description, source: &source, tags, first_seen: 0, last_seen: 0 };
        assert!(builder.add(ioc, &saying));
    }
    builder.finish()
}
