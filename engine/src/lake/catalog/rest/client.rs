//! Requests to a REST catalog: where, as whom, and what no answer means.
//!
//! A request is sent once. It is sent again only where the server said that it did not take it because the token has expired,
//! and a new token is to be had. Redirects are not followed: a `POST` that becomes a `GET` would look as if it had succeeded.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH,
};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use sql::{Error, ErrorKind, Result};
use tokio::sync::Mutex;

use super::answer::{Answer, Lost};

/// A server that takes longer to accept a connection is not there.
const CONNECTING: Duration = Duration::from_secs(10);
/// Shorter than servers and what is before them keep an idle connection: one that is closed while a request goes out leaves
/// open what became of it.
const IDLE: Duration = Duration::from_secs(15);
/// For the catalog's configuration and for tokens: short answers, and a start must not wait long for them.
pub(super) const SHORT: Duration = Duration::from_secs(10);
/// For tables, whose metadata may be large, and for commits, of which servers write files.
pub(super) const LONG: Duration = Duration::from_secs(60);
/// Servers answer so if a token has expired. It is in the protocol but in no registry of status codes.
const TOKEN_EXPIRED: u16 = 419;

/// A connection to one catalog, by its settings: `uri`, `prefix`, `token`, `credential`, `oauth2-server-uri`, `scope`,
/// `audience`, `resource`, `header.NAME`.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    uri: String,
    prefix: Option<String>,
    headers: HeaderMap,
    auth: Option<Auth>,
    /// What no message may say, even if the server does.
    hidden: Arc<[String]>,
}

/// What to ask for.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) body: Option<Bytes>,
    /// The answer is not wanted if it still is this one.
    pub(super) unless: Option<&'a str>,
    pub(super) within: Duration,
}

/// Who we are.
struct Auth {
    credential: Option<Credential>,
    token: Mutex<Option<Token>>,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Auth")
    }
}

struct Credential {
    endpoint: String,
    /// The form that is exchanged for a token.
    form: Vec<(&'static str, String)>,
}

#[derive(Clone)]
struct Token {
    bearer: HeaderValue,
    renew: Option<Instant>,
}

#[derive(Deserialize)]
struct Issued {
    access_token: String,
    expires_in: Option<u64>,
}

impl Client {
    pub(super) fn new(settings: &HashMap<String, String>) -> Result<Self> {
        let uri = settings.get("uri").cloned().unwrap_or_default();
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECTING)
            .pool_idle_timeout(IDLE)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .user_agent(concat!("engine/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::internal("no HTTP client can be made").source(error))?;
        Ok(Self {
            http,
            prefix: settings.get("prefix").cloned(),
            headers: headers(settings).map_err(|error| error.at(&uri))?,
            auth: Auth::of(settings, &uri).map_err(|error| error.at(&uri))?,
            hidden: hidden(settings),
            uri,
        })
    }

    /// The catalog's address.
    pub(super) fn uri(&self) -> &str {
        &self.uri
    }

    /// The address of the catalog's configuration, which says what stands before all others.
    pub(super) fn configuration(&self) -> String {
        format!("{}/v1/config", self.uri.trim_end_matches('/'))
    }

    /// The address of something that the catalog has.
    pub(super) fn url(&self, parts: &[&str]) -> String {
        let mut url = format!("{}/v1", self.uri.trim_end_matches('/'));
        // The server gives its prefix as it is to stand in addresses.
        for part in self.prefix.iter().filter(|prefix| !prefix.is_empty()) {
            url.push('/');
            url.push_str(part.trim_matches('/'));
        }
        for part in parts {
            url.push('/');
            url.extend(url::form_urlencoded::byte_serialize(part.as_bytes()));
        }
        url
    }

    /// Sends one request.
    pub(super) async fn send(&self, ask: Ask<'_>) -> Result<Answer, Lost> {
        let token = self.token(None).await.map_err(Lost::not_sent)?;
        let answer = self.once(&ask, token.as_ref()).await?;
        let expired = [StatusCode::UNAUTHORIZED.as_u16(), TOKEN_EXPIRED];
        let renewable = self
            .auth
            .as_ref()
            .is_some_and(|auth| auth.credential.is_some());
        if !renewable || !expired.contains(&answer.status.as_u16()) {
            return Ok(answer);
        }
        // The server refused it before it looked at what was asked.
        let token = self.token(token.as_ref()).await.map_err(Lost::not_sent)?;
        self.once(&ask, token.as_ref()).await
    }

    async fn once(&self, ask: &Ask<'_>, token: Option<&Token>) -> Result<Answer, Lost> {
        let mut request = self
            .http
            .request(ask.method.clone(), &ask.url)
            .timeout(ask.within)
            .headers(self.headers.clone());
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, token.bearer.clone());
        }
        if let Some(known) = ask.unless {
            request = request.header(IF_NONE_MATCH, known);
        }
        if let Some(body) = &ask.body {
            request = request
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone());
        }
        self.execute(request).await
    }

    async fn execute(&self, request: reqwest::RequestBuilder) -> Result<Answer, Lost> {
        let lost = |error: reqwest::Error| Lost {
            // Without a connection nothing was sent.
            sent: !(error.is_connect() || error.is_builder()),
            error: self.unanswered(error),
        };
        let response = request.send().await.map_err(lost)?;
        let status = response.status();
        let etag = response.headers().get(ETAG);
        let etag = etag.and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        let body = response.bytes().await.map_err(|error| Lost {
            sent: true,
            error: self.unanswered(error),
        })?;
        Ok(Answer {
            status,
            etag,
            body,
            hidden: Arc::clone(&self.hidden),
        })
    }

    fn unanswered(&self, error: reqwest::Error) -> Error {
        let message = if error.is_connect() {
            "cannot connect to the Iceberg REST catalog"
        } else {
            "the Iceberg REST catalog did not answer"
        };
        // An address may hold what is nobody's business.
        Error::new(ErrorKind::Unavailable, message)
            .at(&self.uri)
            .source(error.without_url())
    }

    /// The token to send; if another one than `refused` is to be had, that one.
    async fn token(&self, refused: Option<&Token>) -> Result<Option<Token>> {
        let Some(auth) = &self.auth else {
            return Ok(None);
        };
        let mut token = auth.token.lock().await;
        let usable = token.as_ref().is_some_and(|token| {
            refused.is_none_or(|refused| refused.bearer != token.bearer)
                && token.renew.is_none_or(|renew| Instant::now() < renew)
        });
        if !usable && let Some(credential) = &auth.credential {
            *token = Some(self.exchange(credential).await?);
        }
        Ok(token.clone())
    }

    /// A token for the credential.
    async fn exchange(&self, credential: &Credential) -> Result<Token> {
        let request = self
            .http
            .post(&credential.endpoint)
            .timeout(SHORT)
            .header(ACCEPT, "application/json")
            .form(&credential.form);
        let answer = self.execute(request).await.map_err(|lost| lost.error)?;
        if answer.status != StatusCode::OK {
            return Err(answer
                .into_refusal("get a token for the Iceberg REST catalog", &credential.endpoint)
                .remedy("Check `credential`, `scope` and `oauth2-server-uri` of the catalog, then start the pipeline again."));
        }
        let issued: Issued = serde_json::from_slice(&answer.body).map_err(|error| {
            Error::config("what came in exchange for the catalog's credential is no token")
                .at(&credential.endpoint)
                .expected("an OAuth 2 server")
                .source(error)
        })?;
        // Well before it expires: a request may be under way when it does.
        let renew = issued.expires_in.map(|seconds| {
            let life = Duration::from_secs(seconds.min(365 * 24 * 3600));
            Instant::now() + life.mul_f64(0.75)
        });
        Ok(Token {
            bearer: bearer(&issued.access_token)?,
            renew,
        })
    }
}

