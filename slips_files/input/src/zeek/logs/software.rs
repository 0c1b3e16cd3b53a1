//! software.log: software that hosts were seen to run.

use slips_core::event::{Event, Software};

use super::super::row::{Row, columns};
use super::{Labels, Log};
use crate::report::Reject;

columns! {
    TS = "ts",
    HOST = "host",
    HOST_P = "host_p",
    SOFTWARE_TYPE = "software_type",
    NAME = "name",
    MAJOR = "version.major",
    MINOR = "version.minor",
    MINOR2 = "version.minor2",
    ADDL = "version.addl",
    UNPARSED_VERSION = "unparsed_version",
}

pub(super) const LOG: Log = Log {
    name: "software",
    names: NAMES,
    marks: &[&["software_type"], &["unparsed_version"]],
    never: &[],
    decode,
};

fn decode(row: &Row<'_>, _: &mut Labels) -> Result<Event, Reject> {
    Ok(Event::Software(Box::new(Software {
        at: row.time(col::TS)?,
        host: row.need_addr(col::HOST)?,
        port: row.short_count(col::HOST_P)?,
        software_type: row.string(col::SOFTWARE_TYPE),
        name: row.string(col::NAME),
        major: row.small_count(col::MAJOR)?,
        minor: row.small_count(col::MINOR)?,
        unparsed_version: row.string(col::UNPARSED_VERSION),
    })))
}
