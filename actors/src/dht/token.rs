//! Write tokens (BEP 5): a node that announces here must have sent a query from the same address before.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use rand::Rng;
use zeroize::Zeroizing;

/// How long a secret makes new tokens; they remain valid for as long again.
const ROTATE: Duration = Duration::from_secs(300);

/// The present secret and the one before.
pub(super) struct Tokens {
    now: hmac::Key,
    before: hmac::Key,
    since: Instant,
    len: usize,
}

impl Tokens {
    /// Fresh secrets, for tokens of `len` bytes.
    pub(super) fn new(len: usize, now: Instant, rng: &mut dyn Rng) -> Self {
        Self {
            now: secret(rng),
            before: secret(rng),
            since: now,
            len,
        }
    }

    /// The token for an asker at `ip`.
    pub(super) fn give(&mut self, ip: IpAddr, now: Instant, rng: &mut dyn Rng) -> Vec<u8> {
        self.rotate(now, rng);
        token(&self.now, ip, self.len)
    }

    /// Whether a token was given to `ip` within the last five to ten minutes.
    pub(super) fn check(
        &mut self,
        ip: IpAddr,
        given: &[u8],
        now: Instant,
        rng: &mut dyn Rng,
    ) -> bool {
        self.rotate(now, rng);
        [&self.now, &self.before]
            .into_iter()
            .any(|key| verify_slices_are_equal(&token(key, ip, self.len), given).is_ok())
    }

    fn rotate(&mut self, now: Instant, rng: &mut dyn Rng) {
        // After a long time without a query both secrets are old.
        for _ in 0..2 {
            if now.saturating_duration_since(self.since) < ROTATE {
                return;
            }
            self.before = std::mem::replace(&mut self.now, secret(rng));
            self.since += ROTATE;
        }
        if now.saturating_duration_since(self.since) >= ROTATE {
            self.since = now;
        }
    }
}

fn secret(rng: &mut dyn Rng) -> hmac::Key {
    let mut bytes = Zeroizing::new([0; 32]);
    rng.fill_bytes(bytes.as_mut());
    hmac::Key::new(hmac::HMAC_SHA256, bytes.as_ref())
}

fn token(key: &hmac::Key, ip: IpAddr, len: usize) -> Vec<u8> {
    let mac = match ip {
        IpAddr::V4(ip) => hmac::sign(key, &ip.octets()),
        IpAddr::V6(ip) => hmac::sign(key, &ip.octets()),
    };
    mac.as_ref()[..len.min(32)].to_vec()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn a_token_is_good_for_its_address_and_five_to_ten_minutes() {
        let mut rng = StdRng::seed_from_u64(1);
        let start = Instant::now();
        let mut tokens = Tokens::new(8, start, &mut rng);
        let ip: IpAddr = "9.9.9.9".parse().unwrap();
        let other: IpAddr = "9.9.9.8".parse().unwrap();
        let mut at = |minutes: u64, ip, token: &[u8]| {
            tokens.check(
                ip,
                token,
                start + Duration::from_secs(60 * minutes),
                &mut rng,
            )
        };
        let token = {
            let mut rng = StdRng::seed_from_u64(1);
            Tokens::new(8, start, &mut rng).give(ip, start, &mut rng)
        };
        assert_eq!(token.len(), 8);
        assert!(at(0, ip, &token));
        assert!(!at(0, other, &token));
        assert!(!at(0, ip, &token[..7]));
        assert!(!at(0, ip, b""));
        assert!(at(4, ip, &token));
        assert!(at(9, ip, &token), "the previous secret is still good");
        assert!(!at(11, ip, &token));
        assert!(!at(600, ip, &token));
    }

    #[test]
    fn an_hour_without_queries_expires_all_tokens() {
        let mut rng = StdRng::seed_from_u64(2);
        let start = Instant::now();
        let mut tokens = Tokens::new(4, start, &mut rng);
        let ip: IpAddr = "2a00::1".parse().unwrap();
        let token = tokens.give(ip, start, &mut rng);
        let later = start + Duration::from_secs(3_600);
        assert!(!tokens.check(ip, &token, later, &mut rng));
        let token = tokens.give(ip, later, &mut rng);
        assert!(tokens.check(ip, &token, later + Duration::from_secs(299), &mut rng));
    }
}
