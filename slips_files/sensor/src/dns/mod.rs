//! DNS: questions and their answers become one event each, as Zeek logs them.

mod message;
mod name;
mod pending;
mod stream;

pub(crate) use message::{Dialect, Message};
pub(crate) use pending::Pending;
pub(crate) use stream::Stream;
