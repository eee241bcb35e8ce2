//! A cut in the network: a proxy before a service that ends connections, and takes none until told.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const CONNECTING: Duration = Duration::from_secs(5);

/// A proxy on a port of its own before one service. Dropped, it ends its connections and gives its port back.
#[derive(Debug)]
pub struct Cutter {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    service: SocketAddr,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    refusing: bool,
    ended: bool,
    opened: u64,
    refused: u64,
    /// Both sides of each connection.
    live: BTreeMap<u64, [TcpStream; 2]>,
}

impl Cutter {
    /// A proxy before the service at `host:port`, which need not be there yet.
    ///
    /// # Panics
    /// If `service` is no address.
    pub fn before(service: &str) -> Self {
        let service = match std::net::ToSocketAddrs::to_socket_addrs(service) {
            Ok(mut addresses) => addresses.next().expect("an address of the service"),
            Err(error) => panic!("{service}: {error}"),
        };
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound listener");
        let shared = Arc::new(Shared {
            service,
            state: Mutex::default(),
        });
        let accepting = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for client in listener.incoming().filter_map(Result::ok) {
                    if shared.state().ended {
                        return;
                    }
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || shared.serve(client));
                }
            }
        });
        Self {
            address,
            shared,
            accepting: Some(accepting),
        }
    }

    /// `host:port` for clients.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The port for clients, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Ends every connection now; new ones are served. Returns how many it ended.
    pub fn cut(&self) -> usize {
        self.shared.state().cut()
    }

    /// Ends every connection, and each new one as soon as it is made, until [`go_on`](Self::go_on). (The port stays ours:
    /// a client sees a connection that is closed before the first byte.) Returns how many it ended now.
    pub fn refuse(&self) -> usize {
        let mut state = self.shared.state();
        state.refusing = true;
        state.cut()
    }

    /// Serves again.
    pub fn go_on(&self) {
        self.shared.state().refusing = false;
    }

    /// Connections that are open now.
    pub fn open(&self) -> usize {
        self.shared.state().live.len()
    }

    /// Connections that were served so far, those that are closed too.
    pub fn served(&self) -> u64 {
        self.shared.state().opened
    }

    /// Connections that were refused so far.
    pub fn refused(&self) -> u64 {
        self.shared.state().refused
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        {
            let mut state = self.shared.state();
            state.ended = true;
            state.refusing = true;
            state.cut();
        }
        // Wakes the thread that waits for a client.
        let woken = TcpStream::connect_timeout(&self.address, CONNECTING);
        if let (Ok(_), Some(accepting)) = (woken, self.accepting.take()) {
            drop(accepting.join());
        }
    }
}

impl State {
    fn cut(&mut self) -> usize {
        let live = std::mem::take(&mut self.live);
        for stream in live.values().flatten() {
            // One that its peer closed already is as good.
            drop(stream.shutdown(Shutdown::Both));
        }
        live.len()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// One connection, until either side closes it or it is cut. A service that is not there: the client's is closed.
    fn serve(&self, client: TcpStream) {
        if self.state().refusing {
            self.state().refused += 1;
            return;
        }
        let Ok(service) = TcpStream::connect_timeout(&self.service, CONNECTING) else {
            return;
        };
        let Some(number) = self.admit(&client, &service) else {
            return;
        };
        thread::scope(|scope| {
            scope.spawn(|| pass(&client, &service));
            pass(&service, &client);
        });
        self.state().live.remove(&number);
    }

    /// The connection's number; `None` if a cut came first.
    fn admit(&self, client: &TcpStream, service: &TcpStream) -> Option<u64> {
        let handles = [client.try_clone().ok()?, service.try_clone().ok()?];
        for stream in &handles {
            stream.set_nodelay(true).ok()?;
        }
        let mut state = self.state();
        if state.refusing {
            state.refused += 1;
            return None;
        }
        state.opened += 1;
        let number = state.opened;
        state.live.insert(number, handles);
        Some(number)
    }
}

/// Passes bytes on until `from` ends, and then tells both sides.
fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    drop(io::copy(&mut from, &mut to));
    drop(from.shutdown(Shutdown::Both));
    drop(to.shutdown(Shutdown::Both));
}
