//! `slips peers`: the words of the command line.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use slips_p2p::message::Name;
use slips_p2p::roster::Role;

use crate::config::Length;
use crate::peers::table::{PeerAddress, Policy, parse_label, parse_name, parse_role, parse_weight};

/// `slips peers`
#[derive(Args, Debug)]
pub struct Peers {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub common: Common,
}

/// What all of them understand.
#[derive(Args, Debug)]
pub struct Common {
    /// Configuration file. Default: /etc/slips/slips.yaml if it is there, else the built-in defaults.
    #[arg(short, long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Directory with the keys and the table. Default: `p2p.directory` of the configuration, /var/lib/slips/p2p.
    #[arg(long, value_name = "DIR", global = true)]
    pub directory: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Who this router is: its id, six words for it, its network, where it is reached. The first time makes its key.
    #[command(
        after_help = "Examples:\n  sudo slips peers id\n  sudo slips peers id --new      # after the key was stolen"
    )]
    Id {
        /// Take a new identity: every peer must remove the old id and add the new one. The old key stays beside the new one.
        #[arg(long)]
        new: bool,
    },
    /// All peers and organisations, with what the running daemon knows of them.
    #[command(
        after_help = "Examples:\n  sudo slips peers list\n  sudo slips peers list --json | jq '.peers[] | select(.connected)'"
    )]
    List,
    /// Name a peer by its id, or change one: only what is given changes.
    #[command(
        after_help = "Examples:\n  sudo slips peers add 12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X --name attic --address 203.0.113.9\n  \
                            sudo slips peers add attic --role blamer --group family\n\n\
                      Both routers must name each other, and have the same network key (slips peers network --help);\n\
                      `slips peers invite` does all of it."
    )]
    Add {
        /// The id of a router (`slips peers id` there), or, to change a peer, its name here.
        #[arg(value_name = "ID")]
        who: String,
        #[command(flatten)]
        fields: Fields,
    },
    /// Forget a peer: no connection, no word of it counts any more.
    #[command(after_help = "Example:\n  sudo slips peers remove attic")]
    Remove {
        /// Name or id.
        who: String,
    },
    /// Print a line that brings one router in, once. It holds the network's key: hand it over like a password.
    #[command(
        after_help = "Examples:\n  sudo slips peers invite --for 2h\n  sudo slips peers invite --name attic --address 203.0.113.9:7778\n  \
                            sudo slips peers invite --json | jq -r .invite"
    )]
    Invite {
        /// For how long it is open, a day at most.
        #[arg(long = "for", value_name = "TIME", default_value = "24h", value_parser = Length::parse)]
        life: Length,
        /// Where the other router reaches this one, twice at most. Default: `p2p.announce` of the configuration, else this
        /// host's own addresses.
        #[arg(long = "address", value_name = "ADDRESS")]
        addresses: Vec<PeerAddress>,
        /// What the router that uses it is called here. Default: what it calls itself.
        #[arg(long, value_parser = parse_name)]
        name: Option<Name>,
        /// With whom it is one voice. Default: alone.
        #[arg(long, value_parser = parse_label)]
        group: Option<String>,
    },
    /// Use the invite of another router.
    #[command(
        after_help = "Examples:\n  sudo slips peers join               # asks for the line, so that no other user of this host sees it\n  \
                            sudo slips peers join slips-invite-1-…"
    )]
    Join {
        /// The line; without it, or with `-`, it is read from standard input.
        line: Option<String>,
        /// How long to wait for the answer; the daemon goes on trying as long as the invite lives.
        #[arg(long, value_name = "TIME", default_value = "30s", value_parser = Length::parse)]
        wait: Length,
    },
    /// Say that the six words are the same on both routers: the peer that came by an invite now weighs 0.6 instead of 0.3.
    #[command(after_help = "Examples:\n  sudo slips peers confirm attic      # shows the words and asks\n  \
                            sudo slips peers confirm attic --words 'one two three four five six'")]
    Confirm {
        /// Name or id.
        who: String,
        /// The words that the other administrator reads to you; they are compared.
        #[arg(long)]
        words: Option<String>,
        /// They were compared already.
        #[arg(long, conflicts_with = "words")]
        yes: bool,
    },
    /// How far a peer is believed; set with what it starts (0 to 1), or end its quarantine.
    #[command(
        after_help = "Examples:\n  sudo slips peers trust attic --weight 0.8\n  sudo slips peers trust attic --clear"
    )]
    Trust {
        /// Name or id.
        who: String,
        /// What it is believed before experience moves it.
        #[arg(long, value_parser = parse_weight)]
        weight: Option<f64>,
        /// End its quarantine and forget what was held against it.
        #[arg(long)]
        clear: bool,
    },
    /// Who said what about whom; the daemon must run.
    #[command(after_help = "Examples:\n  sudo slips peers reports\n  sudo slips peers reports 203.0.113.9")]
    Reports {
        /// Only about this address, network, domain or TLS fingerprint.
        about: Option<String>,
    },
    /// The network's key, for routers that are added without an invite.
    Network {
        #[command(subcommand)]
        command: Network,
    },
    /// Leave the network: forget its key, all peers, invites and organisations. The identity stays.
    #[command(after_help = "Example:\n  sudo slips peers leave --yes")]
    Leave {
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Blocklists of peers that are followed, and those that this router publishes.
    #[command(after_help = "Example:\n  sudo slips peers lists")]
    Lists,
    /// Follow a blocklist that a peer publishes, or change what is done with it.
    #[command(after_help = "Example:\n  sudo slips peers follow attic scanners --policy block")]
    Follow {
        /// Name or id of the peer.
        who: String,
        /// Name of the list.
        #[arg(value_parser = parse_name)]
        list: Name,
        /// What its entries mean here. block: each is blocked while it is listed; score: each counts as a report; log: only told.
        #[arg(long, value_parser = policy, default_value = "score")]
        policy: Policy,
    },
    /// Follow a blocklist no more.
    #[command(after_help = "Example:\n  sudo slips peers unfollow attic scanners")]
    Unfollow {
        /// Name or id of the peer.
        who: String,
        /// Name of the list.
        #[arg(value_parser = parse_name)]
        list: Name,
    },
    /// Publish a blocklist to all peers, or its new version: one address, network (/24 or /48 at most) or domain a line.
    #[command(
        after_help = "Examples:\n  sudo slips peers publish scanners /etc/slips/scanners.txt\n  sudo slips peers publish scanners --remove"
    )]
    Publish {
        /// Name of the list: a-z, 0-9 and `-`.
        #[arg(value_parser = parse_name)]
        list: Name,
        /// The file; `-` is standard input.
        #[arg(required_unless_present = "remove")]
        file: Option<PathBuf>,
        /// Publish it no more: followers are told that it is empty.
        #[arg(long, conflicts_with = "file")]
        remove: bool,
    },
    /// Say what is wrong with the keys and the table, all of it.
    #[command(after_help = "Example:\n  sudo slips peers check")]
    Check,
    /// Organisations: one key, kept offline, says who belongs to them.
    Org {
        #[command(subcommand)]
        command: Org,
    },
}

