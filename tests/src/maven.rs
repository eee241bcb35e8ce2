//! Java artifacts by their coordinates, from wherever this machine's Maven gets them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::Cache;
use crate::debian;
use crate::process;
use crate::skip::{Missing, Need};

/// The plugin that copies and unpacks; pinned, so that a cached copy of it is enough.
const PLUGIN: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1";

/// The `java` of this machine, 17 or newer.
///
/// # Errors
/// [`Missing`] if there is none and it cannot be installed.
pub fn java() -> Result<PathBuf, Missing> {
    let home = std::env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin"));
    let also: Vec<PathBuf> = home.into_iter().collect();
    let java = debian::program("java", &also, &["default-jre-headless"], Need::Java)?;
    // `openjdk version "17.0.15" 2025-04-15`, on standard error.
    let output = Command::new(&java).arg("-version").output();
    let said = output.map(|out| String::from_utf8_lossy(&out.stderr).into_owned());
    let said = said.map_err(|error| Missing::new(Need::Java, error.to_string()))?;
    let major = said
        .split('"')
        .nth(1)
        .and_then(|version| version.split('.').next())
        .and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(17..) => Ok(java),
        _ => Err(Missing::new(
            Need::Java,
            format!(
                "Kafka 4 needs Java 17 or newer, {} says: {said}",
                java.display()
            ),
        )),
    }
}

/// A folder with the jars of `artifacts` (`group:artifact:version`) and of all they need at run time.
///
/// # Errors
/// [`Missing`] if Maven is not there or cannot get them.
pub fn jars(entry: &str, artifacts: &[&str]) -> Result<PathBuf, Missing> {
    let cache = Cache::open();
    cache.entry(entry, |folder| {
        let pom = folder.join("pom.xml");
        fs::write(&pom, pom_of(artifacts)).expect("the cache's folder is writable");
        let mut mvn = maven(&cache)?;
        mvn.arg("-f")
            .arg(&pom)
            .arg(format!("{PLUGIN}:copy-dependencies"))
            .arg("-DincludeScope=runtime")
            .arg(format!("-DoutputDirectory={}", folder.display()));
        get(&mut mvn)
    })
}

/// A folder with the unpacked contents of one `group:artifact:version:tar.gz:classifier`.
///
/// # Errors
/// [`Missing`] if Maven is not there or cannot get it.
pub fn unpacked(entry: &str, artifact: &str) -> Result<PathBuf, Missing> {
    let cache = Cache::open();
    cache.entry(entry, |folder| {
        let goal = |goal: &str, arguments: &[String]| {
            let mut mvn = maven(&cache)?;
            get(mvn.arg(format!("{PLUGIN}:{goal}")).args(arguments))
        };
        let artifact = format!("-Dartifact={artifact}");
        goal("get", &[artifact.clone(), "-Dtransitive=false".to_owned()])?;
        let output = format!("-DoutputDirectory={}", folder.display());
        goal("copy", &[artifact, output])?;
        untar(folder)
    })
}

fn untar(folder: &Path) -> Result<(), Missing> {
    let script = r#"set -e; for file in *.tar.gz; do tar -xzf "$file"; rm "$file"; done"#;
    process::run(Command::new("sh").args(["-c", script]).current_dir(folder))
        .map(drop)
        .map_err(|said| Missing::new(Need::Maven, said))
}

fn maven(cache: &Cache) -> Result<Command, Missing> {
    let mvn = debian::program("mvn", &[], &["maven"], Need::Maven)?;
    let mut command = Command::new(mvn);
    command.args(["-B", "-q"]).arg(format!(
        "-Dmaven.repo.local={}",
        cache.root().join("m2").display()
    ));
    Ok(command)
}

fn get(mvn: &mut Command) -> Result<(), Missing> {
    // Maven's local repository is not made for two writers.
    let _held = Cache::open().lock("m2");
    process::run(mvn)
        .map(drop)
        .map_err(|said| Missing::new(Need::Network, format!("Maven could not download: {said}")))
}

fn pom_of(artifacts: &[&str]) -> String {
    let dependencies: String = artifacts
        .iter()
        .map(|artifact| {
            let mut parts = artifact.split(':');
            let mut tag = |name: &str| format!("<{name}>{}</{name}>", parts.next().unwrap_or(""));
            let coordinates = tag("groupId") + &tag("artifactId") + &tag("version");
            format!("<dependency>{coordinates}</dependency>")
        })
        .collect();
    format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>tests</groupId>\
         <artifactId>downloads</artifactId><version>1</version>\
         <dependencies>{dependencies}</dependencies></project>"
    )
}
