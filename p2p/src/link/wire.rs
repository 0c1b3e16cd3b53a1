//! What goes over the socket between the daemon and the node's process. No router ever sees these bytes, so there is no schema file;
//! both ends are one program, or two versions of it, which [`super::VERSION`] tells apart.
#![allow(missing_docs, reason = "fields are named as those of the types that they carry")]

use prost::{Message, Oneof};

use crate::wire;

#[derive(Clone, PartialEq, Message)]
pub struct ToNode {
    #[prost(oneof = "to_node::What", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11")]
    pub what: Option<to_node::What>,
}

pub mod to_node {
    use super::*;

    #[derive(Clone, PartialEq, Oneof)]
    pub enum What {
        #[prost(message, tag = "1")]
        Start(Box<Start>),
        #[prost(message, tag = "2")]
        Publish(Publish),
        #[prost(message, tag = "3")]
        Members(Members),
        #[prost(message, tag = "4")]
        Believe(Believe),
        #[prost(message, tag = "5")]
        Ask(wire::Ask),
        #[prost(message, tag = "6")]
        Answer(Answer),
        #[prost(message, tag = "7")]
        Invites(Invites),
        #[prost(message, tag = "8")]
        Join(Join),
        #[prost(message, tag = "9")]
        Status(Empty),
        #[prost(bytes = "vec", tag = "10")]
        Keep(Vec<u8>),
        #[prost(bool, tag = "11")]
        Synced(bool),
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct Empty {}

#[derive(Clone, PartialEq, Message)]
pub struct Start {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub seed: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub psk: Vec<u8>,
    #[prost(uint64, tag = "4")]
    pub epoch: u64,
    #[prost(uint64, tag = "5")]
    pub last_seq: u64,
    #[prost(string, tag = "6")]
    pub name: String,
    #[prost(string, repeated, tag = "7")]
    pub listen: Vec<String>,
    #[prost(message, optional, tag = "8")]
    pub members: Option<Members>,
    #[prost(message, optional, tag = "9")]
    pub invites: Option<Invites>,
    #[prost(message, repeated, tag = "10")]
    pub replay: Vec<Window>,
    #[prost(bool, tag = "11")]
    pub synced: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct Window {
    #[prost(bytes = "vec", tag = "1")]
    pub author: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub taken: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Publish {
    #[prost(uint32, tag = "1")]
    pub kind: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub body: Vec<u8>,
    #[prost(uint64, tag = "3")]
    pub ttl_s: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Members {
    #[prost(message, repeated, tag = "1")]
    pub peers: Vec<Peer>,
    #[prost(message, repeated, tag = "2")]
    pub orgs: Vec<Org>,
    #[prost(message, repeated, tag = "3")]
    pub rosters: Vec<wire::SignedRoster>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Peer {
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(string, repeated, tag = "3")]
    pub addresses: Vec<String>,
    #[prost(double, tag = "4")]
    pub base: f64,
    #[prost(string, optional, tag = "5")]
    pub group: Option<String>,
    #[prost(uint32, optional, tag = "6")]
    pub role: Option<u32>,
    #[prost(bool, tag = "7")]
    pub confirmed: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct Org {
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(double, tag = "3")]
    pub base: f64,
    #[prost(double, optional, tag = "4")]
    pub cap: Option<f64>,
    #[prost(uint32, tag = "5")]
    pub max_role: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Believe {
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    #[prost(double, tag = "2")]
    pub trust: f64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Answer {
    #[prost(uint64, tag = "1")]
    pub ticket: u64,
    #[prost(message, repeated, tag = "2")]
    pub seen: Vec<wire::Seen>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Invites {
    #[prost(message, repeated, tag = "1")]
    pub open: Vec<Invite>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Invite {
    #[prost(bytes = "vec", tag = "1")]
    pub hash: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub until_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Join {
    #[prost(string, tag = "1")]
    pub line: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct FromNode {
    #[prost(oneof = "from_node::What", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15")]
    pub what: Option<from_node::What>,
}

pub mod from_node {
    use super::*;

    #[derive(Clone, PartialEq, Oneof)]
    pub enum What {
        #[prost(message, tag = "1")]
        Hello(Hello),
        #[prost(string, tag = "2")]
        Listening(String),
        #[prost(bytes = "vec", tag = "3")]
        Connected(Vec<u8>),
        #[prost(bytes = "vec", tag = "4")]
        Gone(Vec<u8>),
        #[prost(bytes = "vec", tag = "5")]
        Heard(Vec<u8>),
        #[prost(message, tag = "6")]
        Asked(Asked),
        #[prost(message, tag = "7")]
        Answered(Answered),
        #[prost(message, tag = "8")]
        Published(Published),
        #[prost(message, tag = "9")]
        Joined(Joined),
        #[prost(message, tag = "10")]
        Admitted(Named),
        #[prost(bytes = "vec", tag = "11")]
        Refused(Vec<u8>),
        #[prost(message, tag = "12")]
        Synced(Synced),
        #[prost(message, tag = "13")]
        Status(Box<Status>),
        #[prost(string, tag = "14")]
        Failed(String),
        #[prost(bytes = "vec", tag = "15")]
        Shunned(Vec<u8>),
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct Hello {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    #[prost(string, tag = "2")]
    pub sandbox: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Asked {
    #[prost(bytes = "vec", tag = "1")]
    pub from: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    pub indicators: Vec<wire::Indicator>,
    #[prost(uint64, tag = "3")]
    pub ticket: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Answered {
    #[prost(bytes = "vec", tag = "1")]
    pub from: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    pub seen: Vec<wire::Seen>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Published {
    #[prost(uint64, tag = "1")]
    pub seq: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub envelope: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Joined {
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(bytes = "vec", tag = "3")]
    pub invite: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Named {
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    #[prost(string, tag = "2")]
    pub name: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Synced {
    #[prost(bytes = "vec", tag = "1")]
    pub from: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub new: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Count {
    #[prost(uint32, tag = "1")]
    pub of: u32,
    #[prost(uint64, tag = "2")]
    pub count: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Status {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub connected: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "2")]
    pub accepted: Vec<Count>,
    #[prost(message, repeated, tag = "3")]
    pub refused: Vec<Count>,
    #[prost(uint64, tag = "4")]
    pub too_fast: u64,
    #[prost(uint64, tag = "5")]
    pub news_dropped: u64,
    #[prost(uint64, tag = "6")]
    pub publish_dropped: u64,
    #[prost(uint64, tag = "7")]
    pub publish_waiting: u64,
    #[prost(uint64, tag = "8")]
    pub archived: u64,
    #[prost(uint64, tag = "9")]
    pub last_seq: u64,
    #[prost(bytes = "vec", repeated, tag = "10")]
    pub shunned: Vec<Vec<u8>>,
    #[prost(uint64, tag = "11")]
    pub turned_away: u64,
}
