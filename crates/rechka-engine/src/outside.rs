//! What statements name outside of their text: schema files and schema registries.
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rechka_formats::Registry;
use rechka_log::{Log, Partition};
use serde::Deserialize;

use crate::Result as EngineResult;

/// Bytes of a schema, at most.
const LONGEST_SCHEMA: u64 = 1 << 20;
/// How long a registry may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Files relative to a folder, registries by HTTP, and the topics of a log.
#[derive(Clone, Debug)]
pub struct Outside {
    folder: PathBuf,
    partitions: BTreeMap<Arc<str>, Partition>,
}

impl Outside {
    /// Paths are relative to `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            partitions: BTreeMap::new(),
        }
    }

    /// The same, with the topics that a log has now.
    pub fn over(self, log: &dyn Log) -> EngineResult<Self> {
        let topics = log.topics()?.into_iter();
        Ok(Self {
            partitions: topics.map(|spec| (spec.name, spec.partitions)).collect(),
            ..self
        })
    }
}

impl rechka_sql::statement::Outside for Outside {
    fn schema(&self, path: &Path) -> Result<String, String> {
        let path = self.folder.join(path);
        let wrong = |reason: String| format!("can't read {}: {reason}", path.display());
        let bytes = std::fs::metadata(&path)
            .map_err(|error| wrong(error.to_string()))?
            .len();
        if bytes > LONGEST_SCHEMA {
            return Err(wrong(format!(
                "it has {bytes} bytes; a schema has at most {LONGEST_SCHEMA}"
            )));
        }
        std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))
    }

    fn registry(&self, address: &str) -> Result<Arc<dyn Registry>, String> {
        if !address.starts_with("http://") && !address.starts_with("https://") {
            return Err(format!(
                "{address:?} is no address: write registry = 'http://HOST:8081'"
            ));
        }
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .build()
            .into();
        Ok(Arc::new(HttpRegistry {
            agent,
            address: address.trim_end_matches('/').to_owned(),
        }))
    }

    fn partitions(&self, topic: &str) -> Option<u32> {
        self.partitions.get(topic).copied()
    }
}

/// Confluent's schema registry, by its REST API (`/schemas/ids`, `/subjects`).
#[derive(Debug)]
struct HttpRegistry {
    agent: ureq::Agent,
    address: String,
}

#[derive(Deserialize)]
struct Schema {
    schema: String,
    #[serde(default)]
    id: u32,
}

impl HttpRegistry {
    /// `None`: it answers that there is no such thing.
    fn get(&self, path: &str) -> Result<Option<Schema>, String> {
        let url = format!("{}{path}", self.address);
        let wrong = |reason: String| format!("the schema registry at {url}: {reason}");
        let mut response = match self.agent.get(&url).call() {
            Err(ureq::Error::StatusCode(404)) => return Ok(None),
            answer => answer.map_err(|error| wrong(error.to_string()))?,
        };
        let text = response.body_mut().with_config().limit(LONGEST_SCHEMA).read_to_string();
        let text = text.map_err(|error| wrong(error.to_string()))?;
        let schema = serde_json::from_str(&text);
        schema
            .map(Some)
            .map_err(|error| wrong(format!("its answer is not understood: {error}")))
    }
}

impl Registry for HttpRegistry {
    fn schema(&self, id: u32) -> Result<Option<String>, String> {
        let found = self.get(&format!("/schemas/ids/{id}"))?;
        Ok(found.map(|found| found.schema))
    }

    fn latest(&self, subject: &str) -> Result<(u32, String), String> {
        let found = self.get(&format!("/subjects/{subject}/versions/latest"))?;
        let found = found.ok_or_else(|| format!("the schema registry at {} has no subject {subject}", self.address))?;
        Ok((found.id, found.schema))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
    };

    use rechka_sql::statement::Outside as _;

    use super::*;

    /// Answers one request for each body with it, and gives what was asked for.
    fn answers(bodies: Vec<(&'static str, String)>) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let answer = |(status, body): (&str, String)| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = vec![0; 4096];
                let read = stream.read(&mut request).unwrap();
                let text = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(text.as_bytes()).unwrap();
                String::from_utf8_lossy(&request[..read])
                    .lines()
                    .next()
                    .unwrap()
                    .to_owned()
            };
            bodies.into_iter().map(answer).collect()
        });
        (address, thread)
    }

    #[test]
    fn a_registry_is_asked_by_number_and_by_subject() {
        let schema = serde_json::json!({ "schema": "\"long\"", "id": 7 }).to_string();
        let (address, asked) = answers(vec![("200 OK", schema.clone()), ("200 OK", schema)]);
        let registry = Outside::new("").registry(&address).unwrap();
        assert_eq!(registry.schema(7).unwrap().as_deref(), Some("\"long\""));
        assert_eq!(registry.latest("bids-value").unwrap(), (7, "\"long\"".to_owned()));
        let expected = [
            "GET /schemas/ids/7 HTTP/1.1",
            "GET /subjects/bids-value/versions/latest HTTP/1.1",
        ];
        assert_eq!(asked.join().unwrap(), expected);
    }

    #[test]
    fn a_registry_that_is_down_or_talks_nonsense_is_an_error_with_its_address() {
        let (address, asked) = answers(vec![
            ("404 Not Found", "{}".into()),
            ("503 Service Unavailable", "{}".into()),
            ("200 OK", "nonsense".into()),
        ]);
        let registry = Outside::new("").registry(&address).unwrap();
        assert_eq!(registry.schema(1), Ok(None), "it says that it has none");
        assert!(registry.schema(1).unwrap_err().contains(&address));
        assert!(registry.schema(1).unwrap_err().contains("not understood"));
        asked.join().unwrap();
        assert!(Outside::new("").registry("localhost").unwrap_err().contains("http://"));
    }

    #[test]
    fn a_schema_file_is_found_in_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("bid.avsc"), "\"long\"").unwrap();
        let outside = Outside::new(folder.path());
        assert_eq!(outside.schema(Path::new("bid.avsc")).unwrap(), "\"long\"");
        assert!(outside.schema(Path::new("ask.avsc")).unwrap_err().contains("ask.avsc"));
    }
}
