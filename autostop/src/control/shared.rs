//! The way to a shared control plane: rules come from there, and how they are goes there.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use common::{backoff::Backoff, daemon::VERSION, drain::Drain};
use serde_json::Value;
use tokio::{sync::watch, task::spawn_blocking, time};
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use url::Url;

use super::{
    Control,
    book::Book,
    fleet::{Have, Report},
    view,
};
use crate::config::{Config, Live};

/// How often it is asked, while it answers.
const PERIOD: Duration = Duration::from_secs(5);
/// The first wait after it did not, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// A longer answer is not believed.
const MOST_BYTES: u64 = 64 << 20;
/// How many changes of one rule go at once; the rest follows.
const MOST_CHANGES: usize = 500;

/// See the module.
pub(super) struct Shared {
    agent: ureq::Agent,
    base: Url,
    live: watch::Receiver<Arc<Live>>,
    book: Arc<Book>,
    control: Control,
    /// What was pulled last, as the other side names it.
    tag: Option<String>,
    have: Have,
    /// What is wrong, so that it is told once.
    trouble: Option<String>,
    refused: Option<Vec<String>>,
}

/// What was answered.
struct Answer {
    status: u16,
    tag: Option<String>,
    body: Value,
}

impl Shared {
    /// To the control plane that the configuration names, if it names one.
    pub(super) fn of(
        config: &Config,
        book: Arc<Book>,
        control: Control,
        live: watch::Receiver<Arc<Live>>,
    ) -> Option<Self> {
        let mut base = config.api_url.clone()?;
        let path = ["accounts", &config.account_id, "autostopping", "loadbalancers", &config.access_point_id];
        base.path_segments_mut().ok()?.pop_if_empty().extend(path);
        let roots = rustls_native_certs::load_native_certs().certs;
        let roots: Vec<_> = roots.iter().map(|root| Certificate::from_der(root).to_owned()).collect();
        Some(Self {
            agent: agent(&roots),
            base,
            live,
            book,
            control,
            tag: None,
            have: Have::new(),
            trouble: None,
            refused: None,
        })
    }

    /// Follows it until the stop. While it is away, its last rules stay in force.
    pub(super) async fn follow(mut self, drain: Drain) {
        tracing::info!(url = %self.base, "rules come from a shared control plane");
        let mut backoff = Backoff::new(WAITS.0, WAITS.1);
        loop {
            let done = tokio::select! {
                done = self.exchange() => done,
                () = drain.started() => return,
            };
            let wait = match done {
                Ok(()) => {
                    backoff.reset();
                    if self.trouble.take().is_some() {
                        tracing::info!("shared control plane is there again");
                    }
                    PERIOD
                }
                Err(error) => {
                    let error = format!("{error:#}");
                    if self.trouble.as_ref() != Some(&error) {
                        tracing::warn!(error, "shared control plane is away, its last rules stay in force");
                    }
                    self.trouble = Some(error);
                    backoff.wait(fastrand::f64())
                }
            };
            tokio::select! {
                () = time::sleep(wait) => {}
                () = drain.started() => return,
            }
        }
    }

    async fn exchange(&mut self) -> anyhow::Result<()> {
        self.pull().await.context("pull the rules")?;
        self.push().await.context("push the usage")
    }

    async fn pull(&mut self) -> anyhow::Result<()> {
        let answer = self.ask("GET", "rules", self.tag.clone(), String::new()).await?;
        if answer.status == 304 {
            return Ok(());
        }
        let told = answer.good()?;
        let rules = told.as_array().context("the answer has no list of rules")?;
        match self.book.take_shared(&self.control, rules).await {
            Ok(()) => {
                self.refused = None;
                self.tag = answer.tag.clone();
            }
            Err(problems) => {
                if self.refused.as_ref() != Some(&problems) {
                    let problems = problems.join("; ");
                    tracing::warn!(problems, "rules cannot be used, the old ones stay in force");
                }
                self.refused = Some(problems);
            }
        }
        Ok(())
    }

