//! Writes the seeds of every target to `corpus/TARGET/seed-N`, in the current folder or the one that is named.
//!
//! All of them are made here, none is taken from a capture.

mod apps;
mod files;
mod handshakes;
mod lists;
mod packets;
mod peers;
mod talk;

use std::path::Path;
use std::{env, fs, io};

/// Seeds of one target.
pub type Seeds = Vec<Vec<u8>>;

fn main() -> io::Result<()> {
    let folder = env::args().nth(1).unwrap_or_else(|| "corpus".to_owned());
    let all: [(&str, Seeds); 36] = [
        ("network", packets::network()),
        ("fragments", packets::fragments()),
        ("tunnels", packets::tunnels()),
        ("reassembly", packets::reassembly()),
        ("sensor", packets::sensor()),
        ("dns", talk::dns()),
        ("http", talk::http()),
        ("tls", talk::tls()),
        ("ssh", talk::ssh()),
        ("smtp", talk::smtp()),
        ("ftp", talk::ftp()),
        ("files", talk::files()),
        ("dhcp", talk::dhcp()),
        ("datagrams", talk::datagrams()),
        ("streams", talk::streams()),
        ("capture_file", files::captures()),
        ("zeek", files::zeek()),
        ("suricata", files::suricata()),
        ("argus", files::argus()),
        ("nfdump", files::nfdump()),
        ("envelope", peers::envelope()),
        ("messages", peers::messages()),
        ("rosters", peers::rosters()),
        ("invites", peers::invites()),
        ("exchange", peers::exchange()),
        ("frames", peers::frames()),
        ("peers_table", peers::table()),
        ("peers_state", peers::state()),
        ("apps", apps::apps()),
        ("quic", handshakes::quic()),
        ("dtls", handshakes::dtls()),
        ("neighbours", packets::neighbours()),
        ("filter", files::filters()),
        ("lists", lists::lists()),
        ("whitelist", lists::whitelist()),
        ("jarm", lists::jarm()),
    ];
    for (target, seeds) in all {
        let folder = Path::new(&folder).join(target);
        fs::create_dir_all(&folder)?;
        for (n, seed) in seeds.into_iter().enumerate() {
            fs::write(folder.join(format!("seed-{n}")), seed)?;
        }
    }
    Ok(())
}
