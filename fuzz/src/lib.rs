//! What the fuzz targets share: the script that an input is read as, and how it reaches the sensor and the file readers.
//!
//! Everything goes through the public faces of the crates, as real packets do: what a target finds, an attacker can send.

pub mod apps;
pub mod bytes;
pub mod dtls;
pub mod files;
pub mod net;
pub mod quic;
pub mod script;
#[allow(dead_code)]
#[path = "../../slips_files/sensor/tests/support/quic.rs"]
pub mod sealed;
#[allow(dead_code)]
#[path = "../../slips_files/sensor/tests/support/wire.rs"]
pub mod wire;
