//! Who may connect, and how: every way to say who one is, right and wrong.
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rechka_log::{Append, BatchBuilder, Epoch, Event, KafkaLog, Log, LogError, Membership, TopicPartition, TopicSpec};

/// How long anything may take that goes well.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a refusal may take: the patience of the location, and what a busy machine adds.
const SOON: Duration = Duration::from_secs(40);
/// How long a token of these tests is good.
const LIFETIME: Duration = Duration::from_secs(8);
/// What a wrong password is.
const WRONG: &str = "hunter2";

/// Where clients say who they are by a password or a token; none: skip the test.
fn secure(settings: &str) -> Option<String> {
    at("RECHKA_KAFKA_SECURE", settings)
}

/// Where clients say who they are by a certificate.
fn tls(settings: &str) -> Option<String> {
    at("RECHKA_KAFKA_TLS", settings)
}

fn at(listener: &str, settings: &str) -> Option<String> {
    let Ok(bootstrap) = std::env::var(listener) else {
        println!("skipped: {listener} does not say where brokers are (cargo xtask kafka environment)");
        return None;
    };
    Some(format!("kafka://{bootstrap}?default.api.timeout.ms=15000&{settings}"))
}

fn certificate(file: &str) -> String {
    let folder = PathBuf::from(std::env::var("RECHKA_KAFKA_CERTIFICATES").unwrap_or_default());
    folder.join(file).display().to_string()
}

fn authority() -> String {
    format!("ssl.ca.location={}", certificate("ca.pem"))
}

/// A user and a password, from wherever.
fn user(mechanism: &str, user: &str, password: &str) -> String {
    format!(
        "{}&sasl.mechanism={mechanism}&sasl.username={user}&sasl.password={password}",
        authority()
    )
}

fn bearer(token: &Path) -> String {
    let token = token.display();
    format!(
        "{}&sasl.mechanism=OAUTHBEARER&sasl.oauthbearer.token=@{token}",
        authority()
    )
}

/// A file that others can't read halfway written.
fn write(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, file).unwrap();
}

/// A token as anybody can make it (RFC 7519, section 6), which expires.
fn token(lifetime: Duration) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let claims = format!(
        r#"{{"sub":"rechka","iat":{},"exp":{}}}"#,
        now.as_secs_f64() - 60.0,
        (now + lifetime).as_secs_f64()
    );
    let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(&claims))
}

fn open(location: &str) -> Result<KafkaLog, LogError> {
    KafkaLog::open(&location.parse().unwrap())
}

/// What everybody keeps who says something, all of this program.
fn said() -> &'static Arc<Mutex<Vec<u8>>> {
    static SAID: OnceLock<Arc<Mutex<Vec<u8>>>> = OnceLock::new();
    SAID.get_or_init(|| {
        let said = Arc::<Mutex<Vec<u8>>>::default();
        let writer = Arc::clone(&said);
        tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
            .with_writer(move || Said(Arc::clone(&writer)))
            .init();
        said
    })
}

struct Said(Arc<Mutex<Vec<u8>>>);

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Uses everything that has a client of its own: a topic is created, written, read, and read by a member that commits.
fn use_everything(log: &dyn Log, name: &str) {
    let topic = format!("{name}-{}", std::process::id());
    log.create_topic(&TopicSpec::new(topic.as_str(), 1)).unwrap();
    let partition = TopicPartition::new(topic.as_str(), 0);
    append(log, &partition, "one");
    assert_eq!(log.offsets(&partition).unwrap(), 0..1);
    let mut reader = log.read(vec![(partition.clone(), 0)]).unwrap();
    assert_eq!(reader.poll(PATIENCE).unwrap().unwrap().batch.len(), 1);
    let membership = Membership::new(topic.as_str(), vec![topic.as_str().into()]);
    let mut member = log.join(membership).unwrap();
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < PATIENCE, "the member was given nothing");
        if let Event::Batch(fetched) = member.poll(Duration::from_secs(1)).unwrap() {
            let offsets = vec![(fetched.from.clone(), fetched.next_offset())];
            let appends = vec![];
            member.commit(Epoch { offsets, appends }).unwrap();
            break;
        }
    }
    assert_eq!(log.committed(&topic, &partition).unwrap(), Some(1));
    log.ready().unwrap();
}

