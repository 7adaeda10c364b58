//! Tells whose request it is, and takes out of it what is not to be written down.

use std::net::IpAddr;

use http::HeaderMap;

use super::{AGENT_FIELD, Intake, path};
use crate::{
    envelope::{self, Envelope, ID_FIELD, Place, Secret},
    queue::now_ms,
};

/// Whose a request is.
pub(super) struct Caller {
    /// The name of the agent: three words.
    pub(super) agent: String,
    /// Its number in the relay that it comes from.
    pub(super) origin: Option<u64>,
}

/// What a request brought along to show who it is from.
pub(super) fn shown(fields: &HeaderMap, query: &str, path: &str) -> Vec<String> {
    let mut shown: Vec<String> = Vec::new();
    for value in fields.get_all(http::header::AUTHORIZATION) {
        shown.extend(value.to_str().ok().and_then(|told| told.strip_prefix("Bearer ")).map(str::to_owned));
    }
    let mut fields = fields.clone();
    let secrets = envelope::take_secrets(&mut fields, str::to_owned);
    shown.extend(secrets.into_iter().filter(Secret::is_api_key).map(|secret| secret.tag));
    let (_, in_query) = path::without_secrets(query);
    shown.extend(in_query.into_iter().filter(|(name, _)| *name == "api_key").map(|(_, value)| value));
    shown.extend(path::without_key(path).1.map(str::to_owned));
    shown
}

/// What `wayside-id` says: the queue and the lane as one text, and the number.
fn origin(fields: &HeaderMap) -> Option<(String, u64)> {
    let (lane, number) = fields.get(ID_FIELD)?.to_str().ok()?.rsplit_once('.')?;
    let (queue, agent) = lane.split_once('.')?;
    let is_lane = queue.len() == 32 && queue.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = number.parse().ok().filter(|number| *number > 0)?;
    (is_lane && agent.parse::<u32>().is_ok()).then(|| (lane.to_owned(), number))
}

/// Words that a name may have.
fn word(text: &str) -> String {
    let word: String =
        text.chars().filter(|c| c.is_ascii_alphanumeric() || ".-_:".contains(*c)).take(128).collect();
    if word.is_empty() { "-".to_owned() } else { word }
}

impl Intake {
    /// See the module: fills in the rest of the envelope.
    pub(super) fn identify(
        &self,
        envelope: &mut Envelope,
        mut fields: HeaderMap,
        query: &str,
        address: IpAddr,
    ) -> Caller {
        let tag = |secret: &str| {
            let (tag, is_new) = self.relay.keys.tag(secret);
            if is_new {
                self.relay.key_is_told(&tag);
            }
            tag
        };
        let mut secrets = Vec::new();
        let (bare, in_path) = path::without_key(&envelope.path);
        secrets.extend(in_path.map(|key| Secret { place: Place::Path, tag: tag(key) }));
        envelope.path = bare.to_owned();
        let (query, in_query) = path::without_secrets(query);
        envelope.query = query;
        for (name, value) in in_query {
            secrets.push(Secret { place: Place::Query(name.to_owned()), tag: tag(&value) });
        }
        envelope::strip(&mut fields);
        secrets.extend(envelope::take_secrets(&mut fields, tag));
        envelope.secrets = secrets;

        let origin = origin(&fields);
        fields.remove(ID_FIELD);
        let told = fields.remove(AGENT_FIELD).and_then(|value| value.to_str().map(str::to_owned).ok());
        let key = envelope.key_tag().and_then(|tag| tag.get(..8)).unwrap_or("-").to_owned();
        let text = |name: &str| fields.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (agent, origin) = match origin {
            // Whoever knows the lane could have its numbers taken for old ones: the name does not show it.
            Some((lane, number)) => (format!("relay {} {key}", self.relay.keys.mark(&lane)), Some(number)),
            None => (format!("{address} {} {key}", word(text("sts-hostname"))), None),
        };
        let version = ["sts-agent-version", "dd-agent-version", "user-agent"]
            .iter()
            .map(|name| text(name))
            .find(|version| !version.is_empty())
            .map(|version| version.chars().take(128).collect::<String>());
        self.relay.fleet.note(&agent, |seen| {
            seen.last_seen_ms = now_ms();
            seen.version = version.unwrap_or_default();
            seen.behind = told.map(|told| told.chars().take(256).collect());
        });
        envelope.fields = fields;
        Caller { agent, origin }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn an_id_is_a_queue_a_lane_and_a_number() {
        let check = |id: &str, expected: Option<(&str, u64)>| {
            let mut fields = HeaderMap::new();
            fields.insert(ID_FIELD, HeaderValue::from_str(id).unwrap());
            assert_eq!(origin(&fields), expected.map(|(lane, number)| (lane.to_owned(), number)), "{id}");
        };
        let queue = "0123456789abcdef0123456789abcdef";
        check(&format!("{queue}.7.12"), Some((&format!("{queue}.7"), 12)));
        for id in ["", "1.2.3", &format!("{queue}.7"), &format!("{queue}.x.1"), &format!("{queue}.7.0")] {
            check(id, None);
        }
        assert_eq!(origin(&HeaderMap::new()), None);
    }

    #[test]
    fn a_name_has_no_words_that_nobody_meant() {
        assert_eq!(word("web-1.example"), "web-1.example");
        assert_eq!(word("a b\u{202e}<c>"), "abc");
        assert_eq!(word(""), "-");
    }
}
