//! What protects the gateway from pages of other sites, and its page from them.
//!
//! A page anywhere on the web can make a browser connect to `localhost`. Three things keep it from reading or speaking here:
//! the host that the browser names must be ours (against DNS rebinding), an origin, when the browser names one, must
//! be the same host, and our answers forbid being framed, sniffed or shared.
use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::Problem;
use crate::gateway::Shared;

const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("permissions-policy"),
        "microphone=(self), camera=(), geolocation=()",
    ),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Refuses other sites' requests, and adds the headers that protect ours.
pub(crate) async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let mut response = match check(request.headers(), &shared.config.allowed_hosts) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

fn check(headers: &HeaderMap, allowed: &[String]) -> Result<(), Problem> {
    let text = |name| {
        headers
            .get(name)
            .map(|value: &HeaderValue| value.to_str().unwrap_or(""))
    };
    let host = text(header::HOST).unwrap_or("");
    if !is_ours(host_name(host), allowed) {
        let message = format!(
            "this server does not answer to the name {:?}: allow it in the server's settings, or use its address",
            host_name(host)
        );
        return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "unknown_host", message));
    }
    if let Some(origin) = text(header::ORIGIN) {
        let authority = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"));
        if !authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host)) {
            let message = format!("pages of {origin:?} may not use this server: open its own page");
            return Err(Problem::new(StatusCode::FORBIDDEN, "foreign_origin", message));
        }
    }
    Ok(())
}

/// A host without its port.
fn host_name(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

/// A name that an attacker's DNS can't make point here: an address, `localhost`, or a name that was allowed.
fn is_ours(name: &str, allowed: &[String]) -> bool {
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || allowed.iter().any(|ours| name.eq_ignore_ascii_case(ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(host: &str, origin: Option<&str>) -> Option<StatusCode> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        check(&headers, &["speech.example".into()])
            .err()
            .map(|problem| problem.status)
    }

    #[test]
    fn only_names_that_are_ours_are_answered() {
        for host in [
            "localhost:8080",
            "LOCALHOST",
            "127.0.0.1:8080",
            "[::1]:8080",
            "192.168.1.4",
            "speech.example:80",
        ] {
            assert_eq!(status(host, None), None, "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example:8080",
            "127.0.0.1.evil.example",
        ] {
            assert_eq!(status(host, None), Some(StatusCode::MISDIRECTED_REQUEST), "{host}");
        }
    }

    #[test]
    fn only_our_own_page_may_connect() {
        assert_eq!(status("localhost:8080", Some("http://localhost:8080")), None);
        assert_eq!(status("speech.example", Some("https://speech.example")), None);
        for origin in [
            "http://evil.example",
            "null",
            "http://localhost:9090",
            "http://127.0.0.1:8080",
            "file://",
        ] {
            assert_eq!(
                status("localhost:8080", Some(origin)),
                Some(StatusCode::FORBIDDEN),
                "{origin}"
            );
        }
    }
}
