//! DNS: questions and their answers become one event each, as Zeek logs them.

mod message;
mod name;
mod pending;

pub(crate) use message::Message;
pub(crate) use pending::Pending;
