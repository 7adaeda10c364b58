//! What the command line asks: of a running forwarder, or of a data folder, which it does not touch.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use common::config::Secret;
use futures::{StreamExt as _, pin_mut};
use serde_json::{Value, json};
use url::Url;

use crate::api::parameters::Parameters;
use crate::export::{self, Format};
use crate::query::Query;
use crate::query::pairs::TIME_BUDGET;
use crate::query::sql::Limits;
use crate::rrpair::rrpair;
use crate::store::still::Still;

pub mod line;
#[cfg(test)]
mod tests;

/// Who is asked.
pub enum Target {
    /// A running forwarder, at the address of its Analyzer.
    Running {
        /// `http://127.0.0.1:8889`.
        url: Url,
        /// `ANALYZER_TOKEN`.
        token: Option<Secret>,
    },
    /// A data folder, whether a forwarder works in it or not.
    Folder {
        /// `DATA_DIR`.
        data_dir: PathBuf,
        /// `STORE_URL`.
        store_url: Option<Url>,
    },
}

/// Parameters as in the query of a URL; those of `GET /api/v1/pairs`.
pub type Told = [(String, String)];

impl Target {
    /// `http://…` and `https://…` is a running forwarder, anything else a folder.
    pub fn new(text: &str, token: Option<Secret>, store_url: Option<Url>) -> Self {
        match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Self::Running { url, token },
            _ => Self::Folder { data_dir: PathBuf::from(text), store_url },
        }
    }

    /// A page of exchanges, one RRPair on each line, newest first. Returns the cursor of the next page.
    ///
    /// # Errors
    /// When a parameter is wrong, or who is asked does not answer.
    pub async fn query(&self, told: &Told, out: &mut dyn Write) -> anyhow::Result<Option<String>> {
        let page = match self {
            Self::Running { .. } => {
                let body = self.get("api/v1/pairs", told).await?.bytes().await.context("read the answer")?;
                serde_json::from_slice(&body).context("understand the answer")?
            }
            Self::Folder { .. } => {
                let mut parameters = parameters(told);
                let filter = parameters.filter()?;
                let (limit, cursor) = (parameters.limit()?, parameters.cursor()?);
                parameters.end()?;
                let page = self.still()?.pairs(&filter, limit, cursor, TIME_BUDGET).await?;
                let pairs: Vec<_> = page.rows.iter().map(rrpair).collect();
                json!({ "pairs": pairs, "next": page.next.map(|next| next.to_string()) })
            }
        };
        for pair in page.get("pairs").and_then(Value::as_array).into_iter().flatten() {
            writeln!(out, "{pair}")?;
        }
        Ok(page.get("next").and_then(Value::as_str).map(str::to_owned))
    }

    /// The answer to a statement, one row on each line. Returns whether there were more rows than are given.
    ///
    /// # Errors
    /// When the statement is refused, or who is asked does not answer.
    pub async fn sql(&self, text: &str, out: &mut dyn Write) -> anyhow::Result<bool> {
        let answer: Value = match self {
            Self::Running { url, token } => {
                let asked = reqwest::Client::new().post(url.join("api/v1/sql")?).body(text.to_owned());
                let body = send(asked, token.as_ref()).await?.bytes().await.context("read the answer")?;
                serde_json::from_slice(&body).context("understand the answer")?
            }
            Self::Folder { .. } => json!(self.still()?.sql(text, Limits::default()).await?),
        };
        for row in answer.get("rows").and_then(Value::as_array).into_iter().flatten() {
            writeln!(out, "{row}")?;
        }
        Ok(answer.get("truncated").and_then(Value::as_bool).unwrap_or(false))
    }

    /// Everything that fits, in a form that others read; as it comes, never all of it in memory.
    ///
    /// # Errors
    /// When a parameter is wrong, or who is asked does not answer to the end.
    pub async fn export(&self, told: &Told, format: Format, out: &mut dyn Write) -> anyhow::Result<()> {
        match self {
            Self::Running { .. } => {
                let name = if format == Format::Har { "har" } else { "jsonl" };
                let told = [told, &[("format".to_owned(), name.to_owned())]].concat();
                let mut answer = self.get("api/v1/export", &told).await?;
                while let Some(piece) = answer.chunk().await.context("read the answer")? {
                    out.write_all(&piece)?;
                }
            }
            Self::Folder { .. } => {
                let mut parameters = parameters(told);
                let filter = parameters.filter()?;
                parameters.end()?;
                let pieces = export::stream(self.still()?, filter, format);
                pin_mut!(pieces);
                while let Some(piece) = pieces.next().await {
                    out.write_all(&piece?)?;
                }
            }
        }
        Ok(out.flush()?)
    }

    fn still(&self) -> anyhow::Result<Query> {
        let Self::Folder { data_dir, store_url } = self else { anyhow::bail!("this is no folder") };
        // The cluster of what is not sealed yet is known to the daemon alone.
        let still = Still::open(data_dir, store_url.as_ref(), "")?;
        Ok(Query::still(still.snapshot, still.place))
    }

    async fn get(&self, path: &str, told: &Told) -> anyhow::Result<reqwest::Response> {
        let Self::Running { url, token } = self else { anyhow::bail!("this is no running forwarder") };
        let mut url = url.join(path)?;
        url.query_pairs_mut().extend_pairs(told);
        send(reqwest::Client::new().get(url), token.as_ref()).await
    }
}

fn parameters(told: &Told) -> Parameters {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(told).finish();
    Parameters::read(Some(&query), jiff::Timestamp::now())
}

async fn send(request: reqwest::RequestBuilder, token: Option<&Secret>) -> anyhow::Result<reqwest::Response> {
    let request = match token {
        Some(token) => request.bearer_auth(token.expose()),
        None => request,
    };
    let answer = request.send().await.context("ask the forwarder")?;
    if answer.status().is_success() {
        return Ok(answer);
    }
    let status = answer.status();
    let body = answer.bytes().await.unwrap_or_default();
    let told = serde_json::from_slice::<Value>(&body).ok();
    let error = told.as_ref().and_then(|told| told.get("error")?.as_str()).unwrap_or("no reason was told");
    anyhow::bail!("the forwarder answered {status}: {error}")
}
