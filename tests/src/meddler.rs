//! A proxy before an Iceberg REST catalog that spoils single answers, and asks for tokens if it is told to.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const CONNECTING: Duration = Duration::from_secs(5);

/// What happens to a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is made; the connection ends without an answer.
    Lost,
    /// It is made; the answer is this status.
    LostAs(u16),
    /// It is made, sent again as some proxies do, and the second answer is passed on.
    Twice,
    /// It is not made; the answer is this status.
    Refused(u16),
    /// It is not made yet, and the connection ends; [`Meddler::release`] makes it.
    Held,
}

/// The proxy, on a port of its own. Dropped, it takes no more connections.
#[derive(Debug)]
pub struct Meddler {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    service: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ended: bool,
    faults: VecDeque<Fault>,
    held: Vec<Request>,
    log: Vec<String>,
    credential: Option<String>,
    token: Option<String>,
    issued: u32,
    refusal: u16,
    tags: bool,
}

#[derive(Debug, Clone)]
struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Meddler {
    /// A proxy before the catalog at `url`: `http://host:port`.
    pub fn before(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound listener");
        let shared = Arc::new(Shared {
            service: url.trim_start_matches("http://").to_owned(),
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
                    // A client that goes away in the middle is no failure of a test.
                    thread::spawn(move || drop(shared.serve(&client)));
                }
            }
        });
        Self {
            address,
            shared,
            accepting: Some(accepting),
        }
    }

    /// `http://host:port` for clients.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What happens to the next commits, one after the other.
    pub fn spoil(&self, faults: &[Fault]) {
        self.shared.state().faults.extend(faults);
    }

    /// Makes the commits that are held, in their order. Returns the answers' status codes.
    pub fn release(&self) -> Vec<u16> {
        let held = std::mem::take(&mut self.shared.state().held);
        let held = held.iter();
        held.map(|request| {
            let answer = self.shared.forward(request);
            status(&answer.expect("the catalog answers"))
        })
        .collect()
    }

    /// From now on `/v1/oauth/tokens` exchanges `id:secret` for tokens, and all else needs the last of them.
    pub fn ask_for_tokens(&self, credential: &str) {
        let mut state = self.shared.state();
        state.credential = Some(credential.to_owned());
        state.refusal = 401;
    }

    /// Ends the life of the token that was issued last: it is refused with `status`.
    pub fn expire(&self, status: u16) {
        let mut state = self.shared.state();
        state.token = None;
        state.refusal = status;
    }

    /// From now on answers about tables have tags, and one that the client has already is `304`.
    pub fn tag_answers(&self) {
        self.shared.state().tags = true;
    }

    /// Tokens that were issued so far.
    pub fn issued(&self) -> u32 {
        self.shared.state().issued
    }

    /// The requests so far: `METHOD PATH STATUS`, 0 where the connection ended without an answer.
    pub fn log(&self) -> Vec<String> {
        self.shared.state().log.clone()
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.shared.state().ended = true;
        // Wakes the thread that waits for a client.
        let woken = TcpStream::connect_timeout(&self.address, CONNECTING);
        if let (Ok(_), Some(accepting)) = (woken, self.accepting.take()) {
            drop(accepting.join());
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// One request; then the connection is closed, as the answer says.
    fn serve(&self, client: &TcpStream) -> io::Result<()> {
        let Some(request) = read_request(client)? else {
            return Ok(());
        };
        let answer = self.answer(&request)?;
        let line = format!(
            "{} {} {}",
            request.method,
            request.path,
            answer.as_deref().map_or(0, status)
        );
        self.state().log.push(line);
        if let Some(answer) = answer {
            let mut client = client;
            client.write_all(&answer)?;
        }
        client.shutdown(Shutdown::Both)
    }

    /// The bytes to send back; `None`: the connection ends.
    fn answer(&self, request: &Request) -> io::Result<Option<Vec<u8>>> {
        if request.path == "/v1/oauth/tokens" {
            return Ok(Some(self.token(request)));
        }
        if let Some(refused) = self.refuses(request) {
            return Ok(Some(refused));
        }
        let commits = request.method == "POST" && request.path.contains("/tables/");
        let fault = commits.then(|| self.state().faults.pop_front()).flatten();
        Ok(match fault {
            None if self.state().tags && request.method == "GET" => {
                Some(tagged(request, &self.forward(request)?))
            }
            None => Some(self.forward(request)?),
            Some(Fault::Lost) => {
                self.forward(request)?;
                None
            }
            Some(Fault::LostAs(code)) => {
                self.forward(request)?;
                Some(error(code))
            }
            Some(Fault::Twice) => {
                self.forward(request)?;
                Some(self.forward(request)?)
            }
            Some(Fault::Refused(code)) => Some(error(code)),
            Some(Fault::Held) => {
                self.state().held.push(request.clone());
                None
            }
        })
    }

    /// A token for the right credential.
    fn token(&self, request: &Request) -> Vec<u8> {
        let form = String::from_utf8_lossy(&request.body).into_owned();
        let mut state = self.state();
        let right = state.credential.as_ref().is_some_and(|credential| {
            let (id, secret) = credential.split_once(':').expect("id:secret");
            let has = |part: String| form.split('&').any(|said| said == part);
            has("grant_type=client_credentials".to_owned())
                && has(format!("client_id={id}"))
                && has(format!("client_secret={secret}"))
        });
        if !right {
            let body =
                format!("{{\"error\":\"invalid_client\",\"error_description\":\"not {form}\"}}");
            return response(400, &body);
        }
        state.issued += 1;
        let token = format!("token-{}", state.issued);
        let body = format!(
            "{{\"access_token\":\"{token}\",\"token_type\":\"bearer\",\"expires_in\":3600}}"
        );
        state.token = Some(token);
        response(200, &body)
    }

    fn refuses(&self, request: &Request) -> Option<Vec<u8>> {
        let state = self.state();
        state.credential.as_ref()?;
        let said = request
            .headers
            .iter()
            .find(|(name, _)| name == "authorization")
            .map(|(_, value)| value.trim_start_matches("Bearer "));
        let knows = state.token.is_some() && said == state.token.as_deref();
        let message = format!("who is {}", said.unwrap_or("this"));
        (!knows).then(|| {
            let body = format!(
                "{{\"error\":{{\"message\":\"{message}\",\"type\":\"NotAuthorizedException\",\"code\":{}}}}}",
                state.refusal
            );
            response(state.refusal, &body)
        })
    }

    /// The service's answer as it is, on a connection of its own.
    fn forward(&self, request: &Request) -> io::Result<Vec<u8>> {
        let mut service = TcpStream::connect(&self.service)?;
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n",
            request.method,
            request.path,
            self.service,
            request.body.len()
        );
        let ours = ["host", "connection", "content-length"];
        for (name, value) in &request.headers {
            if !ours.contains(&name.as_str()) {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        service.write_all(format!("{head}\r\n").as_bytes())?;
        service.write_all(&request.body)?;
        let mut answer = Vec::new();
        service.read_to_end(&mut answer)?;
        Ok(answer)
    }
}

fn read_request(client: &TcpStream) -> io::Result<Option<Request>> {
    let mut reader = BufReader::new(client);
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next(), words.next());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    Ok(Some(Request {
        method: method.unwrap_or_default(),
        path: path.unwrap_or_default(),
        headers,
        body,
    }))
}

/// The answer with a tag of its content, or `304` if the request knows that one.
fn tagged(request: &Request, answer: &[u8]) -> Vec<u8> {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let body = &answer[end.expect("an answer has a head")..];
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    let tag = format!("\"{:x}\"", hasher.finish());
    let known = request
        .headers
        .iter()
        .any(|(name, value)| name == "if-none-match" && *value == tag);
    if known {
        return response(304, "");
    }
    let line = answer.windows(2).position(|bytes| bytes == b"\r\n");
    let (first, rest) = answer.split_at(line.expect("an answer has a first line"));
    [first, format!("\r\nETag: {tag}").as_bytes(), rest].concat()
}

fn status(answer: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(&answer[..answer.len().min(12)]).into_owned();
    let code = text.split(' ').nth(1).and_then(|code| code.parse().ok());
    code.expect("an answer has a status")
}

fn error(code: u16) -> Vec<u8> {
    let body = format!(
        "{{\"error\":{{\"message\":\"spoilt on purpose\",\"type\":\"Spoilt\",\"code\":{code}}}}}"
    );
    response(code, &body)
}

fn response(code: u16, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {code} -\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
