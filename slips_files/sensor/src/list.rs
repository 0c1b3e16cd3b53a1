//! Doubly linked lists through records of a slab, so that queues of flows cost no memory of their own.

/// No record.
pub(crate) const NIL: u32 = u32::MAX;

/// Neighbours of a record in one list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) prev: u32,
    pub(crate) next: u32,
}

impl Link {
    pub(crate) const NONE: Self = Self { prev: NIL, next: NIL };
}

/// First and last record of a list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    pub(crate) head: u32,
    tail: u32,
}

/// A record that can be in the lists of kind `WHICH`.
pub(crate) trait Linked<const WHICH: usize> {
    fn link(&mut self) -> &mut Link;
}

impl Default for List {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl List {
    pub(crate) const EMPTY: Self = Self { head: NIL, tail: NIL };

    /// Appends record `index`, which is in no list of this kind.
    pub(crate) fn push_back<const WHICH: usize, R: Linked<WHICH>>(&mut self, records: &mut [R], index: u32) {
        let tail = self.tail;
        if let Some(record) = records.get_mut(index as usize) {
            *record.link() = Link { prev: tail, next: NIL };
        }
        match records.get_mut(tail as usize) {
            Some(record) if tail != NIL => record.link().next = index,
            _ => self.head = index,
        }
        self.tail = index;
    }

    /// Takes record `index` out; it is in this list.
    pub(crate) fn remove<const WHICH: usize, R: Linked<WHICH>>(&mut self, records: &mut [R], index: u32) {
        let Some(record) = records.get_mut(index as usize) else { return };
        let Link { prev, next } = std::mem::replace(record.link(), Link::NONE);
        match records.get_mut(prev as usize) {
            Some(record) if prev != NIL => record.link().next = next,
            _ => self.head = next,
        }
        match records.get_mut(next as usize) {
            Some(record) if next != NIL => record.link().prev = prev,
            _ => self.tail = prev,
        }
    }

    /// Takes the first record out.
    pub(crate) fn pop_front<const WHICH: usize, R: Linked<WHICH>>(
        &mut self,
        records: &mut [R],
    ) -> Option<u32> {
        let head = self.head;
        if head == NIL {
            return None;
        }
        self.remove(records, head);
        Some(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Node(Link);
    impl Linked<0> for Node {
        fn link(&mut self) -> &mut Link {
            &mut self.0
        }
    }

    #[test]
    fn records_come_out_in_order_and_from_the_middle() {
        let mut nodes: Vec<Node> = (0..4).map(|_| Node(Link::NONE)).collect();
        let mut list = List::EMPTY;
        for index in 0..4 {
            list.push_back(&mut nodes, index);
        }
        list.remove(&mut nodes, 1);
        list.remove(&mut nodes, 3);
        list.push_back(&mut nodes, 1);
        let mut order = Vec::new();
        while let Some(index) = list.pop_front(&mut nodes) {
            order.push(index);
        }
        assert_eq!(order, [0, 2, 1]);
    }
}
