//! A filter program in the kernel's numbers (`linux/bpf_common.h`, `linux/filter.h`).

use crate::filter::{Beside, Comparison, Instruction, Operation, Program, Width};

/// The program as the kernel takes it.
pub(super) fn of(program: &Program) -> Vec<libc::sock_filter> {
    program.instructions().iter().map(|instruction| one(*instruction)).collect()
}

fn one(instruction: Instruction) -> libc::sock_filter {
    let plain = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    match instruction {
        Instruction::Load(width, k) => plain(LD | ABS | size(width), k),
        Instruction::LoadBehind(width, k) => plain(LD | IND | size(width), k),
        Instruction::LoadLength => plain(LD | LEN | size(Width::Word), 0),
        Instruction::LoadNumber(k) => plain(LD | IMM, k),
        Instruction::LoadMemory(k) => plain(LD | MEM, k),
        Instruction::IndexMemory(k) => plain(LDX | MEM, k),
        Instruction::Store(k) => plain(ST, k),
        Instruction::ToIndex => plain(MISC | TAX, 0),
        Instruction::Number(operation, k) => plain(ALU | K | calculation(operation), k),
        Instruction::WithIndex(operation) => plain(ALU | X | calculation(operation), 0),
        Instruction::Skip(k) => plain(JMP | JA, k),
        Instruction::Compare(comparison, k, jt, jf) => {
            libc::sock_filter { jt, jf, ..plain(JMP | K | jump(comparison), k) }
        }
        Instruction::LoadBeside(beside) => {
            let place = match beside {
                Beside::HasVlan => libc::SKF_AD_VLAN_TAG_PRESENT,
                Beside::Vlan => libc::SKF_AD_VLAN_TAG,
            };
            plain(LD | ABS | size(Width::Word), (libc::SKF_AD_OFF + place).cast_unsigned())
        }
        Instruction::Return(k) => plain(RET | K, k),
    }
}

const fn size(width: Width) -> u32 {
    match width {
        Width::Word => libc::BPF_W,
        Width::Half => libc::BPF_H,
        Width::Byte => libc::BPF_B,
    }
}

const fn calculation(operation: Operation) -> u32 {
    match operation {
        Operation::Add => libc::BPF_ADD,
        Operation::Multiply => libc::BPF_MUL,
        Operation::Rest => libc::BPF_MOD,
        Operation::And => libc::BPF_AND,
        Operation::Xor => libc::BPF_XOR,
        Operation::Left => libc::BPF_LSH,
        Operation::Right => libc::BPF_RSH,
    }
}

const fn jump(comparison: Comparison) -> u32 {
    match comparison {
        Comparison::Equal => libc::BPF_JEQ,
        Comparison::Greater => libc::BPF_JGT,
        Comparison::AtLeast => libc::BPF_JGE,
        Comparison::AnyBit => libc::BPF_JSET,
    }
}

use libc::{
    BPF_ABS as ABS, BPF_ALU as ALU, BPF_IMM as IMM, BPF_IND as IND, BPF_JA as JA, BPF_JMP as JMP, BPF_K as K,
    BPF_LD as LD, BPF_LDX as LDX, BPF_LEN as LEN, BPF_MEM as MEM, BPF_MISC as MISC, BPF_RET as RET,
    BPF_ST as ST, BPF_TAX as TAX, BPF_X as X,
};
