//! What the specification of HAR demands.

use super::*;
use crate::export::{Format, Writer};
use crate::store::samples;

fn archive(rows: &[Row]) -> Value {
    let mut writer = Writer::new(Format::Har);
    let mut out = Vec::new();
    writer.start(&mut out);
    rows.iter().for_each(|row| writer.write(row, &mut out));
    writer.finish(&mut out);
    serde_json::from_slice(&out).unwrap()
}

#[test]
fn an_archive_has_what_the_specification_demands() {
    let mut rows = samples::rows("a", 1, 1..=4);
    rows[1].response = None;
    rows[2].request.body = vec![0xff];
    rows[3].protocol = "tcp".to_owned();
    let archive = archive(&rows);
    let log = &archive["log"];
    assert_eq!((&log["version"], &log["creator"]["name"]), (&json!("1.2"), &json!("wayside")));
    let entries = log["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 3);
    for entry in entries {
        for field in ["startedDateTime", "time", "request", "response", "cache", "timings"] {
            assert!(!entry[field].is_null(), "{field}");
        }
        for field in
            ["method", "url", "httpVersion", "cookies", "headers", "queryString", "headersSize", "bodySize"]
        {
            assert!(!entry["request"][field].is_null(), "{field}");
        }
        for field in [
            "status",
            "statusText",
            "httpVersion",
            "cookies",
            "headers",
            "content",
            "redirectURL",
            "headersSize",
            "bodySize",
        ] {
            assert!(!entry["response"][field].is_null(), "{field}");
        }
        let timings: f64 =
            ["send", "wait", "receive"].map(|part| entry["timings"][part].as_f64().unwrap()).iter().sum();
        assert!((timings - entry["time"].as_f64().unwrap()).abs() < 1e-9);
    }
    assert_eq!(entries[2]["request"]["_bodyBase64"], "/w==");
    assert_eq!(entries[1]["response"]["status"], 0);
}

#[test]
fn an_empty_archive_is_one() {
    assert_eq!(archive(&[])["log"]["entries"], json!([]));
}

#[test]
fn a_coded_response_is_told_decoded() {
    let mut row = samples::rows("a", 1, 1..=1).remove(0);
    let response = row.response.as_mut().unwrap();
    response.head = b"HTTP/1.1 200 OK\r\nContent-Encoding: zstd\r\n\r\n".to_vec();
    response.framing = "length".to_owned();
    response.body = zstd::encode_all(&b"hello ".repeat(100)[..], 1).unwrap();
    response.body_bytes = i64::try_from(response.body.len()).unwrap();
    let of =
        |row: &Row| archive(std::slice::from_ref(row))["log"]["entries"][0]["response"]["content"].clone();
    let content = of(&row);
    assert_eq!(content["text"], "hello ".repeat(100));
    assert_eq!(content["size"], 600);
    assert_eq!(content["compression"], 600 - row.response.as_ref().unwrap().body_bytes);
    row.response.as_mut().unwrap().truncated = true;
    let content = of(&row);
    assert_eq!((&content["encoding"], &content["compression"]), (&json!("base64"), &Value::Null));
}

#[test]
fn cookies_are_told_apart_from_their_attributes() {
    let mut row = samples::rows("a", 1, 1..=1).remove(0);
    row.request.head = b"GET / HTTP/1.1\r\nCookie: a=1; b=2\r\n\r\n".to_vec();
    row.response.as_mut().unwrap().head = b"HTTP/1.1 200 OK\r\nSet-Cookie: c=3; Path=/\r\n\r\n".to_vec();
    let archive = archive(&[row]);
    let entry = &archive["log"]["entries"][0];
    assert_eq!(
        entry["request"]["cookies"],
        json!([{ "name": "a", "value": "1" }, { "name": "b", "value": "2" }])
    );
    assert_eq!(entry["response"]["cookies"], json!([{ "name": "c", "value": "3" }]));
}
