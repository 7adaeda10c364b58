//! Pure. The columns of a stored exchange, in memory and in Parquet alike: simple types that every engine reads.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// How a column is laid down in Parquet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Few different values: a dictionary.
    Dictionary,
    /// Numbers near their neighbors: differences.
    Delta,
    /// Texts that start as the one before: the length of what is shared, and the rest.
    Prefix,
    /// Bytes that only the compression makes smaller.
    Plain,
}

/// One column.
pub struct Column {
    /// Its name in files and in queries.
    pub name: &'static str,
    /// Its type.
    pub kind: fn() -> DataType,
    /// Whether it can be null.
    pub nullable: bool,
    /// How it is laid down.
    pub layout: Layout,
}

const fn column(name: &'static str, kind: fn() -> DataType, layout: Layout) -> Column {
    Column { name, kind, nullable: false, layout }
}

const fn optional(name: &'static str, kind: fn() -> DataType, layout: Layout) -> Column {
    Column { name, kind, nullable: true, layout }
}

fn text() -> DataType {
    DataType::Utf8
}

fn number() -> DataType {
    DataType::Int64
}

fn small() -> DataType {
    DataType::Int32
}

fn bytes() -> DataType {
    DataType::Binary
}

fn flag() -> DataType {
    DataType::Boolean
}

fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

fn list() -> DataType {
    DataType::List(Arc::new(Field::new("item", DataType::Binary, false)))
}

/// Every column, in order.
///
/// `ts` is the first byte of the request. What ends in `_after_ns` counts from there, because small numbers
/// compress; `duration_ns` lasts until the last byte of the response, or of the request when there was none.
pub const COLUMNS: &[Column] = &[
    column("uuid", text, Layout::Prefix),
    column("ts", time, Layout::Delta),
    column("cluster", text, Layout::Dictionary),
    column("namespace", text, Layout::Dictionary),
    column("service", text, Layout::Dictionary),
    column("instance", text, Layout::Dictionary),
    column("epoch", text, Layout::Dictionary),
    column("sequence", number, Layout::Delta),
    column("connection", number, Layout::Delta),
    column("exchange_index", number, Layout::Delta),
    column("protocol", text, Layout::Dictionary),
    column("direction", text, Layout::Dictionary),
    optional("method", text, Layout::Dictionary),
    optional("host", text, Layout::Dictionary),
    optional("path", text, Layout::Dictionary),
    optional("query", text, Layout::Dictionary),
    optional("status", small, Layout::Dictionary),
    column("duration_ns", number, Layout::Delta),
    column("connected_before_ns", number, Layout::Delta),
    column("request_last_byte_after_ns", number, Layout::Delta),
    optional("response_first_byte_after_ns", number, Layout::Delta),
    column("end", text, Layout::Dictionary),
    optional("findings", text, Layout::Dictionary),
    column("downstream", text, Layout::Dictionary),
    optional("upstream", text, Layout::Dictionary),
    column("request_head", bytes, Layout::Plain),
    column("request_head_bytes", number, Layout::Dictionary),
    column("request_framing", text, Layout::Dictionary),
    column("request_body", bytes, Layout::Plain),
    column("request_body_bytes", number, Layout::Dictionary),
    column("request_wire_bytes", number, Layout::Dictionary),
    column("request_truncated", flag, Layout::Plain),
    optional("request_trailers", bytes, Layout::Plain),
    optional("request_content_type", text, Layout::Dictionary),
    optional("response_head", bytes, Layout::Plain),
    optional("response_head_bytes", number, Layout::Dictionary),
    optional("response_framing", text, Layout::Dictionary),
    optional("response_body", bytes, Layout::Plain),
    optional("response_body_bytes", number, Layout::Dictionary),
    optional("response_wire_bytes", number, Layout::Dictionary),
    optional("response_truncated", flag, Layout::Plain),
    optional("response_trailers", bytes, Layout::Plain),
    optional("response_content_type", text, Layout::Dictionary),
    optional("informational", list, Layout::Plain),
    column("proxy_version", text, Layout::Dictionary),
    column("proxy_type", text, Layout::Dictionary),
    column("proxy_upstream_host", text, Layout::Dictionary),
    column("proxy_upstream_port", small, Layout::Dictionary),
    column("proxy_listen_port", small, Layout::Dictionary),
];

/// The schema of every batch and of every file.
pub fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let fields = COLUMNS.iter().map(|column| Field::new(column.name, (column.kind)(), column.nullable));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    });
    Arc::clone(&SCHEMA)
}
