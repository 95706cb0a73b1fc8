//! Access to the API: for programs that can read the home's token and that address this very API.
//!
//! The token keeps out other users of the machine. `Host` keeps out web pages whose name was rebound to 127.0.0.1;
//! `Origin` keeps out every other page that a browser has open.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::Response,
};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::reply::Error;
use crate::error::Failure;

/// The token and the addresses that a request must carry.
pub struct Guard {
    token: Zeroizing<String>,
    /// Accepted values of `Host`: `127.0.0.1:PORT`, `localhost:PORT`, `[::1]:PORT`.
    hosts: [String; 3],
}

impl Guard {
    /// Creates a guard for an API that listens at `address`.
    pub fn new(token: Zeroizing<String>, address: SocketAddr) -> Self {
        let port = address.port();
        let own = match address {
            SocketAddr::V4(v4) => v4.to_string(),
            SocketAddr::V6(_) => format!("127.0.0.1:{port}"),
        };
        Self {
            token,
            hosts: [own, format!("localhost:{port}"), format!("[::1]:{port}")],
        }
    }

    fn admits(&self, headers: &HeaderMap) -> Result<(), Error> {
        let refuse = |status, code, message: &str| Err(Error(status, Failure::new(code, message)));
        if !one(headers, &header::HOST).is_some_and(|host| self.is_own(host)) {
            return refuse(
                StatusCode::MISDIRECTED_REQUEST,
                "bad_host",
                "the Host header must be this API's own address",
            );
        }
        if headers.contains_key(header::ORIGIN) {
            let own = one(headers, &header::ORIGIN)
                .and_then(|origin| origin.strip_prefix("http://"))
                .is_some_and(|host| self.is_own(host));
            if !own {
                return refuse(
                    StatusCode::FORBIDDEN,
                    "bad_origin",
                    "pages of other origins have no access to this API",
                );
            }
        }
        let shown = one(headers, &header::AUTHORIZATION)
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map_or("", |(_, token)| token.trim());
        if bool::from(shown.as_bytes().ct_eq(self.token.as_bytes())) {
            Ok(())
        } else {
            refuse(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "send the token from the home's api.token as `Authorization: Bearer TOKEN`",
            )
        }
    }

    fn is_own(&self, host: &str) -> bool {
        self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host))
    }
}

/// The value of a header; `None` unless the header is present exactly once.
fn one<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// The middleware: passes on requests that the guard admits.
pub async fn check(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    guard.admits(request.headers())?;
    Ok(next.run(request).await)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn ask(headers: &[(&'static str, &'static str)]) -> Result<(), &'static str> {
        let guard = Guard::new(
            Zeroizing::new("a".repeat(64)),
            SocketAddr::from(([127, 0, 0, 1], 4000)),
        );
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        guard
            .admits(&map)
            .map_err(|e| &*e.1.code.into_owned().leak())
    }

    const TOKEN: (&str, &str) = (
        "authorization",
        "Bearer aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    );
    const HOST: (&str, &str) = ("host", "127.0.0.1:4000");

    #[test]
    fn the_owner_is_admitted() {
        assert_eq!(ask(&[HOST, TOKEN]), Ok(()));
        for host in ["localhost:4000", "LOCALHOST:4000", "[::1]:4000"] {
            assert_eq!(ask(&[("host", host), TOKEN]), Ok(()));
        }
        assert_eq!(
            ask(&[HOST, TOKEN, ("origin", "http://127.0.0.1:4000")]),
            Ok(())
        );
    }

    #[test]
    fn nobody_else_is() {
        assert_eq!(ask(&[HOST]), Err("unauthorized"));
        for wrong in ["Bearer ", "Bearer aaaa", "Basic aaaa", "", "bearer"] {
            assert_eq!(ask(&[HOST, ("authorization", wrong)]), Err("unauthorized"));
        }
        assert_eq!(ask(&[HOST, TOKEN, TOKEN]), Err("unauthorized"));
        for host in [
            "evil.example",
            "evil.example:4000",
            "127.0.0.1",
            "127.0.0.1:4001",
        ] {
            assert_eq!(ask(&[("host", host), TOKEN]), Err("bad_host"));
        }
        assert_eq!(ask(&[TOKEN]), Err("bad_host"));
        assert_eq!(ask(&[HOST, HOST, TOKEN]), Err("bad_host"));
        for origin in [
            "null",
            "http://evil.example",
            "https://127.0.0.1:4000",
            "http://127.0.0.1:4001",
            "http://127.0.0.1:4000.evil.example",
        ] {
            assert_eq!(ask(&[HOST, TOKEN, ("origin", origin)]), Err("bad_origin"));
        }
    }
}
