//! What is told to whoever asks: how things are with peers, and what they say.

use serde_json::{Value, json};
use slips_p2p::envelope;
use slips_p2p::identity::{NetId, NodeId};
use slips_p2p::indicator::Indicator;
use slips_p2p::live::Word;
use slips_p2p::message::Message;

use super::Peers;
use crate::control::{Answer, Ask, PeersAsk};

/// Most reports of one answer: it is one line of bounded length.
const MOST: usize = 150;

impl Peers {
    /// Answers a command.
    pub(super) fn answer(&mut self, ask: &Ask) -> Answer {
        match ask {
            Ask::Peers(PeersAsk::Reload) => self.reload(),
            Ask::Peers(PeersAsk::Status) => Ok(self.status().to_string()),
            Ask::Peers(PeersAsk::Reports(about)) => {
                let about = about.as_deref().map(indicator).transpose()?;
                Ok(self.reports(about.as_ref()).to_string())
            }
            _ => Err("peers know nothing of that".into()),
        }
    }

    fn status(&self) -> Value {
        let now = self.now();
        let node = match (self.is_active(), self.node.is_up()) {
            (false, _) => "off",
            (true, true) => "running",
            (true, false) => "down",
        };
        let quarantined: Vec<NodeId> =
            self.council.standings().filter(|(_, standing)| standing.quarantined).map(|(id, _)| id).collect();
        let peers: Vec<Value> = self
            .members
            .admitted(now)
            .into_iter()
            .map(|id| {
                json!({
                    "id": id.to_string(),
                    "connected": self.node.is_connected(id),
                    "last_seen_ms": self.last_seen.get(&id).map(|at| at.0),
                    "trust": self.council.trust(id, &self.members, now),
                    "quarantined": quarantined.contains(&id),
                })
            })
            .collect();
        let lists: Vec<Value> = self
            .followed
            .counts()
            .map(|((by, list), entries)| {
                json!({ "by": by.to_string(), "list": list.to_string(), "entries": entries })
            })
            .collect();
        let status = self.node.status();
        let count = |pairs: Vec<(&'static str, u64)>| -> Value {
            pairs.into_iter().filter(|(_, n)| *n > 0).map(|(name, n)| (name.to_owned(), json!(n))).collect()
        };
        json!({
            "node": node,
            "mode": self.council.mode().name(),
            "listening": self.node.listening(),
            "starts": self.node.starts,
            "reports": self.council.live().len(),
            "blocks": self.council.blocks().count() + self.council.orders().count(),
            "breaker_until_ms": self.council.breaker(now).map(|until| until.0),
            "clock": self.clock().is_sane(),
            "accepted": status.map(|s| count(s.accepted.iter().map(|(kind, n)| (kind.name(), *n)).collect())),
            "refused": status.map(|s| count(s.refused.iter().map(|(why, n)| (why.name(), *n)).collect())),
            "dropped": status.map(|s| s.news_dropped + s.publish_dropped).unwrap_or(0) + self.node.unsaid_dropped,
            "lists": lists,
            "peers": peers,
        })
    }

    fn reports(&mut self, about: Option<&Indicator>) -> Value {
        let now = self.now();
        let mut words: Vec<&Word> = match about {
            Some(indicator) => self.council.live().about(indicator).collect(),
            None => self.council.live().iter().collect(),
        };
        words.retain(|word| word.until > now);
        words.sort_by_key(|word| std::cmp::Reverse(word.at));
        let more = words.len() > MOST;
        let words: Vec<Word> = words.into_iter().take(MOST).cloned().collect();
        // What came a moment ago is looked up like all else.
        self.write();
        let reports: Vec<Value> = words.iter().map(|word| report_of(word, &self.evidence_of(word))).collect();
        let mut told = json!({ "reports": reports, "more": more });
        if let (Some(indicator), Some(told)) = (about, told.as_object_mut()) {
            let opinion = self.council.opinion(indicator, &self.members, now);
            told.insert("weight".into(), json!(opinion.weight));
            told.insert("groups".into(), json!(opinion.groups));
        }
        told
    }

    /// The evidence that the author named: it stands in what he signed, and is kept nowhere else.
    fn evidence_of(&mut self, word: &Word) -> Vec<String> {
        let Some(psk) = self.psk() else { return Vec::new() };
        let mut kept = None;
        self.in_book(|book| {
            kept = book.envelope(&word.author.0, &word.indicator.to_string())?;
            Ok(())
        });
        let opened = kept.and_then(|envelope| envelope::open(&envelope, NetId::of(&psk)).ok());
        match opened.map(|opened| opened.message) {
            Some(Message::Report(report)) => report.evidence,
            Some(Message::Block(block)) => block.report.evidence,
            _ => Vec::new(),
        }
    }
}

fn report_of(word: &Word, evidence: &[String]) -> Value {
    json!({
        "by": word.author.to_string(),
        "about": word.indicator.to_string(),
        "kind": if word.own_block { "block" } else { "report" },
        "score": word.score.share(),
        "confidence": word.confidence.share(),
        "evidence": evidence,
        "issued_ms": word.at.0,
        "until_ms": word.until.0,
    })
}

/// What somebody typed.
fn indicator(text: &str) -> Result<Indicator, String> {
    let read = match text.parse() {
        Ok(net) => Indicator::net(net),
        Err(_) if text.starts_with("ja4:") => Indicator::ja4(text.trim_start_matches("ja4:")),
        Err(_) => Indicator::domain(text),
    };
    read.map_err(|error| format!("`{}` is nothing that a peer reports: {error}", text.escape_debug()))
}
