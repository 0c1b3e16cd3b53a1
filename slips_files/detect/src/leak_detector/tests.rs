use slips_core::event::{About, Payload};
use slips_core::flow::{Endpoint, MacAddr, Service, Uid};

use super::*;
use crate::settings::threshold_of;
use crate::test_traces::{at, bench, http, levels, secs};

const MAC: [u8; 6] = [0x02, 0x42, 0xac, 0x11, 0x00, 0x9f];

fn payload(service: &str, is_orig: bool, bytes: &str) -> Event {
    let end = |addr, port| Endpoint { addr: at(addr), port };
    let (ours, theirs) = ("192.168.1.5", "203.0.113.9");
    let (src, dst) = if is_orig { (ours, theirs) } else { (theirs, ours) };
    Event::Payload(Box::new(Payload {
        about: About {
            at: secs(1),
            uid: Uid::new("CLeak"),
            src: end(src, 40_000),
            dst: end(dst, 80),
            proto: Proto::Tcp,
            interface: 0,
            heard: true,
            tunnelled: false,
            src_mac: Some(MacAddr(MAC)),
        },
        is_orig,
        service: Service::new(service),
        bytes: bytes.as_bytes().to_vec(),
    }))
}

fn of(settings: &Settings, events: &[Event]) -> Vec<Finding> {
    let mut bench = bench(LeakDetector::new(settings));
    events.iter().flat_map(|event| bench.feed(event)).collect()
}

/// `level of the client`, and the rule, of what a client says over HTTP.
fn told(bytes: &str) -> String {
    let found = of(&Settings::default(), &[payload("http", true, bytes)]);
    found.first().map_or_else(String::new, |finding| {
        assert_eq!(found.len(), 2, "{bytes}: the client and the server");
        let rule = finding.text.split("rule ").nth(1).and_then(|rest| rest.split(',').next());
        format!("{} {}", finding.level, rule.unwrap_or_default())
    })
}

#[test]
fn each_rule_finds_what_it_names_and_nothing_like_it() {
    let book: String = (0..20).map(|n| format!("friend{n}@example.org,")).collect();
    let short: String = (0..19).map(|n| format!("friend{n}@example.org,")).collect();
    for (bytes, expected) in [
        ("GET /w?lat=50.0755&lon=14.4378 HTTP/1.1\r\n", "low gps_coordinates"),
        ("{\"lat\": 50.07551, \"lng\": 14.43781}", "low gps_coordinates"),
        ("GET /maps?ll=50.0755,14.4378 HTTP/1.1", "low gps_coordinates"),
        // a body that came after the answer had begun
        ("lat=50.0755&lon=14.4378", "low gps_coordinates"),
        ("password=hunter2", "low password_in_form"),
        ("GET /w?lat=50&lon=14 HTTP/1.1", ""),
        ("GET /w?latency=50.0755&longest=14.4378 HTTP/1.1", ""),
        ("&imei=490154203237518&", "low device_identity"),
        ("&imei=490154203237519&", ""),
        ("{\"imsi\":\"310150123456789\"}", "low subscriber_identity"),
        ("card_number=4111111111111111&", "medium card_number"),
        ("card_number=4111111111111112&", ""),
        ("pay with 5500 0055 5555 5559 please", "medium card_number"),
        ("pay with 0000 0000 0000 0000 please", ""),
        ("&id=4111111111111111&", ""),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl", "high private_key"),
        ("-----BEGIN PUBLIC KEY-----\nb3Bl", ""),
        ("key=AKIAIOSFODNN7EXAMPLE\n", "medium access_key"),
        ("key=AKIAIOSFODNN7EX\n", ""),
        ("\r\nAuthorization: Bearer 0123456789abcdefghij\r\n", "low bearer_token"),
        ("POST /login HTTP/1.1\r\n\r\nuser=me&password=hunter2", "low password_in_form"),
        ("POST /login HTTP/1.1\r\n\r\nuser=me&password=&x=1", ""),
        ("POST /x HTTP/1.1\r\n\r\ncompass=north", ""),
        ("root:$6$saltsalt$abcdefghijklmnop:19000:0:99999:7:::", "high password_file"),
        ("wpa_passphrase=correcthorse\n", "medium wireless_password"),
        ("[{\"ssid\":\"home\",\"bssid\":\"00:11:22:33:44:55\"}]", "low wireless_neighbours"),
        ("&mac=02:42:ac:11:00:9f&", "low hardware_address"),
        ("&mac=0242AC11009F&", "low hardware_address"),
        ("&mac=02:42:ac:11:00:9e&", ""),
        (book.as_str(), "low address_book"),
        (short.as_str(), ""),
        ("GET / HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: curl/8\r\n\r\n", ""),
    ] {
        assert_eq!(told(bytes), expected, "{bytes}");
    }
}

