//! What an administrator asks of the running daemon.

use std::time::Duration;

use slips_core::addr::Net;
use slips_core::time::PacketTime;
use slips_firewall::{BlockRequest, Manner, Origin, Outcome, rest};
use slips_store::NewBlock;

use super::{Responder, Standing, micros, text_of};
use crate::config::Mode;
use crate::control::{Answer, Ask};
use crate::daemon::entries;

impl Responder {
    /// Does what is asked.
    pub(super) fn do_as_asked(&mut self, ask: &Ask) -> Answer {
        match ask {
            Ask::Flush => self.flush(),
            Ask::Status => self.status(),
            Ask::Explain(net) => self.explain(*net),
            Ask::Count(net) => self.count_of(*net),
            Ask::Pause(_) | Ask::Resume if self.policy.mode == Mode::Monitor => {
                Err("there is nothing to pause: slips only watches (monitor mode)".into())
            }
            Ask::Pause(secs) => {
                self.pause(Duration::from_secs(*secs)).map_err(text_of)?;
                Ok(format!("nobody is kept out for {secs} s; `slips firewall resume` ends that"))
            }
            Ask::Resume => Ok(if self.resume().map_err(text_of)? {
                "blocking goes on".into()
            } else {
                "blocking was not paused".into()
            }),
            Ask::SelfTest => self.self_test(),
            Ask::Peers(_) => Err("this daemon talks with no peers".into()),
            Ask::Unblock(net) => self.unblock_by_hand(*net),
            Ask::Block { .. } if self.policy.mode == Mode::Monitor => {
                Err("nothing is blocked: slips only watches (monitor mode)".into())
            }
            Ask::Block { net, secs, why } => self.block_by_hand(*net, Duration::from_secs(*secs), why),
        }
    }

    fn unblock_by_hand(&mut self, net: Net) -> Answer {
        let was = self.firewall().and_then(|firewall| firewall.unblock(net)).map_err(text_of)?;
        self.failed.retain(|failed| !net.contains(failed.alert.attacker));
        let touched: Vec<Net> = self.standing.keys().copied().filter(|held| net.overlaps(*held)).collect();
        let mut lifted = Vec::new();
        for held in touched {
            match rest(held, net).as_slice() {
                [] => {
                    self.end(held, "lifted by hand");
                    lifted.push(held);
                }
                pieces => self.keep_rest(held, pieces),
            }
        }
        if !was && lifted.is_empty() {
            return Err(format!("{net} is not blocked"));
        }
        if lifted.is_empty() {
            self.journal.send(&entries::unblock(net, "lifted by hand"));
        }
        Ok(format!("{net} is no longer blocked"))
    }

    fn flush(&mut self) -> Answer {
        if let Some(firewall) = self.firewall.take() {
            firewall.remove().map_err(text_of)?;
        }
        if self.policy.mode == Mode::Monitor {
            // Nothing there is ours, but a former run's may be.
            (self.ways.sweep)().map_err(text_of)?;
        }
        self.failed.clear();
        self.paused = None;
        let lifted: Vec<Net> = self.standing.keys().copied().collect();
        for net in &lifted {
            self.end(*net, "all blocks were lifted by hand");
        }
        Ok(format!("{} blocks lifted, nothing of slips is left in the firewall", lifted.len()))
    }

    fn block_by_hand(&mut self, net: Net, term: Duration, why: &str) -> Answer {
        let request = BlockRequest { by: Origin::Manual, ..BlockRequest::new(net, term, why) };
        match self.firewall().and_then(|firewall| firewall.block(request)).map_err(text_of)? {
            Outcome::Refused(refusal) => Err(refusal.to_string()),
            Outcome::Kept { net, left } => {
                Ok(format!("{net} is blocked for another {} s already", left.as_secs()))
            }
            Outcome::Blocked { net, for_ } | Outcome::Extended { net, for_, .. } => {
                let wall = (self.clocks.wall)();
                let known = self.standing.get(&net).and_then(|block| block.id);
                let asked = NewBlock {
                    net,
                    reason: why.to_owned(),
                    alert: None,
                    source: "hand".into(),
                    from: wall,
                    until: Some(wall.saturating_add(micros(for_))),
                    unproven: false,
                    manner: Manner::Drop.name().into(),
                };
                self.prove(net);
                let id = self.enter(asked, known);
                self.stand(net, for_, Standing { id, by: Origin::Manual, ..Standing::default() });
                let entry = entries::block_by_hand(net, for_, PacketTime(wall), why, self.policy.mode);
                self.journal.send(&entry);
                Ok(format!("{net} is blocked for {} s", for_.as_secs()))
            }
        }
    }
}
