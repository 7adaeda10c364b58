//! Pure. What a request says of who asks: the token that it bears, its cookies, its origin, the name it calls us by.

use std::net::IpAddr;

use axum::{
    extract::Request,
    http::{HeaderMap, header},
};

/// The token that a request bears (RFC 6750 §2.1).
pub fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let told = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = told.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

/// Whether a page of another site asks: a browser says where a request comes from; what is no browser says
/// nothing.
pub fn is_foreign(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
    if site.is_some_and(|site| site != b"same-origin" && site != b"none") {
        return true;
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let host = headers.get(header::HOST).map(|host| host.as_bytes()).unwrap_or_default();
    let origin = origin.as_bytes();
    let authority = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
    host.is_empty() || authority != Some(host)
}

/// A path of this site as it was told, or `home`: nobody is led elsewhere.
pub fn own_path<'a>(to: &'a str, home: &'a str) -> &'a str {
    let is_plain = to.bytes().all(|byte| (0x21..0x7f).contains(&byte) && byte != b'\\');
    if is_plain && to.starts_with('/') && !to.starts_with("//") { to } else { home }
}

/// The values of a cookie: browsers may send several of one name.
pub(super) fn cookies<'a>(headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(header::COOKIE).into_iter().map(|line| line.as_bytes());
    let pairs = lines.flat_map(|line| line.split(|byte| *byte == b';')).map(<[u8]>::trim_ascii);
    pairs.filter_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// Whether every name that the request gives us is one of loopback. What gives none is no browser.
pub(super) fn names_loopback(request: &Request) -> bool {
    let hosts = request.headers().get_all(header::HOST).into_iter().map(|host| host.to_str().ok());
    let target = request.uri().authority().map(|authority| Some(authority.as_str()));
    hosts.chain(target).all(|host| host.is_some_and(is_loopback))
}

fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, rest)) if rest.is_empty() || rest.starts_with(':') => host,
            _ => return false,
        },
        None => authority.split_once(':').map_or(authority, |(host, _)| host),
    };
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_loopback_are_told_from_others() {
        for good in
            ["localhost", "LOCALHOST:8889", "a.localhost:1", "127.0.0.1:8889", "127.1.2.3", "[::1]:80"]
        {
            assert!(is_loopback(good), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "0.0.0.0:8889",
            "10.0.0.1",
            "[::1",
            "[::1]x",
            "notlocalhost",
            "::1",
        ] {
            assert!(!is_loopback(bad), "{bad}");
        }
    }

    #[test]
    fn cookies_are_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append("cookie", "a=b; wayside_x=1; wayside_xy=2".parse().unwrap());
        headers.append("cookie", "wayside_x=3".parse().unwrap());
        assert_eq!(cookies(&headers, "wayside_x").collect::<Vec<_>>(), [b"1", b"3"]);
    }

    #[test]
    fn a_page_of_another_origin_is_told_from_our_own_and_from_programs() {
        let check = |told: &[(&'static str, &str)], foreign: bool| {
            let mut headers = HeaderMap::new();
            for (name, value) in told {
                headers.append(*name, value.parse().unwrap());
            }
            assert_eq!(is_foreign(&headers), foreign, "{told:?}");
        };
        check(&[("host", "a:1")], false);
        check(&[("host", "a:1"), ("origin", "http://a:1"), ("sec-fetch-site", "same-origin")], false);
        check(&[("host", "a:1"), ("sec-fetch-site", "none")], false);
        check(&[("host", "a:1"), ("sec-fetch-site", "same-site")], true);
        check(&[("host", "a:1"), ("sec-fetch-site", "cross-site")], true);
        check(&[("host", "a:1"), ("origin", "http://a:2")], true);
        check(&[("host", "a:1"), ("origin", "http://evil.example")], true);
        check(&[("host", "a:1"), ("origin", "null")], true);
        check(&[("origin", "http://")], true);
    }

    #[test]
    fn nobody_is_led_elsewhere() {
        assert_eq!(own_path("/pairs/x?y=z", "/"), "/pairs/x?y=z");
        for to in [
            "",
            "x",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/a\r\nb",
            "/\u{e9}",
            "javascript:x",
        ] {
            assert_eq!(own_path(to, "/home"), "/home", "{to}");
        }
    }
}
