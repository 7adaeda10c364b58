//! A router behind a door, asked in every way.

use axum::{body::Body, routing::any};
use tower::ServiceExt as _;

use super::*;
use crate::pages::Assets;

static HOUSE: House = House { product: "Test", home: "/home", folder: "/assets", assets: Assets::new(&[]) };

static SIGN: Sign = Sign {
    name: "Test",
    house: &HOUSE,
    reason: "It asks",
    setting: "TEST_TOKEN",
    cookie: "wayside_test",
    sign_in: "/sign-in",
    sign_out: "/sign-out",
    way: |path| match path {
        "/metrics" => Way::Program,
        path if path.starts_with("/api/") => Way::OwnWords,
        _ => Way::Page,
    },
};

fn behind(token: &Arc<Mutex<Option<&'static str>>>) -> (Door, Router) {
    let token = Arc::clone(token);
    let door = Door::new(&SIGN, move || token.lock().unwrap().map(Secret::from));
    let echo = any(async |headers: HeaderMap| {
        headers.get("authorization").map(|told| told.to_str().unwrap().to_owned()).unwrap_or_default()
    });
    (door.clone(), door.guard(Router::new().fallback(echo)))
}

async fn ask(router: &Router, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    let request =
        headers.iter().fold(Request::builder().method(method).uri(path), |request, (name, value)| {
            request.header(*name, *value)
        });
    router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn without_a_token_only_names_of_loopback_are_answered() {
    let (_, router) = behind(&Arc::new(Mutex::new(None)));
    for path in ["/", "/assets/house.css", "/metrics", "/api/x"] {
        assert_eq!(ask(&router, "GET", path, &[("host", "localhost:1")]).await.status(), StatusCode::OK);
        let told = ask(&router, "GET", path, &[("host", "evil.example")]).await;
        assert_eq!(told.status(), StatusCode::MISDIRECTED_REQUEST, "{path}");
        assert!(told.headers().contains_key("content-security-policy"));
    }
    let two = [("host", "localhost"), ("host", "evil.example")];
    assert_eq!(ask(&router, "GET", "/", &two).await.status(), StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn with_a_token_each_path_refuses_in_its_way() {
    let (_, router) = behind(&Arc::new(Mutex::new(Some("secret"))));
    let status = async |path: &str| ask(&router, "GET", path, &[]).await.status();
    assert_eq!(status("/sign-in").await, StatusCode::OK);
    assert_eq!(status("/api/x").await, StatusCode::OK);
    assert_eq!(status("/metrics").await, StatusCode::UNAUTHORIZED);
    let led = ask(&router, "GET", "/a?b=c", &[]).await;
    assert_eq!(led.status(), StatusCode::SEE_OTHER);
    assert_eq!(led.headers()["location"], "/sign-in?to=%2Fa%3Fb%3Dc");
    let led = ask(&router, "POST", "/a", &[]).await;
    assert_eq!(led.headers()["location"], "/sign-in?to=%2Fhome");
    let bears =
        ask(&router, "GET", "/a", &[("authorization", "bearer secret"), ("host", "any.example")]).await;
    assert_eq!(bears.status(), StatusCode::OK);
    let bears = ask(&router, "GET", "/metrics", &[("authorization", "Bearer secre")]).await;
    assert_eq!(bears.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn nothing_is_changed_for_a_page_of_another_origin() {
    for token in [None, Some("secret")] {
        let (_, router) = behind(&Arc::new(Mutex::new(token)));
        for path in ["/", "/sign-in", "/api/x"] {
            for method in ["POST", "PUT", "DELETE", "PATCH"] {
                let foreign = [
                    ("host", "localhost:1"),
                    ("origin", "http://evil.example"),
                    ("authorization", "Bearer secret"),
                ];
                let told = ask(&router, method, path, &foreign).await;
                assert_eq!(told.status(), StatusCode::FORBIDDEN, "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn a_session_stands_for_the_token_until_either_is_over() {
    let token = Arc::new(Mutex::new(Some("secret")));
    let (door, router) = behind(&token);
    assert_eq!(door.open("secre").unwrap(), None);
    let cookie = door.open("secret").unwrap().unwrap();
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict") && !cookie.contains("secret"));
    let cookie = cookie.split(';').next().unwrap();
    let with = async |more: (&str, &str)| ask(&router, "GET", "/a", &[("cookie", cookie), more]).await;
    let passed = with(("sec-fetch-site", "same-origin")).await;
    assert_eq!(passed.status(), StatusCode::OK);
    let told = axum::body::to_bytes(passed.into_body(), 1000).await.unwrap();
    assert_eq!(told, "Bearer secret", "what is behind asks one question only");
    assert_eq!(with(("sec-fetch-site", "cross-site")).await.status(), StatusCode::SEE_OTHER);
    *token.lock().unwrap() = Some("another");
    assert_eq!(with(("x", "y")).await.status(), StatusCode::SEE_OTHER);
    *token.lock().unwrap() = Some("secret");
    let mut headers = HeaderMap::new();
    headers.insert("cookie", cookie.parse().unwrap());
    assert!(door.close(&headers).contains("Max-Age=0"));
    assert_eq!(with(("x", "y")).await.status(), StatusCode::SEE_OTHER);
}
