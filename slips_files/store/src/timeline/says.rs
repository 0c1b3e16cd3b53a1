//! What was said in a connection, in words. Everything here was chosen by whoever sent it.

use serde_json::Value;

use crate::render::escape;
use crate::sqlite::read::StoredRecord;

/// Most records of one connection that are told.
pub(super) const MOST: u32 = 8;
/// Most characters of one text.
const TEXT: usize = 120;

/// Of each record what it says; the rest is counted.
pub(super) fn all(records: &[StoredRecord]) -> Vec<String> {
    let mut said: Vec<String> = Vec::new();
    let mut further = 0;
    for text in records.iter().filter_map(one) {
        if said.len() >= MOST as usize {
            further += 1;
        } else if !said.contains(&text) {
            said.push(text);
        }
    }
    if further > 0 {
        said.push(format!("{further} more"));
    }
    said
}

/// The name by which a client called the server.
pub(super) fn name(records: &[StoredRecord]) -> Option<String> {
    let field = |record: &StoredRecord| match record.kind.as_str() {
        "ssl" | "quic" => text(record, "server_name"),
        "http" => text(record, "host"),
        _ => None,
    };
    records.iter().find_map(field)
}

fn one(record: &StoredRecord) -> Option<String> {
    let of = |field: &str| text(record, field);
    let number = |field: &str| record.fields.get(field).and_then(Value::as_u64);
    let flag = |field: &str| record.fields.get(field).and_then(Value::as_bool);
    match record.kind.as_str() {
        "dns" => {
            let kind = of("qtype_name").map(|kind| format!(" ({kind})")).unwrap_or_default();
            let answers = texts(record, "answers");
            let answer = match (answers.is_empty(), of("rcode_name").as_deref()) {
                (false, _) => format!(" is {}", answers.join(", ")),
                (true, Some("NXDOMAIN")) => " does not exist".into(),
                (true, Some("NOERROR")) => " has nothing of that kind".into(),
                (true, Some(code)) => format!(" failed with {code}"),
                (true, None) => ", no answer".into(),
            };
            Some(format!("{}{kind}{answer}", of("query")?))
        }
        "http" => {
            let status = number("status_code").map(|code| format!(" → {code}")).unwrap_or_default();
            let mime =
                texts(record, "resp_mime_types").first().map(|mime| format!(" {mime}")).unwrap_or_default();
            let agent = of("user_agent").map(|agent| format!(", by {agent}")).unwrap_or_default();
            let host = of("host").unwrap_or_else(|| record.dst.as_deref().map(clip).unwrap_or_default());
            let uri = of("uri").unwrap_or_default();
            let page =
                if uri.starts_with('/') { format!("http://{host}{uri}") } else { format!("{host} {uri}") };
            Some(format!("{} {page}{status}{mime}{agent}", of("method")?))
        }
        "ssl" => {
            let mut said = of("version").unwrap_or_else(|| "TLS".into());
            if flag("established") == Some(false) {
                said += ", not established";
            }
            if flag("resumed") == Some(true) {
                said += ", resumed";
            }
            if let Some(subject) = of("subject") {
                said += &format!(", certificate of {subject}");
            }
            if let Some(status) = of("validation_status").filter(|status| status != "ok") {
                said += &format!(", {status}");
            }
            Some(said)
        }
        "quic" => of("version").map(|version| format!("QUIC {version}")),
        "ssh" => {
            let attempts = number("auth_attempts").unwrap_or(0);
            let login = match flag("auth_success") {
                Some(true) => "login succeeded",
                Some(false) => "login failed",
                None => "login not seen",
            };
            let tries = if attempts > 0 { format!(" after {attempts} attempts") } else { String::new() };
            let client = of("client").map(|client| format!(", client {client}")).unwrap_or_default();
            let server = of("server").map(|server| format!(", server {server}")).unwrap_or_default();
            Some(format!("{login}{tries}{client}{server}"))
        }
        "auth" | "login" => {
            let user = of("user").map(|user| format!(" of {user}")).unwrap_or_default();
            let outcome = of("outcome").map(|outcome| format!(": {outcome}")).unwrap_or_default();
            Some(format!("login{user}{outcome}"))
        }
        "smtp" => {
            let reply = of("last_reply").map(|reply| format!(", last answer {reply}")).unwrap_or_default();
            Some(format!("mail, greeting as {}{reply}", of("helo")?))
        }
        "ftp" => Some(format!("FTP {}", of("command")?)),
        "files" => {
            let size = number("seen_bytes").map(|size| format!(", {size} B")).unwrap_or_default();
            Some(format!("file of {}{size}", of("mime_type")?))
        }
        "weird" => of("name").map(|name| format!("oddity {name}")),
        _ => None,
    }
}

fn text(record: &StoredRecord, field: &str) -> Option<String> {
    let text = record.fields.get(field)?.as_str()?;
    Some(clip(text)).filter(|text| !text.is_empty())
}

fn texts(record: &StoredRecord, field: &str) -> Vec<String> {
    let found = record.fields.get(field).and_then(Value::as_array).into_iter().flatten();
    let mut texts: Vec<String> = found.filter_map(Value::as_str).take(5).map(clip).collect();
    if texts.len() == 5 {
        texts.truncate(4);
        texts.push("…".into());
    }
    texts
}

/// Harmless and not too long.
fn clip(text: &str) -> String {
    let safe = escape(text);
    if safe.chars().count() <= TEXT {
        return safe.into_owned();
    }
    safe.chars().take(TEXT).chain(['…']).collect()
}
