//! Asks the flag service.

use std::{
    error::Error as _,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use common::{
    config::Secret,
    daemon::VERSION,
    trust::{self, Trust},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use tokio::{sync::watch, time};

use super::{
    Service,
    events::{Event, Reader},
    page::{Page, Pages},
};
use crate::{
    meters::Meters,
    shape::{self, FeatureConfig, Segment},
};

const CONNECT_TIME: Duration = Duration::from_secs(10);
/// How long an answer may be silent.
const SILENCE: Duration = Duration::from_secs(30);
/// How long the account stream may be: twice what services let pass between heartbeats.
const STREAM_SILENCE: Duration = Duration::from_secs(60);
/// How long one answer may take as a whole.
const ANSWER_TIME: Duration = Duration::from_secs(300);
/// How long the service may take for a target.
const TARGET_TIME: Duration = Duration::from_secs(10);
const MOST_ANSWER_BYTES: usize = 256 << 20;
const PAGE_SIZE: usize = 10;
/// The service knows 1000 environments for one key.
const MOST_PAGES: usize = 1000;

/// Why the service did not give what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The key is not good, or no longer.
    #[error("the flag service refuses the proxy key ({0})")]
    Refused(StatusCode),
    /// The key was deleted.
    #[error("the proxy key was deleted")]
    Deleted,
    /// It answered something else.
    #[error("{what}: the flag service answers {status}")]
    Answered { what: &'static str, status: StatusCode },
    /// What it answered is not what it must be.
    #[error("{what}: the answer cannot be understood: {why}")]
    Unreadable { what: &'static str, why: String },
    /// It cannot be reached, or broke off.
    #[error("{what}: the flag service cannot be reached")]
    Unreachable { what: &'static str, source: reqwest::Error },
    /// It says nothing any more.
    #[error("{0}: the flag service is silent")]
    Silent(&'static str),
    /// The account stream is over.
    #[error("the account stream ended")]
    Ended,
}

impl Error {
    /// With everything behind it.
    pub(crate) fn told(&self) -> String {
        let mut told = self.to_string();
        let mut behind = self.source();
        while let Some(error) = behind {
            told = format!("{told}: {error}");
            behind = error.source();
        }
        told
    }

    fn unreachable(what: &'static str) -> impl Fn(reqwest::Error) -> Self {
        // The address has the key in it.
        move |error| Self::Unreachable { what, source: error.without_url() }
    }
}

/// What a key was given.
#[derive(Debug)]
struct Pass {
    key: Secret,
    token: Secret,
    account: String,
    cluster: String,
}

/// The claims of a token that are read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Claims {
    #[serde(deserialize_with = "shape::or_default")]
    account: String,
    #[serde(deserialize_with = "shape::or_default")]
    cluster_identifier: String,
}

/// A client of the service.
pub(crate) struct Client {
    http: reqwest::Client,
    service: String,
    metrics: String,
    key: watch::Receiver<Secret>,
    pass: Mutex<Option<Arc<Pass>>>,
    meters: Arc<Meters>,
}

/// The account stream.
pub(super) struct Stream {
    response: Response,
    reader: Reader,
    waiting: std::collections::VecDeque<Event>,
}

impl Client {
    /// A client with this key, and those that follow.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn new(
        service: &Service,
        key: watch::Receiver<Secret>,
        meters: Arc<Meters>,
    ) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .use_preconfigured_tls(trust::client(&Trust::System)?)
            .connect_timeout(CONNECT_TIME)
            .user_agent(format!("flag-relay/{VERSION}"))
            .build()?;
        let base = |url: &str| url.trim_end_matches('/').to_owned();
        let (service, metrics) = (base(&service.client_service), base(&service.metric_service));
        Ok(Self { http, service, metrics, key, pass: Mutex::default(), meters })
    }

    /// The environments of the key, or the one of this id.
    pub(crate) async fn configuration(&self, only: Option<&str>) -> Result<Vec<shape::Environment>, Error> {
        const WHAT: &str = "read the configuration";
        let mut pages = Pages::default();
        loop {
            let number = pages.read();
            let page: Page = self
                .read(WHAT, |pass| {
                    let only = only.map(|id| format!("&environment={}", encode(id))).unwrap_or_default();
                    let (cluster, key) = (encode(&pass.cluster), encode(pass.key.expose()));
                    self.http.get(format!(
                        "{}/proxy/config?pageNumber={number}&pageSize={PAGE_SIZE}&cluster={cluster}&key={key}{only}",
                        self.service
                    ))
                })
                .await?;
            let unreadable = |why| Error::Unreadable { what: WHAT, why };
            if pages.take(page).map_err(unreadable)? || number >= MOST_PAGES {
                return pages.done().map_err(unreadable);
            }
        }
    }

    /// The flags of an environment.
    pub(super) async fn flags(&self, id: &str) -> Result<Vec<FeatureConfig>, Error> {
        self.read("read flags", |pass| {
            let (id, cluster) = (encode(id), encode(&pass.cluster));
            self.http.get(format!("{}/client/env/{id}/feature-configs?cluster={cluster}", self.service))
        })
        .await
    }

    /// The groups of an environment.
    pub(super) async fn groups(&self, id: &str) -> Result<Vec<Segment>, Error> {
        self.read("read groups", |pass| {
            let (id, cluster) = (encode(id), encode(&pass.cluster));
            let url = format!("{}/client/env/{id}/target-segments?cluster={cluster}&rules=v2", self.service);
            self.http.get(url)
        })
        .await
    }

    /// Opens the account stream.
    pub(super) async fn stream(&self) -> Result<Stream, Error> {
        let response = self
            .ask("open the account stream", |pass| {
                self.http
                    .get(format!("{}/stream?cluster={}", self.service, encode(&pass.cluster)))
                    .header("API-Key", pass.key.expose())
                    .header("Accept", "text/event-stream")
            })
            .await?;
        Ok(Stream { response, reader: Reader::default(), waiting: std::collections::VecDeque::new() })
    }

    /// Passes on what an SDK brought for its token.
    pub(super) async fn tell_target(&self, body: bytes::Bytes) -> Result<(), Error> {
        const WHAT: &str = "pass a target on";
        let request = self.http.post(format!("{}/client/auth", self.service)).timeout(TARGET_TIME);
        let sent = request.header("Content-Type", "application/json").body(body).send().await;
        match sent.map_err(Error::unreachable(WHAT))?.status() {
            StatusCode::OK => Ok(()),
            status => Err(Error::Answered { what: WHAT, status }),
        }
    }

    /// Passes metrics on.
    pub(super) async fn post(&self, id: &str, body: Vec<u8>) -> Result<(), Error> {
        let answer = self.ask("pass metrics on", |pass| {
            self.http
                .post(format!("{}/metrics/{}?cluster={}", self.metrics, encode(id), encode(&pass.cluster)))
                .header("Content-Type", "application/json")
                .body(body.clone())
        });
        answer.await.map(drop)
    }

    async fn read<T: DeserializeOwned>(
        &self,
        what: &'static str,
        request: impl Fn(&Pass) -> RequestBuilder,
    ) -> Result<T, Error> {
        let mut response = self.ask(what, request).await?;
        let gathered = async {
            let mut bytes = Vec::new();
            while let Some(part) = chunk(what, &mut response, SILENCE).await? {
                bytes.extend_from_slice(&part);
                if bytes.len() > MOST_ANSWER_BYTES {
                    return Err(Error::Unreadable { what, why: "it is too large".to_owned() });
                }
            }
            Ok(bytes)
        };
        let bytes = time::timeout(ANSWER_TIME, gathered).await.map_err(|_| Error::Silent(what))??;
        serde_json::from_slice(&bytes).map_err(|error| Error::Unreadable { what, why: error.to_string() })
    }

    /// Asks with the token of the key, and once more with a new one when it has run out.
    async fn ask(
        &self,
        what: &'static str,
        request: impl Fn(&Pass) -> RequestBuilder,
    ) -> Result<Response, Error> {
        let pass = self.pass().await?;
        let response = self.send(what, &pass, &request).await?;
        let response = if matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            self.forget(&pass);
            let pass = self.pass().await?;
            self.send(what, &pass, &request).await?
        } else {
            response
        };
        match response.status() {
            StatusCode::OK => Ok(response),
            status => Err(Error::Answered { what, status }),
        }
    }

    async fn send(
        &self,
        what: &'static str,
        pass: &Pass,
        request: &impl Fn(&Pass) -> RequestBuilder,
    ) -> Result<Response, Error> {
        let mut request = request(pass)
            .bearer_auth(pass.token.expose())
            .header("Harness-Sdk-Info", format!("Proxy {VERSION}"));
        if !pass.account.is_empty() {
            request = request.header("Harness-Accountid", &pass.account);
        }
        let begun = Instant::now();
        let sent = time::timeout(SILENCE, request.send()).await;
        let code =
            sent.as_ref().ok().and_then(|sent| sent.as_ref().ok()).map_or(0, |told| told.status().as_u16());
        self.meters.relays.asked(what, code, begun.elapsed());
        sent.map_err(|_| Error::Silent(what))?.map_err(Error::unreachable(what))
    }

    /// The token of the key as it is now.
    async fn pass(&self) -> Result<Arc<Pass>, Error> {
        const WHAT: &str = "bring the proxy key";
        let key = self.key.borrow().clone();
        let known = self.pass.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(pass) = known.filter(|pass| pass.key == key) {
            return Ok(pass);
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Given {
            auth_token: String,
        }
        let body = json!({ "proxyKey": key.expose() }).to_string();
        let request = self.http.post(format!("{}/proxy/auth", self.service));
        let request = request.header("Content-Type", "application/json").body(body).timeout(SILENCE);
        let response = request.send().await.map_err(Error::unreachable(WHAT))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::GONE => return Err(Error::Deleted),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                return Err(Error::Refused(status));
            }
            status => return Err(Error::Answered { what: WHAT, status }),
        }
        let bytes = response.bytes().await.map_err(Error::unreachable(WHAT))?;
        let given: Given = serde_json::from_slice(&bytes)
            .map_err(|_| Error::Unreadable { what: WHAT, why: "there is no token in it".to_owned() })?;
        let claims = claims(&given.auth_token);
        let cluster = if claims.cluster_identifier.is_empty() { "1" } else { &claims.cluster_identifier };
        let token = Secret::from(given.auth_token.as_str());
        let pass = Pass { key, token, cluster: cluster.to_owned(), account: claims.account };
        let pass = Arc::new(pass);
        *self.pass.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&pass));
        Ok(pass)
    }

    /// The next question brings the key again.
    pub(super) fn renew(&self) {
        *self.pass.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn forget(&self, pass: &Arc<Pass>) {
        let mut known = self.pass.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_some_and(|known| Arc::ptr_eq(known, pass)) {
            *known = None;
        }
    }
}

impl Stream {
    /// The next event.
    pub(super) async fn next(&mut self) -> Result<Event, Error> {
        const WHAT: &str = "read the account stream";
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(event);
            }
            let part = chunk(WHAT, &mut self.response, STREAM_SILENCE).await?.ok_or(Error::Ended)?;
            let too_long = |_| Error::Unreadable { what: WHAT, why: "a line has no end".to_owned() };
            self.waiting.extend(self.reader.push(&part).map_err(too_long)?);
        }
    }
}

async fn chunk(
    what: &'static str,
    response: &mut Response,
    silence: Duration,
) -> Result<Option<bytes::Bytes>, Error> {
    let part = time::timeout(silence, response.chunk()).await.map_err(|_| Error::Silent(what))?;
    part.map_err(Error::unreachable(what))
}

fn encode(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// What a token says, as far as it can be read; it is the service's business whether it is good.
fn claims(token: &str) -> Claims {
    let told =
        token.split('.').nth(1).and_then(|told| URL_SAFE_NO_PAD.decode(told.trim_end_matches('=')).ok());
    told.and_then(|told| serde_json::from_slice(&told).ok()).unwrap_or_default()
}
