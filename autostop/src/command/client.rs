//! Asks the running lw_proxy over its API, as everybody else does.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::ArgMatches;
use common::config::{Error, Secret};
use serde_json::Value;

use crate::LW_PROXY;

const PATIENCE: Duration = Duration::from_secs(30);
/// A longer answer is not believed.
const MOST_BYTES: u64 = 256 << 20;

/// The running daemon, where the configuration says that it is.
pub struct Daemon {
    port: u16,
    token: Option<Secret>,
}

impl Daemon {
    /// By the port and the token of the configuration; nothing else of it has to be good.
    ///
    /// # Errors
    /// When the file cannot be used, or one of these two is wrong.
    pub fn configured(matches: &ArgMatches) -> Result<Self, Error> {
        let mut settings = LW_PROXY.settings(matches)?;
        // Whether these are good is the daemon's to say.
        settings.take("providers");
        settings.take("certificates");
        let (port, token) = (settings.port("proxyPort"), settings.secret("authToken"));
        settings.or_ok(Self { port, token })
    }

    /// Asks for something of a rule that goes by its name or its id.
    pub(super) fn ask_rule(
        &self,
        method: &str,
        name: &str,
        deed: &str,
        body: &Value,
    ) -> anyhow::Result<Value> {
        let name: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
        // In a path a plus sign is a plus sign.
        self.ask(method, &format!("rules/{}/{deed}", name.replace('+', "%20")), Some(body))
    }

    /// The `response` of what is at a path of the API.
    pub(super) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let url = format!("http://127.0.0.1:{}/gateway/lw/api/accounts/-/autostopping/{path}", self.port);
        let mut request = http::Request::builder().method(method).uri(url);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {}", token.expose()));
        }
        let request = request
            .header("content-type", "application/json")
            .body(body.map(Value::to_string).unwrap_or_default())
            .context("make the request")?;
        // A proxy of the environment has no business here.
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .proxy(None)
            .build()
            .into();
        let answer = agent.run(request).map_err(|error| match error {
            ureq::Error::Io(source) => anyhow::Error::from(source).context(format!(
                "lw_proxy does not answer on port {}: is it running, and is proxyPort the one it was started with?",
                self.port
            )),
            error => anyhow::Error::from(error).context("ask lw_proxy"),
        })?;
        let status = answer.status();
        let (_, mut body) = answer.into_parts();
        let text = body.with_config().limit(MOST_BYTES).read_to_string().context("read the answer")?;
        let told: Value = serde_json::from_str(&text).unwrap_or_default();
        if status.is_success() {
            return told.get("response").cloned().context("what answers on proxyPort is no lw_proxy");
        }
        let reason = told.pointer("/errors/0/message").and_then(Value::as_str).unwrap_or_else(|| text.trim());
        let reason = common::visible::short(reason.as_bytes(), 500);
        if reason.is_empty() { bail!("lw_proxy answers {status}") } else { bail!("{reason}") }
    }
}
