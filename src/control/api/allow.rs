//! What a person wants left alone, from now on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::call::{Call, Outcome, Reply};
use super::problem::{Code, Problem};
use crate::allowed::{Allowed, Refused, Wish};
use crate::control::{Ask, Undone, hand_over, not_blocked};

/// What came of it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct AllowedNow {
    /// Each rule, as it is kept.
    pub rules: Vec<Allowed>,
    /// Networks of them that were blocked, wholly or in part, and are not any more.
    pub lifted: Vec<String>,
    /// Networks of them of which nothing was blocked.
    pub not_blocked: Vec<String>,
    /// What could not be done at once, in words: blocks that stand, rules that do not count yet. Rules are written down all the same; as soon as
    /// they count, they end those blocks.
    pub trouble: Vec<String>,
}

/// Leaves alone from now on what is named: writes it down, has it read, and lifts what stands.
pub fn add(shared: &Shared, call: &Call) -> Outcome {
    let wish: Wish = call.body()?;
    let files = &shared.sources.allowed.files;
    let (nets, rules) = files.allowed().add(&wish, files).map_err(problem)?;
    // First: from then on evidence about it is dropped, and nothing blocks it anew.
    shared.sources.allowed.read();
    let (mut lifted, mut not_blocked_now) = (Vec::new(), Vec::new());
    let mut trouble = shared.sources.allowed.missing(&rules);
    for net in nets {
        match hand_over(Ask::Unblock(net), &shared.ends) {
            Ok(_) => lifted.push(net.to_string()),
            Err(Undone::Refused(why)) if why == not_blocked(net) => not_blocked_now.push(net.to_string()),
            Err(why) => trouble.push(format!("{net}: {why}")),
        }
    }
    Reply::of(&AllowedNow { rules, lifted, not_blocked: not_blocked_now, trouble })
}

/// What is left alone.
pub fn list(shared: &Shared, _: &Call) -> Outcome {
    Reply::of(&shared.sources.allowed.files.allowed().list().map_err(|error| problem(error.into()))?)
}

/// Takes something out: from now on it counts again.
pub fn remove(shared: &Shared, call: &Call) -> Outcome {
    let files = &shared.sources.allowed.files;
    let rules = files.allowed().remove(&call.path, files).map_err(problem)?;
    shared.sources.allowed.read();
    Reply::of(&rules)
}

fn problem(refused: Refused) -> Problem {
    let message = refused.to_string();
    match refused {
        Refused::Wrong(_) => Problem::bad(message),
        Refused::Absent(_) => Problem::absent(message),
        Refused::File(_) => Problem::new(Code::Unavailable, message),
    }
}
