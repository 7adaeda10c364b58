//! The pages over a store on disk.

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use bytes::Bytes;
use common::exchange::{End, Exchange, Finding, Framing};
use common::wire;
use tower::ServiceExt as _;

use super::*;
use crate::api::{self, Api};
use crate::store::Options;
use crate::store::identity::Run;
use crate::store::samples::{connection, exchange, registration, report, request};

const HOSTILE: &str =
    "/<script>document.title='owned'</script>\"><img/src=x/onerror=alert(1)>\u{202e}\u{1b}[31m'{{7*7}}";

fn store(folder: &std::path::Path) -> Store {
    Store::open(Options { data_dir: folder.to_owned(), ..Options::default() }).unwrap()
}

/// Everything that is mounted, as the server does it.
fn router_with(store: &Store, token: Option<&str>) -> Router {
    let asked = token.map(common::config::Secret::from);
    let door = Door::new(&SIGN, move || asked.clone());
    let pages = router(Web::new(store.clone(), Query::live(store.clone()), door.clone(), 8888));
    door.guard(pages.merge(api::router(Api::new(store.clone(), token.map(str::to_owned)))))
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

async fn ask(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    Answer { status, headers, text: String::from_utf8_lossy(&body).into_owned() }
}

async fn get_page(router: &Router, path: &str) -> Answer {
    ask(router, Request::get(path).header("host", "localhost:8889").body(Body::empty()).unwrap()).await
}

async fn keep(store: &Store, exchanges: &[Exchange]) {
    let mut bytes = Vec::new();
    for exchange in exchanges {
        wire::Opening::from(&connection(0)).with(exchange).append_to(&mut bytes);
    }
    store.register(registration("odd", 1)).await.unwrap();
    let batch = wire::CaptureRequest {
        proxy_id: "odd".to_owned(),
        epoch: 1,
        first_sequence: 1,
        count: u32::try_from(exchanges.len()).unwrap(),
        exchanges: bytes.into(),
        report: Some(report(exchanges.len() as u64)),
    };
    store.append(batch).await.unwrap();
}

fn with_request(head: String, body: Vec<u8>) -> Exchange {
    let mut odd = exchange(1);
    odd.request.head_bytes = head.len() as u64;
    odd.request.head = Bytes::from(head);
    odd.request.body_bytes = body.len() as u64;
    odd.request.wire_bytes = body.len() as u64;
    odd.request.framing = Framing::Length;
    odd.request.body = Bytes::from(body);
    odd
}

fn page_of(sequence: u64) -> String {
    format!("/pairs/{}", Run::new("odd", 1).uuid(sequence))
}

#[tokio::test]
async fn an_empty_store_says_how_to_begin() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let router = router_with(&store, None);
    let told = get_page(&router, "/").await;
    assert_eq!(told.status, StatusCode::OK);
    assert!(
        told.text.contains("Nothing captured yet") && told.text.contains("FORWARDER_ADDR=localhost:8888")
    );
    for path in ["/proxies", "/accounting", "/tail", "/sql"] {
        assert_eq!(get_page(&router, path).await.status, StatusCode::OK, "{path}");
    }
    store.register(registration("a", 1)).await.unwrap();
    let told = get_page(&router, "/").await;
    assert!(told.text.contains("no exchange has come from it"), "{}", told.text);
}

#[tokio::test]
async fn the_list_comes_in_pages_and_leads_to_each_exchange() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    store.register(registration("a", 1)).await.unwrap();
    store.append(request("a", 1, 1..=60)).await.unwrap();
    let router = router_with(&store, None);
    let mut path = "/?limit=25&instance=a".to_owned();
    let mut seen = 0;
    loop {
        let told = get_page(&router, &path).await;
        assert_eq!(told.status, StatusCode::OK);
        let links: Vec<_> =
            told.text.split("href=\"/pairs/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        seen += links.len();
        let detail = get_page(&router, &format!("/pairs/{}", links[0])).await;
        assert!(detail.status == StatusCode::OK && detail.text.contains("shop answered"), "{}", detail.text);
        let Some((before, _)) = told.text.split_once("\" rel=\"next\"") else { break };
        path = before.rsplit('"').next().unwrap().replace("&#38;", "&");
        assert!(path.starts_with("/?limit=25&instance=a&cursor="), "{path}");
    }
    assert_eq!(seen, 60);
    assert!(get_page(&router, "/?path=/none").await.text.contains("No exchange fits"));
    let proxies = get_page(&router, "/proxies").await.text;
    assert!(proxies.contains("localhost:80") && proxies.contains("port 4143"), "{proxies}");
    let sheet = get_page(&router, "/accounting").await.text;
    assert!(sheet.contains("seen = stored + filtered + dropped + in flight") && sheet.contains("adds up"));
}

