//! Exchanges to test with.

use std::ops::RangeInclusive;

use arrow::array::RecordBatch;
use bytes::Bytes;
use common::exchange::{Connection, End, Exchange, Framing, Message, Protocol};
use common::wire;

use super::generation::{Block, Raw};
use super::ledger::Ledger;
use super::row::Row;

/// Nanoseconds of 2026-11-20T04:00:00Z.
pub(crate) const START_NS: u64 = 1_795_147_200_000_000_000;

pub(crate) fn connection(number: u64) -> Connection {
    Connection {
        number,
        accepted_at_ns: START_NS + number,
        downstream: "10.1.2.3:40000".parse().unwrap(),
        upstream: Some("10.1.2.4:80".parse().unwrap()),
    }
}

fn message(head: String, body: Vec<u8>, first_byte_ns: u64, last_byte_ns: u64) -> Message {
    Message {
        first_byte_ns,
        last_byte_ns,
        head_bytes: head.len() as u64,
        head: Bytes::from(head),
        framing: Framing::Length,
        body_bytes: body.len() as u64,
        wire_bytes: body.len() as u64,
        body: Bytes::from(body),
        trailers: Bytes::new(),
    }
}

/// About 1 KiB of realistic JSON traffic, different for each sequence.
pub(crate) fn exchange(sequence: u64) -> Exchange {
    let mut random = fastrand::Rng::with_seed(sequence);
    let start = START_NS + sequence * 1_000_000 + random.u64(..900_000);
    let status = *random.choice(&[200, 200, 200, 200, 201, 304, 404, 500, 503]).unwrap();
    let method = *random.choice(&["GET", "GET", "GET", "POST", "DELETE"]).unwrap();
    let user = random.u64(..100_000);
    let path = format!("/api/{}/{user}", random.choice(["users", "orders", "items"]).unwrap());
    let request = format!(
        "{{\"user\":{user},\"total\":{}.{:02},\"currency\":\"EUR\"}}",
        random.u32(..900),
        random.u32(..99)
    );
    let items: Vec<_> = (0..5)
        .map(|_| {
            let (id, price) = (random.u64(..1_000_000), random.u32(..10_000));
            format!(
                "{{\"id\":{id},\"name\":\"article {}\",\"price\":{price},\"stock\":{}}}",
                id % 977,
                price % 31
            )
        })
        .collect();
    let response = format!("{{\"user\":{user},\"items\":[{}],\"next\":null}}", items.join(","));
    let request_head = format!(
        "{method} {path}?page={} HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: curl/8.5.0\r\nAccept: application/json\r\n\
         X-Request-Id: {:016x}{:016x}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        random.u32(..9),
        random.u64(..),
        random.u64(..),
        request.len()
    );
    let response_head = format!(
        "HTTP/1.1 {status} Told\r\nServer: nginx/1.24.0\r\nDate: Fri, 20 Nov 2026 04:{:02}:{:02} GMT\r\nContent-Type: application/json\r\n\
         Cache-Control: no-store\r\nVary: Accept-Encoding\r\nContent-Length: {}\r\n\r\n",
        sequence / 60_000 % 60,
        sequence / 1000 % 60,
        response.len()
    );
    let first = start + 100_000 + random.u64(..50_000_000);
    Exchange {
        index: sequence % 100,
        protocol: Protocol::Http1,
        request: message(request_head, request.into_bytes(), start, start + 50_000 + random.u64(..9000)),
        response: Some(message(response_head, response.into_bytes(), first, first + random.u64(..100_000))),
        informational: Vec::new(),
        end: End::Complete,
        findings: Vec::new(),
    }
}

pub(crate) fn request(proxy: &str, epoch: u64, sequences: RangeInclusive<u64>) -> wire::CaptureRequest {
    let mut exchanges = Vec::new();
    for sequence in sequences.clone() {
        wire::Opening::from(&connection(sequence / 100)).with(&exchange(sequence)).append_to(&mut exchanges);
    }
    wire::CaptureRequest {
        proxy_id: proxy.to_owned(),
        epoch,
        first_sequence: *sequences.start(),
        count: u32::try_from(sequences.clone().count()).unwrap(),
        exchanges: exchanges.into(),
        report: Some(report(*sequences.end())),
    }
}

pub(crate) fn report(sequenced: u64) -> wire::Report {
    wire::Report { seen: sequenced, sequenced, ..Default::default() }
}

pub(crate) fn registration(proxy: &str, epoch: u64) -> wire::RegisterRequest {
    wire::RegisterRequest {
        proxy_id: proxy.to_owned(),
        epoch,
        service: "shop".to_owned(),
        namespace: "default".to_owned(),
        version: "0.1.0".to_owned(),
        proxy_type: "reverse".to_owned(),
        upstream_host: "localhost".to_owned(),
        upstream_port: 80,
        started_at_ns: START_NS,
        listen_port: 4143,
    }
}

pub(crate) fn batch(proxy: &str, epoch: u64, sequences: RangeInclusive<u64>) -> RecordBatch {
    Block::new(vec![raw(proxy, epoch, sequences, 0)]).batch().unwrap()
}

/// What is new of a batch whose first `known` exchanges are not, of a proxy that is registered.
pub(crate) fn raw(proxy: &str, epoch: u64, sequences: RangeInclusive<u64>, known: u32) -> Raw {
    let mut ledger = Ledger::default();
    ledger.register(&registration(proxy, epoch), 0);
    let request = request(proxy, epoch, sequences);
    let places = request.places().unwrap();
    Raw::new(request, &places, known, "test".into(), &ledger)
}

/// What a store gives back for these.
pub(crate) fn rows(proxy: &str, epoch: u64, sequences: RangeInclusive<u64>) -> Vec<Row> {
    let batch = batch(proxy, epoch, sequences);
    (0..batch.num_rows()).map(|row| Row::read(&batch, row).unwrap()).collect()
}
