//! Names of persons and hosts in certificates, as RFC 2253 prints them.

use super::der::{Der, OBJECT, SEQUENCE};

/// Longest name that is printed.
const MAX_PRINTED: usize = 1024;

/// A name as RFC 2253 prints it: last part first.
pub(super) fn name(bytes: &[u8]) -> String {
    let mut parts = Vec::new();
    let mut list = Der(bytes);
    while let Some(part) = list.expect(0x31) {
        let mut text = String::new();
        let mut values = Der(part);
        while let Some(value) = values.expect(SEQUENCE) {
            let mut value = Der(value);
            let (Some(kind), Some((tag, content))) = (value.expect(OBJECT), value.next()) else { break };
            if !text.is_empty() {
                text.push('+');
            }
            text.push_str(&kind_name(kind));
            text.push('=');
            print(&mut text, tag, content);
        }
        parts.push(text);
    }
    let mut whole = String::new();
    for part in parts.iter().rev() {
        if whole.len() + part.len() > MAX_PRINTED {
            break;
        }
        if !whole.is_empty() {
            whole.push(',');
        }
        whole.push_str(part);
    }
    whole
}

/// Short name of an attribute, or its number with dots.
fn kind_name(object: &[u8]) -> String {
    let name = match object {
        [0x55, 4, last] => match last {
            3 => "CN",
            4 => "SN",
            5 => "serialNumber",
            6 => "C",
            7 => "L",
            8 => "ST",
            9 => "street",
            10 => "O",
            11 => "OU",
            12 => "title",
            13 => "description",
            15 => "businessCategory",
            17 => "postalCode",
            18 => "postOfficeBox",
            20 => "telephoneNumber",
            41 => "name",
            42 => "GN",
            43 => "initials",
            44 => "generationQualifier",
            46 => "dnQualifier",
            65 => "pseudonym",
            97 => "organizationIdentifier",
            _ => "",
        },
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, last] => match last {
            1 => "emailAddress",
            2 => "unstructuredName",
            8 => "unstructuredAddress",
            _ => "",
        },
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, last] => match last {
            1 => "UID",
            25 => "DC",
            _ => "",
        },
        [0x2b, 6, 1, 4, 1, 0x82, 0x37, 60, 2, 1, last] => match last {
            1 => "jurisdictionL",
            2 => "jurisdictionST",
            3 => "jurisdictionC",
            _ => "",
        },
        _ => "",
    };
    if name.is_empty() { dotted(object) } else { name.to_owned() }
}

pub(super) fn dotted(object: &[u8]) -> String {
    let mut text = String::new();
    let mut arc = 0u64;
    for byte in object.iter().take(64) {
        arc = arc << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        if text.is_empty() {
            let first = (arc / 40).min(2);
            text = format!("{first}.{}", arc - first * 40);
        } else {
            text.push_str(&format!(".{arc}"));
        }
        arc = 0;
    }
    text
}

/// A value with what RFC 2253 wants escaped; bytes beyond ASCII as `\XX`.
fn print(text: &mut String, tag: u8, content: &[u8]) {
    let content = content.get(..MAX_PRINTED).unwrap_or(content);
    let wide: String;
    let bytes = match tag {
        0x1e => {
            let units = content.chunks_exact(2).map(|pair| u16::from(pair[0]) << 8 | u16::from(pair[1]));
            wide = char::decode_utf16(units).map(|unit| unit.unwrap_or('\u{fffd}')).collect();
            wide.as_bytes()
        }
        0x14 => {
            wide = content.iter().map(|byte| char::from(*byte)).collect();
            wide.as_bytes()
        }
        _ => content,
    };
    let last = bytes.len().saturating_sub(1);
    for (at, byte) in bytes.iter().enumerate() {
        let edge = (*byte == b' ' && (at == 0 || at == last)) || (*byte == b'#' && at == 0);
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => text.extend(['\\', char::from(*byte)]),
            _ if edge => text.extend(['\\', char::from(*byte)]),
            0x20..=0x7e => text.push(char::from(*byte)),
            _ => text.push_str(&format!("\\{byte:02X}")),
        }
    }
}
