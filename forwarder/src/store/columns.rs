//! Pure. Exchanges into columns.

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Int32Builder, Int64Builder, ListBuilder, RecordBatch,
    StringBuilder, TimestampNanosecondBuilder,
};
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;
use common::exchange::{Connection, Exchange, Message, Protocol};

use super::{
    head,
    identity::Uuid,
    ledger::Registration,
    schema::{COLUMNS, schema},
};
use std::sync::Arc;

/// What all exchanges of a batch share.
pub struct Origin<'a> {
    /// `CLUSTER_NAME`.
    pub cluster: &'a str,
    /// The proxy id.
    pub instance: &'a str,
    /// Its run, in hexadecimal.
    pub epoch: &'a str,
    /// What it said of itself.
    pub registration: &'a Registration,
}

/// One request or one response per row.
struct Side {
    head: BinaryBuilder,
    head_bytes: Int64Builder,
    framing: StringBuilder,
    body: BinaryBuilder,
    body_bytes: Int64Builder,
    wire_bytes: Int64Builder,
    truncated: BooleanBuilder,
    trailers: BinaryBuilder,
    content_type: StringBuilder,
}

/// Rows that there is room for at the start: who sends very many that are very small does not get the room of usual ones.
const MOST_ROOM: usize = 4096;

/// A column of texts that are mostly no longer than this.
fn text(rows: usize, length: usize) -> StringBuilder {
    StringBuilder::with_capacity(rows, rows * length)
}

fn bytes(rows: usize, length: usize) -> BinaryBuilder {
    BinaryBuilder::with_capacity(rows, rows * length)
}

impl Side {
    fn new(rows: usize) -> Self {
        Self {
            head: bytes(rows, 256),
            head_bytes: Int64Builder::with_capacity(rows),
            framing: text(rows, 8),
            body: bytes(rows, 256),
            body_bytes: Int64Builder::with_capacity(rows),
            wire_bytes: Int64Builder::with_capacity(rows),
            truncated: BooleanBuilder::with_capacity(rows),
            trailers: bytes(rows, 0),
            content_type: text(rows, 32),
        }
    }

    fn push<B: AsRef<[u8]>>(&mut self, message: Option<&Message<B>>) {
        self.head.append_option(message.map(|message| &message.head));
        self.head_bytes.append_option(message.map(|message| signed(message.head_bytes)));
        self.framing.append_option(message.map(|message| message.framing.as_str()));
        self.body.append_option(message.map(|message| &message.body));
        self.body_bytes.append_option(message.map(|message| signed(message.body_bytes)));
        self.wire_bytes.append_option(message.map(|message| signed(message.wire_bytes)));
        self.truncated.append_option(message.map(Message::truncated));
        let trailers =
            message.map(|message| &message.trailers).filter(|trailers| !trailers.as_ref().is_empty());
        self.trailers.append_option(trailers);
        self.content_type
            .append_option(message.and_then(|message| head::field(message.head.as_ref(), "content-type")));
    }

    fn finish(mut self) -> [ArrayRef; 9] {
        [
            Arc::new(self.head.finish()),
            Arc::new(self.head_bytes.finish()),
            Arc::new(self.framing.finish()),
            Arc::new(self.body.finish()),
            Arc::new(self.body_bytes.finish()),
            Arc::new(self.wire_bytes.finish()),
            Arc::new(self.truncated.finish()),
            Arc::new(self.trailers.finish()),
            Arc::new(self.content_type.finish()),
        ]
    }
}

/// Rows on their way to a record batch.
pub struct Columns {
    uuid: StringBuilder,
    ts: TimestampNanosecondBuilder,
    cluster: StringBuilder,
    namespace: StringBuilder,
    service: StringBuilder,
    instance: StringBuilder,
    epoch: StringBuilder,
    sequence: Int64Builder,
    connection: Int64Builder,
    index: Int64Builder,
    protocol: StringBuilder,
    direction: StringBuilder,
    method: StringBuilder,
    host: StringBuilder,
    path: StringBuilder,
    query: StringBuilder,
    status: Int32Builder,
    duration: Int64Builder,
    connected_before: Int64Builder,
    request_last: Int64Builder,
    response_first: Int64Builder,
    end: StringBuilder,
    findings: StringBuilder,
    downstream: StringBuilder,
    upstream: StringBuilder,
    request: Side,
    response: Side,
    informational: ListBuilder<BinaryBuilder>,
    proxy_version: StringBuilder,
    proxy_type: StringBuilder,
    proxy_upstream_host: StringBuilder,
    proxy_upstream_port: Int32Builder,
    proxy_listen_port: Int32Builder,
}

