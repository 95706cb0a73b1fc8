//! Protocols, credentials, errors and status of a proxy.

use zeroize::Zeroizing;

/// A proxy's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http,
    Socks5,
}

/// Our user name and password; never shown.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) user: Zeroizing<String>,
    pub(super) password: Zeroizing<String>,
}

/// Why a proxy's URL is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyUrlError {
    /// An unknown scheme, or no valid host or port.
    #[error("a proxy is written as http://HOST:PORT or socks5h://USER:PASSWORD@HOST:PORT")]
    Kind,
    /// `https://`, which is not supported.
    #[error(
        "a proxy that is itself reached over TLS is not supported; use http://HOST:PORT or socks5h://HOST:PORT"
    )]
    Tls,
    /// A user name or password that cannot be sent.
    #[error(
        "a proxy's user name and password have 1 to 255 bytes each, without control characters, and a user name for http has no colon"
    )]
    Credentials,
}

/// Why a proxy did not connect us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// Nothing listens there, or its name does not resolve.
    #[error("the proxy cannot be reached")]
    Unreachable,
    /// It took too long.
    #[error("the proxy does not answer")]
    TimedOut,
    /// It rejects our credentials, or requires some.
    #[error("the proxy rejects our user name and password, or requires them")]
    Unauthorised,
    /// Its answer does not follow the protocol.
    #[error("what answers is not a proxy of that kind")]
    Garbled,
    /// It works, but does not allow the target.
    #[error("the proxy does not allow that address or port")]
    Forbidden,
    /// It works, but got no connection to the target.
    #[error("the proxy could not reach the target")]
    NoWay,
}

impl ProxyError {
    /// Whether the fault is the proxy's own, and not the target's.
    pub fn is_the_proxys(self) -> bool {
        matches!(
            self,
            Self::Unreachable | Self::TimedOut | Self::Unauthorised | Self::Garbled
        )
    }
}

/// The status of a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyStatus {
    /// Its URL without credentials.
    pub url: String,
    /// What is wrong with it, as text for people; `None` if it worked the last time, or was not tried yet.
    pub trouble: Option<String>,
}

impl Credentials {
    pub(super) fn new(
        user: Zeroizing<String>,
        password: Zeroizing<String>,
        protocol: Protocol,
    ) -> Result<Self, ProxyUrlError> {
        let fits = |text: &str, least: usize| {
            (least..=255).contains(&text.len()) && !text.chars().any(char::is_control)
        };
        // RFC 1929 requires 1 to 255 bytes each; many programs accept an empty password all the same.
        let good = fits(&user, 1)
            && fits(&password, 0)
            && (protocol == Protocol::Socks5 || !user.contains(':'));
        if good {
            Ok(Self { user, password })
        } else {
            Err(ProxyUrlError::Credentials)
        }
    }
}

/// Decodes percent-encoding; `None` if the result is not UTF-8.
pub(super) fn decoded(text: &str) -> Option<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    std::str::from_utf8(&bytes)
        .ok()
        .map(|text| Zeroizing::new(text.to_owned()))
}
