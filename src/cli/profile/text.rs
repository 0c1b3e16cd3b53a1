//! A profile for a person: what is not known is left out.

use std::fmt::Write as _;

use serde_json::Value;
use slips_store::render::escape;

/// Alerts that are shown; `--json` has all.
const SHOWN: usize = 5;

/// The text of what is told to programs.
pub(super) fn of(told: &Value) -> String {
    // Writing to a String cannot fail.
    let mut sheet = Sheet { told, text: String::new() };
    let _ = writeln!(sheet.text, "{}", word(&told["ip"]));
    if let (Some(first), Some(last)) = (told["first_seen"].as_str(), told["last_seen"].as_str()) {
        sheet.line("seen", &format!("{first} to {last}, in {} time windows", told["windows"]));
    }
    sheet.device();
    sheet.talk();
    sheet.network();
    sheet.verdicts();
    sheet.text
}

/// Text from outside, harmless on a terminal.
fn word(value: &Value) -> String {
    escape(value.as_str().unwrap_or_default()).into_owned()
}

struct Sheet<'a> {
    told: &'a Value,
    text: String,
}

impl Sheet<'_> {
    fn line(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            let _ = writeln!(self.text, "  {name:<18}{value}");
        }
    }

    fn list(&mut self, name: &str, key: &str, tell: impl Fn(&Value) -> String) {
        let items: Vec<String> = self.told[key].as_array().into_iter().flatten().map(tell).collect();
        self.line(name, &items.join(", "));
    }

    /// What it is.
    fn device(&mut self) {
        let told = self.told;
        self.list("hardware", "macs", |mac| {
            let by = match (mac["vendor"].as_str(), mac["made_up"].as_bool()) {
                (Some(vendor), _) => format!(" ({})", escape(vendor)),
                (None, Some(true)) => " (made up by the host)".to_owned(),
                _ => String::new(),
            };
            format!("{}{by}", word(&mac["mac"]))
        });
        self.list("also", "siblings", |sibling| word(&sibling["ip"]));
        self.list("names", "host_names", |name| {
            format!("{} ({})", word(&name["name"]), word(&name["source"]))
        });
        let dhcp = &told["dhcp"];
        if dhcp.is_object() {
            self.line("address from", &format!("{} at {}", word(&dhcp["server"]), word(&dhcp["at"])));
        }
        self.line("gateway", &word(&told["gateway"]));
        self.list("plays", "roles", |role| word(&role["role"]));
        self.list("clients", "user_agents", |agent| {
            let parts = [word(&agent["browser"]), word(&agent["os_name"])];
            let known: Vec<&str> = parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
            if known.is_empty() { word(&agent["user_agent"]) } else { known.join(" on ") }
        });
        self.list("software", "software", |program| word(&program["version"]));
    }

    /// What it serves and calls.
    fn talk(&mut self) {
        self.list("serves", "services", |service| {
            let application = word(&service["application"]);
            let by = if application.is_empty() { String::new() } else { format!(" {application}") };
            format!("{}/{}{by}", service["port"], word(&service["proto"]))
        });
        self.list("JARM", "jarm", |known| {
            let listed = known["listed"].as_str().map(|listed| format!(", listed as {}", escape(listed)));
            format!("{} at {}{}", word(&known["jarm"]), known["port"], listed.unwrap_or_default())
        });
        self.list("called", "sni", |called| word(&called["name"]));
        self.list("DNS", "passive_dns", |name| word(&name["name"]));
        self.list("reverse DNS", "reverse_dns", |name| word(&name["name"]));
        self.list("certificates", "certificates", |shown| word(&shown["subject"]));
    }

    /// Whose it is, and what others say of it.
    fn network(&mut self) {
        let told = self.told;
        let asn = told["asn"].as_u64().map(|asn| format!("AS{asn}")).unwrap_or_default();
        let parts = [asn, word(&told["organisation"]), word(&told["country"])];
        let known: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        self.line("network", &known.join(", "));
        let listed = &told["threat_intelligence"];
        if listed.is_object() {
            let (level, by) = (word(&listed["level"]), word(&listed["source"]));
            self.line("listed", &format!("{level}: {}, by {by}", word(&listed["description"])));
        }
        let virustotal = &told["virustotal"];
        if virustotal.is_object() {
            let ratio = |key| format!("{key} {}%", virustotal[key].as_f64().unwrap_or(0.0));
            let ratios = ["URL", "down_file", "ref_file", "com_file"].map(ratio);
            self.line("VirusTotal", &ratios.join(", "));
        }
        let services = told["outside_services"].as_object().into_iter().flatten();
        let verdicts = services.filter(|(_, said)| said["verdict"].is_object());
        let verdicts: Vec<String> = verdicts.map(|(_, said)| word(&said["verdict"]["text"])).collect();
        self.line("outside", &verdicts.join("; "));
        self.list("domains", "domains", |of| format!("{} ({} days)", word(&of["domain"]), of["days"]));
    }

    /// How bad it is.
    fn verdicts(&mut self) {
        let told = self.told;
        let (level, confidence) = (word(&told["threat_level"]), told["confidence"].as_f64().unwrap_or(0.0));
        self.line("threat level", &format!("{level}, confidence {confidence:.2}"));
        for (name, key) in [("did", "as_attacker"), ("suffered", "as_victim")] {
            let briefs = told["evidence"][key].as_array().into_iter().flatten();
            let kinds: Vec<String> =
                briefs.map(|brief| format!("{} ×{}", word(&brief["kind"]), brief["count"])).collect();
            self.line(name, &kinds.join(", "));
        }
        let alerts = told["alerts"].as_array().into_iter().flatten();
        self.line("alerts", &alerts.take(SHOWN).map(word).collect::<Vec<_>>().join(", "));
    }
}
