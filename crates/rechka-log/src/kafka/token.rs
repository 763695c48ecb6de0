//! Tokens of OAUTHBEARER (RFC 7628): from a file or the environment, read anew whenever the last one is about to expire.
//!
//! Who fetches them from where is for another program to know, such as the platform's agent that keeps a file fresh.
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rdkafka::client::OAuthToken;

use super::options::{TOKEN, resolve};
use crate::{LogError, Result};

/// After this time a token that does not say when it expires is read again.
const UNKNOWN_LIFETIME: Duration = Duration::from_secs(60);

/// The token that is there now. `source`: `@FILE` or `$VARIABLE`.
pub(super) fn read(source: &str) -> Result<OAuthToken> {
    let text = resolve(TOKEN, source)?;
    let token = text.trim();
    if token.is_empty() || token.contains(char::is_control) {
        return Err(LogError::Invalid(format!(
            "{TOKEN}={source} is no token: it is empty, or has several lines"
        )));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let claims = claims(token);
    let expiry = claims.as_ref().and_then(|claims| claims.get("exp")?.as_f64());
    let expiry = expiry.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default());
    if let Some(expired) = expiry.filter(|expiry| *expiry <= now) {
        return Err(LogError::Invalid(format!(
            "the token in {TOKEN}={source} has expired {} s ago: whatever writes it has to write a new one",
            (now - expired).as_secs()
        )));
    }
    let subject = claims.as_ref().and_then(|claims| claims.get("sub")?.as_str());
    Ok(OAuthToken {
        // Only the client's own log shows it.
        principal_name: subject.unwrap_or("rechka").to_owned(),
        lifetime_ms: expiry.unwrap_or(now + UNKNOWN_LIFETIME).as_millis() as i64,
        token: token.to_owned(),
    })
}

/// What a token says of itself, if it is a JSON Web Token (RFC 7519). Whether that is true is for the brokers to find out.
fn claims(token: &str) -> Option<serde_json::Value> {
    let claims = token.split('.').nth(1)?;
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&claims).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<OAuthToken> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, text).unwrap();
        read(&format!("@{}", file.display()))
    }

    fn jwt(claims: &str) -> String {
        format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_says_itself_when_it_expires() {
        let token = of(&(jwt(r#"{"sub":"me","exp":4102444800.5}"#) + "\n")).unwrap();
        assert_eq!(token.lifetime_ms, 4_102_444_800_500);
        assert_eq!(token.principal_name, "me");
        assert!(!token.token.ends_with('\n'));
    }

    #[test]
    fn a_token_that_says_nothing_is_read_again_soon() {
        for opaque in ["opaque", "a.b.c", &jwt("[]"), &jwt(r#"{"exp":"soon"}"#)] {
            let token = of(opaque).unwrap();
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let left = token.lifetime_ms - now.as_millis() as i64;
            assert!((50_000..=60_000).contains(&left), "{opaque}: {left}");
        }
    }

    #[test]
    fn what_can_be_no_token_is_refused_without_showing_it() {
        let expired = jwt(r#"{"exp":1700000000}"#);
        for (text, why) in [
            (expired.as_str(), "has expired"),
            (" ", "is empty"),
            ("hun\nter2", "several lines"),
        ] {
            let error = of(text).map(drop).unwrap_err().to_string();
            assert!(
                error.contains(why) && !error.contains("hun") && !error.contains("e30"),
                "{error}"
            );
        }
        // Times that no clock shows.
        for wild in ["-1", "1e300"] {
            assert!(of(&jwt(&format!(r#"{{"exp":{wild}}}"#))).is_err(), "{wild}");
        }
    }
}
