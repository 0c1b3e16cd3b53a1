//! What other programs read. These types change only together with their version.

pub(crate) mod due;
pub mod idmef;

#[cfg(test)]
pub(crate) mod tests {
    //! Evidence and alerts for tests of this crate.

    use std::net::IpAddr;
    use std::sync::Arc;

    use slips_core::alert::{Alert, AlertId, Cause};
    use slips_core::evidence::{
        Confidence, Entity, Evidence, EvidenceKind, Finding, Proof, SharedEvidence, ThreatLevel,
    };
    use slips_core::flow::Proto;
    use slips_core::time::{PacketTime, WindowWidth};

    pub(crate) const AT: PacketTime = PacketTime(1_700_828_217_314_165);
    /// A wall clock that stands still.
    pub(crate) const fn clock() -> i64 {
        1_700_828_300_000_000
    }

    /// Evidence number `n`: 192.0.2.1 scans 198.51.100.`n`.
    pub(crate) fn evidence(n: u8) -> Evidence {
        let window = WindowWidth::HOUR.window_of(AT);
        let mut finding =
            Finding::new(EvidenceKind::VerticalPortScan, IpAddr::from([192, 0, 2, 1]), window, AT);
        finding.victim = Some(Entity::Ip(IpAddr::from([198, 51, 100, n])));
        finding.level = ThreatLevel::High;
        finding.confidence = Confidence::new(0.9);
        finding.proto = Some(Proto::Tcp);
        finding.text = "vertical port scan of 30 ports".into();
        finding.uids = vec![format!("C{n}a").as_str().into(), format!("C{n}b").as_str().into()];
        let id = finding.id();
        Evidence { id, finding, last_seen: AT, count: 1, accumulated: 0.72, proven: 0.72, revision: 0 }
    }

    pub(crate) fn alert(evidence: Vec<Evidence>) -> Alert {
        let attacker = IpAddr::from([192, 0, 2, 1]);
        let window = WindowWidth::HOUR.window_of(AT);
        let evidence: Vec<SharedEvidence> = evidence.into_iter().map(Arc::new).collect();
        Alert {
            id: AlertId::derive(attacker, window, 0),
            attacker,
            window,
            window_start: WindowWidth::HOUR.start_of(window),
            window_end: WindowWidth::HOUR.end_of(window),
            at: AT,
            cause: Cause::Accumulated,
            accumulated: 15.2,
            confidence: Confidence::new(0.58),
            proof: Proof::Proven,
            in_conversation: false,
            near_conversation: false,
            attacker_is_local: false,
            evidence,
        }
    }
}
