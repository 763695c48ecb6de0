//! Who may use the cluster, and how clients and brokers know each other: users, and certificates made by `openssl`.
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use crate::install::run;

/// A user who may do everything.
pub const USER: &str = "rechka";
/// A user who may do nothing.
pub const GUEST: &str = "guest";
/// The password of both users, and of the key of the client's certificate: one for tests.
pub const PASSWORD: &str = "a-password-for-tests";
/// The mechanisms whose passwords are in the cluster's metadata.
const SCRAM: [&str; 2] = ["SCRAM-SHA-256", "SCRAM-SHA-512"];

/// The folder of the certificates: `ca.pem`; `broker.pem` with its key; `client.pem` and `client.key`.
pub struct Certificates(PathBuf);

impl Certificates {
    /// Those of a cluster; made if they are not there.
    pub fn of(cluster: &Path) -> Result<Self> {
        let own = Self(cluster.join("certificates"));
        if own.path("client.pem").exists() {
            return Ok(own);
        }
        fs::create_dir_all(&own.0).with_context(|| format!("making {}", own.0.display()))?;
        own.make("ca", "Rechka's tests", &["-noenc"])?;
        let by_ca = [
            "-CA",
            &own.text("ca.pem"),
            "-CAkey",
            &own.text("ca.key"),
            "-addext",
            "basicConstraints=CA:FALSE",
        ];
        let addresses = ["-noenc", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"];
        own.make("broker", "broker", &[&by_ca[..], &addresses].concat())?;
        // Kafka wants the key and the certificate in one file.
        let both = fs::read_to_string(own.path("broker.key"))? + &fs::read_to_string(own.path("broker.pem"))?;
        fs::write(own.path("broker.pem"), both)?;
        let password = format!("pass:{PASSWORD}");
        own.make("client", USER, &[&by_ca[..], &["-passout", &password]].concat())?;
        Ok(own)
    }

    /// A key and a certificate of this name.
    fn make(&self, file: &str, name: &str, arguments: &[&str]) -> Result<()> {
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        openssl.args(["-days", "3650", "-subj", &format!("/CN={name}")]);
        openssl.arg("-keyout").arg(self.path(&format!("{file}.key")));
        openssl.arg("-out").arg(self.path(&format!("{file}.pem")));
        // It draws a line while it works.
        run(openssl.args(arguments).stderr(Stdio::null()))
    }

    pub fn folder(&self) -> &Path {
        &self.0
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    fn text(&self, file: &str) -> String {
        self.path(file).to_string_lossy().into_owned()
    }

    /// What makes the listeners SECURE (TLS, with a user's name and password, or a token) and TLS (with a client's certificate)
    /// of a broker, and what users may do. Tokens are those that anybody can make (RFC 7519, section 6): they expire as others do.
    pub fn settings(&self) -> String {
        let module = |path: &str| format!("org.apache.kafka.common.security.{path} required");
        format!(
            "ssl.keystore.type=PEM
ssl.keystore.location={broker}
ssl.truststore.type=PEM
ssl.truststore.location={ca}
listener.name.tls.ssl.client.auth=required
listener.name.secure.sasl.enabled.mechanisms=PLAIN,{scram},OAUTHBEARER
listener.name.secure.plain.sasl.jaas.config={plain} user_{USER}=\"{PASSWORD}\" user_{GUEST}=\"{PASSWORD}\";
listener.name.secure.scram-sha-256.sasl.jaas.config={by_scram};
listener.name.secure.scram-sha-512.sasl.jaas.config={by_scram};
listener.name.secure.oauthbearer.sasl.jaas.config={bearer} unsecuredLoginStringClaim_sub=\"broker\";
# A connection must not live longer than the token that opened it.
listener.name.secure.oauthbearer.connections.max.reauth.ms=3600000
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:{USER};User:CN={USER}
",
            broker = self.text("broker.pem"),
            ca = self.text("ca.pem"),
            scram = SCRAM.join(","),
            plain = module("plain.PlainLoginModule"),
            by_scram = module("scram.ScramLoginModule"),
            bearer = module("oauthbearer.OAuthBearerLoginModule"),
        )
    }
}

/// What tells a new cluster the passwords of the users.
pub fn add_users() -> impl Iterator<Item = String> {
    let users = SCRAM
        .iter()
        .flat_map(|mechanism| [USER, GUEST].map(|user| (mechanism, user)));
    users.flat_map(|(mechanism, user)| {
        let credential = format!("{mechanism}=[name={user},password={PASSWORD}]");
        ["--add-scram".to_owned(), credential]
    })
}
