//! Who may ask what: as the kernel tells who is at the other end of a unix socket.

use std::ffi::CString;

use nix::sys::socket::UnixCredentials;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

use crate::daemon::peers::NodeProcess;

/// The group of those who may change what the daemon does.
pub const GROUP: &str = "slips";

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Nothing.
    Nothing,
    /// See the figures: whoever reaches the address that was set for them.
    Figures,
    /// Read all.
    Read,
    /// Change what the daemon does, too.
    Change,
}

/// Tells who may what.
#[derive(Clone, Debug)]
pub struct Doorman {
    /// It faces strangers, and may have our user.
    node: NodeProcess,
    own: Uid,
    /// Absent where there is no such group.
    group: Option<Gid>,
}

impl Doorman {
    /// For this daemon.
    pub fn new(node: NodeProcess) -> Self {
        Self { node, own: nix::unistd::geteuid(), group: group() }
    }

    /// Whether it is the process that talks with peers.
    pub fn is_node(&self, peer: &UnixCredentials) -> bool {
        self.node.is(peer.pid())
    }

    /// What can be told of these credentials at once; `None`: it takes a look into the groups of this host.
    pub fn at_once(&self, peer: &UnixCredentials) -> Option<Access> {
        if self.is_node(peer) {
            return Some(Access::Nothing);
        }
        if peer.uid() == 0 {
            return Some(Access::Change);
        }
        // Before the group: all processes of the unit have it, those that strangers talk with among them.
        if peer.uid() == self.own.as_raw() {
            return Some(Access::Read);
        }
        if self.group.is_some_and(|group| group.as_raw() == peer.gid()) {
            return Some(Access::Change);
        }
        if self.group.is_none() {
            return Some(self.without_groups(peer));
        }
        None
    }

    /// The same, with the groups of the user as this host's files have them.
    pub fn by_groups(&self, peer: &UnixCredentials) -> Access {
        let of_group = || {
            let user = User::from_uid(Uid::from_raw(peer.uid())).ok()??;
            let groups = getgrouplist(&CString::new(user.name).ok()?, user.gid).ok()?;
            Some(groups.contains(&self.group?))
        };
        match of_group() {
            Some(true) => Access::Change,
            _ => self.without_groups(peer),
        }
    }

    fn without_groups(&self, peer: &UnixCredentials) -> Access {
        if peer.uid() == self.own.as_raw() { Access::Read } else { Access::Nothing }
    }
}

/// The group's number on this host, if it has it.
pub fn group() -> Option<Gid> {
    Group::from_name(GROUP).ok().flatten().map(|group| group.gid)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use nix::libc::ucred;
    use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

    use super::*;

    fn ourselves() -> UnixCredentials {
        let (one, _other) = UnixStream::pair().expect("a pair");
        getsockopt(&one.as_fd(), PeerCredentials).expect("credentials")
    }

    #[test]
    fn the_process_that_talks_with_peers_may_nothing_whoever_it_runs_as() {
        let node = NodeProcess::default();
        let doorman = Doorman { node: node.clone(), own: Uid::from_raw(7), group: Some(Gid::from_raw(8)) };
        node.set(i32::try_from(std::process::id()).ok());
        assert_eq!(doorman.at_once(&ourselves()), Some(Access::Nothing));
    }

    #[test]
    fn root_and_the_group_may_change_the_own_user_may_read_others_nothing() {
        let peer = ourselves();
        let doorman = |own: u32, group: Option<u32>| Doorman {
            node: NodeProcess::default(),
            own: Uid::from_raw(own),
            group: group.map(Gid::from_raw),
        };
        assert_eq!(doorman(1, Some(peer.gid())).at_once(&peer), Some(Access::Change));
        let somebody = |uid, gid| UnixCredentials::from(ucred { pid: 1, uid, gid });
        for (uid, gid, expected) in [
            (0, 0, Some(Access::Change)),
            (7, 9, Some(Access::Read)),
            // A child of the daemon's has its group, too.
            (7, 8, Some(Access::Read)),
            (1000, 8, Some(Access::Change)),
            (1000, 1000, None),
        ] {
            assert_eq!(doorman(7, Some(8)).at_once(&somebody(uid, gid)), expected, "{uid} {gid}");
        }
        if peer.uid() == 0 {
            assert_eq!(doorman(1, None).at_once(&peer), Some(Access::Change));
            // Of root's own groups none is this one.
            assert_eq!(doorman(1, Some(65_000)).by_groups(&peer), Access::Nothing);
        }
        assert_eq!(doorman(peer.uid(), Some(65_000)).by_groups(&peer), Access::Read);
    }
}