/// What can be said about a peer.
#[derive(Args, Debug)]
pub struct Fields {
    /// What to call it here: a-z, 0-9 and `-`.
    #[arg(long, value_parser = parse_name)]
    pub name: Option<Name>,
    /// Where it is dialled; may be given four times, and replaces what was known. Without one, it must call us.
    #[arg(long = "address", value_name = "ADDRESS")]
    pub addresses: Vec<PeerAddress>,
    /// Peers of one group are one voice, however many they are.
    #[arg(long, value_parser = parse_label)]
    pub group: Option<String>,
    /// observer (listens), reporter (reports), blamer (asks for blocks) or authority (orders blocks: your own fleet only).
    #[arg(long, value_parser = parse_role)]
    pub role: Option<Role>,
    /// What it is believed before experience moves it, 0 to 1. Default: 0.6.
    #[arg(long, value_parser = parse_weight)]
    pub weight: Option<f64>,
    /// For people.
    #[arg(long, value_parser = parse_label)]
    pub note: Option<String>,
}

#[derive(Subcommand, Debug)]
pub enum Network {
    /// Print the key; who has it can knock at this router, but is let in only if it is a peer.
    #[command(
        after_help = "Example:\n  sudo slips peers network show | ssh attic sudo slips peers network set"
    )]
    Show,
    /// Read the key from standard input.
    #[command(after_help = "Example:\n  sudo slips peers network set <key")]
    Set,
    /// Make a new key. Peers stay in the table, and connect again when they have it.
    #[command(after_help = "Example:\n  sudo slips peers network new")]
    New,
}

