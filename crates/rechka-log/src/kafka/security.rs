//! TLS and SASL: what is meant where little is said, and what can't work.
use std::collections::BTreeMap;

use super::options::TOKEN;
use crate::{LogError, Result};

/// How connections are made; Kafka's clients take it for plain text if nothing is said.
const PROTOCOL: &str = "security.protocol";
/// The mechanism of SASL, by either of its names.
const MECHANISM: [&str; 2] = ["sasl.mechanism", "sasl.mechanisms"];
/// Mechanisms with a user's name and password.
const BY_PASSWORD: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
const BY_TOKEN: &str = "OAUTHBEARER";
/// The certificates of those whom the brokers' certificates are to be signed by.
const AUTHORITIES: [&str; 4] = ["ssl.ca.location", "ssl.ca.pem", "ssl.ca.certificate.stores", "ssl.ca"];

/// The settings that were given.
type Settings = BTreeMap<String, String>;

/// Refuses what can't work, and what would not be used.
pub(super) fn check(settings: &Settings) -> Result<()> {
    let invalid = |why: String| Err(LogError::Invalid(why));
    let set = |name: &str| settings.contains_key(name);
    if settings.keys().any(|name| name.starts_with("sasl.")) {
        if settings
            .get("sasl.oauthbearer.method")
            .is_some_and(|method| method != "default")
        {
            return invalid(format!(
                "sasl.oauthbearer.method can't be set: rechka fetches no tokens itself. Let a program keep one in a file, and write \
                 {TOKEN}=@FILE; it is read anew whenever the last one is about to expire"
            ));
        }
        let Some(mechanism) = mechanism(settings) else {
            return invalid(format!(
                "SASL needs a mechanism: write sasl.mechanism={}, or {BY_TOKEN}",
                BY_PASSWORD.join(", ")
            ));
        };
        let needed = match mechanism.as_str() {
            BY_TOKEN => &[TOKEN][..],
            by_password if BY_PASSWORD.contains(&by_password) => &["sasl.username", "sasl.password"],
            other => {
                return invalid(format!(
                    "sasl.mechanism={other} is not known: write {}, or {BY_TOKEN}",
                    BY_PASSWORD.join(", ")
                ));
            }
        };
        if let Some(missing) = needed.iter().find(|name| !set(name)) {
            return invalid(format!(
                "sasl.mechanism={mechanism} needs {missing}: write {missing}=$VARIABLE or {missing}=@FILE"
            ));
        }
    }
    let Some(protocol) = settings.get(PROTOCOL).map(|protocol| protocol.to_uppercase()) else {
        return Ok(());
    };
    let any = |prefix: &str| settings.keys().any(|name| name.starts_with(prefix));
    let why = match protocol.as_str() {
        "PLAINTEXT" | "SSL" if any("sasl.") => "does not ask who the client is: leave it out, or take sasl.… out",
        "PLAINTEXT" | "SASL_PLAINTEXT" if any("ssl.") => "does not use TLS: leave it out, or take ssl.… out",
        "SASL_SSL" | "SASL_PLAINTEXT" if !any("sasl.") => "needs sasl.mechanism, and what that needs",
        _ => return Ok(()),
    };
    invalid(format!("{PROTOCOL}={protocol} {why}"))
}

/// What is meant where nothing is said.
pub(super) fn defaults(settings: &Settings) -> Vec<(&'static str, &'static str)> {
    let mut defaults = Vec::new();
    let any = |prefix: &str| settings.keys().any(|name| name.starts_with(prefix));
    let implied = match settings.contains_key(PROTOCOL) {
        true => None,
        false if any("sasl.") => Some("SASL_SSL"),
        false => any("ssl.").then_some("SSL"),
    };
    defaults.extend(implied.map(|protocol| (PROTOCOL, protocol)));
    let protocol = settings.get(PROTOCOL).map(String::as_str).or(implied);
    let encrypted = protocol.is_some_and(|protocol| protocol.to_uppercase().ends_with("SSL"));
    if encrypted && !AUTHORITIES.iter().any(|name| settings.contains_key(*name)) {
        // OpenSSL is a part of this program, and does not know where this system keeps them.
        defaults.push(("ssl.ca.location", "probe"));
    }
    defaults
}

/// What to look at when the brokers refuse who the client says it is.
pub(super) fn advice(settings: &Settings) -> String {
    match mechanism(settings).as_deref() {
        None => "say who it is by sasl.mechanism, or by ssl.certificate.location and ssl.key.location".to_owned(),
        Some(BY_TOKEN) => format!("look at the token that {TOKEN} names"),
        Some(mechanism) => {
            format!("look at sasl.username and sasl.password, and whether the brokers know the user for {mechanism}")
        }
    }
}

fn mechanism(settings: &Settings) -> Option<String> {
    let named = MECHANISM.iter().find_map(|name| settings.get(*name));
    named.map(|mechanism| mechanism.to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(query: &str) -> Settings {
        let settings = query.split('&').filter_map(|setting| setting.split_once('='));
        settings
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn who_says_a_user_or_an_authority_means_tls() {
        let probe = ("ssl.ca.location", "probe");
        for (given, expected) in [
            ("client.id=me", vec![]),
            ("ssl.ca.location=ca.pem", vec![(PROTOCOL, "SSL")]),
            ("ssl.key.location=key.pem", vec![(PROTOCOL, "SSL"), probe]),
            ("security.protocol=ssl", vec![probe]),
            ("sasl.mechanism=PLAIN&ssl.ca.pem=$CA", vec![(PROTOCOL, "SASL_SSL")]),
            ("sasl.mechanism=PLAIN", vec![(PROTOCOL, "SASL_SSL"), probe]),
            ("sasl.mechanism=PLAIN&security.protocol=SASL_PLAINTEXT", vec![]),
        ] {
            assert_eq!(defaults(&settings(given)), expected, "{given}");
        }
    }

    #[test]
    fn what_can_not_work_is_refused_with_what_can() {
        for (wrong, answer) in [
            ("sasl.username=me&sasl.password=$P", "sasl.mechanism=PLAIN"),
            ("sasl.mechanism=GSSAPI", "SCRAM-SHA-512"),
            ("sasl.mechanism=plain&sasl.username=me", "sasl.password=$VARIABLE"),
            ("sasl.mechanism=OAUTHBEARER", "sasl.oauthbearer.token=@FILE"),
            (
                "sasl.mechanism=OAUTHBEARER&sasl.oauthbearer.method=oidc",
                "sasl.oauthbearer.token=@FILE",
            ),
            (
                "sasl.mechanism=PLAIN&sasl.username=me&sasl.password=$P&security.protocol=SSL",
                "leave it out",
            ),
            ("ssl.ca.location=ca.pem&security.protocol=PLAINTEXT", "does not use TLS"),
            ("security.protocol=SASL_SSL", "needs sasl.mechanism"),
        ] {
            let error = check(&settings(wrong)).unwrap_err().to_string();
            assert!(error.contains(answer), "{wrong}: {error}");
        }
        for right in [
            "",
            "ssl.ca.location=ca.pem",
            "security.protocol=SSL&ssl.key.location=key.pem",
            "sasl.mechanisms=SCRAM-SHA-256&sasl.username=me&sasl.password=$P&security.protocol=sasl_plaintext",
            "sasl.mechanism=OAUTHBEARER&sasl.oauthbearer.token=@token",
        ] {
            check(&settings(right)).unwrap();
        }
    }
}