/// A number as its column holds it.
pub fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn after(later_ns: u64, earlier_ns: u64) -> i64 {
    signed(later_ns).saturating_sub(signed(earlier_ns))
}

fn port(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(0)
}

impl Columns {
    /// Without a row, and with room for so many, unless they are more than usual.
    pub fn new(rows: usize) -> Self {
        let rows = rows.min(MOST_ROOM);
        let item = Field::new("item", DataType::Binary, false);
        let number = || Int64Builder::with_capacity(rows);
        Self {
            uuid: text(rows, 36),
            ts: TimestampNanosecondBuilder::with_capacity(rows).with_timezone("UTC"),
            cluster: text(rows, 16),
            namespace: text(rows, 16),
            service: text(rows, 16),
            instance: text(rows, 32),
            epoch: text(rows, 16),
            sequence: number(),
            connection: number(),
            index: number(),
            protocol: text(rows, 4),
            direction: text(rows, 3),
            method: text(rows, 4),
            host: text(rows, 16),
            path: text(rows, 32),
            query: text(rows, 16),
            status: Int32Builder::with_capacity(rows),
            duration: number(),
            connected_before: number(),
            request_last: number(),
            response_first: number(),
            end: text(rows, 8),
            findings: text(rows, 8),
            downstream: text(rows, 20),
            upstream: text(rows, 20),
            request: Side::new(rows),
            response: Side::new(rows),
            informational: ListBuilder::with_capacity(BinaryBuilder::with_capacity(0, 0), rows)
                .with_field(item),
            proxy_version: text(rows, 8),
            proxy_type: text(rows, 8),
            proxy_upstream_host: text(rows, 16),
            proxy_upstream_port: Int32Builder::with_capacity(rows),
            proxy_listen_port: Int32Builder::with_capacity(rows),
        }
    }

    /// Adds one exchange.
    pub fn push<B: AsRef<[u8]>>(
        &mut self,
        origin: &Origin<'_>,
        uuid: Uuid,
        sequence: u64,
        connection: &Connection<&str>,
        exchange: &Exchange<B>,
    ) {
        self.push_identity(origin, uuid, sequence, connection, exchange);
        self.push_http(exchange);
        self.push_times(connection, exchange);
        self.end.append_value(exchange.end.as_str());
        let findings: Vec<_> = exchange.findings.iter().map(|finding| finding.as_str()).collect();
        self.findings.append_option((!findings.is_empty()).then(|| findings.join(",")));
        self.downstream.append_value(connection.downstream);
        self.upstream.append_option(connection.upstream);
        self.request.push(Some(&exchange.request));
        self.response.push(exchange.response.as_ref());
        for head in &exchange.informational {
            self.informational.values().append_value(head);
        }
        self.informational.append(!exchange.informational.is_empty());
        let registration = origin.registration;
        self.proxy_version.append_value(&registration.version);
        self.proxy_type.append_value(&registration.proxy_type);
        self.proxy_upstream_host.append_value(&registration.upstream_host);
        self.proxy_upstream_port.append_value(port(registration.upstream_port));
        self.proxy_listen_port.append_value(port(registration.listen_port));
    }

