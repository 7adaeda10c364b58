//! Pure. Exchanges into columns.

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Int32Builder, Int64Builder, ListBuilder, RecordBatch,
    StringBuilder, TimestampNanosecondBuilder,
};
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;
use common::exchange::{Connection, Exchange, Message, Protocol};
use common::wire;

use super::{
    head,
    identity::Run,
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
    /// Its run.
    pub epoch: u64,
    /// What it said of itself.
    pub registration: &'a Registration,
}

/// One request or one response per row.
#[derive(Default)]
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

impl Side {
    fn push(&mut self, message: Option<&Message>) {
        self.head.append_option(message.map(|message| &message.head));
        self.head_bytes.append_option(message.map(|message| signed(message.head_bytes)));
        self.framing.append_option(message.map(|message| message.framing.as_str()));
        self.body.append_option(message.map(|message| &message.body));
        self.body_bytes.append_option(message.map(|message| signed(message.body_bytes)));
        self.wire_bytes.append_option(message.map(|message| signed(message.wire_bytes)));
        self.truncated.append_option(message.map(Message::truncated));
        let trailers = message.map(|message| &message.trailers).filter(|trailers| !trailers.is_empty());
        self.trailers.append_option(trailers);
        self.content_type
            .append_option(message.and_then(|message| head::field(&message.head, "content-type")));
    }

    fn finish(&mut self) -> [ArrayRef; 9] {
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
    rows: usize,
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
    text: String,
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn after(later_ns: u64, earlier_ns: u64) -> i64 {
    signed(later_ns).saturating_sub(signed(earlier_ns))
}

fn port(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(0)
}

impl Default for Columns {
    fn default() -> Self {
        let item = Field::new("item", DataType::Binary, false);
        Self {
            rows: 0,
            uuid: StringBuilder::new(),
            ts: TimestampNanosecondBuilder::new().with_timezone("UTC"),
            cluster: StringBuilder::new(),
            namespace: StringBuilder::new(),
            service: StringBuilder::new(),
            instance: StringBuilder::new(),
            epoch: StringBuilder::new(),
            sequence: Int64Builder::new(),
            connection: Int64Builder::new(),
            index: Int64Builder::new(),
            protocol: StringBuilder::new(),
            direction: StringBuilder::new(),
            method: StringBuilder::new(),
            host: StringBuilder::new(),
            path: StringBuilder::new(),
            query: StringBuilder::new(),
            status: Int32Builder::new(),
            duration: Int64Builder::new(),
            connected_before: Int64Builder::new(),
            request_last: Int64Builder::new(),
            response_first: Int64Builder::new(),
            end: StringBuilder::new(),
            findings: StringBuilder::new(),
            downstream: StringBuilder::new(),
            upstream: StringBuilder::new(),
            request: Side::default(),
            response: Side::default(),
            informational: ListBuilder::new(BinaryBuilder::new()).with_field(item),
            proxy_version: StringBuilder::new(),
            proxy_type: StringBuilder::new(),
            proxy_upstream_host: StringBuilder::new(),
            proxy_upstream_port: Int32Builder::new(),
            proxy_listen_port: Int32Builder::new(),
            text: String::new(),
        }
    }
}

impl Columns {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Adds what is new of a batch: all but the first `known` of its exchanges.
    ///
    /// # Errors
    /// [`wire::Malformed`], which no batch is that was acknowledged; a part of it may have been added by then.
    pub fn push_batch(
        &mut self,
        cluster: &str,
        registration: &Registration,
        request: &wire::CaptureRequest,
        known: u32,
    ) -> Result<(), wire::Malformed> {
        let origin = Origin { cluster, instance: &request.proxy_id, epoch: request.epoch, registration };
        let run = Run::new(origin.instance, origin.epoch);
        let first_new = request.first_sequence.saturating_add(known.into());
        request.each_exchange(|sequence, connection, exchange| {
            if sequence >= first_new {
                self.push(&origin, run, sequence, &connection, &exchange);
            }
        })
    }

    /// Adds one exchange.
    pub fn push(
        &mut self,
        origin: &Origin<'_>,
        run: Run,
        sequence: u64,
        connection: &Connection,
        exchange: &Exchange,
    ) {
        self.rows += 1;
        self.push_identity(origin, run, sequence, connection, exchange);
        self.push_http(exchange);
        self.push_times(connection, exchange);
        self.end.append_value(exchange.end.as_str());
        let findings: Vec<_> = exchange.findings.iter().map(|finding| finding.as_str()).collect();
        self.findings.append_option((!findings.is_empty()).then(|| findings.join(",")));
        self.push_address(connection);
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

    fn push_identity(
        &mut self,
        origin: &Origin<'_>,
        run: Run,
        sequence: u64,
        connection: &Connection,
        exchange: &Exchange,
    ) {
        let mut uuid = [0; 36];
        run.uuid(sequence).write(&mut uuid);
        self.uuid.append_value(std::str::from_utf8(&uuid).unwrap_or_default());
        self.ts.append_value(signed(exchange.request.first_byte_ns));
        self.cluster.append_value(origin.cluster);
        self.namespace.append_value(&origin.registration.namespace);
        self.service.append_value(&origin.registration.service);
        self.instance.append_value(origin.instance);
        self.write_text(format_args!("{:016x}", origin.epoch));
        self.epoch.append_value(&self.text);
        self.sequence.append_value(signed(sequence));
        self.connection.append_value(signed(connection.number));
        self.index.append_value(signed(exchange.index));
        self.protocol.append_value(exchange.protocol.as_str());
        self.direction.append_value(direction(&origin.registration.proxy_type));
    }

    fn push_http(&mut self, exchange: &Exchange) {
        if exchange.protocol != Protocol::Http1 {
            self.method.append_null();
            self.host.append_null();
            self.path.append_null();
            self.query.append_null();
            self.status.append_null();
            return;
        }
        let line = head::request_line(&exchange.request.head);
        let (target_host, path, query) = head::target_parts(&line.target);
        self.method.append_value(&line.method);
        match target_host {
            Some(host) => self.host.append_value(host),
            None => self.host.append_option(head::field(&exchange.request.head, "host")),
        }
        self.path.append_value(path);
        self.query.append_option(query);
        let status = exchange.response.as_ref().and_then(|response| head::status_line(&response.head).status);
        self.status.append_option(status.map(i32::from));
    }

    fn push_times(&mut self, connection: &Connection, exchange: &Exchange) {
        let start = exchange.request.first_byte_ns;
        let response = exchange.response.as_ref();
        let last = response.map_or(exchange.request.last_byte_ns, |response| response.last_byte_ns);
        self.duration.append_value(after(last, start));
        self.connected_before.append_value(after(start, connection.accepted_at_ns));
        self.request_last.append_value(after(exchange.request.last_byte_ns, start));
        self.response_first.append_option(response.map(|response| after(response.first_byte_ns, start)));
    }

    fn push_address(&mut self, connection: &Connection) {
        self.write_text(format_args!("{}", connection.downstream));
        self.downstream.append_value(&self.text);
        match connection.upstream {
            Some(address) => {
                self.write_text(format_args!("{address}"));
                self.upstream.append_value(&self.text);
            }
            None => self.upstream.append_null(),
        }
    }

    fn write_text(&mut self, text: std::fmt::Arguments<'_>) {
        self.text.clear();
        // Writing to a String cannot fail.
        std::fmt::Write::write_fmt(&mut self.text, text).unwrap_or_default();
    }

    /// The rows as a batch; this is empty afterwards.
    ///
    /// # Errors
    /// When the rows are too many for one batch.
    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        self.rows = 0;
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
