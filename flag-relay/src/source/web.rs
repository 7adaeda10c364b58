//! Files of environments at addresses, asked for from time to time: whoever answers that nothing changed is asked again
//! later.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use common::{
    config::Secret,
    daemon::VERSION,
    drain::Drain,
    trust::{self, Trust},
};
use http::header::{ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use reqwest::{StatusCode, header::HeaderValue};
use tokio::{sync::oneshot, time};

use super::{
    Sink,
    readable::{self, Format},
    standing::StreamState,
};
use crate::{
    api::now,
    meters::Meters,
    shape::Environment,
    store::{Applied, Update},
};

/// How long an answer may take.
const ANSWER_TIME: Duration = Duration::from_secs(30);
const MOST_BYTES: usize = 64 << 20;

/// Where files are, and how often they are asked for.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// One environment each.
    pub urls: Vec<String>,
    /// Whoever asks bears it.
    pub token: Option<Secret>,
    /// How often.
    pub every: Duration,
}

/// What was read of an address.
#[derive(Debug, Default)]
struct Known {
    tag: Option<HeaderValue>,
    modified: Option<HeaderValue>,
    /// The environment that it had, served or not.
    id: String,
}

/// See the module.
pub(crate) struct Web {
    http: reqwest::Client,
    addresses: Addresses,
    sink: Sink,
    meters: Arc<Meters>,
    known: BTreeMap<String, Known>,
    problems: BTreeMap<String, Vec<String>>,
    first: Option<oneshot::Sender<()>>,
}

impl Web {
    /// A source of these; told once all were asked.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn new(
        addresses: Addresses,
        sink: Sink,
        meters: Arc<Meters>,
    ) -> anyhow::Result<(Self, oneshot::Receiver<()>)> {
        let http = reqwest::Client::builder()
            .use_preconfigured_tls(trust::client(&Trust::System)?)
            .timeout(ANSWER_TIME)
            .user_agent(format!("flag-relay/{VERSION}"))
            .build()?;
        let (first, read) = oneshot::channel();
        let (known, problems) = (BTreeMap::new(), BTreeMap::new());
        Ok((Self { http, addresses, sink, meters, known, problems, first: Some(first) }, read))
    }

    /// Asks until the drain starts.
    pub(crate) async fn run(mut self, drain: Drain) {
        loop {
            tokio::select! {
                () = drain.started() => return,
                () = self.read() => {}
            }
            self.first.take();
            // Spread, so that relays that were started together do not ask together.
            let pause = self.addresses.every.mul_f64(0.9 + fastrand::f64() * 0.2);
            tokio::select! {
                () = drain.started() => return,
                () = time::sleep(pause) => {}
                () = self.sink.look.notified() => {}
            }
        }
    }

    async fn read(&mut self) {
        let mut problems = BTreeMap::new();
        let mut changed = Vec::new();
        let mut is_answered = true;
        for url in self.addresses.urls.clone() {
            match self.ask(&url).await {
                Ok(None) => {}
                Ok(Some(told)) => match understand(&url, &told.text) {
                    Ok(environment) => {
                        let id = environment.id.clone();
                        self.known.insert(url.clone(), Known { id, ..told.known });
                        changed.push((url, environment));
                    }
                    Err(why) => drop(problems.insert(shown(&url), why)),
                },
                Err(error) => {
                    is_answered = false;
                    problems.insert(shown(&url), vec![error.to_string()]);
                }
            }
        }
        let state = if is_answered { StreamState::Connected } else { StreamState::Disconnected };
        self.sink.standing.stream(state, now_ms());
        self.take(changed, &mut problems);
        self.tell(problems);
    }

    /// Tells the store. An address of which nothing was ever understood may be any environment.
    fn take(&mut self, changed: Vec<(String, Environment)>, problems: &mut BTreeMap<String, Vec<String>>) {
        let mut ids = BTreeSet::new();
        for (url, known) in &self.known {
            if !ids.insert(known.id.clone()) {
                let why = format!("another address has environment {} already", known.id);
                problems.insert(shown(url), vec![why]);
            }
        }
        let mut updates = Vec::new();
        if self.known.len() == self.addresses.urls.len() {
            updates.push(Update::Only(ids));
        }
        let by_id: BTreeMap<String, String> =
            changed.iter().map(|(url, told)| (told.id.clone(), url.clone())).collect();
        let is_alone = |url: &String| !problems.contains_key(&shown(url));
        updates.extend(
            changed.into_iter().filter(|(url, _)| is_alone(url)).map(|(_, told)| Update::Environment(told)),
        );
        let Applied { changes, refused, .. } = self.sink.store.apply(updates);
        for (id, changes) in &changes {
            tracing::info!(environment = &**id, changes = changes.len(), "the environment changed");
        }
        for refused in refused {
            // What was not taken is asked for again, whatever its tag.
            if let Some(known) = by_id.get(&refused.environment).and_then(|url| self.known.get_mut(url)) {
                (known.tag, known.modified) = (None, None);
            }
            let why = refused.problems.iter().map(ToString::to_string).collect();
            problems.insert(refused.environment, why);
        }
    }

    fn tell(&mut self, problems: BTreeMap<String, Vec<String>>) {
        if problems != self.problems {
            for (place, told) in &problems {
                tracing::warn!(place, why = told.join("; "), "refused: what is served stays as it was");
                self.meters.refused_loads.inc();
            }
            if problems.is_empty() {
                tracing::info!("every address is in order again");
            }
        }
        self.problems.clone_from(&problems);
        // One address that is away for good must not keep replicas from what the others have.
        if problems.is_empty() || self.known.is_empty() {
            self.sink.standing.read(problems, now_ms());
        } else {
            self.sink.standing.read_in_part(problems, now_ms());
        }
    }

    /// What is there, unless it is what was there.
    async fn ask(&self, url: &str) -> anyhow::Result<Option<Told>> {
        let mut request = self.http.get(url);
        if let Some(token) = &self.addresses.token {
            request = request.bearer_auth(token.expose());
        }
        if let Some(known) = self.known.get(url) {
            for (name, value) in [(IF_NONE_MATCH, &known.tag), (IF_MODIFIED_SINCE, &known.modified)] {
                if let Some(value) = value {
                    request = request.header(name, value);
                }
            }
        }
        // The address may have a secret in its query.
        let mut response = request.send().await.map_err(reqwest::Error::without_url)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED => return Ok(None),
            status => anyhow::bail!("it answers {status}"),
        }
        let header = |name| response.headers().get(name).cloned();
        let known = Known { tag: header(ETAG), modified: header(LAST_MODIFIED), id: String::new() };
        let mut text = Vec::new();
        while let Some(part) = response.chunk().await.map_err(reqwest::Error::without_url)? {
            text.extend_from_slice(&part);
            anyhow::ensure!(text.len() <= MOST_BYTES, "it is too large");
        }
        Ok(Some(Told { known, text }))
    }
}

