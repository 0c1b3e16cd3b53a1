//! Our table as a whole: is it there, whose is it, away with it, what did it count.

use nix::errno::Errno;

use super::layout::{self, Direction, MARK, OBJECT_COUNTER, PERSIST, TABLE};
use crate::netlink::wire::{self, DUMP, FAMILY_BRIDGE, FAMILY_INET, Kind, Message};
use crate::netlink::{Socket, Transaction};
use crate::{Count, Counters, Error, Origin};

/// What is under our name.
pub(super) enum Found {
    /// Nothing.
    None,
    /// A table without our mark.
    Foreign,
    /// A table that we or a former process of us made.
    Ours {
        /// The socket that owns it now.
        owner: Option<u32>,
        /// It was made to outlive its owner.
        persistent: bool,
    },
}

/// Looks for our table of this family.
pub(super) fn find_in(socket: &mut Socket, family: u8) -> Result<Found, Error> {
    let mut question = Message::new(Kind::GetTable, 0).in_family(family);
    question.text(1, TABLE);
    let mut found = Found::None;
    let verdicts = socket.ask(std::slice::from_ref(&question), |_, table| {
        let mark = wire::attribute(table, 6).unwrap_or_default();
        let ours = mark.get(2..).and_then(|text| text.strip_suffix(&[0])).is_some_and(is_our_mark);
        found = if ours {
            let flags = wire::be32(table, 2).unwrap_or(0);
            Found::Ours { owner: wire::be32(table, 7), persistent: flags & PERSIST != 0 }
        } else {
            Found::Foreign
        };
    })?;
    match verdicts.first().copied().unwrap_or(0) {
        0 => Ok(found),
        errno if errno == Errno::ENOENT as i32 => Ok(Found::None),
        errno => Err(Error::unread("look for the table", errno)),
    }
}

/// Looks for our table.
pub(super) fn find(socket: &mut Socket) -> Result<Found, Error> {
    find_in(socket, FAMILY_INET)
}

/// How often nftables was changed in this network namespace, by anybody.
pub(super) fn generation(socket: &mut Socket) -> Result<u32, Error> {
    let question = Message::new(Kind::GetGen, 0);
    let mut generation = None;
    let verdicts =
        socket.ask(std::slice::from_ref(&question), |_, told| generation = wire::be32(told, GENERATION))?;
    match verdicts.into_iter().find(|errno| *errno != 0) {
        Some(errno) => Err(Error::unread("ask how often it was changed", errno)),
        None => generation.ok_or(Error::Unanswered("how often it was changed")),
    }
}

/// How many rules our table has; none when there is no table.
pub(super) fn rules(socket: &mut Socket, family: u8) -> Result<usize, Error> {
    let mut question = Message::new(Kind::GetRule, DUMP).in_family(family);
    question.text(1, TABLE);
    socket.dump("read the rules", &question, |count: &mut usize, _| *count += 1)
}

/// Any layout of ours, also a later one.
fn is_our_mark(text: &[u8]) -> bool {
    let name = MARK.trim_end_matches(|c: char| c.is_ascii_digit());
    text.starts_with(name.as_bytes())
}

/// Removes our tables; whether there was one.
pub(super) fn remove(socket: &mut Socket) -> Result<bool, Error> {
    remove_bridge(socket)?;
    remove_in(socket, FAMILY_INET)
}

/// Removes our table of the bridges; none, or one of somebody else, is left as it is, and a kernel without them has none.
pub(super) fn remove_bridge(socket: &mut Socket) -> Result<(), Error> {
    match find_in(socket, FAMILY_BRIDGE) {
        Ok(Found::Ours { .. }) => remove_in(socket, FAMILY_BRIDGE).map(drop),
        Ok(Found::None | Found::Foreign) => Ok(()),
        Err(error) if error.errno().is_some() => Ok(()),
        Err(error) => Err(error),
    }
}

fn remove_in(socket: &mut Socket, family: u8) -> Result<bool, Error> {
    match find_in(socket, family)? {
        Found::None => return Ok(false),
        Found::Foreign => return Err(Error::Foreign),
        Found::Ours { .. } => {}
    }
    let mut transaction = Transaction::new();
    transaction.turn_to(family);
    transaction.message("remove the table", &layout::table(Kind::DelTable, None));
    match socket.commit(transaction) {
        // Somebody was faster.
        Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(false),
        done => done.map(|()| true),
    }
}

/// Reads the counters, in the order of [`Origin::ALL`].
pub(super) fn counters(socket: &mut Socket) -> Result<[Counters; Origin::ALL.len()], Error> {
    let names =
        Origin::ALL.iter().flat_map(|by| Direction::ALL.map(|direction| layout::counter(*by, direction)));
    let questions: Vec<Message> = names
        .map(|name| {
            let mut question = Message::new(Kind::GetObj, 0);
            question.text(1, TABLE).text(2, &name).be32(3, OBJECT_COUNTER);
            question
        })
        .collect();
    let mut counts = vec![Count::default(); questions.len()];
    let verdicts = socket.ask(&questions, |index, object| {
        let read = wire::attribute(object, 4).unwrap_or_default();
        if let Some(count) = counts.get_mut(index) {
            *count =
                Count { bytes: wire::be64(read, 1).unwrap_or(0), packets: wire::be64(read, 2).unwrap_or(0) };
        }
    })?;
    if let Some(errno) = verdicts.into_iter().find(|errno| *errno != 0) {
        return Err(Error::unread("read a counter", errno));
    }
    let mut all = [Counters::default(); Origin::ALL.len()];
    for (by, counted) in all.iter_mut().zip(counts.chunks_exact(Direction::ALL.len())) {
        if let [incoming, forwarded, outgoing] = *counted {
            *by = Counters { incoming, forwarded, outgoing };
        }
    }
    Ok(all)
}

/// `NFTA_GEN_ID`.
const GENERATION: u16 = 1;
