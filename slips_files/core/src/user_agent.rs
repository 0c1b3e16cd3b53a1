//! What an HTTP client's user agent says, read offline: operating system, browser, sort of device.
//!
//! A user agent is what its author likes to say (RFC 9110, section 10.1.5); nothing here decides anything.

/// An operating system, as far as user agents tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "names of systems")]
pub enum System {
    Windows,
    Mac,
    Ios,
    Android,
    Linux,
    ChromeOs,
}

impl System {
    /// The system that a user agent names; phones and tablets before the systems that they are like.
    pub fn of(agent: &str) -> Option<Self> {
        const WORDS: [(&str, System); 14] = [
            ("Windows Phone", System::Windows),
            ("iPhone", System::Ios),
            ("iPad", System::Ios),
            ("CrOS", System::ChromeOs),
            ("Android", System::Android),
            ("Windows NT", System::Windows),
            ("Microsoft-CryptoAPI", System::Windows),
            ("Windows-Update-Agent", System::Windows),
            ("Macintosh", System::Mac),
            ("Mac OS X", System::Mac),
            ("macOS", System::Mac),
            ("Darwin/", System::Mac),
            ("X11; Linux", System::Linux),
            ("X11; Ubuntu", System::Linux),
        ];
        WORDS.iter().find(|(word, _)| agent.contains(word)).map(|(_, system)| *system)
    }

    /// Its name as its maker writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Windows => "Windows",
            Self::Mac => "macOS",
            Self::Ios => "iOS",
            Self::Android => "Android",
            Self::Linux => "Linux",
            Self::ChromeOs => "ChromeOS",
        }
    }

    /// `phone or tablet` or `computer`.
    pub const fn device(self) -> &'static str {
        match self {
            Self::Ios | Self::Android => "phone or tablet",
            Self::Windows | Self::Mac | Self::Linux | Self::ChromeOs => "computer",
        }
    }

    /// The words that stand before the version in a user agent, and what the parts of a version are separated by.
    const fn version_words(self) -> &'static [&'static str] {
        match self {
            Self::Windows => &["Windows Phone OS ", "Windows Phone ", "Windows NT "],
            Self::Mac => &["Mac OS X ", "macOS "],
            Self::Ios => &["CPU iPhone OS ", "iPhone OS ", "CPU OS ", "iOS "],
            Self::Android => &["Android "],
            Self::ChromeOs | Self::Linux => &[],
        }
    }
}

/// What a user agent says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserAgent {
    /// The operating system.
    pub system: Option<System>,
    /// Its name with the version: `Windows 10 or 11`, `Android 14`, `iOS 17.1`; empty when there is none.
    pub system_name: String,
    /// The browser or program with its main version: `Firefox 128`, `curl 8.5.0`; empty when there is none.
    pub browser: String,
}

impl UserAgent {
    /// Reads a user agent.
    pub fn read(agent: &str) -> Self {
        let system = System::of(agent);
        let system_name = system.map(|system| system_name(system, agent)).unwrap_or_default();
        Self { system, system_name, browser: browser(agent) }
    }
}

fn system_name(system: System, agent: &str) -> String {
    let versions = system.version_words().iter();
    let version = versions.filter_map(|word| after(agent, word)).find(|version| !version.is_empty());
    let Some(version) = version else { return system.name().to_owned() };
    let version = version.replace('_', ".");
    if system != System::Windows || !agent.contains("Windows NT ") {
        return format!("{} {version}", system.name());
    }
    // Microsoft's numbers: https://learn.microsoft.com/windows/win32/sysinfo/operating-system-version
    let known = match version.as_str() {
        "10.0" => "10 or 11",
        "6.3" => "8.1",
        "6.2" => "8",
        "6.1" => "7",
        "6.0" => "Vista",
        "5.2" => "XP x64 or Server 2003",
        "5.1" => "XP",
        "5.0" => "2000",
        other => return format!("Windows NT {other}"),
    };
    format!("Windows {known}")
}

