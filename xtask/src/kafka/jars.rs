//! Kafka's jars: from Maven Central, pinned by their hashes, kept in a cache outside the tree.
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::install::run;

/// Hash and coordinates of every jar.
const ARTIFACTS: &str = include_str!("artifacts.txt");
/// Where they come from, unless the environment variable `MAVEN_REPOSITORY` names a mirror.
const MAVEN_CENTRAL: &str = "https://repo1.maven.org/maven2";

/// One jar.
struct Artifact {
    sha256: &'static str,
    path: String,
    file: String,
}

fn artifacts() -> impl Iterator<Item = Artifact> {
    let lines = ARTIFACTS.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let (sha256, coordinates) = line.split_once(' ')?;
        let [group, artifact, version] = coordinates.split(':').collect::<Vec<_>>().try_into().ok()?;
        let file = format!("{artifact}-{version}.jar");
        let path = format!("{}/{artifact}/{version}/{file}", group.replace('.', "/"));
        Some(Artifact { sha256, path, file })
    })
}

/// Downloads what is missing, and returns Java's class path. `curl` does it, which knows about proxies and certificates.
pub fn class_path() -> Result<String> {
    let folder = cache()?;
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let missing: Vec<Artifact> = artifacts().filter(|jar| !folder.join(&jar.file).exists()).collect();
    if !missing.is_empty() {
        let repository = env::var("MAVEN_REPOSITORY").unwrap_or_else(|_| MAVEN_CENTRAL.to_owned());
        println!(
            "downloading {} jars of Kafka from {repository} into {}",
            missing.len(),
            folder.display()
        );
        // Downloaded and checked under another name, so that a jar of the right name is a whole one.
        let part = |jar: &Artifact| folder.join(format!("{}.part", jar.file));
        let mut curl = Command::new("curl");
        curl.args(["--fail", "--location", "--retry", "3", "--parallel", "--progress-meter"]);
        for jar in &missing {
            let url = format!("{}/{}", repository.trim_end_matches('/'), jar.path);
            curl.arg("--output").arg(part(jar)).arg(url);
        }
        run(&mut curl)?;
        for jar in &missing {
            check(&part(jar), jar.sha256)?;
            fs::rename(part(jar), folder.join(&jar.file))?;
        }
    }
    let jars = artifacts().map(|jar| folder.join(jar.file).to_string_lossy().into_owned());
    Ok(jars.collect::<Vec<_>>().join(":"))
}

fn cache() -> Result<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = cache.or_else(home).context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(cache.join("rechka/kafka"))
}

fn check(file: &Path, sha256: &str) -> Result<()> {
    let output = Command::new("sha256sum")
        .arg(file)
        .stderr(Stdio::inherit())
        .output()
        .context("starting sha256sum")?;
    if !output.stdout.starts_with(sha256.as_bytes()) {
        bail!(
            "{} is not what it should be: its SHA-256 is not {sha256}. Delete it and try again",
            file.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_list_is_an_artifact() {
        let lines = ARTIFACTS.lines().filter(|line| !line.starts_with('#')).count();
        assert!(lines > 40);
        assert_eq!(artifacts().count(), lines);
        assert!(artifacts().all(|jar| jar.sha256.len() == 64));
        let kafka = artifacts().find(|jar| jar.path.starts_with("org/apache/kafka/kafka_2.13/"));
        assert!(kafka.is_some_and(|jar| jar.path.ends_with(&format!("/{}", jar.file))));
    }
}
