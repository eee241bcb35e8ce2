//! Java artifacts by their coordinates, from wherever this machine's Maven gets them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::Cache;
use crate::debian;
use crate::jdk;
use crate::process;
use crate::skip::{Missing, Need};

/// The plugin that copies and unpacks; pinned, so that a cached copy of it is enough.
const PLUGIN: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1";

/// The `java` of this machine, 17 or newer; installed if there is none.
///
/// # Errors
/// [`Missing`] if there is none and it cannot be installed.
pub fn java() -> Result<PathBuf, Missing> {
    let wanted = 17..=u32::MAX;
    jdk::java("Kafka 4", &wanted).or_else(|_| {
        debian::program("java", &[], &["default-jre-headless"], Need::Java)?;
        jdk::java("Kafka 4", &wanted)
    })
}

/// A folder with the jars of `artifacts` (`group:artifact:version`) and of all they need at run time.
///
/// # Errors
/// [`Missing`] if Maven is not there or cannot get them.
pub fn jars(entry: &str, artifacts: &[&str]) -> Result<PathBuf, Missing> {
    let cache = Cache::open();
    cache.entry(entry, |folder| {
        copy_with_dependencies(&cache, folder, artifacts)
    })
}

/// A folder as Connect's `plugin.path` wants it: one plugin, a folder with the jars of `artifacts` and of all they
/// need at run time.
///
/// # Errors
/// [`Missing`] if Maven is not there or cannot get them.
pub fn plugin(entry: &str, artifacts: &[&str]) -> Result<PathBuf, Missing> {
    let cache = Cache::open();
    cache.entry(entry, |folder| {
        let jars = folder.join("plugin");
        fs::create_dir(&jars).expect("the cache's folder is writable");
        copy_with_dependencies(&cache, &jars, artifacts)
    })
}

fn copy_with_dependencies(cache: &Cache, folder: &Path, artifacts: &[&str]) -> Result<(), Missing> {
    let pom = folder.join("pom.xml");
    fs::write(&pom, pom_of(artifacts)).expect("the cache's folder is writable");
    let mut mvn = maven(cache)?;
    mvn.arg("-f")
        .arg(&pom)
        .arg(format!("{PLUGIN}:copy-dependencies"))
        .arg("-DincludeScope=runtime")
        .arg(format!("-DoutputDirectory={}", folder.display()));
    get(&mut mvn)
}

/// A folder with the files of `artifacts` alone, without what they need: for those whose poms cannot be followed.
///
/// # Errors
/// [`Missing`] if Maven is not there or cannot get them.
pub fn alone(entry: &str, artifacts: &[&str]) -> Result<PathBuf, Missing> {
    let cache = Cache::open();
    cache.entry(entry, |folder| {
        artifacts
            .iter()
            .try_for_each(|artifact| copy(&cache, folder, artifact))
    })
}

/// A folder with the unpacked contents of one `group:artifact:version:tar.gz:classifier`.
///
/// # Errors
/// [`Missing`] if Maven is not there or cannot get it.
pub fn unpacked(entry: &str, artifact: &str) -> Result<PathBuf, Missing> {
    let cache = Cache::open();
    cache.entry(entry, |folder| {
        copy(&cache, folder, artifact)?;
        untar(folder)
    })
}

fn copy(cache: &Cache, folder: &Path, artifact: &str) -> Result<(), Missing> {
    let goal = |goal: &str, argument: String| {
        let mut mvn = maven(cache)?;
        mvn.arg(format!("{PLUGIN}:{goal}"))
            .arg(format!("-Dartifact={artifact}"))
            .arg(argument);
        get(&mut mvn)
    };
    goal("get", "-Dtransitive=false".to_owned())?;
    goal("copy", format!("-DoutputDirectory={}", folder.display()))
}

/// A folder with the unpacked contents of `inner`, a `tar.gz` in the jar `group:artifact:version`.
///
/// # Errors
/// [`Missing`] if Maven is not there or cannot get it.
pub fn inner(entry: &str, artifact: &str, inner: &str) -> Result<PathBuf, Missing> {
    let cache = Cache::open();
    cache.entry(entry, |folder| {
        let mut mvn = maven(&cache)?;
        mvn.arg(format!("{PLUGIN}:unpack"))
            .arg(format!("-Dartifact={artifact}"))
            .arg(format!("-Dmdep.unpack.includes={inner}"))
            .arg(format!("-DoutputDirectory={}", folder.display()))
            // Without a project the plugin leaves its marks where it is called.
            .current_dir(folder);
        get(&mut mvn)?;
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
