//! Pure. The head of a request as it is kept: its method, path, query and fields, without its API key.
//!
//! Text of lines. The first is the method, the target, the secrets and the host, with spaces between; the secrets are
//! where each was and its tag, which is no way back to it: `?api_key=0f…,dd-api-key=0f…`, `/=…` at the end of the path,
//! or `-`. Then `name: value` for each field.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// The fields that carry an API key.
const KEY_FIELDS: [&str; 2] = ["dd-api-key", "sts-api-key"];
/// Other fields that are nobody else's business.
const SECRET_FIELDS: [&str; 3] = ["authorization", "cookie", "dd-application-key"];
/// What the next relay knows a request by: the queue, the lane and the number, with dots between.
pub(crate) const ID_FIELD: &str = "wayside-id";
/// Fields that belong to one connection, or that are made anew.
const HOP: [HeaderName; 10] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// A request without its body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) method: String,
    /// Without the prefix that some clients have.
    pub(crate) path: String,
    pub(crate) query: String,
    /// What the client took this for.
    pub(crate) host: String,
    /// Which secrets it came with, and where.
    pub(crate) secrets: Vec<Secret>,
    pub(crate) fields: HeaderMap,
}

/// Where a secret was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the query, under this name.
    Query(String),
    /// In this field.
    Field(HeaderName),
    /// At the end of the path.
    Path,
}

/// A secret that was taken out of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Secret {
    pub(crate) place: Place,
    pub(crate) tag: String,
}

impl Secret {
    /// Whether it is an API key, which ours may replace.
    pub(crate) fn is_api_key(&self) -> bool {
        match &self.place {
            Place::Query(name) => name == "api_key",
            Place::Field(name) => KEY_FIELDS.contains(&name.as_str()),
            Place::Path => true,
        }
    }

    fn told(&self) -> String {
        match &self.place {
            Place::Query(name) => format!("?{name}={}", self.tag),
            Place::Field(name) => format!("{name}={}", self.tag),
            Place::Path => format!("/={}", self.tag),
        }
    }

    fn read(told: &str) -> Option<Self> {
        let (place, tag) = told.split_once('=')?;
        let place = match (place.strip_prefix('?'), place) {
            (Some(name), _) => Place::Query(name.to_owned()),
            (None, "/") => Place::Path,
            (None, name) => Place::Field(HeaderName::from_bytes(name.as_bytes()).ok()?),
        };
        Some(Self { place, tag: tag.to_owned() })
    }
}

impl Envelope {
    /// Whether an API key came in a field, as clients do that read JSON.
    pub(crate) fn has_key_field(&self) -> bool {
        self.secrets.iter().any(|secret| secret.is_api_key() && matches!(secret.place, Place::Field(_)))
    }

    /// The tag of the API key, if there is one.
    pub(crate) fn key_tag(&self) -> Option<&str> {
        self.secrets.iter().find(|secret| secret.is_api_key()).map(|secret| secret.tag.as_str())
    }
}

/// Takes the secrets out of the fields; `tag` is asked for the tag of each.
pub(crate) fn take_secrets(fields: &mut HeaderMap, tag: impl Fn(&str) -> String) -> Vec<Secret> {
    let mut secrets = Vec::new();
    for name in KEY_FIELDS.iter().chain(&SECRET_FIELDS) {
        // One that is no text is no key, and does not go on.
        if let Some(value) = fields.remove(*name)
            && let Ok(value) = value.to_str()
        {
            let place = Place::Field(HeaderName::from_static(name));
            secrets.push(Secret { place, tag: tag(value) });
        }
    }
    secrets
}

/// Takes out what does not go on to the next hop (RFC 9110, section 7.6.1).
pub(crate) fn strip(fields: &mut HeaderMap) {
    let listed: Vec<HeaderName> = fields
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in HOP.iter().chain(&listed) {
        fields.remove(name);
    }
    fields.remove("keep-alive");
    fields.remove("proxy-connection");
}

