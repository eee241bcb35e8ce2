//! Just enough HTTP for a service's REST interface on the loopback interface.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde_json::Value;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The body as JSON; `Null` if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

/// How long a service may take to answer.
const ANSWERING: Duration = Duration::from_secs(120);

/// One request. `base` is `http://host:port`; a body is sent as JSON.
///
/// # Errors
/// What the socket said, or an answer that is not HTTP.
pub fn request(method: &str, base: &str, path: &str, body: Option<&Value>) -> io::Result<Answer> {
    request_within(ANSWERING, method, base, path, body)
}

/// [`request`], with another limit on the time between two parts of the answer.
///
/// # Errors
/// As [`request`].
pub fn request_within(
    limit: Duration,
    method: &str,
    base: &str,
    path: &str,
    body: Option<&Value>,
) -> io::Result<Answer> {
    let address = base.trim_start_matches("http://").trim_end_matches('/');
    let socket = address
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::other(format!("{address} has no address")))?;
    let mut stream = TcpStream::connect_timeout(&socket, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(limit))?;
    let body = body.map(Value::to_string).unwrap_or_default();
    // HTTP/1.0: the answer is not chunked and ends with the connection.
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| io::Error::other(format!("not an HTTP answer: {head:?}")))?;
    Ok(Answer {
        status,
        body: body.to_owned(),
    })
}