#[tokio::test]
async fn a_wrong_filter_is_told_at_its_field_and_the_rest_is_still_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    store.append(request("a", 1, 1..=3)).await.unwrap();
    let router = router_with(&store, None);
    let told = get_page(&router, "/?status=abc&since=yesterday&nonsense=%3Cb%3E").await;
    assert_eq!(told.status, StatusCode::BAD_REQUEST);
    for text in
        ["status must be such as 200, 5xx", "since must be a time such as", "there is no such parameter"]
    {
        assert!(told.text.contains(text), "{text}");
    }
    assert!(!told.text.contains("<b>") && told.text.contains("value=\"abc\""));
    assert_eq!(told.text.matches("href=\"/pairs/").count(), 3);
    let told = get_page(&router, "/tail?status=abc").await;
    assert!(told.status == StatusCode::BAD_REQUEST && !told.text.contains("data-events"));
}

#[tokio::test]
async fn nothing_captured_becomes_markup() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let head = format!(
        "GET {HOSTILE}?{HOSTILE} HTTP/1.1\r\nHost: {HOSTILE}\r\n<script>: {HOSTILE}\r\nContent-Type: text/html\r\n\r\n"
    );
    let mut first = with_request(head, HOSTILE.as_bytes().to_vec());
    first.informational = vec![Bytes::from(format!("HTTP/1.1 103 {HOSTILE}\r\nLink: {HOSTILE}\r\n\r\n"))];
    first.findings = vec![Finding::BadTarget];
    let form = "POST /x HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n".to_owned();
    let second = with_request(form, format!("{HOSTILE}={HOSTILE}").into_bytes());
    let json = "POST javascript:alert(1) HTTP/1.1\r\nContent-Type: application/json\r\n\r\n".to_owned();
    let third = with_request(json, format!("{{\"{}\":1", HOSTILE.replace('"', "\\\"")).into_bytes());
    keep(&store, &[first, second, third]).await;
    let router = router_with(&store, None);
    let statement = "query=SELECT+*+FROM+exchanges";
    let post = Request::post("/sql").header("host", "localhost");
    let post = post.header("content-type", "application/x-www-form-urlencoded").body(Body::from(statement));
    let mut pages = vec![("/sql".to_owned(), ask(&router, post.unwrap()).await)];
    for path in [
        "/".to_owned(),
        page_of(1),
        page_of(2),
        page_of(3),
        "/?text=%3Cscript%3E&path=%22%3E%3Cimg".to_owned(),
    ] {
        pages.push((path.clone(), get_page(&router, &path).await));
    }
    for (path, told) in pages {
        assert_eq!(told.status, StatusCode::OK, "{path}");
        for bad in ["<script>", "<img", "\u{202e}", "\u{1b}", "href=\"javascript:", "style=", " onerror=\""] {
            assert!(!told.text.contains(bad), "{path}: {bad}");
        }
    }
    assert!(get_page(&router, &page_of(1)).await.text.contains("⟨U+202E⟩⟨1B⟩[31m"));
}

#[tokio::test]
async fn a_huge_line_is_bounded_and_can_be_had_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let head = "POST / HTTP/1.1\r\nContent-Type: text/plain\r\n\r\n".to_owned();
    keep(&store, &[with_request(head, vec![b'x'; 1 << 20])]).await;
    let router = router_with(&store, None);
    let told = get_page(&router, &page_of(1)).await;
    assert!(told.text.len() < 200_000 && told.text.contains("Show all"), "{}", told.text.len());
    let whole = get_page(&router, &format!("{}?all=request", page_of(1))).await;
    assert!(whole.text.len() > 1 << 20 && !whole.text.contains("Show all"));
    let file = get_page(&router, &format!("{}/request-body", page_of(1))).await;
    assert_eq!(file.text.len(), 1 << 20);
    assert_eq!(file.headers["content-type"], "application/octet-stream");
    assert_eq!(file.headers["x-content-type-options"], "nosniff");
    let disposition = file.headers["content-disposition"].to_str().unwrap();
    assert!(
        disposition.starts_with("attachment; filename=\"") && disposition.ends_with("-request-body.bin\"")
    );
}

