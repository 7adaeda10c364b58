//! Pure. The head of a request as it is kept: its method, path, query and fields, without its API key.
//!
//! Text of lines: `POST /intake/?a=1`, then `name: value` for each field, and first of all `key: …` with the tag of
//! the API key, which is no way back to the key.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// The fields that carry an API key.
pub(crate) const KEY_FIELDS: [&str; 2] = ["dd-api-key", "sts-api-key"];
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
    /// Which key it came with, in the query or in this field.
    pub(crate) key: Option<KeyPlace>,
    pub(crate) fields: HeaderMap,
}

/// Where a key was, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyPlace {
    /// The field; `None` for the query.
    pub(crate) field: Option<HeaderName>,
    pub(crate) tag: String,
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
    let Envelope { method, path, query, host, key, fields } = envelope;
    let place = key.as_ref().map_or("-", |key| key.field.as_ref().map_or("query", HeaderName::as_str));
    let tag = key.as_ref().map_or("-", |key| key.tag.as_str());
    let question = if query.is_empty() { "" } else { "?" };
    let host = if host.is_empty() { "-" } else { host };
    let mut bytes = format!("{method} {path}{question}{query} {place} {tag} {host}\n").into_bytes();
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
    let (place, tag, host) = (words.next()?, words.next()?, words.next()?);
    let field = if place == "query" { None } else { place.parse().ok() };
    let key = (place != "-").then(|| KeyPlace { field, tag: tag.to_owned() });
    let mut fields = HeaderMap::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let colon = line.windows(2).position(|two| two == b": ")?;
        let (name, value) = line.split_at_checked(colon)?;
        let value = HeaderValue::from_bytes(value.get(2..)?).ok()?;
        fields.append(HeaderName::from_bytes(name).ok()?, value);
    }
    let host = if host == "-" { "" } else { host }.to_owned();
    Some(Envelope { method, path: path.to_owned(), query: query.to_owned(), host, key, fields })
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
        let key = |field| Some(KeyPlace { field, tag: "0f".to_owned() });
        for key in [None, key(None), key(Some(HeaderName::from_static("dd-api-key")))] {
            for query in ["", "a=1&b"] {
                let envelope = Envelope {
                    method: "POST".to_owned(),
                    path: "/intake/".to_owned(),
                    query: query.to_owned(),
                    host: "relay:17123".to_owned(),
                    key: key.clone(),
                    fields: fields.clone(),
                };
                assert_eq!(decode(&encode(&envelope)), Some(envelope));
            }
        }
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