#[test]
fn what_leaked_is_not_repeated() {
    let secrets = "POST / HTTP/1.1\r\n\r\n&password=hunter2&card_number=4111111111111111&lat=50.0755&lon=14.4378&key=AKIAIOSFODNN7EXAMPLE&";
    let found = of(&Settings::default(), &[payload("http", true, secrets)]);
    assert!(found.len() >= 8, "{found:#?}");
    for finding in found {
        for secret in ["hunter2", "4111", "50.07", "AKIA"] {
            assert!(!finding.text.contains(secret), "{}", finding.text);
        }
    }
    let event = format!("{:?}", payload("http", true, secrets));
    assert!(!event.contains("hunter2") && event.contains("bytes"), "{event}");
}

#[test]
fn further_rules_join_what_was_told_and_the_worst_stands() {
    let both =
        [payload("http", true, "-----BEGIN PRIVATE KEY-----"), payload("http", true, "&password=hunter2&")];
    let found = of(&Settings::default(), &both);
    assert_eq!(levels(&found), ["high 0.9", "info 0.9", "high 0.9", "info 0.9"]);
    assert!(
        found[2].text.starts_with("a private key and a password in an address or a form left"),
        "{}",
        found[2].text
    );
}

#[test]
fn a_threshold_holds_back_until_it_is_reached() {
    let mut settings = Settings::default();
    settings.set(&SPEC, threshold_of(&SPEC, "matches").expect("a key"), &[3]).expect("a number");
    let leak = payload("", true, "-----BEGIN PRIVATE KEY-----");
    assert!(of(&settings, &vec![leak.clone(); 2]).is_empty());
    assert_eq!(of(&settings, &vec![leak; 3]).len(), 2);
}

#[test]
fn servers_of_ours_leak_files_and_nothing_leaks_to_ours() {
    let served = |text| of(&Settings::default(), &[payload("http", false, text)]);
    let found = served("HTTP/1.1 200 OK\r\n\r\nroot:x:0:0:root:/root:/bin/bash");
    assert_eq!(levels(&found), ["high 0.9", "info 0.9"]);
    assert_eq!(found[0].attacker, Entity::Ip(at("192.168.1.5")));
    assert!(served("lat=50.0755&lon=14.4378&password=hunter2").is_empty(), "pages may say where a shop is");
    let mut inside = payload("http", true, "&password=hunter2");
    if let Event::Payload(payload) = &mut inside {
        payload.about.dst.addr = at("192.168.1.9");
    }
    assert!(of(&Settings::default(), &[inside]).is_empty());
}

#[test]
fn logs_of_requests_tell_places() {
    let request = |uri| Event::Http(Box::new(http("203.0.113.9", "weather.example.org", uri, 0)));
    let leak = request("/w?lat=50.0755&lon=14.4378");
    assert_eq!(levels(&of(&Settings::default(), std::slice::from_ref(&leak))), ["low 0.9", "info 0.9"]);
    assert_eq!(of(&Settings::default(), &vec![leak.clone(); 99]).len(), 2);
    assert_eq!(of(&Settings::default(), &vec![leak.clone(); 100]).len(), 4);
    assert!(of(&Settings::default(), &[request("/w?lat=50&lon=14")]).is_empty());
    // where the payload itself is seen, it alone counts
    let seen = [payload("http", true, "GET / HTTP/1.1"), leak];
    assert!(of(&Settings::default(), &seen).is_empty());
}

#[test]
fn the_owners_rules_add_to_ours_and_a_wrong_file_is_told_with_its_line() {
    let good = "rule plan { meta: what = \"the plan\" level = \"critical\" strings: $a = \"top secret\" condition: $a and port == 80 }";
    let bad = "rule fine { condition: true }\nrule broken { strings: $a = condition: $a }";
    let includes = "include \"/etc/passwd\"";
    let files = [("good.yar", good), ("bad.yar", bad), ("includes.yar", includes)];
    let (rules, problems) =
        Rules::with(files.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec());
    assert_eq!(rules.count(), Rules::built_in().count() + 1);
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(
        problems[0].starts_with("bad.yar:2:") && problems[1].starts_with("includes.yar:1:"),
        "{problems:?}"
    );
    let mut settings = Settings::default();
    settings.leak_rules = Some(rules);
    let found = of(&settings, &[payload("http", true, "this is top secret")]);
    assert_eq!(levels(&found), ["high 0.9", "info 0.9"], "no rule alone blocks");
    assert!(found[0].text.starts_with("the plan left in the clear"), "{}", found[0].text);
}