#[tokio::test]
async fn an_exchange_without_an_answer_is_told_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let mut odd = exchange(1);
    odd.response = None;
    odd.end = End::AbortedByServer;
    keep(&store, &[odd]).await;
    let router = router_with(&store, None);
    let told = get_page(&router, &page_of(1)).await;
    assert!(told.text.contains("without an answer to"), "{}", told.text);
    assert!(told.text.contains("Not one byte of a response came."));
    assert!(get_page(&router, "/").await.text.contains("server left"));
    assert_eq!(get_page(&router, "/pairs/x").await.status, StatusCode::NOT_FOUND);
    assert_eq!(get_page(&router, &page_of(9)).await.status, StatusCode::NOT_FOUND);
    assert_eq!(get_page(&router, "/nowhere").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn every_answer_is_guarded() {
    let folder = tempfile::tempdir().unwrap();
    let router = router_with(&store(folder.path()), None);
    for path in
        ["/", "/tail", "/sql", "/nowhere", "/api/v1/pairs", "/pairs/x", "/assets/analyzer.css", "/sign-in"]
    {
        let told = get_page(&router, path).await;
        let policy = told.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{path}");
        assert_eq!(told.headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(told.headers["referrer-policy"], "same-origin", "{path}");
        assert_eq!(told.headers["cross-origin-opener-policy"], "same-origin", "{path}");
        assert_eq!(told.headers["cross-origin-resource-policy"], "same-origin", "{path}");
        let keeps = told.headers["cache-control"].to_str().unwrap();
        assert_eq!(keeps != "no-store", path.starts_with("/assets/"), "{path}");
    }
}

#[tokio::test]
async fn assets_are_kept_by_their_content() {
    let folder = tempfile::tempdir().unwrap();
    let router = router_with(&store(folder.path()), None);
    let page = get_page(&router, "/tail").await.text;
    for name in ["analyzer.css", "analyzer.js", "icon.svg"] {
        let wanted = format!("/assets/{name}?");
        let path = page.split('"').find(|quoted| quoted.starts_with(&wanted)).expect(name);
        let told = get_page(&router, path).await;
        assert!(told.headers["cache-control"].to_str().unwrap().contains("immutable"));
        let again = Request::get(path).header("if-none-match", &told.headers["etag"]);
        let again = ask(&router, again.body(Body::empty()).unwrap()).await;
        assert_eq!((again.status, again.text.as_str()), (StatusCode::NOT_MODIFIED, ""));
        let other = get_page(&router, &format!("/assets/{name}?other")).await;
        assert_eq!(other.headers["cache-control"], "no-cache");
    }
    assert_eq!(get_page(&router, "/assets/..%2fCargo.toml").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn other_names_than_those_of_loopback_are_not_answered() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let router = router_with(&store, None);
    let by = async |router: &Router, host: &str, path: &str| {
        ask(router, Request::get(path).header("host", host).body(Body::empty()).unwrap()).await.status
    };
    for path in ["/", "/api/v1/pairs", "/assets/analyzer.css"] {
        assert_eq!(by(&router, "127.0.0.1:8889", path).await, StatusCode::OK);
        assert_eq!(by(&router, "evil.example:8889", path).await, StatusCode::MISDIRECTED_REQUEST);
    }
    let with_token = router_with(&store, Some("secret"));
    assert_eq!(by(&with_token, "analyzer.example", "/sign-in").await, StatusCode::OK);
}

fn form(path: &str) -> axum::http::request::Builder {
    Request::post(path)
        .header("host", "localhost:8889")
        .header("content-type", "application/x-www-form-urlencoded")
}

#[tokio::test]
async fn statements_are_answered_as_tables_and_only_to_this_site() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    store.append(request("a", 1, 1..=7)).await.unwrap();
    let router = router_with(&store, None);
    let post = async |body: &'static str, origin: Option<&str>| {
        let mut post = form("/sql");
        if let Some(origin) = origin {
            post = post.header("origin", origin);
        }
        ask(&router, post.body(Body::from(body)).unwrap()).await
    };
    let told = post("query=select+count(*)+as+many+from+exchanges", Some("http://localhost:8889")).await;
    assert!(told.status == StatusCode::OK && told.text.contains("1 row") && told.text.contains(">7<"));
    let told = post("query=drop+table+exchanges", None).await;
    assert!(told.status == StatusCode::BAD_REQUEST && told.text.contains("role=\"alert\""), "{}", told.text);
    assert!(told.text.contains("drop table exchanges</textarea>"));
    assert_eq!(post("query=", None).await.status, StatusCode::BAD_REQUEST);
    let told = post("query=select+*+from+generate_series(1,1000)", None).await;
    assert!(told.text.matches("<tr>").count() <= 501, "{}", told.status);
    for origin in ["http://evil.example", "null", "http://localhost:1"] {
        assert_eq!(post("query=select+1", Some(origin)).await.status, StatusCode::FORBIDDEN, "{origin}");
    }
    let filled = get_page(&router, "/sql?query=select+%3C%2Ftextarea%3E").await.text;
    assert!(filled.contains("select &#60;/textarea&#62;</textarea>"), "{filled}");
}

#[tokio::test]
async fn with_a_token_everything_asks_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    store.append(request("a", 1, 1..=3)).await.unwrap();
    let router = router_with(&store, Some("secret"));
    for path in ["/", "/tail", "/proxies", "/accounting", "/sql", "/nowhere", "/pairs/x/request-body"] {
        let told = get_page(&router, path).await;
        assert_eq!(told.status, StatusCode::SEE_OTHER, "{path}");
        assert!(told.headers["location"].to_str().unwrap().starts_with("/sign-in?to=%2F"), "{path}");
    }
    for path in ["/api/v1/pairs", "/metrics"] {
        assert_eq!(get_page(&router, path).await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    let bearer = Request::get("/").header("authorization", "Bearer secret").body(Body::empty()).unwrap();
    assert_eq!(ask(&router, bearer).await.status, StatusCode::OK);

    let sign_in =
        async |body: &'static str| ask(&router, form("/sign-in").body(Body::from(body)).unwrap()).await;
    let refused = sign_in("token=secre&to=/sql").await;
    assert!(refused.status == StatusCode::UNAUTHORIZED && refused.text.contains("That is not the token."));
    assert!(refused.headers.get("set-cookie").is_none() && refused.text.contains("value=\"/sql\""));
    let foreign = form("/sign-in").header("origin", "http://evil.example");
    let foreign = ask(&router, foreign.body(Body::from("token=secret")).unwrap()).await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN);
    let opened = sign_in("token=secret&to=//evil.example").await;
    assert_eq!((opened.status, &opened.headers["location"]), (StatusCode::SEE_OTHER, &"/".parse().unwrap()));
    let cookie = opened.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && !cookie.contains("secret"));
    let cookie = cookie.split(';').next().unwrap();

    let with_cookie = async |path: &str, site: &str| {
        let request = Request::get(path).header("cookie", cookie).header("sec-fetch-site", site);
        ask(&router, request.body(Body::empty()).unwrap()).await
    };
    for path in ["/", "/api/v1/pairs", "/api/v1/accounting"] {
        let told = with_cookie(path, "same-origin").await;
        assert_eq!(told.status, StatusCode::OK, "{path}");
        assert!(!told.text.contains("secret"), "{path}");
    }
    assert_eq!(with_cookie("/api/v1/pairs", "same-site").await.status, StatusCode::UNAUTHORIZED);
    assert!(with_cookie("/", "none").await.text.contains("Sign out"));

    let out = form("/sign-out").header("cookie", cookie).body(Body::empty()).unwrap();
    let out = ask(&router, out).await;
    assert!(out.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(with_cookie("/", "none").await.status, StatusCode::SEE_OTHER);
}
