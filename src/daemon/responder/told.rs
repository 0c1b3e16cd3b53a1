//! What the responder tells whoever asks: how blocking stands, and why somebody is blocked.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use slips_core::addr::Net;
use slips_core::time::PacketTime;
use slips_firewall::{Count, Counters, Error, Firewall, Origin, SelfTest};
use slips_store::{Block, render};

use super::holds::Holder;
use super::{Responder, micros, text_of};
use crate::config::Mode;
use crate::control::Answer;

impl Responder {
    /// How blocking stands.
    pub(super) fn status(&mut self) -> Answer {
        let counters = self.firewall().and_then(Firewall::counters_by).map_err(text_of)?;
        let dropped: serde_json::Map<String, Value> = Origin::ALL
            .iter()
            .zip(counters)
            .map(|(by, counted)| (by.name().to_owned(), counters_of(counted)))
            .collect();
        let unhealthy = self.gauges.unhealthy.load(Ordering::Relaxed);
        let now = (self.clocks.steady)();
        let blocking = match (self.policy.mode, self.paused) {
            (Mode::Monitor, _) => "watches only",
            (Mode::Enforce, Some(_)) => "paused",
            (Mode::Enforce, None) if unhealthy => "DOES NOT BLOCK",
            (Mode::Enforce, None) => "works",
        };
        let never_blocked: Vec<Value> = self
            .protected
            .iter()
            .take(MOST_PROTECTED)
            .map(|(net, why)| json!({"net": net.to_string(), "why": why.to_string()}))
            .collect();
        let status = json!({
            "mode": if self.policy.mode == Mode::Monitor { "monitor" } else { "enforce" },
            "blocking": blocking,
            "paused_seconds_left": self.paused.map(|until| until.saturating_sub(now).as_secs()),
            "blocks": self.standing.len(),
            "unproven": self.standing.unproven(),
            "not_yet_in_the_kernel": self.failed.len(),
            "protected": self.protected.iter().count(),
            "never_blocked": never_blocked,
            "refused": self.gauges.refused.load(Ordering::Relaxed),
            "dropped": dropped,
        });
        Ok(status.to_string())
    }

    /// Why a network is blocked, or is not.
    pub(super) fn explain(&mut self, net: Net) -> Answer {
        let left = self.firewall().and_then(|firewall| firewall.left(net)).map_err(text_of)?;
        let protected = self.protected.check(net).map(|(held, why)| format!("{held} is {why}"));
        let wall = (self.clocks.wall)();
        let since = wall.saturating_sub(micros(self.policy.history.0));
        let (mut blocks, mut earlier) = (Vec::new(), 0);
        let touched = self.standing.iter().filter(|(held, _)| held.overlaps(net));
        let touched: Vec<_> = touched.take(MOST).map(|(held, standing)| (held, standing.clone())).collect();
        self.in_book(|book| {
            for (held, standing) in touched {
                for hold in standing.holds() {
                    blocks.extend(hold.id.map(|id| book.get(id)).transpose()?.flatten());
                }
                let own = standing.of(&Holder::Alert).and_then(|hold| hold.id);
                earlier += book.repeats(held, own, since)?;
            }
            if blocks.is_empty() {
                earlier += book.repeats(net, None, since)?;
            }
            Ok(())
        });
        let told = json!({
            "net": net.to_string(),
            "left": left.map(|left| left.as_secs()),
            "protected": protected,
            "blocks": blocks.iter().map(block_of).collect::<Vec<_>>(),
            "earlier": earlier,
        });
        Ok(told.to_string())
    }

    /// How much was dropped of one address.
    pub(super) fn count_of(&mut self, net: Net) -> Answer {
        match self.firewall().and_then(|firewall| firewall.count(net)).map_err(text_of)? {
            Some(Count { packets, bytes }) => {
                Ok(format!("{net}: {packets} packets, {bytes} bytes since this was asked first"))
            }
            None => Err(format!("{net} has no block of its own")),
        }
    }

    /// Tries whether blocking blocks.
    pub(super) fn self_test(&mut self) -> Answer {
        if self.paused.is_some() {
            return Err("blocking is paused".into());
        }
        match self.firewall().and_then(Firewall::self_test) {
            Ok(SelfTest::Blocks) => Ok("blocking works: a packet to a blocked address was refused".into()),
            Ok(SelfTest::Unknown) if self.policy.mode == Mode::Monitor => {
                Err("nothing is blocked: slips only watches (monitor mode)".into())
            }
            Ok(SelfTest::Unknown) => Err("it cannot be told: there is no route to an address outside".into()),
            Ok(SelfTest::Shadowed) => Err(format!("it cannot be told: {SHADOWED}")),
            Err(Error::NotBlocking) => {
                Err("BLOCKING DOES NOT BLOCK: a packet to a blocked address was sent".into())
            }
            Err(error) => Err(text_of(error)),
        }
    }
}

fn counters_of(counted: Counters) -> Value {
    let count = |count: Count| json!({"packets": count.packets, "bytes": count.bytes});
    json!({
        "incoming": count(counted.incoming),
        "forwarded": count(counted.forwarded),
        "outgoing": count(counted.outgoing),
    })
}

fn block_of(block: &Block) -> Value {
    let asked = &block.asked;
    json!({
        "net": asked.net.to_string(),
        "source": asked.source,
        "reason": asked.reason,
        "alert": asked.alert.map(|alert| alert.to_string()),
        "manner": asked.manner,
        "from": render::iso(PacketTime(asked.from)),
        "until": asked.until.map(|until| render::iso(PacketTime(until)).to_string()),
        "unproven": asked.unproven,
    })
}

/// The self-test's packet was dropped, and not by us.
pub(super) const SHADOWED: &str = "a packet to a blocked address was refused, but by a rule of another program, before ours saw it; `nft list ruleset` shows whose";

/// Networks that are never blocked and told one by one: an answer has 64 KiB.
const MOST_PROTECTED: usize = 400;
/// Blocks that are told of one network.
const MOST: usize = 32;
