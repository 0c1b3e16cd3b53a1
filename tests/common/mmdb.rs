//! A database in MaxMind's format (version 2.0 of its specification), small and for IPv4 only.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// A value of the data section.
pub enum Value<'a> {
    Text(&'a str),
    Short(u16),
    Number(u32),
    Long(u64),
    Map(Vec<(&'a str, Value<'a>)>),
    /// A list of nothing.
    NoList,
}

impl Value<'_> {
    fn encode(&self, to: &mut Vec<u8>) {
        match self {
            Self::Text(text) => {
                control(to, 2, text.len());
                to.extend(text.as_bytes());
            }
            Self::Short(number) => {
                let bytes = number.to_be_bytes();
                control(to, 5, bytes.len());
                to.extend(bytes);
            }
            Self::Long(number) => {
                // A type beyond seven: none in the first byte, its number less seven in the next.
                let bytes = number.to_be_bytes();
                to.extend([bytes.len() as u8, 9 - 7]);
                to.extend(bytes);
            }
            Self::Number(number) => {
                let bytes = number.to_be_bytes();
                control(to, 6, bytes.len());
                to.extend(bytes);
            }
            Self::NoList => to.extend([0, 11 - 7]),
            Self::Map(fields) => {
                control(to, 7, fields.len());
                for (key, value) in fields {
                    Value::Text(key).encode(to);
                    value.encode(to);
                }
            }
        }
    }
}

/// Three bits of type, five of length; longer ones have a byte of their own.
fn control(to: &mut Vec<u8>, kind: u8, length: usize) {
    if length < 29 {
        to.push(kind << 5 | length as u8);
    } else {
        to.extend([kind << 5 | 29, (length - 29) as u8]);
    }
}

/// A database of `kind` in which each network (address, prefix length) has its row.
pub fn database(kind: &str, rows: &[(Ipv4Addr, u8, Value<'_>)]) -> Vec<u8> {
    let mut data = Vec::new();
    // Nodes of the search tree: what follows a 0 and a 1; data is told apart by the sign.
    let mut nodes: Vec<[Option<i64>; 2]> = vec![[None; 2]];
    let mut leaves: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for (addr, length, row) in rows {
        let bits = addr.to_bits();
        let mut node = 0;
        for depth in 0..*length {
            let bit = (bits >> (31 - depth) & 1) as usize;
            if depth + 1 == *length {
                leaves.insert((node, bit), data.len());
            } else {
                let next = match nodes[node][bit] {
                    Some(next) => next as usize,
                    None => {
                        nodes.push([None; 2]);
                        nodes.len() - 1
                    }
                };
                nodes[node][bit] = Some(next as i64);
                node = next;
            }
        }
        row.encode(&mut data);
    }
    let count = nodes.len();
    let mut file = Vec::new();
    for (number, node) in nodes.iter().enumerate() {
        for (bit, next) in node.iter().enumerate() {
            let record = match (leaves.get(&(number, bit)), next) {
                (Some(offset), _) => count + 16 + offset,
                (None, Some(next)) => *next as usize,
                (None, None) => count,
            };
            file.extend(&(record as u32).to_be_bytes()[1..]);
        }
    }
    file.extend([0; 16]);
    file.extend(data);
    file.extend(b"\xab\xcd\xefMaxMind.com");
    let count = u32::try_from(count).expect("few nodes");
    let metadata = Value::Map(vec![
        ("node_count", Value::Number(count)),
        ("record_size", Value::Short(24)),
        ("ip_version", Value::Short(4)),
        ("database_type", Value::Text(kind)),
        ("languages", Value::NoList),
        ("description", Value::Map(vec![("en", Value::Text("made by a test"))])),
        ("binary_format_major_version", Value::Short(2)),
        ("binary_format_minor_version", Value::Short(0)),
        ("build_epoch", Value::Long(1_700_000_000)),
    ]);
    metadata.encode(&mut file);
    file
}
