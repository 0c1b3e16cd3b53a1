//! What is called over named pipes: DCE/RPC in writes and transactions (MS-RPCE, section 2.1.1.2).

use crate::apps::dcerpc::{Association, Call};

/// Pipes that one connection has open at once; the one opened first makes room.
const MAX_PIPES: usize = 8;
/// Version 5.0 and types up to 19: how every message of DCE/RPC begins.
const VERSION: u8 = 5;

/// By the server's identifier of the open file.
#[derive(Debug, Default)]
pub(super) struct Pipes {
    open: Vec<([u8; 16], Association)>,
}

impl Pipes {
    /// The client wrote this. What begins as no message of DCE/RPC is a file's.
    pub(super) fn written(&mut self, file: [u8; 16], data: &[u8], tell: impl FnMut(Call)) {
        if data.first() != Some(&VERSION) {
            return;
        }
        let at = match self.open.iter().position(|(known, _)| *known == file) {
            Some(at) => at,
            None => {
                if self.open.len() >= MAX_PIPES {
                    self.open.remove(0);
                }
                self.open.push((file, Association::default()));
                self.open.len() - 1
            }
        };
        let Some((_, association)) = self.open.get_mut(at) else { return };
        // Each write begins a message; of a long one only the beginning is kept.
        association.resync();
        if association.read(data, tell).is_err() {
            self.open.remove(at);
        }
    }

    pub(super) fn held(&self) -> usize {
        self.open.iter().map(|(_, association)| 16 + association.held()).sum()
    }

    pub(super) fn reset(&mut self) {
        self.open.clear();
    }
}
