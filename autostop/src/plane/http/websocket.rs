//! Pure. WebSockets of HTTP/2 (RFC 8441) as targets know them: an upgrade of HTTP/1.1 (RFC 6455).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::ext::Protocol;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// What a server adds to the key before it digests it (RFC 6455 §1.3).
const SALT: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a request that would go over to another protocol wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tunnel {
    /// A WebSocket over one stream of HTTP/2.
    WebSocket,
    /// Any other protocol over one stream.
    Unknown,
    /// What a forward proxy does, which this is not.
    Forward,
}

/// What kind of tunnel a request asks for, if it does.
pub(super) fn asked<B>(request: &Request<B>) -> Option<Tunnel> {
    if request.method() != Method::CONNECT {
        return None;
    }
    let protocol = request.extensions().get::<Protocol>().filter(|_| request.version() == Version::HTTP_2);
    Some(match protocol {
        Some(protocol) if protocol.as_str().eq_ignore_ascii_case("websocket") => Tunnel::WebSocket,
        Some(_) => Tunnel::Unknown,
        None => Tunnel::Forward,
    })
}

/// A key of 16 random bytes, and what a target has to answer to it.
pub(super) struct Opening {
    key: HeaderValue,
    accept: String,
}

impl Opening {
    /// Of these bytes. `None` is never so: base64 fits into a field.
    pub(super) fn of(random: u128) -> Option<Self> {
        let key = STANDARD.encode(random.to_be_bytes());
        let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), SALT].concat());
        Some(Self { key: HeaderValue::try_from(key).ok()?, accept: STANDARD.encode(digest) })
    }

    /// Makes the opening of the target's version out of a client's.
    pub(super) fn dress<B>(&self, request: &mut Request<B>) {
        *request.method_mut() = Method::GET;
        request.extensions_mut().remove::<Protocol>();
        request.headers_mut().insert(header::SEC_WEBSOCKET_KEY, self.key.clone());
    }

    /// Makes the client's version out of an answer: a yes is 200 there. A yes to another key, or one without
    /// going over, is none.
    ///
    /// # Errors
    /// When the target speaks no WebSocket.
    pub(super) fn undress<B>(&self, response: &mut Response<B>) -> Result<(), NoWebSocket> {
        let went_over = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if went_over {
            let accept = response.headers_mut().remove(header::SEC_WEBSOCKET_ACCEPT);
            if accept.is_none_or(|accept| accept != self.accept.as_str()) {
                return Err(NoWebSocket);
            }
            response.headers_mut().remove(header::CONTENT_LENGTH);
            *response.status_mut() = StatusCode::OK;
        } else if response.status().is_success() {
            return Err(NoWebSocket);
        }
        Ok(())
    }
}

/// The target answered, and did not go over.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoWebSocket;

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, version: Version, protocol: Option<&'static str>) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.version_mut() = version;
        if let Some(protocol) = protocol {
            request.extensions_mut().insert(Protocol::from_static(protocol));
        }
        request
    }

    #[test]
    fn only_an_extended_connect_for_a_websocket_is_one() {
        for (method, version, protocol, expected) in [
            (Method::GET, Version::HTTP_2, None, None),
            (Method::CONNECT, Version::HTTP_2, Some("websocket"), Some(Tunnel::WebSocket)),
            (Method::CONNECT, Version::HTTP_2, Some("connect-udp"), Some(Tunnel::Unknown)),
            (Method::CONNECT, Version::HTTP_2, None, Some(Tunnel::Forward)),
            (Method::CONNECT, Version::HTTP_11, None, Some(Tunnel::Forward)),
        ] {
            assert_eq!(asked(&request(method, version, protocol)), expected, "{protocol:?}");
        }
    }

    /// The key and the answer of RFC 6455 §1.3.
    #[test]
    fn a_yes_is_one_to_this_very_key() {
        let key = Opening::of(u128::from_be_bytes(*b"the sample nonce")).unwrap();
        let mut opening = request(Method::CONNECT, Version::HTTP_2, Some("websocket"));
        key.dress(&mut opening);
        assert_eq!(opening.method(), Method::GET);
        assert_eq!(opening.headers()["sec-websocket-key"], "dGhlIHNhbXBsZSBub25jZQ==");
        let answer = |status: u16, accept: &'static str| {
            let mut answer = Response::new(());
            *answer.status_mut() = StatusCode::from_u16(status).unwrap();
            answer.headers_mut().insert("sec-websocket-accept", HeaderValue::from_static(accept));
            let undressed = key.undress(&mut answer);
            undressed.map(|()| (answer.status().as_u16(), answer.headers().len()))
        };
        assert_eq!(answer(101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), Ok((200, 0)));
        assert_eq!(answer(101, "another"), Err(NoWebSocket));
        assert_eq!(answer(200, ""), Err(NoWebSocket));
        assert_eq!(answer(403, ""), Ok((403, 1)));
    }
}