    fn push_identity<B>(
        &mut self,
        origin: &Origin<'_>,
        uuid: Uuid,
        sequence: u64,
        connection: &Connection<&str>,
        exchange: &Exchange<B>,
    ) {
        let mut text = [0; 36];
        uuid.write(&mut text);
        self.uuid.append_value(std::str::from_utf8(&text).unwrap_or_default());
        self.ts.append_value(signed(exchange.request.first_byte_ns));
        self.cluster.append_value(origin.cluster);
        self.namespace.append_value(&origin.registration.namespace);
        self.service.append_value(&origin.registration.service);
        self.instance.append_value(origin.instance);
        self.epoch.append_value(origin.epoch);
        self.sequence.append_value(signed(sequence));
        self.connection.append_value(signed(connection.number));
        self.index.append_value(signed(exchange.index));
        self.protocol.append_value(exchange.protocol.as_str());
        self.direction.append_value(direction(&origin.registration.proxy_type));
    }

    fn push_http<B: AsRef<[u8]>>(&mut self, exchange: &Exchange<B>) {
        if exchange.protocol != Protocol::Http1 {
            self.method.append_null();
            self.host.append_null();
            self.path.append_null();
            self.query.append_null();
            self.status.append_null();
            return;
        }
        let line = head::request_line(exchange.request.head.as_ref());
        let (target_host, path, query) = head::target_parts(&line.target);
        self.method.append_value(&line.method);
        match target_host {
            Some(host) => self.host.append_value(host),
            None => self.host.append_option(head::field(exchange.request.head.as_ref(), "host")),
        }
        self.path.append_value(path);
        self.query.append_option(query);
        let status = exchange.response.as_ref().and_then(|response| head::status(response.head.as_ref()));
        self.status.append_option(status.map(i32::from));
    }

    fn push_times<B>(&mut self, connection: &Connection<&str>, exchange: &Exchange<B>) {
        let start = exchange.request.first_byte_ns;
        let response = exchange.response.as_ref();
        let last = response.map_or(exchange.request.last_byte_ns, |response| response.last_byte_ns);
        self.duration.append_value(after(last, start));
        self.connected_before.append_value(after(start, connection.accepted_at_ns));
        self.request_last.append_value(after(exchange.request.last_byte_ns, start));
        self.response_first.append_option(response.map(|response| after(response.first_byte_ns, start)));
    }

    /// The rows as a batch.
    ///
    /// # Errors
    /// When the rows are too many for one batch.
    pub fn finish(mut self) -> Result<RecordBatch, ArrowError> {
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(COLUMNS.len());
        arrays.extend([
            Arc::new(self.uuid.finish()) as ArrayRef,
            Arc::new(self.ts.finish()),
            Arc::new(self.cluster.finish()),
            Arc::new(self.namespace.finish()),
            Arc::new(self.service.finish()),
            Arc::new(self.instance.finish()),
            Arc::new(self.epoch.finish()),
            Arc::new(self.sequence.finish()),
            Arc::new(self.connection.finish()),
            Arc::new(self.index.finish()),
            Arc::new(self.protocol.finish()),
            Arc::new(self.direction.finish()),
            Arc::new(self.method.finish()),
            Arc::new(self.host.finish()),
            Arc::new(self.path.finish()),
            Arc::new(self.query.finish()),
            Arc::new(self.status.finish()),
            Arc::new(self.duration.finish()),
            Arc::new(self.connected_before.finish()),
            Arc::new(self.request_last.finish()),
            Arc::new(self.response_first.finish()),
            Arc::new(self.end.finish()),
            Arc::new(self.findings.finish()),
            Arc::new(self.downstream.finish()),
            Arc::new(self.upstream.finish()),
        ]);
        arrays.extend(self.request.finish());
        arrays.extend(self.response.finish());
        arrays.extend([
            Arc::new(self.informational.finish()) as ArrayRef,
            Arc::new(self.proxy_version.finish()),
            Arc::new(self.proxy_type.finish()),
            Arc::new(self.proxy_upstream_host.finish()),
            Arc::new(self.proxy_upstream_port.finish()),
            Arc::new(self.proxy_listen_port.finish()),
        ]);
        RecordBatch::try_new(schema(), arrays)
    }
}

/// `OUT` for what a service asks others, `IN` for what it is asked.
fn direction(proxy_type: &str) -> &'static str {
    if proxy_type == "forward" { "OUT" } else { "IN" }
}
