use proptest::prelude::*;
use slips_core::event::Event;

use crate::reader::testing::read;
use crate::service::Service;
use crate::track::Dir::{self, Orig, Resp};

fn run(talk: &[(Dir, &[u8])], size: usize) -> Vec<String> {
    let print = |event| match event {
        Event::Smtp(smtp) => Some(format!("{} | {} | {}", smtp.helo, smtp.last_reply, smtp.tls)),
        Event::Tls(tls) => Some(tls.fields.ssl_history),
        _ => None,
    };
    read(Service::Smtp, talk, size).into_iter().filter_map(print).collect()
}

fn check(talk: &[(Dir, &[u8])], expected: &[&str]) {
    for size in [1, 2, 5, 1000] {
        assert_eq!(run(talk, size), expected, "cut at {size}");
    }
}

#[test]
fn each_mail_is_told_with_the_answer_to_it() {
    check(
        &[
            (Resp, b"220 mx\r\n"),
            (Orig, b"EHLO me\r\n"),
            (Resp, b"250-mx\r\n250 PIPELINING\r\n"),
            (Orig, b"MAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\n"),
            (Resp, b"250 ok\r\n250 ok\r\n354 go\r\n"),
            (Orig, b"Subject: x\r\nMAIL FROM\r\n.\r\n"),
            (Resp, b"250 queued\r\n"),
            (Orig, b"MAIL FROM:<a>\r\n"),
            (Resp, b"550 no\r\n"),
            (Orig, b"QUIT\r\n"),
        ],
        &["me | 250 queued | false", "me | 550 no | false"],
    );
}

#[test]
fn chunks_are_no_commands() {
    check(
        &[
            (Orig, b"HELO me\r\nMAIL x\r\nBDAT 9 LAST\r\nMAIL x\r\n\r"),
            (Resp, b"250 a\r\n250 b\r\n250 c\r\n"),
        ],
        &["me | 250 c | false"],
    );
    check(&[(Orig, b"HELO me\r\nBDAT -1\r\n"), (Resp, b"250 a\r\n500 b\r\n")], &["me | 500 b | false"]);
}

#[test]
fn tls_takes_over() {
    check(
        &[
            (Orig, b"EHLO me\r\nSTARTTLS\r\n"),
            (Resp, b"250 a\r\n220 go\r\n"),
            (Resp, b"\x15\x03\x03\x00\x02\x02\x28"),
        ],
        &["me | 220 go | true", "l"],
    );
}

/// Source, type, length and MD5 of the files of a talk, and how many of them each record names.
fn files(talk: &[(Dir, &[u8])], size: usize) -> (Vec<String>, Vec<usize>) {
    let (mut files, mut named) = (Vec::new(), Vec::new());
    for event in read(Service::Smtp, talk, size) {
        match event {
            Event::File(file) => files.push(format!(
                "{} {} {:?} {}",
                file.source,
                file.mime_type,
                file.seen_bytes,
                file.md5.get(..8).unwrap_or("-")
            )),
            Event::Smtp(smtp) => named.push(smtp.fuids.len()),
            _ => {}
        }
    }
    (files, named)
}

#[test]
fn each_part_of_a_mail_is_a_file() {
    let talk: [(Dir, &[u8]); 4] = [
        (Orig, b"HELO me\r\nMAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\n"),
        (Resp, b"250 a\r\n250 b\r\n250 c\r\n354 go\r\n"),
        (
            Orig,
            b"Subject: x\r\nContent-Type: multipart/mixed;\r\n boundary=\"out side\"\r\n\r\nnot shown\r\n--out side\r\n\
            Content-Type: multipart/alternative; boundary=in\r\n\r\n--in\r\n\r\nplain text\r\n..\r\n--in\r\n\
            Content-Transfer-Encoding: Quoted-Printable\r\n\r\n<html>=20a=\r\nb\r\n--in--\r\nlost\r\n--out side\r\n\
            Content-Transfer-Encoding: base64\r\n\r\nTVqQAAMAAAAEAAAA\r\n//8AALgAAAA=\r\n--out side--\r\n.\r\n",
        ),
        (Resp, b"250 queued\r\n"),
    ];
    for size in [1, 7, 5000] {
        let (files, named) = files(&talk, size);
        assert_eq!(
            files,
            [
                "SMTP text/plain Some(13) df366f9c",
                "SMTP text/html Some(11) cfc5ff0c",
                "SMTP application/x-dosexec Some(20) e3e0af6e",
            ],
            "cut at {size}"
        );
        assert_eq!(named, [3]);
    }
}

