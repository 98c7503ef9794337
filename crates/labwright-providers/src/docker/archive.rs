//! One file of a container, running or not, as the container itself sees it: the engine hands it out as an archive.

use std::io::Read;

use bollard::Docker;
use bollard::query_parameters::DownloadFromContainerOptionsBuilder;
use futures_util::StreamExt;
use labwright_plan::ProviderError;

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
    first(&archive).map_err(|error| {
        ProviderError::rejected(format!("what the engine hands out of `{path}` in `{container}` is not whole: {error}"))
    })
}

/// An archive that ends in the middle says nothing about the file.
fn first(archive: &[u8]) -> std::io::Result<Option<Vec<u8>>> {
    let mut archive = tar::Archive::new(archive);
    let Some(entry) = archive.entries()?.next() else {
        return Err(std::io::Error::other("it holds nothing"));
    };
    let mut entry = entry?;
    let mut content = Vec::new();
    entry.read_to_end(&mut content)?;
    if content.len() as u64 != entry.size() {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    // A folder, or a link to somewhere else, has no content of its own.
    let is_file = entry.header().entry_type().is_file();
    Ok(Some(content).filter(|content| is_file && content.len() <= LARGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_that_was_cut_is_no_missing_file() {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(2000);
        header.set_cksum();
        builder.append_data(&mut header, "passwd", [b'x'; 2000].as_slice()).unwrap();
        let whole = builder.into_inner().unwrap();
        assert_eq!(first(&whole).unwrap(), Some(vec![b'x'; 2000]));
        for cut in [0, 100, 512, 600, 2511] {
            assert!(first(&whole[..cut]).is_err(), "{cut}");
        }
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_dir("etc", "/").unwrap();
        assert_eq!(first(&builder.into_inner().unwrap()).unwrap(), None, "a folder");
    }
}
