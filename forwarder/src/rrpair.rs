//! Pure. A stored exchange in its public form, the RRPair, with a `wayside` object for what that form cannot say.
//!
//! Chunk lines are taken off bodies; a content coding (gzip, br, …) is left on, and `content_coding` names it.
//! Absolute times in nanoseconds are texts, because a JSON number loses their last digits in most readers.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use common::exchange::Framing;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::borrow::Cow;

use crate::store::head;
use crate::store::row::{Row, Side};

/// The RRPair of an exchange.
pub fn rrpair(row: &Row) -> Value {
    let http = row.protocol == "http";
    let mut pair = Map::new();
    let mut put = |name: &str, value: Value| pair.insert(name.to_owned(), value);
    put("msgType", "rrpair".into());
    put("ts", time(row.ts_ns).into());
    put("uuid", BASE64_STANDARD.encode(row.uuid.bytes()).into());
    put("direction", row.direction.clone().into());
    put("l7protocol", row.protocol.clone().into());
    put("cluster", row.cluster.clone().into());
    put("namespace", row.namespace.clone().into());
    put("service", row.service.clone().into());
    put("command", row.method.clone().unwrap_or_default().into());
    put("location", row.path.clone().unwrap_or_default().into());
    put("status", status(row).into());
    if row.duration_ns >= 1_000_000 {
        put("duration", (row.duration_ns / 1_000_000).into());
    }
    if http {
        put("resource", row.host.clone().unwrap_or_default().into());
        put("signature", signature(row));
        put("http", http_parts(row));
    }
    put("netinfo", netinfo(row));
    put("tags", tags(row));
    put("wayside", wayside(row));
    Value::Object(pair)
}

/// A time in RFC 3339 with all its digits.
pub fn time(ns: i64) -> String {
    Timestamp::from_nanosecond(i128::from(ns)).map(|time| time.to_string()).unwrap_or_default()
}

/// The content of a body, without chunk lines; the start of it if it was cut short.
pub fn content(side: &Side) -> Cow<'_, [u8]> {
    if side.framing == Framing::Chunked.as_str() {
        common::chunked::content(&side.body)
    } else {
        Cow::Borrowed(&side.body)
    }
}

fn status(row: &Row) -> String {
    match row.status {
        Some(status) => status.to_string(),
        None if row.end == "complete" => "OK".to_owned(),
        None => row.end.clone(),
    }
}

fn signature(row: &Row) -> Value {
    let parts = [
        ("http:host", &row.host),
        ("http:method", &row.method),
        ("http:queryparams", &row.query),
        ("http:url", &row.path),
    ];
    let told = parts
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), BASE64_STANDARD.encode(value.as_ref()?).into())));
    Value::Object(told.collect())
}

fn http_parts(row: &Row) -> Value {
    let line = head::request_line(&row.request.head);
    let (path, query) = (row.path.as_deref().unwrap_or_default(), row.query.as_deref());
    let host = row.host.as_deref().unwrap_or_default();
    let mut request = Map::new();
    request.insert("url".to_owned(), url(host, path, query).into());
    request.insert("uri".to_owned(), line.target.into());
    request.insert("version".to_owned(), version(&line.version).into());
    request.insert("method".to_owned(), line.method.into());
    request.insert("host".to_owned(), host.into());
    request.insert("headers".to_owned(), multimap(fields(&row.request)));
    if let Some(query) = query {
        let parameters = url::form_urlencoded::parse(query.as_bytes());
        request.insert("queryParams".to_owned(), multimap(parameters));
    }
    put_body(&mut request, &row.request);
    let mut http = Map::from_iter([("req".to_owned(), Value::Object(request))]);
    if let Some(side) = &row.response {
        let line = head::status_line(&side.head);
        let mut response = Map::new();
        response.insert("contentType".to_owned(), side.content_type.clone().unwrap_or_default().into());
        response.insert("version".to_owned(), version(&line.version).into());
        response.insert("statusCode".to_owned(), row.status.into());
        response.insert("statusMessage".to_owned(), line.reason.into());
        response.insert("headers".to_owned(), multimap(fields(side)));
        put_body(&mut response, side);
        http.insert("res".to_owned(), Value::Object(response));
    }
    Value::Object(http)
}