/// The envelope in bytes.
pub(crate) fn encode(envelope: &Envelope) -> Vec<u8> {
    let Envelope { method, path, query, host, secrets, fields } = envelope;
    let secrets: Vec<String> = secrets.iter().map(Secret::told).collect();
    let secrets = if secrets.is_empty() { "-".to_owned() } else { secrets.join(",") };
    let question = if query.is_empty() { "" } else { "?" };
    let host = if host.is_empty() { "-" } else { host };
    let mut bytes = format!("{method} {path}{question}{query} {secrets} {host}\n").into_bytes();
    for (name, value) in fields {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(b'\n');
    }
    bytes
}

/// The envelope that these bytes are of.
pub(crate) fn decode(bytes: &[u8]) -> Option<Envelope> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let first = std::str::from_utf8(lines.next()?).ok()?;
    let mut words = first.split(' ');
    let method = words.next()?.to_owned();
    let (path, query) = words.next().map(|target| target.split_once('?').unwrap_or((target, "")))?;
    let (secrets, host) = (words.next()?, words.next()?);
    let secrets = if secrets == "-" {
        Vec::new()
    } else {
        secrets.split(',').map(Secret::read).collect::<Option<_>>()?
    };
    let mut fields = HeaderMap::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let colon = line.windows(2).position(|two| two == b": ")?;
        let (name, value) = line.split_at_checked(colon)?;
        let value = HeaderValue::from_bytes(value.get(2..)?).ok()?;
        fields.append(HeaderName::from_bytes(name).ok()?, value);
    }
    let host = if host == "-" { "" } else { host }.to_owned();
    Some(Envelope { method, path: path.to_owned(), query: query.to_owned(), host, secrets, fields })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back() {
        let mut fields = HeaderMap::new();
        fields.append("content-type", HeaderValue::from_static("application/json"));
        fields.append("x", HeaderValue::from_bytes(b"a: b\xff").unwrap());
        fields.append("x", HeaderValue::from_static(""));
        let secret = |place| Secret { place, tag: "0f".to_owned() };
        let all = [
            secret(Place::Query("api_key".to_owned())),
            secret(Place::Field(HeaderName::from_static("dd-api-key"))),
            secret(Place::Path),
        ];
        for secrets in [&all[..0], &all[..1], &all[1..], &all] {
            for query in ["", "a=1&b"] {
                let envelope = Envelope {
                    method: "POST".to_owned(),
                    path: "/intake/".to_owned(),
                    query: query.to_owned(),
                    host: "relay:17123".to_owned(),
                    secrets: secrets.to_vec(),
                    fields: fields.clone(),
                };
                assert_eq!(decode(&encode(&envelope)), Some(envelope));
            }
        }
    }

    #[test]
    fn no_secret_stays_in_the_fields() {
        let mut fields = HeaderMap::new();
        for name in KEY_FIELDS.iter().chain(&SECRET_FIELDS) {
            fields.append(*name, HeaderValue::from_static("hush"));
            fields.append(*name, HeaderValue::from_static("hush twice"));
        }
        fields.append("user-agent", HeaderValue::from_static("a"));
        let secrets = take_secrets(&mut fields, |value| format!("tag of {value}"));
        assert_eq!(fields.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["user-agent"]);
        assert_eq!(secrets.len(), KEY_FIELDS.len() + SECRET_FIELDS.len());
        assert_eq!(secrets.iter().filter(|secret| secret.is_api_key()).count(), KEY_FIELDS.len());
    }

    #[test]
    fn what_belongs_to_one_connection_does_not_go_on() {
        let mut fields = HeaderMap::new();
        for (name, value) in [
            ("connection", "x-mine, close"),
            ("x-mine", "1"),
            ("expect", "100-continue"),
            ("user-agent", "a"),
        ] {
            fields.append(name, HeaderValue::from_static(value));
        }
        strip(&mut fields);
        assert_eq!(fields.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["user-agent"]);
    }
}