impl Auth {
    fn of(settings: &HashMap<String, String>, uri: &str) -> Result<Option<Self>> {
        let token = settings.get("token").map(|token| bearer(token));
        let token = token.transpose()?;
        let credential = settings.get("credential").map(|credential| {
            let (id, secret) = match credential.split_once(':') {
                Some((id, secret)) => (Some(id), secret),
                None => (None, credential.as_str()),
            };
            let mut form = vec![("grant_type", "client_credentials".to_owned())];
            form.extend(id.map(|id| ("client_id", id.to_owned())));
            form.push(("client_secret", secret.to_owned()));
            let scope = settings.get("scope").map_or("catalog", String::as_str);
            form.push(("scope", scope.to_owned()));
            for name in ["audience", "resource"] {
                form.extend(settings.get(name).map(|value| (name, value.clone())));
            }
            let endpoint = settings.get("oauth2-server-uri").cloned();
            let own = || format!("{}/v1/oauth/tokens", uri.trim_end_matches('/'));
            Credential {
                endpoint: endpoint.unwrap_or_else(own),
                form,
            }
        });
        if token.is_none() && credential.is_none() {
            return Ok(None);
        }
        let token = token.map(|bearer| Token {
            bearer,
            renew: None,
        });
        Ok(Some(Self {
            credential,
            token: Mutex::new(token),
        }))
    }
}

fn hidden(settings: &HashMap<String, String>) -> Arc<[String]> {
    let secret =
        |name: &str| ["token", "credential"].contains(&name) || name.starts_with("header.");
    let values = settings.iter().filter(|(name, _)| secret(name));
    let parts = values.flat_map(|(_, value)| {
        let end = value.split_once(':').map(|(_, end)| end.to_owned());
        [Some(value.clone()), end]
    });
    // Shorter ones are in every second sentence.
    parts.flatten().filter(|part| part.len() > 3).collect()
}

fn bearer(token: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| Error::config("the catalog's token has characters that no header can hold"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn headers(settings: &HashMap<String, String>) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    for (name, value) in settings {
        let Some(name) = name.strip_prefix("header.") else {
            continue;
        };
        let wrong = || Error::config(format!("`header.{name}` is no header of a request"));
        let header = HeaderName::try_from(name).map_err(|_| wrong())?;
        let mut value = HeaderValue::try_from(value).map_err(|_| wrong())?;
        value.set_sensitive(true);
        headers.insert(header, value);
    }
    Ok(headers)
}
