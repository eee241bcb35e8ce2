//! What a REST catalog answers, as errors that say what to do.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::StatusCode;
use serde_json::Value;
use sql::{Error, ErrorKind};

/// At most so much of what a server says goes into a message.
const SAID: usize = 400;
const TOKEN_EXPIRED: u16 = 419;

/// An answer, whatever it says.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) etag: Option<String>,
    pub(super) body: Bytes,
    /// What no message may say.
    pub(super) hidden: Arc<[String]>,
}

/// No answer.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) error: Error,
    /// Whether the request may have reached the server.
    pub(super) sent: bool,
}

/// What the server said about it.
#[derive(Debug, thiserror::Error)]
#[error("the catalog answered {status}{text}")]
struct Said {
    status: StatusCode,
    text: String,
}

impl Lost {
    pub(super) fn not_sent(error: Error) -> Self {
        let sent = false;
        Self { error, sent }
    }
}

impl Answer {
    /// The error of an answer that is not what was hoped for while `doing` something at `place`.
    pub(super) fn into_error(self, doing: &str, place: &str) -> Error {
        let (kind, why, remedy) = self.class();
        let error = Error::new(kind, format!("cannot {doing}: {why}")).at(place);
        let error = match remedy {
            Some(remedy) => error.remedy(remedy),
            None => error,
        };
        error.source(Said {
            status: self.status,
            text: self.said(),
        })
    }

    /// As [`Answer::into_error`], of a server whose only task is to say who we are: it tells with `400`, too, that it does not
    /// know us.
    pub(super) fn into_refusal(self, doing: &str, place: &str) -> Error {
        if self.status.is_client_error() && self.class().0 != ErrorKind::Unavailable {
            let message = format!("cannot {doing}: the credential is refused");
            let said = self.said();
            let status = self.status;
            return Error::new(ErrorKind::Denied, message)
                .at(place)
                .source(Said { status, text: said });
        }
        self.into_error(doing, place)
    }

    fn class(&self) -> (ErrorKind, &'static str, Option<&'static str>) {
        match self.status.as_u16() {
            401 => (
                ErrorKind::Denied,
                "the catalog does not know who we are",
                Some("Check the catalog's `token` or `credential`, then start the pipeline again."),
            ),
            403 => (
                ErrorKind::Denied,
                "the catalog does not allow it",
                Some(
                    "Give the user of this `token` or `credential` the right to do it, then start the pipeline again.",
                ),
            ),
            TOKEN_EXPIRED => (
                ErrorKind::Denied,
                "the catalog's token has expired",
                Some(
                    "Give the catalog a `credential` in place of a `token`: the engine then gets new tokens by itself.",
                ),
            ),
            404 => (
                ErrorKind::Config,
                "the catalog does not have it",
                Some(
                    "Check the catalog's `uri` (without `/v1`), `warehouse` and `prefix`, and the table's name.",
                ),
            ),
            409 => (ErrorKind::Conflict, "another writer was faster", None),
            408 | 429 | 500..=599 => (ErrorKind::Unavailable, "the catalog cannot do it now", None),
            300..=399 => (
                ErrorKind::Config,
                "the catalog is at another address",
                Some("Write the address that it redirects to as the catalog's `uri`."),
            ),
            _ => (
                ErrorKind::Config,
                "the catalog refuses it",
                Some("Look at what the catalog says."),
            ),
        }
    }

    /// The message in the body, in any of the forms that servers use: `{error: {message, type}}` of the catalog's protocol,
    /// `{error, error_description}` of OAuth.
    fn said(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or(Value::Null);
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str);
        let message = text("/error/message")
            .or_else(|| text("/error_description"))
            .or_else(|| text("/error"))
            .or_else(|| text("/message"));
        // Java's servers put a stack into some messages.
        let line = message.and_then(|message| message.lines().next());
        match line {
            Some(line) => {
                let mut line = line.to_owned();
                for hidden in self.hidden.iter() {
                    line = line.replace(hidden.as_str(), "***");
                }
                let short: String = line.chars().take(SAID).collect();
                format!(": {short}")
            }
            None => String::new(),
        }
    }
}
