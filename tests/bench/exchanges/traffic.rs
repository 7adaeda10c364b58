//! Pure. Seeded traffic of a small shop: about 1 KiB an exchange, with ids and figures that do not repeat.

use common::exchange::{Connection, End, Exchange, Framing, Message, Protocol};
use fastrand::Rng;

const PATHS: [(&str, &str, u32); 8] = [
    ("GET", "/api/v1/products", 30),
    ("GET", "/api/v1/orders", 25),
    ("POST", "/api/v1/orders", 12),
    ("GET", "/api/v1/users", 12),
    ("PUT", "/api/v1/carts", 10),
    ("POST", "/api/v1/payments", 6),
    ("DELETE", "/api/v1/carts", 3),
    ("GET", "/healthz", 2),
];
const WORDS: [&str; 24] = [
    "amber", "basil", "cedar", "delta", "ember", "fjord", "grove", "hazel", "indigo", "jasper", "kelp",
    "lilac", "maple", "nettle", "ochre", "poppy", "quartz", "rowan", "sorrel", "thyme", "umber", "violet",
    "willow", "yarrow",
];
const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "okhttp/4.12.0",
    "python-requests/2.32.3",
    "shop-ios/7.3.1 (iPhone; iOS 19.1)",
];

/// The exchanges of one service, one after the other.
pub(crate) struct Traffic {
    random: Rng,
    next_ns: u64,
    step_ns: u64,
    raw_bytes: u64,
}

impl Traffic {
    /// From this time on, one every so many nanoseconds.
    pub(crate) fn new(seed: u64, first_ns: u64, step_ns: u64) -> Self {
        Self { random: Rng::with_seed(seed), next_ns: first_ns, step_ns, raw_bytes: 0 }
    }

    /// Bytes of heads and bodies generated so far.
    pub(crate) fn raw_bytes(&self) -> u64 {
        self.raw_bytes
    }

    /// The next exchange.
    pub(crate) fn next(&mut self) -> (Connection, Exchange) {
        let started = self.next_ns;
        self.next_ns += self.step_ns;
        let random = &mut self.random;
        let (method, path) = pick_path(random);
        let id = random.u32(..);
        let status = pick_status(random, method);
        let request_id = format!("{:032x}", random.u128(..));
        let content = if matches!(method, "POST" | "PUT") { order(random, id) } else { String::new() };
        let agent = AGENTS[random.usize(..AGENTS.len())];
        let length = if content.is_empty() {
            String::new()
        } else {
            format!("Content-Type: application/json\r\nContent-Length: {}\r\n", content.len())
        };
        let request = format!(
            "{method} {path}/{id} HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: {agent}\r\nAccept: application/json\r\n\
             Accept-Encoding: gzip, br\r\nX-Request-Id: {request_id}\r\nCookie: session={:016x}\r\n{length}\r\n",
            random.u64(..)
        );
        let answer = if status == 204 { String::new() } else { answer(random, id, status) };
        let response = format!(
            "HTTP/1.1 {status} {}\r\nServer: shop/2.4\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\nX-Request-Id: {request_id}\r\nX-Runtime: 0.{:06}\r\n\r\n",
            reason(status),
            answer.len(),
            random.u32(..1_000_000)
        );
        let wait_ns = u64::from(random.u32(200_000..4_000_000)) * if random.u8(..100) == 0 { 200 } else { 1 };
        let answered = started + wait_ns;
        self.raw_bytes += (request.len() + content.len() + response.len() + answer.len()) as u64;
        let connection = Connection {
            number: u64::from(id % 512),
            accepted_at_ns: started - 5_000_000_000,
            downstream: ([10, 0, 3, 7], 40_000 + u16::try_from(id % 512).unwrap_or(0)).into(),
            upstream: Some(([10, 0, 0, 5], 8080).into()),
        };
        let exchange = Exchange {
            index: u64::from(id / 512 % 1000),
            protocol: Protocol::Http1,
            request: message(request, content, started, started + 20_000),
            response: Some(message(response, answer, answered, answered + 15_000)),
            informational: Vec::new(),
            end: End::Complete,
            findings: Vec::new(),
        };
        (connection, exchange)
    }
}

fn message(head: String, body: String, first_byte_ns: u64, last_byte_ns: u64) -> Message {
    let (head_bytes, body_bytes) = (head.len() as u64, body.len() as u64);
    Message {
        first_byte_ns,
        last_byte_ns,
        head: head.into(),
        head_bytes,
        framing: if body.is_empty() { Framing::None } else { Framing::Length },
        body: body.into(),
        body_bytes,
        wire_bytes: body_bytes,
        ..Message::default()
    }
}

fn pick_path(random: &mut Rng) -> (&'static str, &'static str) {
    let mut at = random.u32(..100);
    for (method, path, weight) in PATHS {
        if at < weight {
            return (method, path);
        }
        at -= weight;
    }
    ("GET", "/")
}

fn pick_status(random: &mut Rng, method: &str) -> u16 {
    match random.u16(..1000) {
        0..=4 => 500,
        5..=7 => 503,
        8..=37 => 404,
        38..=47 => 401,
        _ if method == "DELETE" => 204,
        _ if method == "POST" => 201,
        _ => 200,
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        401 => "Unauthorized",
        404 => "Not Found",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

fn word(random: &mut Rng) -> &'static str {
    WORDS[random.usize(..WORDS.len())]
}

fn order(random: &mut Rng, id: u32) -> String {
    format!(
        "{{\"user\":{id},\"items\":[{{\"sku\":\"{}-{}\",\"quantity\":{},\"cents\":{}}}],\"note\":\"{} {}\"}}",
        word(random),
        random.u32(..100_000),
        random.u8(1..9),
        random.u32(100..90_000),
        word(random),
        word(random)
    )
}

fn answer(random: &mut Rng, id: u32, status: u16) -> String {
    if status >= 400 {
        return format!("{{\"error\":\"{}\",\"trace\":\"{:032x}\"}}", reason(status), random.u128(..));
    }
    let rows: Vec<_> = (0..random.u8(2..5))
        .map(|_| {
            format!(
                "{{\"id\":{},\"name\":\"{} {}\",\"cents\":{},\"stock\":{},\"rating\":{}.{},\"updated\":\"2026-11-{:02}T{:02}:{:02}:{:02}Z\"}}",
                random.u32(..),
                word(random),
                word(random),
                random.u32(100..90_000),
                random.u16(..1000),
                random.u8(1..5),
                random.u8(..10),
                random.u8(1..29),
                random.u8(..24),
                random.u8(..60),
                random.u8(..60)
            )
        })
        .collect();
    format!("{{\"id\":{id},\"owner\":\"{}.{}\",\"rows\":[{}]}}", word(random), word(random), rows.join(","))
}
