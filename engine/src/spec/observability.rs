//! The `observability:` block.

use sql::Result;

use super::block::Block;
use super::effective::Shown;
use super::field::Field;
use super::model::{Listen, LogFormat, ObservabilitySpec};

const METRICS: &str = "127.0.0.1:8000";
const HEALTH: &str = "127.0.0.1:8001";

/// Reads the block.
pub(super) fn read(root: &mut Block<'_>) -> Result<ObservabilitySpec> {
    let mut block = root.block("observability")?;
    block.only(&["metrics", "health", "log"], &[])?;
    let metrics_note = "127.0.0.1:8000, or a free port if that is busy";
    let health_note = "127.0.0.1:8001, or a free port if that is busy";
    let metrics = listen(&mut block, "metrics", METRICS, metrics_note)?;
    let health = listen(&mut block, "health", HEALTH, health_note)?;
    let mut log = block.block("log")?;
    log.only(&["format"], &[])?;
    let format = log.value("format", "auto", |field| {
        let words = [
            ("auto", LogFormat::Auto),
            ("json", LogFormat::Json),
            ("text", LogFormat::Text),
        ];
        field.choice(&words, &[])
    })?;
    block.close("log", log);
    root.close("observability", block);
    Ok(ObservabilitySpec {
        metrics,
        health,
        log: format,
    })
}

/// An address that was said is used or fails, even if it is the default's: so the default is shown as null.
fn listen(block: &mut Block<'_>, key: &str, default: &str, note: &'static str) -> Result<Listen> {
    let said = block.optional(key, note, address)?;
    if said == Some(None) {
        block.show(key, Shown::text("off"), true);
    }
    Ok(match said {
        Some(address) => Listen {
            address,
            configured: true,
        },
        None => Listen {
            address: Some(default.to_owned()),
            configured: false,
        },
    })
}

fn address(field: &Field<'_>) -> Result<Option<String>> {
    let text = field.scalar().map(|scalar| scalar.text.trim().to_owned());
    match text.as_deref() {
        Some("off" | "false") => return Ok(None),
        Some(text) => {
            if let Some((host, port)) = text.rsplit_once(':')
                && !host.is_empty()
                && !host.contains(char::is_whitespace)
                && port.parse::<u16>().is_ok()
            {
                return Ok(Some(text.to_owned()));
            }
        }
        None => {}
    }
    Err(field
        .wrong_type("`host:port`, or `off`")
        .remedy("write an address such as `127.0.0.1:8000`; port 0 takes a free one"))
}
