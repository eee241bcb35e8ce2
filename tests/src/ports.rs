//! Free ports of the loopback interface.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Mutex;

/// Ports handed out by this process: the system may give a port twice once its listener is closed.
static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port of 127.0.0.1 that nothing listened on a moment ago and that this process was not given before.
pub fn free() -> u16 {
    let mut taken = TAKEN.lock().expect("no holder of this lock panics");
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let port = listener.local_addr().expect("a bound listener").port();
        if taken.insert(port) {
            return port;
        }
    }
}