fn append(log: &dyn Log, to: &TopicPartition, value: &str) {
    let mut batch = BatchBuilder::new();
    batch.push(None, value.as_bytes(), 1, &[]).unwrap();
    let (to, batch) = (to.clone(), batch.finish());
    log.append(vec![Append { to, batch }]).unwrap().wait().unwrap();
}

/// The refusal of a location, which has to come soon, say what to look at, and show no secret.
fn refusal(location: &str, says: &[&str]) {
    let begun = Instant::now();
    let error = open(location).unwrap_err().to_string();
    println!("{:.1} s: {error}", begun.elapsed().as_secs_f32());
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    for part in says {
        assert!(error.contains(part), "{part:?} is not in: {error}");
    }
    assert!(!error.contains(WRONG), "{error}");
}

#[test]
fn a_password_opens_the_log() {
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let Some(location) = secure(&user(mechanism, "rechka", "$RECHKA_KAFKA_PASSWORD")) else {
            return;
        };
        let log = open(&location).unwrap();
        use_everything(&log, mechanism);
        let password = std::env::var("RECHKA_KAFKA_PASSWORD").unwrap();
        assert!(!format!("{log:?}").contains(&password));
    }
}

#[test]
fn a_wrong_password_is_told_at_once_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    fs::write(&file, WRONG).unwrap();
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let Some(location) = secure(&user(mechanism, "rechka", &format!("@{}", file.display()))) else {
            return;
        };
        refusal(
            &location,
            &["refuses this client", "sasl.username and sasl.password", mechanism],
        );
    }
}

#[test]
fn a_certificate_opens_the_log() {
    let own = format!(
        "{}&ssl.certificate.location={}&ssl.key.location={}&ssl.key.password=$RECHKA_KAFKA_PASSWORD",
        authority(),
        certificate("client.pem"),
        certificate("client.key")
    );
    let Some(location) = tls(&own) else {
        return;
    };
    use_everything(&open(&location).unwrap(), "certificate");
    // Without one the brokers hang up; with a wrong password of its key there is none.
    refusal(
        &tls(&authority()).unwrap(),
        &["refuses this client", "ssl.certificate.location"],
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    fs::write(&file, WRONG).unwrap();
    let wrong = location.replace("$RECHKA_KAFKA_PASSWORD", &format!("@{}", file.display()));
    refusal(&wrong, &["ssl.key"]);
}

#[test]
fn brokers_that_nobody_vouches_for_are_not_talked_to() {
    // The client's own certificate vouches for nobody.
    let settings = user("PLAIN", "rechka", "$RECHKA_KAFKA_PASSWORD").replace("ca.pem", "client.pem");
    let Some(location) = secure(&settings) else {
        return;
    };
    refusal(&location, &["certificate verify failed", "ssl.ca.location"]);
}

#[test]
fn a_client_without_tls_is_told_of_it_where_brokers_want_it() {
    let Some(location) = secure("client.id=plain") else {
        return;
    };
    refusal(&location, &["security.protocol"]);
}

#[test]
fn a_user_who_may_do_nothing_is_told_what_is_missing() {
    let Some(location) = secure(&user("SCRAM-SHA-512", "guest", "$RECHKA_KAFKA_PASSWORD")) else {
        return;
    };
    let topic = format!("denied-{}", std::process::id());
    let spec = TopicSpec::new(topic.as_str(), 1);
    let log = open(&location).unwrap();
    assert!(log.topics().unwrap().is_empty());
    let error = log.create_topic(&spec).unwrap_err().to_string();
    assert!(error.contains("ACL") && error.contains(&topic), "{error}");
    let granted = user("SCRAM-SHA-512", "rechka", "$RECHKA_KAFKA_PASSWORD");
    open(&secure(&granted).unwrap()).unwrap().create_topic(&spec).unwrap();
    let error = log
        .offsets(&TopicPartition::new(topic.as_str(), 0))
        .unwrap_err()
        .to_string();
    assert!(error.contains("ACL") && error.contains(&topic), "{error}");
}

/// Keeps a file's token fresh until it is told to stop.
fn keep_fresh(file: &Path, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        write(file, &token(LIFETIME));
        thread::sleep(LIFETIME / 4);
    }
}

