//! Packet filters: the text up to the end of a line, then a packet. What the text means is a program that ends, is short enough for
//! the kernel, and divides the traffic into parts without loss.
#![no_main]

use slips_input::filter::{Instruction, LinkKind, PacketFilter, Program, RunsIn, Share};

/// As many instructions as the kernel takes.
const MOST: usize = 4096;
const LINKS: [u32; 5] = [1, 101, 0, 113, 276];

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (text, packet) = (&input[..end], input.get(end + 1..).unwrap_or(&[]));
    let Ok(text) = std::str::from_utf8(text) else { return };
    let filter: PacketFilter = match text.parse() {
        Ok(filter) => filter,
        Err(error) => {
            assert!(error.column <= text.chars().count() + 1, "{error} in {text:?}");
            return;
        }
    };
    assert_eq!(filter.to_string(), text);
    for link in LINKS {
        let link = LinkKind::from_dlt(link).expect("a link with filters");
        let length = packet.len() as u32;
        let whole = program(&filter, link, RunsIn::Here, None);
        let of = 3;
        let parts = (0..of)
            .filter(|part| {
                let share = Share { part: *part, of, key: 7 };
                program(&filter, link, RunsIn::Here, Some(share)).accepts(packet, length)
            })
            .count();
        assert!(parts <= 1, "nothing is taken twice");
        if parts == 1 {
            assert!(whole.accepts(packet, length), "a part takes nothing of its own");
        }
        program(&filter, link, RunsIn::Kernel, Some(Share { part: 1, of: 2, key: 1 }));
    }
});

/// A program, which the kernel would take.
fn program(filter: &PacketFilter, link: LinkKind, runs: RunsIn, share: Option<Share>) -> Program {
    let program = filter.program(link, runs, share).expect("too long for one is too long for all");
    let count = program.instructions().len();
    assert!(count <= MOST);
    for (at, instruction) in program.instructions().iter().enumerate() {
        let furthest = match *instruction {
            Instruction::Skip(far) => far as usize,
            Instruction::Compare(_, _, yes, no) => yes.max(no).into(),
            Instruction::Return(_) => continue,
            _ => 0,
        };
        assert!(at + 1 + furthest < count, "every way ends with a verdict");
    }
    program
}