/// Browsers name those that they want to be taken for, too: the most particular name comes first.
fn browser(agent: &str) -> String {
    const NAMES: [(&str, &str); 22] = [
        ("EdgA/", "Edge"),
        ("EdgiOS/", "Edge"),
        ("Edg/", "Edge"),
        ("Edge/", "Edge"),
        ("OPR/", "Opera"),
        ("Vivaldi/", "Vivaldi"),
        ("SamsungBrowser/", "Samsung Internet"),
        ("YaBrowser/", "Yandex Browser"),
        ("UCBrowser/", "UC Browser"),
        ("DuckDuckGo/", "DuckDuckGo"),
        ("FxiOS/", "Firefox"),
        ("Firefox/", "Firefox"),
        ("Thunderbird/", "Thunderbird"),
        ("CriOS/", "Chrome"),
        ("HeadlessChrome/", "Chrome, headless"),
        ("Chromium/", "Chromium"),
        ("Chrome/", "Chrome"),
        ("Trident/7.0; rv:", "Internet Explorer"),
        ("rv:11.0) like Gecko", "Internet Explorer 11"),
        ("MSIE ", "Internet Explorer"),
        ("Opera/", "Opera"),
        ("Version/", "Safari"),
    ];
    let is_safari = |name: &str| name != "Safari" || agent.contains("Safari/");
    for (word, name) in NAMES.iter().filter(|(_, name)| is_safari(name)) {
        let Some(version) = after(agent, word) else { continue };
        let main = version.split('.').next().unwrap_or_default();
        return if main.is_empty() { (*name).to_owned() } else { format!("{name} {main}") };
    }
    // A program of its own: `curl/8.5.0`, `Wget/1.21`, `Debian APT-HTTP/1.3 (2.6.1)`.
    if agent.starts_with("Mozilla/") {
        return String::new();
    }
    let Some((name, rest)) = agent.split_once('/') else { return String::new() };
    let name = name.rsplit(' ').next().unwrap_or_default();
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 40 || !name.chars().all(is_name) {
        return String::new();
    }
    let version = number(rest);
    if version.is_empty() { name.to_owned() } else { format!("{name} {version}") }
}

/// The version after `word`.
fn after<'a>(agent: &'a str, word: &str) -> Option<&'a str> {
    let (_, rest) = agent.split_once(word)?;
    Some(number(rest))
}

/// Digits with points or low lines in between, at most 20 bytes.
fn number(text: &str) -> &str {
    let is_part = |b: &u8| b.is_ascii_digit() || matches!(b, b'.' | b'_');
    let end = text.bytes().take(20).take_while(is_part).count();
    text.get(..end).unwrap_or_default().trim_end_matches(['.', '_'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_agents_name_system_version_and_browser() {
        for (agent, system, name, browser) in [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36 Edg/128.0.2739.42",
                Some(System::Windows),
                "Windows 10 or 11",
                "Edge 128",
            ),
            (
                "Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko",
                Some(System::Windows),
                "Windows 7",
                "Internet Explorer 11",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Mobile/15E148 Safari/604.1",
                Some(System::Ios),
                "iOS 17.1",
                "Safari 17",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.4 Safari/605.1.15",
                Some(System::Mac),
                "macOS 10.15.7",
                "Safari 16",
            ),
            (
                "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/128.0 Mobile Safari/537.36",
                Some(System::Android),
                "Android 14",
                "Chrome 128",
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
                Some(System::Linux),
                "Linux",
                "Firefox 128",
            ),
            (
                "Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)",
                Some(System::Windows),
                "Windows XP",
                "Internet Explorer 6",
            ),
            ("curl/8.5.0", None, "", "curl 8.5.0"),
            ("Debian APT-HTTP/1.3 (2.6.1)", None, "", "APT-HTTP 1.3"),
            (
                "Windows-Update-Agent/10.0.10011.16384 Client-Protocol/2.0",
                Some(System::Windows),
                "Windows",
                "Windows-Update-Agent 10.0.10011.16384",
            ),
            ("Mozilla/5.0", None, "", ""),
            ("", None, "", ""),
            ("\u{202e}/1", None, "", ""),
        ] {
            let read = UserAgent::read(agent);
            assert_eq!(
                (read.system, read.system_name.as_str(), read.browser.as_str()),
                (system, name, browser),
                "{agent}"
            );
        }
    }
}