#[derive(Subcommand, Debug)]
pub enum Org {
    /// Make the key of a new organisation. Keep it off the routers.
    #[command(after_help = "Example:\n  slips peers org init family --key family.key")]
    Init {
        /// Name.
        #[arg(value_parser = parse_name)]
        name: Name,
        /// Where the key goes. Default: NAME.slips-org-key
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
    /// Sign a roster: who belongs to the organisation and may do what.
    #[command(
        after_help = "Examples:\n  slips peers org sign --key family.key --members family.yaml -o family.roster\n  \
                            sudo slips peers org sign --key family.key --table --own-role blamer --days 30 -o family.roster\n\n\
                      The file of members:\n  members:\n    - {id: 12D3KooW…, role: blamer}\n  revoked: [12D3KooW…]"
    )]
    Sign {
        /// The organisation's key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// File with the members.
        #[arg(long, value_name = "FILE", required_unless_present = "table")]
        members: Option<PathBuf>,
        /// Take this router and all its confirmed peers instead, with their roles.
        #[arg(long, conflicts_with = "members")]
        table: bool,
        /// The role of this router itself.
        #[arg(long, value_parser = parse_role, requires = "table", default_value = "reporter")]
        own_role: Role,
        /// Nodes that are members no more; may be given several times.
        #[arg(long, value_name = "ID")]
        revoke: Vec<String>,
        /// For how long it is valid, 90 days at most.
        #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=90))]
        days: u16,
        /// Must be higher than that of the last roster. Default: the time in seconds since 1970.
        #[arg(long, value_name = "N")]
        version: Option<u64>,
        /// Where the roster goes. Default: standard output.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Say what is in a roster and whether its signature is right.
    #[command(after_help = "Example:\n  slips peers org show family.roster")]
    Show {
        /// File, line, or `-` for standard input.
        roster: String,
    },
    /// Trust an organisation, or change how far; with its roster, its members are peers at once.
    #[command(
        after_help = "Examples:\n  sudo slips peers org trust family.roster --name family --max-role blamer\n  \
                            sudo slips peers org trust family --weight 0.7 --cap 0.7"
    )]
    Trust {
        /// A roster (file, line or `-`), the organisation's id, or, to change it, its name here.
        #[arg(value_name = "ROSTER|ID")]
        what: String,
        /// What to call it here.
        #[arg(long, value_parser = parse_name)]
        name: Option<Name>,
        /// What its members are believed before experience moves it, 0 to 1. Default: 0.5.
        #[arg(long, value_parser = parse_weight)]
        weight: Option<f64>,
        /// Most that all of them together can weigh. Default: as any group.
        #[arg(long, value_parser = parse_weight)]
        cap: Option<f64>,
        /// The most that its roster can make of a member. Default: reporter.
        #[arg(long, value_parser = parse_role)]
        max_role: Option<Role>,
    },
    /// Take a newer roster of an organisation that is trusted already.
    #[command(after_help = "Example:\n  sudo slips peers org import family.roster")]
    Import {
        /// File, line, or `-` for standard input.
        roster: String,
    },
    /// Trust an organisation no more; its members are strangers at once.
    #[command(after_help = "Example:\n  sudo slips peers org distrust family")]
    Distrust {
        /// Name or id.
        who: String,
    },
}

fn policy(text: &str) -> Result<Policy, String> {
    [Policy::Block, Policy::Score, Policy::Log]
        .into_iter()
        .find(|policy| policy.name() == text)
        .ok_or_else(|| format!("`{text}` is no policy: block, score or log"))
}
