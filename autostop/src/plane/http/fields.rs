//! Pure. The header fields that concern one hop only, and those that tell who the client was.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// What the client wants to go over to, if it does (RFC 9110 §7.8). Not to HTTP/2: requests within that would
/// pass by whoever decides about requests.
pub(super) fn upgrade(fields: &HeaderMap) -> Option<HeaderValue> {
    let asks = tokens(fields, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    let is_http = tokens(fields, &header::UPGRADE).any(|token| token.to_ascii_lowercase().starts_with("h2c"));
    fields.get(header::UPGRADE).filter(|_| asks && !is_http).cloned()
}

fn tokens<'a>(fields: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> + use<'a> {
    let values = fields.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

/// Takes out what concerns one hop only (RFC 9110 §7.6.1). `TE: trailers` stays: gRPC asks for it end
/// to end.
pub(super) fn strip(fields: &mut HeaderMap) {
    if fields.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> =
            tokens(fields, &header::CONNECTION).filter_map(|token| token.parse().ok()).collect();
        for name in named {
            if name != header::TE {
                fields.remove(name);
            }
        }
        fields.remove(header::CONNECTION);
    }
    let trailers = tokens(fields, &header::TE).any(|token| token.eq_ignore_ascii_case("trailers"));
    for name in [KEEP_ALIVE, PROXY_CONNECTION, header::TE, header::TRANSFER_ENCODING, header::UPGRADE] {
        fields.remove(name);
    }
    if trailers {
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// HTTP/2 lets a client send its cookies in pieces; HTTP/1.1 wants them in one field (RFC 9113 §8.2.3).
pub(super) fn join_cookies(fields: &mut HeaderMap) {
    let mut pieces = fields.get_all(header::COOKIE).into_iter().map(HeaderValue::as_bytes);
    let (Some(first), Some(second)) = (pieces.next(), pieces.next()) else { return };
    let mut joined = [first, second].join(&b"; "[..]);
    for piece in pieces {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(piece);
    }
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        fields.insert(header::COOKIE, joined);
    }
}

/// Tells the target who asked, how, and for which host.
pub(super) fn tell(fields: &mut HeaderMap, client: IpAddr, tls: bool, host: &HeaderValue) {
    let mut list = String::new();
    for before in fields.get_all(FORWARDED_FOR).into_iter().filter_map(|value| value.to_str().ok()) {
        list.push_str(before);
        list.push_str(", ");
    }
    list.push_str(&client.to_string());
    if let Ok(list) = HeaderValue::from_str(&list) {
        fields.insert(FORWARDED_FOR, list);
    }
    fields.insert(FORWARDED_PROTO, HeaderValue::from_static(if tls { "https" } else { "http" }));
    fields.insert(FORWARDED_HOST, host.clone());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&str, &str)]) -> HeaderMap {
        let pair =
            |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        let mut fields = HeaderMap::new();
        for (name, value) in lines.iter().map(pair) {
            fields.append::<HeaderName>(name, value);
        }
        fields
    }

    #[test]
    fn what_concerns_one_hop_goes_with_what_connection_names() {
        let mut told = fields(&[
            ("connection", "close, X-Own"),
            ("x-own", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("te", "gzip, trailers"),
            ("cookie", "kept"),
        ]);
        strip(&mut told);
        assert_eq!(told, fields(&[("te", "trailers"), ("cookie", "kept")]));
    }

    #[test]
    fn cookies_in_pieces_become_one_field() {
        let mut told = fields(&[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]);
        join_cookies(&mut told);
        assert_eq!(told, fields(&[("cookie", "a=1; b=2; c=3")]));
        join_cookies(&mut told);
        assert_eq!(told, fields(&[("cookie", "a=1; b=2; c=3")]));
    }

    #[test]
    fn an_upgrade_has_to_be_named_in_connection() {
        assert!(upgrade(&fields(&[("upgrade", "websocket")])).is_none());
        let asked = |wish| upgrade(&fields(&[("connection", "keep-alive, Upgrade"), ("upgrade", wish)]));
        assert!(asked("websocket").is_some());
        assert!(asked("H2C").is_none() && asked("websocket, h2c").is_none());
    }

    #[test]
    fn the_client_is_added_behind_those_before_it() {
        let mut told = fields(&[("x-forwarded-for", "192.0.2.7"), ("x-forwarded-proto", "gopher")]);
        tell(&mut told, "192.0.2.8".parse().unwrap(), true, &HeaderValue::from_static("a.example"));
        let expected = fields(&[
            ("x-forwarded-for", "192.0.2.7, 192.0.2.8"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "a.example"),
        ]);
        assert_eq!(told, expected);
    }
}
