//! Pure. HTTP Archive 1.2, entry by entry.
//!
//! The form has no place for a request body that is not text; it stands in `_bodyBase64` of the request.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use crate::coding;
use crate::rrpair::{content, fields, time, url};
use crate::store::head;
use crate::store::row::{Row, Side};

/// A response that is longer without its coding keeps it.
const DECODED_BYTES: usize = 16 << 20;

/// Everything before the first entry.
pub fn start(out: &mut Vec<u8>) {
    let creator = json!({ "name": "wayside", "version": env!("CARGO_PKG_VERSION") });
    out.extend_from_slice(format!(r#"{{"log":{{"version":"1.2","creator":{creator},"entries":["#).as_bytes());
}

/// Everything behind the last entry.
pub fn finish(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\n]}}\n");
}

/// One entry. Returns whether the exchange can be told in this form: only HTTP can.
pub fn write(row: &Row, first: bool, out: &mut Vec<u8>) -> bool {
    if row.protocol != "http" {
        return false;
    }
    out.extend_from_slice(if first { b"\n" } else { b",\n" });
    out.extend_from_slice(entry(row).to_string().as_bytes());
    true
}

fn entry(row: &Row) -> Value {
    let millis = |ns: i64| ns.max(0) as f64 / 1e6;
    let send = row.request_last_byte_after_ns.clamp(0, row.duration_ns.max(0));
    let first = row.response_first_byte_after_ns.unwrap_or(row.duration_ns).max(send);
    let receive = row.duration_ns.saturating_sub(first);
    let mut entry = json!({
        "startedDateTime": time(row.ts_ns),
        "time": millis(send) + millis(first - send) + millis(receive),
        "request": request(row),
        "response": response(row),
        "cache": {},
        "timings": { "send": millis(send), "wait": millis(first - send), "receive": millis(receive) },
        "connection": row.connection.to_string(),
        "_wayside": { "id": row.uuid.to_string(), "end": row.end, "findings": row.findings },
    });
    let server = row.upstream.as_ref().and_then(|address| address.parse::<std::net::SocketAddr>().ok());
    if let (Some(address), Value::Object(entry)) = (server, &mut entry) {
        entry.insert("serverIPAddress".to_owned(), address.ip().to_string().into());
    }
    entry
}

fn request(row: &Row) -> Value {
    let side = &row.request;
    let line = head::request_line(&side.head);
    let query = row.query.as_deref().unwrap_or_default();
    let parameters = url::form_urlencoded::parse(query.as_bytes());
    let mut request = json!({
        "method": line.method,
        "url": url(row.host.as_deref().unwrap_or_default(), row.path.as_deref().unwrap_or_default(), row.query.as_deref()),
        "httpVersion": line.version,
        "cookies": cookies(side, "cookie"),
        "headers": headers(side),
        "queryString": parameters.map(|(name, value)| json!({ "name": name, "value": value })).collect::<Vec<_>>(),
        "headersSize": side.head_bytes,
        "bodySize": side.wire_bytes,
    });
    let body = content(side);
    if let (false, Value::Object(request)) = (body.is_empty(), &mut request) {
        let text = std::str::from_utf8(&body);
        let media_type = side.content_type.clone().unwrap_or_default();
        request.insert(
            "postData".to_owned(),
            json!({ "mimeType": media_type, "params": [], "text": text.unwrap_or_default() }),
        );
        if text.is_err() {
            request.insert("_bodyBase64".to_owned(), BASE64_STANDARD.encode(&body).into());
            request.insert("comment".to_owned(), "the body is not text: see _bodyBase64".into());
        }
    }
    request
}

fn response(row: &Row) -> Value {
    let Some(side) = &row.response else {
        return json!({
            "status": 0, "statusText": "", "httpVersion": "", "cookies": [], "headers": [],
            "content": { "size": 0, "mimeType": "" }, "redirectURL": "", "headersSize": -1, "bodySize": -1,
            "comment": "there was no response",
        });
    };
    let line = head::status_line(&side.head);
    let mut body = content(side);
    let mut told = Map::new();
    let coding = head::field(&side.head, "content-encoding").unwrap_or_default();
    // The form wants the body decoded; one that is not whole stays as it was on the wire.
    let plain = coding::undo(&body, &coding, DECODED_BYTES).filter(|plain| plain.cut.is_none());
    let mut size = side.body_bytes;
    if let (Some(plain), false) = (plain, side.truncated) {
        size = i64::try_from(plain.bytes.len()).unwrap_or(i64::MAX);
        told.insert("compression".to_owned(), size.saturating_sub(side.body_bytes).into());
        body = plain.bytes.into();
    }
    told.insert("size".to_owned(), size.into());
    told.insert("mimeType".to_owned(), side.content_type.clone().unwrap_or_default().into());
    match std::str::from_utf8(&body) {
        Ok(text) => drop(told.insert("text".to_owned(), text.into())),
        Err(_) => {
            told.insert("text".to_owned(), BASE64_STANDARD.encode(&body).into());
            told.insert("encoding".to_owned(), "base64".into());
        }
    }
    if side.truncated {
        told.insert("comment".to_owned(), "cut short".into());
    }
    json!({
        "status": row.status.unwrap_or_default(),
        "statusText": line.reason,
        "httpVersion": line.version,
        "cookies": cookies(side, "set-cookie"),
        "headers": headers(side),
        "content": told,
        "redirectURL": head::field(&side.head, "location").unwrap_or_default(),
        "headersSize": side.head_bytes,
        "bodySize": side.wire_bytes,
    })
}

fn headers(side: &Side) -> Vec<Value> {
    fields(side).map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

/// Names and values; of a `Set-Cookie` only the first pair, the others are attributes.
fn cookies(side: &Side, field: &str) -> Vec<Value> {
    let most = if field == "cookie" { usize::MAX } else { 1 };
    let lines = fields(side).filter(|(name, _)| name.eq_ignore_ascii_case(field));
    let pairs = lines.flat_map(|(_, line)| {
        let pairs = line.split(';').take(most).filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, value)| json!({ "name": name.trim(), "value": value.trim() })).collect::<Vec<_>>()
    });
    pairs.collect()
}

#[cfg(test)]
mod tests;
