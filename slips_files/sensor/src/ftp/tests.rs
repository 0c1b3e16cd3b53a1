use proptest::prelude::*;
use slips_core::event::Event;

use super::{Control, bar_port, comma_port};
use crate::reader::testing::read;
use crate::service::Service;
use crate::track::Dir::{self, Orig, Resp};

fn run(talk: &[(Dir, &[u8])], size: usize) -> Vec<String> {
    let print = |event| match event {
        Event::Ftp(ftp) => {
            Some(format!("{} {} {:?} {:?}", ftp.user, ftp.command, ftp.reply_code, ftp.data_port))
        }
        _ => None,
    };
    read(Service::Ftp, talk, size).into_iter().filter_map(print).collect()
}

#[test]
fn commands_that_open_channels_are_told() {
    let talk: [(Dir, &[u8]); 9] = [
        (Resp, b"220-hello\r\n100 of you\r\n220 ready\r\n"),
        (Orig, b"USER me\r\n"),
        (Resp, b"331 pass?\r\n"),
        (Orig, b"PASV\r\n"),
        (Resp, b"227 Entering Passive Mode (10,0,0,1,4,1).\r\n"),
        (Orig, b"RETR x\r\n"),
        (Resp, b"150 here\r\n226 done\r\n"),
        (Orig, b"EPSV\r\nPORT 10,0,0,2,0,21\r\nSYST\r\nEPRT |2|::1|99|\r\n"),
        (Resp, b"229 ok (|||57086|)\r\n200 ok\r\n215 unix\r\n500 no\r\n"),
    ];
    for size in [1, 4, 1000] {
        assert_eq!(
            run(&talk, size),
            [
                "me PASV Some(227) Some(1025)",
                "me RETR Some(226) None",
                "me EPSV Some(229) Some(57086)",
                "me PORT Some(200) Some(21)",
                "me EPRT Some(500) Some(99)",
            ]
        );
    }
}

#[test]
fn the_last_reply_before_the_next_command_counts() {
    let talk: [(Dir, &[u8]); 5] = [
        (Resp, b"220 ready\r\n"),
        (Orig, b"RETR x\r\n"),
        (Resp, b"150 here\r\n425 no way\r\n"),
        (Resp, b"226 after all\r\n"),
        (Orig, b"PASV\r\n"),
    ];
    assert_eq!(run(&talk, 1000), [" RETR Some(226) None", " PASV Some(226) None"]);
}

#[test]
fn what_a_data_connection_carries_is_a_file() {
    let files: Vec<_> = read(Service::FtpData, &[(Resp, b"\x89PNG\r\n"), (Resp, b"\x1a\n and so on")], 4)
        .into_iter()
        .filter_map(|event| match event {
            Event::File(file) => Some((file.source, file.mime_type, file.seen_bytes, file.is_orig, file.md5)),
            _ => None,
        })
        .collect();
    let expected = ("FTP_DATA".to_owned(), "image/png".to_owned(), Some(18), Some(false), String::new());
    // the sender's FIN was not seen: no digest
    assert_eq!(files, [expected]);
}

proptest! {
    #[test]
    fn arbitrary_lines_are_no_harm(
        lines in prop::collection::vec(
            (any::<bool>(), "(PASV|EPSV|227|229|AUTH|234|.{0,9})[ |,0-9\r\n]{0,30}"),
            0..20,
        ),
        size in 1..30usize,
    ) {
        let talk: Vec<(Dir, &[u8])> =
            lines.iter().map(|(orig, line)| (if *orig { Orig } else { Resp }, line.as_bytes())).collect();
        run(&talk, size);
        for (_, line) in &lines {
            comma_port(line.as_bytes());
            bar_port(line.as_bytes());
        }
    }
}

#[test]
fn logins_are_told_with_their_end() {
    let talk: [(Dir, &[u8]); 7] = [
        (Resp, b"220 ready\r\n"),
        (Orig, b"USER joe\r\n"),
        (Resp, b"331 pass?\r\n"),
        (Orig, b"PASS x\r\n"),
        (Resp, b"530 wrong\r\n"),
        (Orig, b"USER anonymous\r\nPASS\r\n"),
        (Resp, b"331 ok\r\n230 in\r\n"),
    ];
    let told = ["auth joe@/ USER failed 530 wrong clear", "auth anonymous@/ USER succeeded "];
    crate::apps::testing::check(Service::Ftp, &talk, &told);
}

#[test]
fn a_reply_whose_end_is_lost_hides_no_others() {
    let mut control = Control { within: Some(230), ..Control::default() };
    control.lose(Orig);
    assert_eq!(control.within, Some(230));
    control.lose(Resp);
    assert_eq!(control.within, None);
}
