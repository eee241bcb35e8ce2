//! Paths and URLs of the file, made absolute.

use std::path::{Component, Path, PathBuf};

use sql::{Error, Result};
use url::Url;

use super::block::short;
use super::field::Field;

/// `text` under `base`, without `.` and `..`. Lexical: links are not followed and nothing need exist.
pub(super) fn absolute(base: &Path, text: &str) -> PathBuf {
    let mut out = PathBuf::new();
    for component in base.join(text).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

/// The absolute local path that `text` means: a path under `base`, or a `file://` URL. `field` is what errors point at.
pub(super) fn local(field: &Field<'_>, base: &Path, text: &str) -> Result<String> {
    if text.strip_prefix("file:").unwrap_or(text).trim().is_empty() {
        return Err(field
            .error(format!("`{}` has an empty path", field.path))
            .expected("a path")
            .remedy("fill it in"));
    }
    if text == "~" || text.starts_with("~/") {
        return Err(field
            .error(format!("`~` of `{}` is not expanded", short(text)))
            .expected("a path without `~`")
            .remedy("write `${HOME}` in its place"));
    }
    let path = match text.strip_prefix("file:") {
        Some(_) if text.starts_with("file:///") => file_url(field, text)?,
        Some(path) if !path.starts_with("//") => absolute(base, path),
        Some(_) => return Err(bad_file_url(field, text)),
        None => match scheme(text) {
            Some(scheme) => return Err(not_local(field, scheme)),
            None => absolute(base, text),
        },
    };
    path.into_os_string().into_string().map_err(|_| {
        field
            .error(format!("the path of `{}` is not UTF-8", field.path))
            .remedy("work in a folder whose name is UTF-8")
    })
}

fn file_url(field: &Field<'_>, text: &str) -> Result<PathBuf> {
    let path = Url::parse(text)
        .ok()
        .and_then(|url| url.to_file_path().ok());
    path.map(|path| absolute(&path, ""))
        .ok_or_else(|| bad_file_url(field, text))
}

fn bad_file_url(field: &Field<'_>, text: &str) -> Error {
    field
        .error(format!("`{}` is not the URL of a local path", short(text)))
        .expected("`file:///` and an absolute path, or a path")
        .remedy("write three slashes before an absolute path, or leave `file:` out")
}

fn not_local(field: &Field<'_>, scheme: &str) -> Error {
    field
        .error(format!("storage `{}://` is not built yet", short(scheme)))
        .expected("a local path or `file:///…`")
        .remedy("use a local path")
}

fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once("://")?;
    let starts_right = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    (starts_right && scheme.chars().all(is_scheme)).then_some(scheme)
}