#[test]
fn a_mail_in_chunks_is_a_file_and_one_that_breaks_off_has_no_digest() {
    let chunks: [(Dir, &[u8]); 2] = [
        (Orig, b"HELO me\r\nMAIL FROM:<a>\r\nBDAT 9\r\nA: b\r\n\r\nwBDAT 10 LAST\r\nhole mail!"),
        (Resp, b"250 a\r\n250 b\r\n250 c\r\n250 d\r\n"),
    ];
    for size in [1, 5, 1000] {
        assert_eq!(files(&chunks, size).0, ["SMTP text/plain Some(13) c7be31ad"], "cut at {size}");
    }
    let broken: [(Dir, &[u8]); 2] =
        [(Orig, b"MAIL FROM:<a>\r\nDATA\r\n"), (Orig, b"\r\nthis goes on and\r\n")];
    assert_eq!(files(&broken, 1000).0, ["SMTP text/plain Some(18) -"]);
}

#[test]
fn a_mail_that_comes_to_nothing_is_told_before_the_next() {
    check(
        &[
            (Resp, b"220 mx\r\n"),
            (Orig, b"HELO me\r\nRCPT TO:<b>\r\nDATA\r\n"),
            (Resp, b"250 a\r\n503 sender?\r\n503 no\r\n"),
            (Orig, b"MAIL FROM:<a>\r\n"),
            (Resp, b"250 ok\r\n"),
        ],
        &["me | 503 no | false", "me | 250 ok | false"],
    );
}

proptest! {
    #[test]
    fn arbitrary_lines_are_no_harm(
        lines in prop::collection::vec((any::<bool>(), "(HELO|MAIL|DATA|BDAT 5|BDAT 99999999999999999999|STARTTLS|220|354|250-|.{0,9})[ .\r\n]{0,3}"), 0..20),
        size in 1..30usize,
    ) {
        let talk: Vec<(Dir, &[u8])> =
            lines.iter().map(|(orig, line)| (if *orig { Orig } else { Resp }, line.as_bytes())).collect();
        run(&talk, size);
    }
}

#[test]
fn logins_are_told_with_their_end() {
    let talk: [(Dir, &[u8]); 8] = [
        (Resp, b"220 mx\r\n"),
        (Orig, b"EHLO me\r\nAUTH PLAIN AHRlc3QAcGFzcw==\r\n"),
        (Resp, b"250 ok\r\n535 5.7.8 no\r\n"),
        (Orig, b"AUTH LOGIN\r\n"),
        (Resp, b"334 VXNlcm5hbWU6\r\n"),
        (Orig, b"dGVzdA==\r\n"),
        (Resp, b"334 UGFzc3dvcmQ6\r\n"),
        (Orig, b"cGFzcw==\r\n"),
    ];
    let failed = "auth test@/ PLAIN failed 535 5.7.8 no clear";
    crate::apps::testing::check(Service::Smtp, &talk, &[failed, "auth test@/ LOGIN unknown  clear"]);
    let talk = [&talk[..], &[(Resp, b"235 ok\r\n")]].concat();
    crate::apps::testing::check(Service::Smtp, &talk, &[failed, "auth test@/ LOGIN succeeded  clear"]);
}

#[test]
fn mails_that_nobody_answers_name_a_bounded_number_of_files() {
    let mails = b"BDAT 5 LAST\r\n\r\na\r\n".repeat(2000);
    let (files, named) = files(&[(Orig, b"HELO me\r\nMAIL FROM:<a>\r\n"), (Orig, &mails)], 1400);
    assert_eq!((files.len(), named), (2000, vec![32]));
}
