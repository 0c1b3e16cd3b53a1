//! Argus' flow lists (`.binetflow`): what `ra` prints with a separator. The header names the columns, in any order.

mod columns;
mod row;

use std::path::Path;
use std::sync::Arc;

use self::columns::Columns;
use crate::blocks::{Line, Lines};
use crate::error::InputError;
use crate::flowlog::order::Reorder;
use crate::flowlog::source::Records;
use crate::report::{Reason, Reject, Report};
use crate::stream::{self, Stream};
use crate::zeek::logs::Labels;

/// Whether a list begins with this line.
pub(crate) fn begins_with(line: &[u8]) -> bool {
    Columns::of_header(line).is_some() || Columns::of_row(line).is_some()
}

/// Reads the lines of a list.
pub(crate) struct List {
    path: Arc<Path>,
    file: usize,
    lines: Lines,
    decoder: Decoder,
}

#[derive(Default)]
struct Decoder {
    columns: Option<Columns>,
    labels: Labels,
}

impl List {
    pub(crate) fn new(path: &Arc<Path>, file: usize, stream: Stream) -> Self {
        Self { path: Arc::clone(path), file, lines: Lines::new(stream.blocks), decoder: Decoder::default() }
    }
}

impl Records for List {
    fn read(&mut self, want: usize, queue: &mut Reorder, report: &mut Report) -> Result<bool, InputError> {
        for _ in 0..want {
            let number = self.lines.number() + 1;
            let decoded = match self.lines.next() {
                Some(Line::Whole(line)) => self.decoder.take(line, number, queue),
                Some(Line::Tail(line)) => {
                    self.decoder.take(line, number, queue).map_err(|_| Reject::new(Reason::TruncatedLastLine))
                }
                Some(Line::TooLong) => Err(Reject::new(Reason::LineTooLong)),
                None => {
                    if let Some(fault) = self.lines.take_fault() {
                        let reject = stream::judge_fault(&self.path, fault)?;
                        report.reject(self.file, number, reject);
                    }
                    return Ok(false);
                }
            };
            match decoded {
                Ok(Taken::Flow) => report.count(self.file, 1),
                Ok(Taken::Unused) => report.pass_over(self.file),
                Ok(Taken::Nothing) => {}
                Err(reject) => report.reject(self.file, number, reject),
            }
        }
        Ok(true)
    }
}

/// What became of a line.
#[derive(Debug, PartialEq, Eq)]
enum Taken {
    Flow,
    /// A record that is no flow between IP addresses: Argus' own management records, ARP, link layer protocols.
    Unused,
    /// An empty line, a remark, a header.
    Nothing,
}

impl Decoder {
    fn take(&mut self, line: &[u8], number: u64, queue: &mut Reorder) -> Result<Taken, Reject> {
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        if line.trim_ascii().is_empty() || line.first() == Some(&b'#') {
            return Ok(Taken::Nothing);
        }
        // Lists are often joined from several, each with its header.
        if let Some(columns) = Columns::of_header(line) {
            self.columns = Some(columns);
            return Ok(Taken::Nothing);
        }
        if self.columns.is_none() {
            self.columns = Columns::of_row(line);
        }
        let Some(columns) = &self.columns else { return Err(Reject::new(Reason::BeforeHeader)) };
        let row = columns.split(line)?;
        match row::flow(&row, number, &mut self.labels)? {
            Some(event) => {
                queue.push(event);
                Ok(Taken::Flow)
            }
            None => Ok(Taken::Unused),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER: &[u8] = b"StartTime,Dur,Proto,SrcAddr,Sport,Dir,DstAddr,Dport,State,sTos,dTos,TotPkts,TotBytes,SrcBytes,SrcPkts,Label";

    proptest! {
        #[test]
        fn arbitrary_lines_never_panic(lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..4)) {
            let mut decoder = Decoder::default();
            let mut queue = Reorder::default();
            for line in &lines {
                let _ = (begins_with(line), decoder.take(line, 1, &mut queue));
            }
        }

        #[test]
        fn nearly_rows_never_panic(
            proto in "tcp|udp|icmp|ipv6-icmp|man|llc|esp",
            dir in " *(<\\?>|->|<-|\\?>|who)",
            state in "[FSRPAEC_]{0,8}|CON|INT|RST|ECO",
            ports in "0x[0-9a-f]{1,5}|[0-9]{0,6}",
            numbers in proptest::collection::vec("[0-9]{0,21}", 4),
        ) {
            let mut decoder = Decoder::default();
            let mut queue = Reorder::default();
            decoder.take(HEADER, 1, &mut queue).expect("a header");
            let line = format!(
                "2019/04/04 16:24:47.672448,63.8,{proto},10.8.0.69,{ports},{dir},::1,{ports},{state},0,,{}",
                numbers.join(",") + ",flow=x"
            );
            let _ = decoder.take(line.as_bytes(), 2, &mut queue);
            while queue.pop().is_some() {}
        }
    }
}