/// The fields of a head, in order, as text.
pub fn fields(side: &Side) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    head::fields(&side.head)
        .map(|(name, value)| (String::from_utf8_lossy(name), String::from_utf8_lossy(value)))
}

/// The URL that was asked for.
pub fn url(host: &str, path: &str, query: Option<&str>) -> String {
    let slash = if path.starts_with('/') { "" } else { "/" };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("http://{host}{slash}{path}{query}")
}

fn version(text: &str) -> &str {
    text.strip_prefix("HTTP/").unwrap_or(text)
}

fn multimap<'a>(pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>) -> Value {
    let mut map = Map::new();
    for (name, value) in pairs {
        if let Value::Array(values) = map.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
            values.push(value.into());
        }
    }
    Value::Object(map)
}

fn put_body(part: &mut Map<String, Value>, side: &Side) {
    let content = content(side);
    match std::str::from_utf8(&content) {
        Ok("") => None,
        Ok(text) => part.insert("body".to_owned(), text.into()),
        Err(_) => part.insert("bodyBase64".to_owned(), BASE64_STANDARD.encode(&content).into()),
    };
}

fn netinfo(row: &Row) -> Value {
    let connected = row.ts_ns.saturating_sub(row.connected_before_ns);
    let sent = |side: Option<&Side>| side.map_or(0, |side| side.head_bytes.saturating_add(side.wire_bytes));
    let mut downstream = address(&row.downstream);
    downstream.insert("established".to_owned(), time(connected).into());
    downstream.insert("bytesSent".to_owned(), sent(Some(&row.request)).into());
    let mut upstream = address(row.upstream.as_deref().unwrap_or_default());
    upstream.insert("bytesSent".to_owned(), sent(row.response.as_ref()).into());
    upstream.insert("hostname".to_owned(), row.proxy_upstream_host.clone().into());
    json!({
        "id": row.connection.to_string(),
        "startTime": time(connected),
        "downstream": downstream,
        "upstream": upstream,
    })
}

fn address(text: &str) -> Map<String, Value> {
    let mut map = Map::new();
    if let Ok(address) = text.parse::<std::net::SocketAddr>() {
        map.insert("ipAddress".to_owned(), address.ip().to_string().into());
        map.insert("port".to_owned(), address.port().into());
    }
    map
}

fn tags(row: &Row) -> Value {
    json!({
        "captureMode": "proxy",
        "k8sAppLabel": row.service,
        "k8sAppPodName": row.instance,
        "k8sAppPodNamespace": row.namespace,
        "k8sClusterName": row.cluster,
        "proxyId": row.instance,
        "proxyLocation": row.direction.to_ascii_lowercase(),
        "proxyProtocol": row.protocol,
        "proxyType": row.proxy_type,
        "proxyVersion": row.proxy_version,
        "reverseProxyHost": row.proxy_upstream_host,
        "reverseProxyPort": row.proxy_upstream_port.to_string(),
        "sequence": row.sequence.to_string(),
        "source": "goproxy",
    })
}

fn wayside(row: &Row) -> Value {
    let after = |ns: i64| row.ts_ns.saturating_add(ns).to_string();
    let mut request = side(&row.request);
    request.insert("first_byte_ns".to_owned(), after(0).into());
    request.insert("last_byte_ns".to_owned(), after(row.request_last_byte_after_ns).into());
    let response = row.response.as_ref().map(|told| {
        let mut response = side(told);
        let first = row.response_first_byte_after_ns.unwrap_or_default();
        response.insert("first_byte_ns".to_owned(), after(first).into());
        response.insert("last_byte_ns".to_owned(), after(row.duration_ns).into());
        response
    });
    let informational: Vec<_> = row.informational.iter().map(|head| BASE64_STANDARD.encode(head)).collect();
    json!({
        "id": row.uuid.to_string(),
        "instance": row.instance,
        "epoch": row.epoch,
        "sequence": row.sequence,
        "connection": row.connection,
        "index": row.exchange_index,
        "connected_ns": after(row.connected_before_ns.saturating_neg()),
        "downstream": row.downstream,
        "upstream": row.upstream,
        "end": row.end,
        "findings": row.findings,
        "duration_ns": row.duration_ns,
        "ttfb_ns": row.response_first_byte_after_ns,
        "request": request,
        "response": response,
        "informational": informational,
    })
}

