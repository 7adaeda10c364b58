//! The Analyzer in a real browser: it shows what was captured, runs nothing of it, and says so in every light.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
};

use serde_json::json;
use tests::{
    browser::Browser,
    capture::{Forwarder, Goproxy},
    peer,
};

const HOSTILE: &str = "/<script>document.title='owned'</script>\"><img/src=x/onerror=document.title='owned'>\u{202e}gpj'{{7*7}}";

const ORDER: &str = r#"{"order":1842,"customer":{"name":"Ada Lovelace","since":"2019-03-02"},"items":[{"sku":"TEA-250","count":2,"price":7.90},{"sku":"MUG-01","count":1,"price":12.50}],"total":28.300000000000000001,"paid":true,"note":null}"#;

/// What the service answers to a request for this path.
fn answer(path: &str) -> Vec<u8> {
    let with = |status: &str, more: &str, body: &[u8]| {
        let head = format!(
            "HTTP/1.1 {status}\r\nServer: shop/2.4\r\nDate: Fri, 20 Nov 2026 04:00:00 GMT\r\n{more}Content-Length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    };
    let json = "Content-Type: application/json\r\nCache-Control: no-store\r\n";
    match path {
        "/api/orders/1842" => with("200 OK", json, ORDER.as_bytes()),
        "/login" => with("303 See Other", "Location: /account\r\nSet-Cookie: id=1; HttpOnly\r\n", b""),
        "/logo.png" => {
            let picture: Vec<u8> = b"\x89PNG\r\n\x1a\n".iter().copied().chain((0..6000).map(|n| (n % 251) as u8)).collect();
            with("200 OK", "Content-Type: image/png\r\n", &picture)
        }
        "/missing" => with("404 Not Found", "Content-Type: text/plain\r\n", b"no such thing\n"),
        "/checkout" => with("500 Internal Server Error", json, br#"{"error":"out of tea"}"#),
        "/export.csv" => with("200 OK", "Content-Type: text/csv\r\n", &vec![b'x'; 1 << 20]),
        "/backup" => with("200 OK", "Content-Type: text/plain\r\n", &vec![b'y'; 2 << 20]),
        "/page" => with(
            "200 OK",
            "Content-Type: text/html; charset=utf-8\r\n",
            "<!doctype html><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">\u{202e}".as_bytes(),
        ),
        "/stream" => b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Checksum\r\nContent-Type: text/plain\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\nX-Checksum: 3e25960a\r\n\r\n".to_vec(),
        "/broken" => b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this".to_vec(),
        _ => with("200 OK", "Content-Type: text/plain\r\n", b"hello\n"),
    }
}

fn shop() -> SocketAddr {
    peer::serve(|mut stream| {
        let mut seen = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            seen.extend_from_slice(&buffer[..length]);
            while let Some(end) = seen.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&seen[..end + 4]).into_owned();
                let told = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
                let whole = end + 4 + told.map_or(0, |length| length.parse::<usize>().unwrap());
                if seen.len() < whole {
                    break;
                }
                seen.drain(..whole);
                let path = head.split(' ').nth(1).unwrap_or_default();
                let path = path.split('?').next().unwrap_or_default();
                if stream.write_all(&answer(path)).is_err() || path == "/broken" || head.contains("close") {
                    return;
                }
            }
        }
    })
}

