//! What an administrator asks of the running daemon.

use std::net::IpAddr;
use std::time::Duration;

use slips_core::addr::Net;
use slips_firewall::{BlockRequest, Error, Manner, Origin, rest};

use super::batch::{Batch, Done, Ground, Wanted};
use super::holds::{Hold, Holder};
use super::{Responder, text_of};
use crate::config::Mode;
use crate::control::{Answer, Ask, not_blocked};
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
            Ask::Peers(_) | Ask::Reload => Err("the responder knows nothing of that".into()),
            Ask::Unblock(net) => self.unblock_by_hand(*net),
            Ask::Block { .. } if self.policy.mode == Mode::Monitor => {
                Err("nothing is blocked: slips only watches (monitor mode)".into())
            }
            Ask::Block { .. } if self.idle => {
                Err("this daemon stands by: block on the one that acts, `slips fleet` shows it".into())
            }
            Ask::Block { net, secs, why } => self.block_by_hand(*net, Duration::from_secs(*secs), why),
        }
    }

    fn unblock_by_hand(&mut self, net: Net) -> Answer {
        let was = self.let_in(net, "hand", "lifted by hand");
        // Afterwards, as it may be this that finds the book unwritable; and whatever the kernel says: it is a person's will.
        if self.is_behind() {
            self.let_in.by_hand(net);
        }
        if was.map_err(text_of)? {
            Ok(format!("{net} is no longer blocked{}", self.unless_behind()))
        } else {
            Err(not_blocked(net))
        }
    }

    /// The whitelist leaves somebody alone from now on. What a person blocked stays blocked.
    pub(super) fn spare(&mut self, addr: IpAddr, why: &str) {
        let net = Net::host(addr);
        let held = self.standing.iter().filter(|(held, _)| held.overlaps(net));
        let by_hand: Vec<bool> = held.map(|(_, standing)| standing.of(&Holder::Hand).is_some()).collect();
        // Blocks of a book that is not open are not known yet.
        if self.is_behind() && !by_hand.contains(&true) {
            self.let_in.spare(net);
        }
        if by_hand.is_empty() || by_hand.contains(&true) {
            return;
        }
        if let Err(error) = self.let_in(net, "whitelist", why) {
            self.degraded("the firewall", &error);
        }
    }

    /// Whether the book may have blocks that stand no more.
    const fn is_behind(&self) -> bool {
        self.behind.is_some() || self.book.is_none()
    }

    /// Lets a network in, whoever keeps it out; whether anybody did.
    fn let_in(&mut self, net: Net, by: &str, why: &str) -> Result<bool, Error> {
        let was = self.firewall().and_then(|firewall| firewall.unblock(net))?;
        self.failed.retain(|failed| !failed.touches(net));
        let touched: Vec<Net> = self.standing.nets().filter(|held| net.overlaps(*held)).collect();
        let mut lifted = Vec::new();
        for held in touched {
            match rest(held, net).as_slice() {
                [] => lifted.push(held),
                pieces => self.keep_rest(held, pieces),
            }
        }
        if !was && lifted.is_empty() {
            return Ok(false);
        }
        self.end_for_good(&lifted, by, why);
        if lifted.is_empty() {
            self.report_unblock(net, why);
            self.journal.send(&entries::unblock(net, why));
        }
        Ok(true)
    }

    /// A person's word: it holds over a power cut, too.
    fn end_for_good(&mut self, nets: &[Net], by: &str, why: &str) {
        self.end_all(nets, by, why);
        self.in_book(|book| book.durably(|_| Ok(())));
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
        let lifted: Vec<Net> = self.standing.nets().collect();
        self.end_for_good(&lifted, "hand", "all blocks were lifted by hand");
        if self.is_behind() {
            self.let_in.all();
        }
        Ok(format!("{} blocks lifted, nothing of slips is left in the firewall", lifted.len()))
    }

    fn block_by_hand(&mut self, net: Net, term: Duration, why: &str) -> Answer {
        self.firewall().map_err(text_of)?;
        let asked = BlockRequest { by: Origin::Manual, ..BlockRequest::new(net, term, "") };
        let mut batch = Batch::default();
        let judged = self.judge(&asked).and_then(|judged| match self.too_many_inside(&mut batch, judged.0) {
            Some(reason) => Err(reason),
            None => Ok(judged),
        });
        if let Err(reason) = &judged {
            self.refuse_word(net, &Holder::Hand, reason, why);
        }
        let (net, term) = judged?;
        let now = (self.clocks.steady)();
        let left = self.standing.ours_until(net).saturating_sub(now);
        if left >= term {
            return Ok(format!("{net} is blocked for another {} s already", left.as_secs()));
        }
        let known = self.standing.get(net).and_then(|standing| standing.of(&Holder::Hand)).cloned();
        let hold = Hold {
            by: Holder::Hand,
            since: known.as_ref().map_or(now, |hold| hold.since),
            until: now.saturating_add(term),
            id: known.and_then(|hold| hold.id),
            unproven: false,
            manner: Manner::Drop,
        };
        batch.want(Wanted { net, hold, ground: Ground::Word(why.to_owned()), again: None });
        match self.commit(&mut batch).pop() {
            Some(Done::Held) => {
                let paused = if self.paused.is_some() { ", and kept out when the pause is over" } else { "" };
                Ok(format!("{net} is blocked for {} s{paused}{}", term.as_secs(), self.unless_behind()))
            }
            Some(Done::Refused(refusal)) => Err(refusal.to_string()),
            Some(Done::Failed(error)) => Err(error),
            None => Err("nothing was done".into()),
        }
    }
}