#[test]
fn a_token_is_read_anew_before_it_expires() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let Some(location) = secure(&bearer(&file)) else {
        return;
    };
    write(&file, &token(LIFETIME));
    let stop = AtomicBool::new(false);
    let partition = TopicPartition::new(format!("token-{}", std::process::id()), 0);
    let log = thread::scope(|scope| {
        scope.spawn(|| keep_fresh(&file, &stop));
        let log = open(&location).unwrap();
        use_everything(&log, "bearer");
        log.create_topic(&TopicSpec::new(&*partition.topic, 1)).unwrap();
        let begun = Instant::now();
        let mut appended = 0;
        while begun.elapsed() < 3 * LIFETIME {
            append(&log, &partition, "value");
            appended += 1;
            assert!(log.offsets(&partition).unwrap().end >= appended);
            thread::sleep(Duration::from_millis(500));
        }
        // An administrative request, by a client that was not used meanwhile.
        log.topics().unwrap();
        stop.store(true, Ordering::Relaxed);
        log
    });
    // Nobody keeps it fresh now; when somebody does again, the log goes on.
    let begun = Instant::now();
    let told = |error: &LogError| error.to_string().contains("has expired");
    while !log.ready().is_err_and(|error| told(&error)) {
        assert!(begun.elapsed() < 2 * PATIENCE, "{:?}", log.ready());
        thread::sleep(Duration::from_millis(200));
    }
    write(&file, &token(Duration::from_secs(600)));
    append(&log, &partition, "after");
    while log.ready().is_err() {
        assert!(begun.elapsed() < 4 * PATIENCE, "{:?}", log.ready());
        thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn an_expired_token_is_told_of_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let Some(location) = secure(&bearer(&file)) else {
        return;
    };
    refusal(&location, &["sasl.oauthbearer.token", "is to come from the file"]);
    write(&file, &token(Duration::ZERO));
    refusal(&location, &["sasl.oauthbearer.token", "has expired"]);
    write(&file, "no-token-of-theirs");
    refusal(&location, &["refuses this client", "look at the token"]);
}

#[test]
fn nothing_that_is_logged_holds_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let (file, wrong) = (folder.path().join("token"), folder.path().join("password"));
    write(&file, &token(PATIENCE));
    write(&wrong, WRONG);
    let Some(by_token) = secure(&bearer(&file)) else {
        return;
    };
    let said = said();
    let by_password =
        |mechanism, password: &str| secure(&(user(mechanism, "rechka", password) + "&debug=all")).unwrap();
    use_everything(&open(&format!("{by_token}&debug=all")).unwrap(), "said-token");
    for mechanism in ["PLAIN", "SCRAM-SHA-512"] {
        let log = open(&by_password(mechanism, "$RECHKA_KAFKA_PASSWORD")).unwrap();
        use_everything(&log, &format!("said-{mechanism}"));
        open(&by_password(mechanism, &format!("@{}", wrong.display()))).unwrap_err();
    }
    let said = String::from_utf8_lossy(&said.lock().unwrap()).into_owned();
    assert!(
        said.contains("librdkafka") && said.contains("SASL"),
        "{} bytes",
        said.len()
    );
    let token = fs::read_to_string(&file).unwrap();
    for secret in [std::env::var("RECHKA_KAFKA_PASSWORD").unwrap(), WRONG.to_owned(), token] {
        let line = said.lines().find(|line| line.contains(&secret));
        assert!(line.is_none(), "{line:?}");
    }
}