struct Told {
    known: Known,
    text: Vec<u8>,
}

/// The environment; its id is the name at the end of the address unless it says another.
fn understand(url: &str, bytes: &[u8]) -> Result<Environment, Vec<String>> {
    let text = str::from_utf8(bytes).map_err(|_| vec!["it is not UTF-8".to_owned()])?;
    let format = if text.trim_start().starts_with('{') { Format::Json } else { Format::Yaml };
    readable::read(stem(url), text, format)
}

fn stem(url: &str) -> &str {
    let path = shown_part(url);
    let name = path.rsplit('/').next().unwrap_or_default();
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// The address without its query, which may be a secret.
fn shown(url: &str) -> String {
    let part = shown_part(url);
    // Neither is who asks.
    match part.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?.1))) {
        Some((scheme, rest)) => format!("{scheme}://{rest}"),
        None => part.to_owned(),
    }
}

fn shown_part(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

fn now_ms() -> u64 {
    u64::try_from(now().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_its_environment_and_shows_no_secret() {
        let url = "https://me:word@files.test/flags/prod.yaml?signature=secret#x";
        assert_eq!((stem(url), shown(url).as_str()), ("prod", "https://files.test/flags/prod.yaml"));
        let told = understand(url, b"keys: [k]\nflags: { f: { default: true } }").unwrap();
        assert_eq!((told.id.as_str(), told.flags.len()), ("prod", 1));
        let told = understand(url, br#" {"environment":"e","keys":["k"],"flags":{}}"#).unwrap();
        assert_eq!(told.id, "e");
        assert!(understand(url, b"\xff").is_err() && understand(url, b"{\"keys\":").is_err());
    }
}