    async fn push(&mut self) -> anyhow::Result<()> {
        let have = self.have.clone();
        let report = self.control.look(move |asked| {
            let rules = view::rules(asked).into_iter().filter_map(|rule| serde_json::to_value(rule).ok());
            let changes = asked.mind.rules().iter().filter_map(|rule| {
                let last = *have.get(&rule.id)?;
                let all = asked.kept.rules.get(&rule.id)?.changes.iter();
                let news = all.filter(|change| last.is_none_or(|last| change.at > last));
                Some((rule.id.clone(), news.take(MOST_CHANGES).cloned().collect()))
            });
            let planes = view::planes(asked).into_iter().filter_map(|plane| serde_json::to_value(plane).ok());
            Report {
                version: VERSION.to_owned(),
                rules: rules.collect(),
                planes: planes.collect(),
                changes: changes.collect(),
            }
        });
        let body = serde_json::to_string(&report.await?)?;
        let answer = self.ask("POST", "usage", None, body).await?;
        self.have = serde_json::from_value(answer.good()?.clone()).context("understand the answer")?;
        Ok(())
    }

    async fn ask(
        &self,
        method: &'static str,
        what: &str,
        tag: Option<String>,
        body: String,
    ) -> anyhow::Result<Answer> {
        let mut url = self.base.clone();
        url.path_segments_mut().ok().context("make the address")?.push(what);
        let mut request = http::Request::builder().method(method).uri(url.as_str());
        if let Some(token) = &self.live.borrow().auth_token {
            request = request.header("authorization", format!("Bearer {}", token.expose()));
        }
        if let Some(tag) = tag {
            request = request.header("if-none-match", tag);
        }
        let request = request.header("content-type", "application/json").body(body)?;
        let agent = self.agent.clone();
        spawn_blocking(move || {
            let mut answer = agent.run(request)?;
            let text = answer.body_mut().with_config().limit(MOST_BYTES).read_to_string()?;
            let tag = answer.headers().get("etag").and_then(|tag| tag.to_str().ok()).map(str::to_owned);
            let body = serde_json::from_str(&text).unwrap_or_default();
            Ok(Answer { status: answer.status().as_u16(), tag, body })
        })
        .await?
    }
}

/// Trusts these, and goes nowhere but where it is sent: the token is not for others.
fn agent(roots: &[Certificate<'static>]) -> ureq::Agent {
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(RootCerts::new_with_certs(roots));
    let config = ureq::Agent::config_builder()
        .tls_config(tls.build())
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(PATIENCE));
    config.build().into()
}

impl Answer {
    fn good(&self) -> anyhow::Result<&Value> {
        match (self.status, self.body.get("response")) {
            (200, Some(told)) => Ok(told),
            (401 | 403, _) => bail!("the authToken is refused"),
            (status, _) => {
                let said = self.body.pointer("/errors/0/message").and_then(Value::as_str).unwrap_or_default();
                bail!("the answer is {status} {}", crate::provider::text::clean(said))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{SocketAddr, TcpListener},
        thread,
    };

    use rustls::{
        ServerConfig, ServerConnection, Stream,
        pki_types::{PrivateKeyDer, pem::PemObject as _},
    };

    use super::*;

    /// A server over TLS that answers every request with this.
    fn server(answer: &'static str) -> (SocketAddr, rcgen::CertifiedKey<rcgen::KeyPair>) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for mut socket in listener.incoming().map_while(Result::ok) {
                let mut tls = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = Stream::new(&mut tls, &mut socket);
                // Whoever does not trust it leaves.
                let heard = stream.read(&mut [0; 4096]).unwrap_or_default();
                if heard > 0 {
                    stream.write_all(answer.as_bytes()).ok();
                    stream.conn.send_close_notify();
                    stream.flush().ok();
                }
            }
        });
        (address, made)
    }

    #[test]
    fn it_speaks_with_whom_it_trusts_and_follows_nobody_elsewhere() {
        const MOVED: &str = "HTTP/1.1 302 Found\r\nLocation: https://evil.example/\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
        let (address, made) = server(MOVED);
        let url = format!("https://localhost:{}/", address.port());
        let root = Certificate::from_der(made.cert.der()).to_owned();
        assert_eq!(agent(&[root]).get(&url).call().unwrap().status(), 302);
        let other = server(MOVED).1;
        let root = Certificate::from_der(other.cert.der()).to_owned();
        let refused = agent(&[root]).get(&url).call().unwrap_err().to_string();
        assert!(refused.contains("certificate"), "{refused}");
    }
}
