//! What the responder is to do when it changes who acts: given as soon as there is room, and in its order, since one that stays idle under a
//! daemon that acts blocks nobody.

use std::collections::VecDeque;
use std::sync::mpsc::{SyncSender, TrySendError};

use crate::daemon::bell::Rope;
use crate::daemon::responder::Order;

/// See the module.
pub struct Orders {
    way: (SyncSender<Order>, Rope),
    /// What there was no room for: at most to stand by, and then to take the place.
    owed: VecDeque<Order>,
}

impl Orders {
    /// Given that way; who listens hears the bell.
    pub const fn new(way: (SyncSender<Order>, Rope)) -> Self {
        Self { way, owed: VecDeque::new() }
    }

    /// Gives this, now or later; whether it was now.
    pub fn give(&mut self, order: Order) -> bool {
        match order {
            // Nothing that was to be done before that is worth doing.
            Order::StandBy => self.owed.clear(),
            // The newer one knows more.
            Order::TakePlace { .. } => self.owed.retain(|owed| matches!(owed, Order::StandBy)),
        }
        self.owed.push_back(order);
        self.give_again()
    }

    /// Gives what there was no room for; whether nothing is left.
    pub fn give_again(&mut self) -> bool {
        let (to, rope) = &self.way;
        while let Some(order) = self.owed.pop_front() {
            let given = to.try_send(order);
            rope.ring();
            match given {
                Ok(()) => {}
                Err(TrySendError::Full(order)) => {
                    self.owed.push_front(order);
                    return false;
                }
                // It ends.
                Err(TrySendError::Disconnected(_)) => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, sync_channel};

    use super::*;
    use crate::daemon::bell::Bell;

    fn takes_place() -> Order {
        Order::TakePlace { blocks: Vec::new(), done: sync_channel(1).0 }
    }

    /// What is heard now.
    fn heard(orders: &Receiver<Order>) -> Vec<&'static str> {
        orders.try_iter().map(|order| if matches!(order, Order::StandBy) { "by" } else { "take" }).collect()
    }

    #[test]
    fn what_had_no_room_is_given_later_and_in_its_order() {
        let bell = Bell::new().expect("a bell");
        let (to, from) = sync_channel(1);
        let mut orders = Orders::new((to, bell.rope()));
        assert!(orders.give(Order::StandBy) && orders.give_again());
        for order in [takes_place(), Order::StandBy, takes_place(), takes_place()] {
            assert!(!orders.give(order));
        }
        assert!(!orders.give_again());
        assert_eq!(heard(&from), ["by"]);
        assert!(!orders.give_again(), "there is room for one");
        assert_eq!(heard(&from), ["by"]);
        assert!(orders.give_again());
        assert_eq!(heard(&from), ["take"]);
        assert!(orders.give_again());
        assert_eq!(heard(&from).len(), 0);
    }

    #[test]
    fn who_is_to_stand_by_takes_no_place_before() {
        let bell = Bell::new().expect("a bell");
        let (to, from) = sync_channel(1);
        let mut orders = Orders::new((to, bell.rope()));
        assert!(orders.give(Order::StandBy));
        assert!(!orders.give(takes_place()) && !orders.give(Order::StandBy));
        assert_eq!(heard(&from), ["by"]);
        assert!(orders.give_again());
        assert_eq!(heard(&from), ["by"]);
        drop(from);
        assert!(!orders.give(takes_place()) && orders.give_again(), "nobody is there to hear it");
    }
}
