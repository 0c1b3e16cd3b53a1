//! Classic BPF as our compiler writes it: the instructions, and a machine that runs them over a packet.

/// One instruction. Jumps go forward only, so every program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// Loads a byte, half word or word at a fixed place; a place beyond the packet refuses it.
    Load(Width, u32),
    /// The same, so far behind the index.
    LoadBehind(Width, u32),
    /// Loads the length on the wire.
    LoadLength,
    /// Loads a number.
    LoadNumber(u32),
    /// Loads from memory.
    LoadMemory(u32),
    /// Loads the index from memory.
    IndexMemory(u32),
    /// Stores into memory.
    Store(u32),
    /// Makes the number the index.
    ToIndex,
    /// Calculates with a number.
    Number(Operation, u32),
    /// Calculates with the index.
    WithIndex(Operation),
    /// Goes on so many instructions later.
    Skip(u32),
    /// Compares with a number; goes on so many instructions later where it holds, and where it does not.
    Compare(Comparison, u32, u8, u8),
    /// Loads what the kernel keeps beside the bytes; 0 where there is no kernel.
    LoadBeside(Beside),
    /// Takes so many bytes of the packet; 0 refuses it.
    Return(u32),
}

/// How much is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Four bytes.
    Word,
    /// Two bytes.
    Half,
    /// One byte.
    Byte,
}

/// A calculation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Adds.
    Add,
    /// Multiplies.
    Multiply,
    /// The rest of a division.
    Rest,
    /// Bits of both.
    And,
    /// Bits of one.
    Xor,
    /// Shifts left.
    Left,
    /// Shifts right.
    Right,
}

/// A comparison of unsigned numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Equal.
    Equal,
    /// Greater.
    Greater,
    /// Greater or equal.
    AtLeast,
    /// Some bit of both.
    AnyBit,
}

/// What the kernel keeps beside the bytes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// Whether a VLAN tag was taken off.
    HasVlan,
    /// The tag.
    Vlan,
}

/// A program, which ends and stays within its memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program(Vec<Instruction>);

impl Program {
    pub(super) const fn new(instructions: Vec<Instruction>) -> Self {
        Self(instructions)
    }

    /// The instructions.
    pub fn instructions(&self) -> &[Instruction] {
        &self.0
    }

    /// Whether a packet of `wire_len` bytes, of which `packet` was captured, is taken.
    pub fn accepts(&self, packet: &[u8], wire_len: u32) -> bool {
        self.run(packet, wire_len).is_some_and(|bytes| bytes > 0)
    }

    fn run(&self, packet: &[u8], wire_len: u32) -> Option<u32> {
        let (mut number, mut index, mut memory, mut at) = (0u32, 0u32, [0u32; MEMORY], 0usize);
        loop {
            let instruction = *self.0.get(at)?;
            at += 1;
            match instruction {
                Instruction::Load(width, place) => number = load(packet, width, place)?,
                Instruction::LoadBehind(width, place) => {
                    number = load(packet, width, index.checked_add(place)?)?;
                }
                Instruction::LoadLength => number = wire_len,
                Instruction::LoadNumber(value) => number = value,
                Instruction::LoadBeside(_) => number = 0,
                Instruction::LoadMemory(place) => number = *memory.get(place as usize)?,
                Instruction::IndexMemory(place) => index = *memory.get(place as usize)?,
                Instruction::Store(place) => *memory.get_mut(place as usize)? = number,
                Instruction::ToIndex => index = number,
                Instruction::Number(operation, value) => number = calculate(operation, number, value),
                Instruction::WithIndex(operation) => number = calculate(operation, number, index),
                Instruction::Skip(far) => at += far as usize,
                Instruction::Compare(comparison, value, yes, no) => {
                    let holds = match comparison {
                        Comparison::Equal => number == value,
                        Comparison::Greater => number > value,
                        Comparison::AtLeast => number >= value,
                        Comparison::AnyBit => number & value != 0,
                    };
                    at += usize::from(if holds { yes } else { no });
                }
                Instruction::Return(bytes) => return Some(bytes),
            }
        }
    }
}

fn load(packet: &[u8], width: Width, place: u32) -> Option<u32> {
    let rest = packet.get(place as usize..)?;
    Some(match width {
        Width::Word => u32::from_be_bytes(*rest.first_chunk()?),
        Width::Half => u16::from_be_bytes(*rest.first_chunk()?).into(),
        Width::Byte => (*rest.first()?).into(),
    })
}

const fn calculate(operation: Operation, one: u32, other: u32) -> u32 {
    match operation {
        Operation::Add => one.wrapping_add(other),
        Operation::Multiply => one.wrapping_mul(other),
        // As in the kernel, where a division by zero refuses the packet, but ours never divide by it.
        Operation::Rest => match one.checked_rem(other) {
            Some(rest) => rest,
            None => 0,
        },
        Operation::And => one & other,
        Operation::Xor => one ^ other,
        Operation::Left => one.wrapping_shl(other),
        Operation::Right => one.wrapping_shr(other),
    }
}

/// Words of memory that a program of the kernel has (`BPF_MEMWORDS`).
const MEMORY: usize = 16;