fn side(side: &Side) -> Map<String, Value> {
    let mut map = Map::new();
    let mut put = |name: &str, value: Value| map.insert(name.to_owned(), value);
    put("head", BASE64_STANDARD.encode(&side.head).into());
    put("head_bytes", side.head_bytes.into());
    put("framing", side.framing.clone().into());
    put("body_bytes", side.body_bytes.into());
    put("wire_bytes", side.wire_bytes.into());
    put("truncated", side.truncated.into());
    if side.framing == Framing::Chunked.as_str() {
        // With its chunk lines, which `http` leaves out: head, this and the trailers are the wire.
        put("body", BASE64_STANDARD.encode(&side.body).into());
    }
    if let Some(coding) = head::field(&side.head, "content-encoding") {
        put("content_coding", coding.into());
    }
    if !side.trailers.is_empty() {
        put("trailers", BASE64_STANDARD.encode(&side.trailers).into());
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples;

    fn row() -> Row {
        samples::rows("a", 1, 5..=5).remove(0)
    }

    #[test]
    fn an_exchange_has_every_field_that_readers_of_the_form_expect() {
        let row = row();
        let pair = rrpair(&row);
        let fields = [
            "msgType",
            "ts",
            "uuid",
            "direction",
            "l7protocol",
            "cluster",
            "namespace",
            "service",
            "command",
            "location",
            "status",
            "tags",
            "netinfo",
            "http",
            "signature",
            "resource",
        ];
        for field in fields {
            assert!(!pair[field].is_null(), "{field}");
        }
        assert_eq!(pair["ts"], time(row.ts_ns));
        assert_eq!(pair["command"], pair["http"]["req"]["method"]);
        assert_eq!(pair["http"]["req"]["headers"]["Host"], json!(["shop.example.com"]));
        assert_eq!(pair["http"]["req"]["body"], String::from_utf8(row.request.body.clone()).unwrap());
        assert_eq!(pair["http"]["res"]["statusCode"], row.status.unwrap());
        assert_eq!(pair["status"], row.status.unwrap().to_string());
        assert_eq!(pair["wayside"]["request"]["first_byte_ns"], row.ts_ns.to_string());
        assert_eq!(pair["netinfo"]["downstream"]["port"], 40000);
    }

    #[test]
    fn bodies_lose_their_chunk_lines_and_are_text_only_when_they_are() {
        let mut row = row();
        row.request.framing = "chunked".to_owned();
        row.request.body = b"3\r\nabc\r\n2\r\nde\r\n0\r\n".to_vec();
        row.response.as_mut().unwrap().body = vec![0xff, 0xfe];
        let pair = rrpair(&row);
        assert_eq!(pair["http"]["req"]["body"], "abcde");
        assert_eq!(pair["http"]["res"]["bodyBase64"], "//4=");
        assert!(pair["http"]["res"]["body"].is_null());
    }

    #[test]
    fn what_the_form_cannot_say_is_beside_it() {
        let mut row = row();
        row.response = None;
        row.status = None;
        row.end = "aborted_by_server".to_owned();
        row.findings = vec!["bare_lf".to_owned()];
        row.informational = vec![b"HTTP/1.1 103 Early Hints\r\n\r\n".to_vec()];
        row.request.trailers = b"a: b\r\n\r\n".to_vec();
        let pair = rrpair(&row);
        assert_eq!(pair["status"], "aborted_by_server");
        assert!(pair["http"]["res"].is_null());
        assert_eq!(pair["wayside"]["findings"], json!(["bare_lf"]));
        assert_eq!(pair["wayside"]["informational"].as_array().unwrap().len(), 1);
        assert_eq!(
            BASE64_STANDARD.decode(pair["wayside"]["request"]["trailers"].as_str().unwrap()).unwrap(),
            row.request.trailers
        );
        assert_eq!(
            BASE64_STANDARD.decode(pair["wayside"]["request"]["head"].as_str().unwrap()).unwrap(),
            row.request.head
        );
    }

    #[test]
    fn an_opaque_stream_is_a_pair_without_http() {
        let mut row = row();
        row.protocol = "tcp".to_owned();
        row.method = None;
        row.status = None;
        let pair = rrpair(&row);
        assert!(pair["http"].is_null());
        assert_eq!((pair["status"].as_str(), pair["command"].as_str()), (Some("OK"), Some("")));
    }
}
