//! Pure. One stored exchange, read back from its columns.

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampNanosecondType};

use super::identity::Uuid;

/// One side of a stored exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// Raw head, or the start of it.
    pub head: Vec<u8>,
    /// True length of the head.
    pub head_bytes: i64,
    /// How the end of the body was told.
    pub framing: String,
    /// Raw body with its chunk lines, or the start of it.
    pub body: Vec<u8>,
    /// True length of the content.
    pub body_bytes: i64,
    /// True length of the body on the wire.
    pub wire_bytes: i64,
    /// Whether head or body are cut short.
    pub truncated: bool,
    /// Raw trailer section.
    pub trailers: Vec<u8>,
    /// `Content-Type`.
    pub content_type: Option<String>,
}

/// One stored exchange; the meaning of each field is that of the column of the same name.
#[expect(missing_docs, reason = "schema::COLUMNS says what they are")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub uuid: Uuid,
    pub ts_ns: i64,
    pub cluster: String,
    pub namespace: String,
    pub service: String,
    pub instance: String,
    pub epoch: String,
    pub sequence: i64,
    pub connection: i64,
    pub exchange_index: i64,
    pub protocol: String,
    pub direction: String,
    pub method: Option<String>,
    pub host: Option<String>,
    pub path: Option<String>,
    pub query: Option<String>,
    pub status: Option<i32>,
    pub duration_ns: i64,
    pub connected_before_ns: i64,
    pub request_last_byte_after_ns: i64,
    pub response_first_byte_after_ns: Option<i64>,
    pub end: String,
    pub findings: Vec<String>,
    pub downstream: String,
    pub upstream: Option<String>,
    pub request: Side,
    pub response: Option<Side>,
    pub informational: Vec<Vec<u8>>,
    pub proxy_version: String,
    pub proxy_type: String,
    pub proxy_upstream_host: String,
    pub proxy_upstream_port: i32,
    pub proxy_listen_port: i32,
}

/// One row of a batch that has every column.
struct Cells<'a> {
    batch: &'a RecordBatch,
    row: usize,
}

impl Cells<'_> {
    fn text(&self, name: &str) -> Option<String> {
        let column = self.batch.column_by_name(name)?.as_string_opt::<i32>()?;
        column.is_valid(self.row).then(|| column.value(self.row).to_owned())
    }

    fn number(&self, name: &str) -> Option<i64> {
        let column = self.batch.column_by_name(name)?.as_primitive_opt::<Int64Type>()?;
        column.is_valid(self.row).then(|| column.value(self.row))
    }

    fn small(&self, name: &str) -> Option<i32> {
        let column = self.batch.column_by_name(name)?.as_primitive_opt::<Int32Type>()?;
        column.is_valid(self.row).then(|| column.value(self.row))
    }

    fn time(&self, name: &str) -> Option<i64> {
        let column = self.batch.column_by_name(name)?.as_primitive_opt::<TimestampNanosecondType>()?;
        column.is_valid(self.row).then(|| column.value(self.row))
    }

    fn flag(&self, name: &str) -> Option<bool> {
        let column = self.batch.column_by_name(name)?.as_boolean_opt()?;
        column.is_valid(self.row).then(|| column.value(self.row))
    }

    fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let column = self.batch.column_by_name(name)?.as_binary_opt::<i32>()?;
        column.is_valid(self.row).then(|| column.value(self.row).to_vec())
    }

    fn list(&self, name: &str) -> Option<Vec<Vec<u8>>> {
        let column = self.batch.column_by_name(name)?.as_list_opt::<i32>()?;
        let items = column.is_valid(self.row).then(|| column.value(self.row))?;
        Some(items.as_binary_opt::<i32>()?.iter().map(|item| item.unwrap_or_default().to_vec()).collect())
    }

    fn side(&self, side: &str) -> Option<Side> {
        let name = |column: &str| format!("{side}_{column}");
        Some(Side {
            head: self.bytes(&name("head"))?,
            head_bytes: self.number(&name("head_bytes"))?,
            framing: self.text(&name("framing"))?,
            body: self.bytes(&name("body"))?,
            body_bytes: self.number(&name("body_bytes"))?,
            wire_bytes: self.number(&name("wire_bytes"))?,
            truncated: self.flag(&name("truncated"))?,
            trailers: self.bytes(&name("trailers")).unwrap_or_default(),
            content_type: self.text(&name("content_type")),
        })
    }
}

impl Row {
    /// The row of a batch that has every column of the schema; `None` if it has not.
    pub fn read(batch: &RecordBatch, row: usize) -> Option<Self> {
        if row >= batch.num_rows() {
            return None;
        }
        let cells = Cells { batch, row };
        let findings = cells.text("findings").unwrap_or_default();
        Some(Self {
            uuid: Uuid::parse(&cells.text("uuid")?)?,
            ts_ns: cells.time("ts")?,
            cluster: cells.text("cluster")?,
            namespace: cells.text("namespace")?,
            service: cells.text("service")?,
            instance: cells.text("instance")?,
            epoch: cells.text("epoch")?,
            sequence: cells.number("sequence")?,
            connection: cells.number("connection")?,
            exchange_index: cells.number("exchange_index")?,
            protocol: cells.text("protocol")?,
            direction: cells.text("direction")?,
            method: cells.text("method"),
            host: cells.text("host"),
            path: cells.text("path"),
            query: cells.text("query"),
            status: cells.small("status"),
            duration_ns: cells.number("duration_ns")?,
            connected_before_ns: cells.number("connected_before_ns")?,
            request_last_byte_after_ns: cells.number("request_last_byte_after_ns")?,
            response_first_byte_after_ns: cells.number("response_first_byte_after_ns"),
            end: cells.text("end")?,
            findings: findings.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            downstream: cells.text("downstream")?,
            upstream: cells.text("upstream"),
            request: cells.side("request")?,
            response: cells.side("response"),
            informational: cells.list("informational").unwrap_or_default(),
            proxy_version: cells.text("proxy_version")?,
            proxy_type: cells.text("proxy_type")?,
            proxy_upstream_host: cells.text("proxy_upstream_host")?,
            proxy_upstream_port: cells.small("proxy_upstream_port")?,
            proxy_listen_port: cells.small("proxy_listen_port")?,
        })
    }

    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        let side = |side: &Side| side.head.len() + side.body.len() + side.trailers.len();
        1024 + side(&self.request) + self.response.as_ref().map_or(0, side)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples;

    #[test]
    fn what_went_into_columns_comes_back() {
        let batch = samples::batch("a", 7, 1..=3);
        let row = Row::read(&batch, 1).unwrap();
        let exchange = samples::exchange(2);
        assert_eq!((row.sequence, row.epoch.as_str(), row.instance.as_str()), (2, "0000000000000007", "a"));
        assert_eq!(row.ts_ns as u64, exchange.request.first_byte_ns);
        assert_eq!(row.request.head, exchange.request.head);
        assert_eq!(row.response.unwrap().body, exchange.response.unwrap().body);
        assert_eq!(row.host.as_deref(), Some("shop.example.com"));
        assert!(row.path.unwrap().starts_with("/api/"));
        assert_eq!(Row::read(&batch, 3), None);
    }
}
