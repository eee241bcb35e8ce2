//! A limit on what runs at once: a machine with many cores runs many tests, each with JVMs of its own.

use std::sync::{Condvar, Mutex};

/// Places that are taken one by one and given back.
#[derive(Debug)]
pub struct Slots {
    free: Mutex<usize>,
    given_back: Condvar,
}

/// A place; given back when dropped.
#[derive(Debug)]
pub struct Slot(&'static Slots);

impl Slots {
    /// So many places.
    pub const fn new(free: usize) -> Self {
        Self {
            free: Mutex::new(free),
            given_back: Condvar::new(),
        }
    }

    /// Waits for a place.
    pub fn take(&'static self) -> Slot {
        let free = self.free.lock().expect("no holder of this lock panics");
        let waited = self.given_back.wait_while(free, |free| *free == 0);
        *waited.expect("no holder of this lock panics") -= 1;
        Slot(self)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *self.0.free.lock().expect("no holder of this lock panics") += 1;
        self.0.given_back.notify_one();
    }
}
