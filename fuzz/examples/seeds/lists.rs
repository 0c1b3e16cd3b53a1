//! Lists of indicators, one of each form, and whitelists; the first byte says what it is read as.

use slips_core::evidence::ThreatLevel;
use slips_intel::{Builder, Ioc, Saying};

use crate::Seeds;

pub fn lists() -> Seeds {
    let md5 = "d41d8cd98f00b204e9800998ecf8427e";
    let sha1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
    let stix = r#"{"type":"bundle","objects":[{"type":"indicator","name":"x","pattern":"[domain-name:value = 'bad.example.com' OR ipv4-addr:value='203.0.113.7']","pattern_type":"stix","valid_from":"2024-05-06T07:08:09Z","labels":["c2"]}]}"#;
    let misp = r#"{"Event":{"info":"x","Attribute":[{"type":"ip-dst|port","value":"203.0.113.7|443","to_ids":true}],"Object":[{"Attribute":[{"type":"md5","value":"d41d8cd98f00b204e9800998ecf8427e"}]}]}}"#;
    let zeek = "#fields\tindicator\tindicator_type\tmeta.desc\n203.0.113.7\tIntel::ADDR\tx\nbad.example.com/a\tIntel::URL\ty\n";
    let texts = [
        (0, "# remark\n203.0.113.7:443\n198.51.100.0/24 ; SBL1\nhxxp://bad[.]example.com/a\n0.0.0.0 ads.example.com\n||x.example.com^\n".to_owned()),
        (0, "\"first_seen\",\"dst_ip\",\"malware\"\n\"2024-05-06 07:08:09\",\"203.0.113.7\",\"QakBot\"\n".to_owned()),
        (0, "7,2024-05-06,bad.example.com,c2\n".to_owned()),
        (0, zeek.to_owned()),
        (0, stix.to_owned()),
        (0, misp.to_owned()),
        (0, "{\"cidr\":\"198.51.100.0/24\",\"sblid\":\"SBL1\"}\n{\"ip\":{\"v4\":\"203.0.113.7\"},\"fseen\":1714979289}\n".to_owned()),
        (0, "[{\"DomainAddress\":\"bad.example.com\"},\"203.0.113.7\"]".to_owned()),
        (1, format!("# ja3_md5,Firstseen,Listingreason\n{md5},2017-07-14,Adware\n")),
        (2, format!("# Listingdate,SHA1,Listingreason\n2024-05-06,{sha1},C&C\n")),
        (3, format!("ioc,level,description\n203.0.113.7,high,x\nbad.example.com,0.7,y\n{sha1},,z\n")),
        (4, "# lists\nhttps://lists.example.com/a.txt?x, medium, ['spam','c2']\n;/a,low\n".to_owned()),
    ];
    let mut seeds: Seeds =
        texts.into_iter().map(|(choice, text)| [&[choice], text.as_bytes()].concat()).collect();
    seeds.push(compiled());
    seeds
}

/// A server's greeting with a protocol, one without extensions, an alert; 0xfe between them.
pub fn jarm() -> Seeds {
    let hello = |rest: &[u8]| {
        let head = [&[22, 3, 3, 0, 90, 2, 0, 0, 86, 3, 3][..], &[7; 32], &[0, 0xc0, 0x2f, 0]].concat();
        [&head[..], rest].concat()
    };
    let h2 = hello(&[0, 14, 0xff, 1, 0, 1, 0, 0, 16, 0, 5, 0, 3, 2, b'h', b'2']);
    let answers = [h2, hello(&[]), hello(&[11, 0, 0, 48]), vec![21, 3, 3, 0, 2, 2, 40]];
    vec![[&[0xfe][..], &answers.join(&0xfe)].concat()]
}

pub fn whitelist() -> Seeds {
    let rules = "IoCType,IoCValue,Direction,IgnoreType,Until # remark\nip,192.0.2.7,both,alerts\nip,2001:db8::/32,src,both,2027-01-31\n\
        domain,example.org,dst,alerts # ours\ndomain,=github.io,both,flows\nmac,02:00:00:00:00:01,both,both\norganization,google,dst,both\n";
    let acme = "203.0.113.0/24\nacme.example.com\nAS64496\n\norganization,acme,both,both\nip,203.0.113.9,src,flows\n";
    let sites = "1,example.org\n2,github.io\nexample.com\n";
    [(0u8, rules), (1, acme), (2, sites)].map(|(choice, text)| [&[choice][..], text.as_bytes()].concat()).into()
}

/// A compiled copy without its magic and fingerprint, which the target puts before it.
fn compiled() -> Vec<u8> {
    let mut builder = Builder::new();
    for text in ["203.0.113.7", "2001:db8::/32", "bad.example.com", "http://bad.example.com/a", "AS64496"] {
        let (level, description, source, tags) = (ThreatLevel::High, "bot", "own.csv", "");
        let saying = Saying { level, description, source, tags, first_seen: 1, last_seen: 2 };
        builder.add(&Ioc::guess(text).expect("an indicator"), &saying);
    }
    let mut file = Vec::new();
    builder.finish().write_cache(&mut file, 7).expect("memory");
    [&[5], &file[16..]].concat()
}
