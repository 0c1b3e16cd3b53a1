//! The blocks that stand. There may be a hundred thousand of them, so what is to be sent of them is a list of their rows, and some of it is read
//! and sent at a time.

use std::collections::BTreeMap;

use ::redis::{Cmd, cmd};
use slips_core::addr::Net;
use slips_core::time::PacketTime;

use super::super::VERSION;
use super::super::keys::Channel;
use super::super::message::{BlockTold, json};
use super::{BLOCK, Mirror, del, publish, seconds, set, zadd};
use crate::sink::StoreError;
use crate::sqlite::{Block, Mark, Stories};

/// Blocks that are read and sent at a time.
const SOME: usize = 128;

/// What was told of blocks, and what is still to be sent. Rows are taken from the end.
#[derive(Default)]
pub(super) struct Blocks {
    /// How each stood when it was told: until when, and whether its sender could be forged.
    told: BTreeMap<Net, (i64, bool)>,
    /// Networks that Redis has and that are not blocked.
    strange: Vec<String>,
    /// Blocks that are over.
    over: Vec<Net>,
    /// Rows that are to be told, and rows that are to be written only.
    changed: Vec<i64>,
    again: Vec<i64>,
}

impl Mirror {
    /// The blocks that stand, as the book has them: what is new, changed or over is to be told. Wall time, in microseconds.
    pub fn blocks(&mut self, standing: &[Mark], now: i64, out: &mut Vec<Cmd>) {
        let strongest = strongest(standing);
        let blocks = &mut self.blocks;
        blocks.over = blocks.told.keys().filter(|net| !strongest.contains_key(net)).copied().collect();
        let is_new = |mark: &&Mark| blocks.told.get(&mark.net) != Some(&(until(mark.until), mark.unproven));
        blocks.changed = strongest.into_values().filter(is_new).map(|mark| mark.row).collect();
        out.push(self.sweep_blocks(now));
    }

    /// All blocks are to be sent anew, and what Redis has beside them to be taken out; also because some stand for longer than keys live.
    pub fn renew_blocks(&mut self, standing: &[Mark], had: Vec<String>) {
        let strongest = strongest(standing);
        self.blocks.again = strongest.values().map(|mark| mark.row).collect();
        let stands = |net: &String| net.parse().is_ok_and(|net: Net| strongest.contains_key(&net));
        self.blocks.strange = had.into_iter().filter(|net| !stands(net)).collect();
    }

    /// Whether something of the blocks is still to be sent.
    pub fn has_blocks(&self) -> bool {
        let Blocks { strange, over, changed, again, .. } = &self.blocks;
        !(strange.is_empty() && over.is_empty() && changed.is_empty() && again.is_empty())
    }

    /// Sends some of it.
    ///
    /// # Errors
    /// When the book cannot be read.
    pub fn some_blocks(&mut self, book: &Stories, now: i64, out: &mut Vec<Cmd>) -> Result<(), StoreError> {
        for net in some(&mut self.blocks.strange) {
            self.take_block(&net, out);
        }
        for net in some(&mut self.blocks.over) {
            let lifted = self.blocks.told.remove(&net).is_some_and(|(until, _)| until > now);
            self.unblock(net, if lifted { "lifted" } else { "its time is over" }, out);
        }
        let changed = some(&mut self.blocks.changed);
        for block in book.blocks_in(&changed)? {
            self.tell_block(&block, out);
            self.put_block(&block, now, out);
        }
        if changed.is_empty() {
            let again = some(&mut self.blocks.again);
            for block in book.blocks_in(&again)? {
                match self.blocks.told.get(&block.asked.net) {
                    Some(told) if *told == mark(&block) => {}
                    // It was told otherwise, and so it was written, since these rows were looked up.
                    Some(_) => continue,
                    // What is written is known to be there, or its end would go unseen.
                    None => self.tell_block(&block, out),
                }
                self.put_block(&block, now, out);
            }
        }
        Ok(())
    }

    fn tell_block(&mut self, block: &Block, out: &mut Vec<Cmd>) {
        self.blocks.told.insert(block.asked.net, mark(block));
        out.push(publish(Channel::Blocking, &json(&BlockTold::new(block, self.router()))));
    }

    fn put_block(&self, block: &Block, now: i64, out: &mut Vec<Cmd>) {
        let (all, key) = (self.keys().blocked(), self.keys().block(block.asked.net));
        let until = until(block.asked.until);
        // One without an end lives as long as other keys, and is set anew before that.
        let left = u64::try_from(until.saturating_sub(now) / 1_000_000).unwrap_or(0).saturating_add(1);
        let told = self.sealed(BLOCK, &key, "", json(&BlockTold::new(block, self.router())));
        out.push(set(&key, &told, left.min(self.settings.ttl.max(1))));
        self.keep(&all, [zadd(&all, seconds(PacketTime(until)), &block.asked.net.to_string())], out);
    }

    fn unblock(&self, net: Net, why: &str, out: &mut Vec<Cmd>) {
        self.take_block(&net.to_string(), out);
        let told = format!(
            "{{\"version\":{VERSION},\"router\":\"{}\",\"ip\":\"{net}\",\"block\":false,\"reason\":\"{why}\"}}",
            self.router(),
        );
        out.push(publish(Channel::Blocking, &told));
    }

    fn sweep_blocks(&self, now: i64) -> Cmd {
        let mut sweep = cmd("ZREMRANGEBYSCORE");
        sweep.arg(self.keys().blocked()).arg("-inf").arg(seconds(PacketTime(now)));
        sweep
    }

    fn take_block(&self, net: &str, out: &mut Vec<Cmd>) {
        let mut zrem = cmd("ZREM");
        zrem.arg(self.keys().blocked()).arg(net);
        out.push(zrem);
        if let Ok(net) = net.parse() {
            out.push(del(&self.keys().block(net)));
        }
    }
}

fn some<T>(all: &mut Vec<T>) -> Vec<T> {
    all.split_off(all.len().saturating_sub(SOME))
}

/// Of several holds of one network the last to end.
fn strongest(standing: &[Mark]) -> BTreeMap<Net, &Mark> {
    let mut strongest: BTreeMap<Net, &Mark> = BTreeMap::new();
    for mark in standing {
        let held = strongest.entry(mark.net).or_insert(mark);
        if until(mark.until) > until(held.until) {
            *held = mark;
        }
    }
    strongest
}

fn mark(block: &Block) -> (i64, bool) {
    (until(block.asked.until), block.asked.unproven)
}

/// When a block ends, in microseconds; one without an end does so in the far future.
fn until(at: Option<i64>) -> i64 {
    at.unwrap_or(i64::MAX / 2)
}