/// Sends a request and reads until the other side is done.
fn ask(port: u16, request: &str) {
    let mut stream: TcpStream = peer::connect(port);
    stream.write_all(request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
}

/// Some of everything. Returns how many exchanges it is.
fn traffic(port: u16) -> u64 {
    let head = "Host: shop.example.com\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n";
    let paths = [
        "/",
        "/page",
        "/logo.png",
        "/export.csv",
        "/backup",
        "/stream",
        "/missing",
        "/broken",
        "/api/orders/1842?expand=items&lang=en",
        "/api/orders/1842",
    ];
    for path in paths {
        ask(port, &format!("GET {path} HTTP/1.1\r\n{head}\r\n"));
    }
    let form = "user=ada&password=%E2%98%83+snow&remember=on";
    ask(
        port,
        &format!(
            "POST /login HTTP/1.1\r\n{head}Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        ),
    );
    ask(
        port,
        &format!(
            "POST /checkout HTTP/1.1\r\n{head}Content-Type: application/json\r\nX-Note: it's \"fine\"\r\nContent-Length: {}\r\n\r\n{ORDER}",
            ORDER.len()
        ),
    );
    ask(
        port,
        &format!("GET {HOSTILE} HTTP/1.1\r\nHost: <b>{HOSTILE}\r\n<img>: {HOSTILE}\r\nX: a\x1b[31m\r\n\r\n"),
    );
    // Both on one connection.
    let mut stream = peer::connect(port);
    write!(
        stream,
        "GET /first HTTP/1.1\r\n{head}\r\nGET /second HTTP/1.1\r\n{head}Connection: close\r\n\r\n"
    )
    .unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    paths.len() as u64 + 5
}

/// Where the pictures go: `analyzer` in the target folder.
fn pictures() -> PathBuf {
    let binary = tests::daemon::binary("forwarder");
    let folder = binary.parent().unwrap().parent().unwrap().join("analyzer");
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn quiet(browser: &Browser) {
    let said = browser.console();
    assert!(said.is_empty(), "{said:#?}");
}

#[test]
fn every_page_shows_what_was_captured_and_runs_nothing_of_it() {
    let pictures = pictures();
    let forwarder = Forwarder::start(&[]);
    let site = format!("http://127.0.0.1:{}", forwarder.analyzer);
    let browser = Browser::start();
    browser.open(&site);
    browser.draw(&pictures.join("empty-wide-light.png"));
    assert!(browser.text("main").contains("FORWARDER_ADDR"));

    let proxy = Goproxy::start("shop-1", shop(), forwarder.port, &[]);
    let seen = traffic(proxy.port);
    forwarder.settled("shop-1", seen);
    let rows = forwarder.sql("SELECT uuid, path, method FROM exchanges");
    let of = |path: &str| {
        let row = rows.iter().find(|row| row["path"].as_str().unwrap().starts_with(path)).unwrap();
        format!("/pairs/{}", row["uuid"].as_str().unwrap())
    };
    let pages = [
        ("list", "/".to_owned()),
        ("filtered", "/?status=4xx&method=GET".to_owned()),
        ("wrong", "/?status=abc&since=yesterday".to_owned()),
        ("json", of("/checkout")),
        ("form", of("/login")),
        ("picture", of("/logo.png")),
        ("hostile", of("/<script>")),
        ("page", of("/page")),
        ("huge", of("/export.csv")),
        ("cut", of("/backup")),
        ("stream", of("/stream")),
        ("broken", of("/broken")),
        ("second", of("/second")),
        ("tail", "/tail".to_owned()),
        ("proxies", "/proxies".to_owned()),
        ("accounting", "/accounting".to_owned()),
        ("sql", "/sql".to_owned()),
    ];
    quiet(&browser);
    for (width, size) in [(1440, "wide"), (390, "narrow")] {
        for (is_dark, scheme) in [(false, "light"), (true, "dark")] {
            browser.screen(width, is_dark);
            for (name, path) in &pages {
                browser.open(&format!("{site}{path}"));
                assert!(
                    browser.value("document.title").as_str().unwrap().ends_with("· Wayside Analyzer"),
                    "{name}"
                );
                assert_eq!(
                    browser.count("main img, main script, main b, main [style], a[href^='javascript']"),
                    0,
                    "{name}"
                );
                let overflows = browser.value("document.documentElement.scrollWidth > innerWidth");
                assert_eq!(overflows, json!(false), "{name} {size} is wider than its screen");
                browser.draw(&pictures.join(format!("{name}-{size}-{scheme}.png")));
                // A page that says 400 is told in the console as such, and nothing else may be.
                let said = browser.console();
                assert!(
                    said.iter().all(|line| *name == "wrong" && line.contains("400")),
                    "{name}: {said:#?}"
                );
            }
        }
    }
}

#[test]
fn a_reader_filters_and_asks_in_sql() {
    let forwarder = Forwarder::start(&[]);
    let proxy = Goproxy::start("shop-1", shop(), forwarder.port, &[]);
    let seen = traffic(proxy.port);
    forwarder.settled("shop-1", seen);
    let site = format!("http://127.0.0.1:{}", forwarder.analyzer);
    let browser = Browser::start();
    browser.open(&site);
    let rows =
        |count: u64| browser.wait_until(&format!("document.querySelectorAll('tbody tr').length === {count}"));
    rows(seen);
    browser.write("[name=status]", "5xx");
    browser.click("form.filter button");
    rows(1);
    assert!(browser.text("tbody tr").contains("/checkout"));
    browser.click("form.filter .actions a");
    rows(seen);
    browser.write("[name=text]", "Lovelace");
    browser.write("[name=path]", "/api/*");
    browser.click("form.filter button");
    rows(2);
    browser.click("tbody tr a");
    browser.wait_until("document.querySelector('#response pre') !== null");
    assert!(browser.text("#response pre").contains("\"total\": 28.300000000000000001"));
    browser.open(&format!("{site}/?status=none"));
    assert!(browser.text(".field-status .mend").contains("status must be such as 200, 5xx"));
    rows(seen);

    browser.open(&format!("{site}/sql"));
    browser.write("#query", "SELECT method, count(*) AS n FROM exchanges GROUP BY method ORDER BY n");
    browser.click("form.statement button");
    browser.wait_until("document.querySelectorAll('.result tbody tr').length === 2");
    browser.draw(&pictures().join("sql-answer-wide-light.png"));
    browser.write("#query", "DROP TABLE exchanges");
    browser.click("form.statement button");
    browser.wait_until("document.querySelector('#error')?.textContent.length > 0");
    browser.draw(&pictures().join("sql-error-wide-light.png"));
}

#[test]
fn the_tail_shows_what_comes_while_it_comes() {
    let mut forwarder = Forwarder::start(&[]);
    let proxy = Goproxy::start("shop-1", shop(), forwarder.port, &[]);
    let site = format!("http://127.0.0.1:{}", forwarder.analyzer);
    let browser = Browser::start();
    browser.screen(1440, false);
    browser.open(&format!("{site}/tail"));
    browser.wait_until("document.getElementById('state').textContent === 'live'");
    ask(proxy.port, "GET /hello?a=b HTTP/1.1\r\nHost: shop\r\n\r\n");
    browser.wait_until("document.querySelectorAll('#rows tr').length === 1");
    assert!(browser.text("#rows .path").contains("/hello?a=b"));
    let seen = 1 + traffic(proxy.port);
    browser.wait_until(&format!("document.querySelectorAll('#rows tr').length === {seen}"));
    assert_eq!(browser.count("#rows img, #rows script, #rows b"), 0);
    assert!(browser.text("#rows").contains("⟨U+202E⟩"));
    assert!(browser.value("document.title").as_str().unwrap().starts_with("Live tail"));
    browser.draw(&pictures().join("tail-live-wide-light.png"));
    browser.screen(390, true);
    browser.draw(&pictures().join("tail-live-narrow-dark.png"));

    browser.click("#pause");
    ask(proxy.port, "GET /unseen HTTP/1.1\r\nHost: shop\r\n\r\n");
    browser.wait_until("document.getElementById('counts').textContent.includes('1 not shown while paused')");
    assert_eq!(browser.count("#rows tr"), seen);
    browser.click("#pause");
    for _ in 0..200 {
        ask(proxy.port, "GET /many HTTP/1.1\r\nHost: shop\r\n\r\n");
    }
    browser.wait_until("document.querySelectorAll('#rows tr').length === 200");
    browser
        .wait_until(&format!("document.getElementById('counts').textContent.startsWith('{} ')", seen + 201));
    assert_eq!(browser.count("#rows tr"), 200);
    // What a list says of an exchange, the tail says too.
    let told = browser.text("#rows tr .duration");
    browser.click("#rows tr .path a");
    browser.wait_until("document.querySelector('.timing tfoot') !== null");
    assert!(browser.text(".timing tfoot").contains(&told), "{told}: {}", browser.text(".timing tfoot"));
    quiet(&browser);

    // Whoever follows does not keep the forwarder from ending.
    browser.open(&format!("{site}/tail"));
    browser.wait_until("document.getElementById('state').textContent === 'live'");
    drop(proxy);
    assert_eq!(forwarder.daemon.take().unwrap().stop(), 0);
    browser.wait_until("document.getElementById('state').textContent.includes('lost')");
}

#[test]
fn without_scripts_the_list_and_the_detail_are_there() {
    let forwarder = Forwarder::start(&[]);
    let proxy = Goproxy::start("shop-1", shop(), forwarder.port, &[]);
    let seen = traffic(proxy.port);
    forwarder.settled("shop-1", seen);
    let site = format!("http://127.0.0.1:{}", forwarder.analyzer);
    let browser = Browser::start_without_scripts();
    browser.screen(1440, false);
    let show = |path: &str, name: &str| {
        browser.open(&format!("{site}{path}"));
        browser.draw(&pictures().join(format!("{name}-without-scripts.png")));
        browser.html()
    };
    let list = show("/", "list");
    assert_eq!(list.matches("href=\"/pairs/").count() as u64, seen);
    let checkout = forwarder.sql("SELECT uuid FROM exchanges WHERE path = '/checkout'");
    let detail = show(&format!("/pairs/{}", checkout[0]["uuid"].as_str().unwrap()), "detail");
    assert!(detail.contains("28.300000000000000001") && detail.contains("out of tea"), "{detail}");
    let tail = show("/tail", "tail");
    assert!(tail.contains("needs JavaScript") && tail.contains("/?refresh=5"), "{tail}");
}

#[test]
fn with_a_token_a_reader_signs_in_and_out() {
    let forwarder = Forwarder::start(&[("ANALYZER_TOKEN", "open sesame")]);
    let site = format!("http://127.0.0.1:{}", forwarder.analyzer);
    let browser = Browser::start();
    browser.screen(1440, false);
    browser.open(&format!("{site}/accounting"));
    assert!(browser.text("h1").contains("Sign in"));
    browser.draw(&pictures().join("sign-in-wide-light.png"));
    browser.screen(390, true);
    browser.draw(&pictures().join("sign-in-narrow-dark.png"));
    browser.write("#token", "open barley");
    browser.click(".sign-in button");
    browser.wait_until("document.querySelector('#wrong')?.textContent.includes('not the token')");
    browser.write("#token", "open sesame");
    browser.click(".sign-in button");
    browser.wait_until("location.pathname === '/accounting'");
    assert_eq!(browser.value("document.cookie"), json!(""));
    browser.open(&format!("{site}/tail"));
    browser.wait_until("document.getElementById('state').textContent === 'live'");
    browser.click(".sign-out button");
    browser.wait_until("location.pathname === '/sign-in'");
    browser.open(&site);
    assert!(browser.text("h1").contains("Sign in"));
}
