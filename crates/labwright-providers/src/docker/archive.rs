//! One file of a container, running or not, as the container itself sees it: the engine hands it out as an archive.

use std::io::Read;

use bollard::Docker;
use bollard::query_parameters::DownloadFromContainerOptionsBuilder;
use futures_util::StreamExt;

use super::engine::{status, told};
use super::session::Look;

/// Larger ones are nobody's settings and nobody's secret. Compose itself stops at half of it.
const LARGEST: usize = 1 << 20;
/// What an archive has around a file: a header, its padding, its end.
const AROUND: usize = 16 << 10;

/// What stands in a file. `None`: nothing is there, or something that is no file or larger than 1 MiB.
pub async fn file(docker: &Docker, container: &str, path: &str) -> Look<Vec<u8>> {
    let options = DownloadFromContainerOptionsBuilder::default().path(path).build();
    let mut parts = docker.download_from_container(container, Some(options));
    let mut archive = Vec::new();
    while let Some(part) = parts.next().await {
        match part {
            Ok(part) => archive.extend_from_slice(&part),
            Err(error) if status(&error) == Some(404) => return Ok(None),
            Err(error) => return Err(told(&format!("read `{path}` in"), container, error)),
        }
        if archive.len() > LARGEST + AROUND {
            return Ok(None);
        }
    }
    Ok(first(&archive))
}

fn first(archive: &[u8]) -> Option<Vec<u8>> {
    let mut archive = tar::Archive::new(archive);
    let mut entry = archive.entries().ok()?.next()?.ok()?;
    let mut content = Vec::new();
    // A folder, or a link to somewhere else, has no content of its own.
    let is_file = entry.header().entry_type().is_file();
    entry.read_to_end(&mut content).ok().filter(|_| is_file && content.len() <= LARGEST)?;
    Some(content)
}
