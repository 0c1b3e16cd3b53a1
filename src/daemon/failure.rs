//! `slips ended`: what the unit runs after the daemon, however that ended. It tells the journal, since who was killed cannot.

use slips_systemd::notify::Environment;

use super::{entries, run};

/// Tells how the service ended, if that was otherwise than it should.
pub fn tell(environment: &Environment) {
    if let Some(how) = environment.failure() {
        run::open_journal().send(&entries::failure(&how));
    }
}
