//! Static sites: a folder of pages, with entity tags, ranges and index pages. Nothing outside of the folder is ever shown,
//! nor what begins with a dot.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode, Uri};
use http_body::{Frame, SizeHint};
use hyper::body::Bytes;
use percent_encoding::percent_decode_str;
use tokio::task::JoinHandle;

use super::body::{Body, BodyError};
use super::page::{bare, page};

/// So much is read at once.
const CHUNK: u64 = 128 << 10;

/// Where a path of a request leads.
enum Found {
    File(Box<(File, Metadata, PathBuf)>),
    /// A folder that was asked for without its slash.
    Folder,
    Nothing,
}

/// Answers from a folder.
pub async fn serve(root: &Path, method: &Method, uri: &Uri, headers: &HeaderMap) -> Response<Body> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return bare(StatusCode::METHOD_NOT_ALLOWED, header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    let (folder, path) = (root.to_path_buf(), uri.path().to_string());
    let found = tokio::task::spawn_blocking(move || find(&folder, &path)).await;
    match found.unwrap_or_else(|_| Err(io::Error::other("it was not looked for"))) {
        Ok(Found::File(found)) => {
            let (file, metadata, path) = *found;
            send(file, &metadata, content_type(&path), StatusCode::OK, method, headers)
        }
        Ok(Found::Folder) => {
            let query = uri.query().map_or(String::new(), |query| format!("?{query}"));
            // One slash in front: two would name another host.
            let to = format!("/{}/{query}", uri.path().trim_start_matches('/'));
            match HeaderValue::from_str(&to) {
                Ok(to) => bare(StatusCode::PERMANENT_REDIRECT, header::LOCATION, to),
                Err(_) => nothing(headers),
            }
        }
        Ok(Found::Nothing) => own_page(root, method, headers).await,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => page(
            StatusCode::FORBIDDEN,
            headers,
            "This page cannot be read",
            &["Its file on the proxy's host may not be read by the proxy.".to_string()],
        ),
        Err(error) => {
            tracing::warn!(%error, root = %root.display(), "a page could not be read");
            page(StatusCode::INTERNAL_SERVER_ERROR, headers, "This page cannot be read", &[error.to_string()])
        }
    }
}

fn nothing(headers: &HeaderMap) -> Response<Body> {
    page(StatusCode::NOT_FOUND, headers, "There is no such page", &[])
}

/// The site's own page for what is not there.
async fn own_page(root: &Path, method: &Method, headers: &HeaderMap) -> Response<Body> {
    let folder = root.to_path_buf();
    let found = tokio::task::spawn_blocking(move || find(&folder, "/404.html")).await;
    match found {
        Ok(Ok(Found::File(found))) => {
            let (file, metadata, path) = *found;
            send(file, &metadata, content_type(&path), StatusCode::NOT_FOUND, method, &HeaderMap::new())
        }
        _ => nothing(headers),
    }
}

fn find(root: &Path, path: &str) -> io::Result<Found> {
    let Ok(decoded) = percent_decode_str(path).decode_utf8() else { return Ok(Found::Nothing) };
    let mut at = root.to_path_buf();
    for part in decoded.split('/').filter(|part| !part.is_empty()) {
        let hidden = part.starts_with('.') && part != ".well-known";
        if hidden || part.contains(['\0', '\\']) {
            return Ok(Found::Nothing);
        }
        at.push(part);
    }
    let missing = |error: &io::Error| {
        matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename)
    };
    let metadata = match std::fs::metadata(&at) {
        Ok(metadata) => metadata,
        Err(error) if missing(&error) => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    };
    if metadata.is_dir() {
        if !decoded.ends_with('/') {
            return Ok(Found::Folder);
        }
        at.push("index.html");
    }
    // Links may lead within the folder, and nowhere else.
    let real = match at.canonicalize() {
        Ok(real) => real,
        Err(error) if missing(&error) => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    };
    if !real.starts_with(root.canonicalize()?) {
        return Ok(Found::Nothing);
    }
    let file = File::open(&real)?;
    let metadata = file.metadata()?;
    Ok(if metadata.is_file() { Found::File(Box::new((file, metadata, real))) } else { Found::Nothing })
}

fn content_type(path: &Path) -> HeaderValue {
    let kind = mime_guess::from_path(path).first_or_octet_stream();
    let text = kind.type_() == "text" || matches!(kind.subtype().as_str(), "javascript" | "json" | "xml");
    let kind = if text { format!("{kind}; charset=utf-8") } else { kind.to_string() };
    HeaderValue::from_str(&kind).unwrap_or_else(|_| HeaderValue::from_static("application/octet-stream"))
}

fn send(
    file: File,
    metadata: &Metadata,
    kind: HeaderValue,
    status: StatusCode,
    method: &Method,
    asked: &HeaderMap,
) -> Response<Body> {
    let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    let nanos = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let length = metadata.len();
    let tag = format!("\"{nanos:x}-{length:x}\"");
    let mut response = Response::new(Body::Empty);
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(modified)) {
        headers.insert(header::LAST_MODIFIED, date);
    }
    if is_fresh(asked, &tag, modified) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    headers.insert(header::CONTENT_TYPE, kind);
    let range = match range(asked, &tag, modified, length) {
        Range::Whole => None,
        Range::Part(from, to) => Some((from, to)),
        Range::Impossible => {
            if let Ok(value) = HeaderValue::from_str(&format!("bytes */{length}")) {
                headers.insert(header::CONTENT_RANGE, value);
            }
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            return response;
        }
    };
    let (from, count) = range.map_or((0, length), |(from, to)| (from, to - from + 1));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(count));
    let status = match range {
        Some((from, to)) => {
            if let Ok(value) = HeaderValue::from_str(&format!("bytes {from}-{to}/{length}")) {
                headers.insert(header::CONTENT_RANGE, value);
            }
            StatusCode::PARTIAL_CONTENT
        }
        None => status,
    };
    *response.status_mut() = status;
    if *method == Method::GET {
        *response.body_mut() = Body::File(Box::new(FileBody { file: Some(file), from, left: count, reading: None }));
    }
    response
}

/// Whether the client has it already; RFC 9110, 13.1.
fn is_fresh(asked: &HeaderMap, tag: &str, modified: SystemTime) -> bool {
    if let Some(tags) = asked.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()) {
        return tags.split(',').any(|one| matches!(one.trim().trim_start_matches("W/"), "*") || one.trim() == tag);
    }
    let since = asked.get(header::IF_MODIFIED_SINCE).and_then(|value| value.to_str().ok());
    since
        .and_then(|since| httpdate::parse_http_date(since).ok())
        .is_some_and(|since| seconds(modified) <= seconds(since))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    Whole,
    /// Both ends are included.
    Part(u64, u64),
    Impossible,
}

/// The one range that is asked for; several at once are answered with the whole, as RFC 9110, 14.2 allows.
fn range(asked: &HeaderMap, tag: &str, modified: SystemTime, length: u64) -> Range {
    let Some(text) = asked.get(header::RANGE).and_then(|value| value.to_str().ok()) else { return Range::Whole };
    if let Some(only) = asked.get(header::IF_RANGE).and_then(|value| value.to_str().ok()) {
        let same = only == tag || httpdate::parse_http_date(only).is_ok_and(|date| seconds(date) == seconds(modified));
        if !same {
            return Range::Whole;
        }
    }
    let Some((from, to)) = text.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-')) else {
        return Range::Whole;
    };
    let last = length.saturating_sub(1);
    match (from.trim().parse::<u64>(), to.trim().parse::<u64>()) {
        (Ok(from), _) if from >= length => Range::Impossible,
        (Ok(from), Ok(to)) if to >= from => Range::Part(from, to.min(last)),
        (Ok(from), Err(_)) if to.trim().is_empty() => Range::Part(from, last),
        (Err(_), Ok(0)) if from.trim().is_empty() => Range::Impossible,
        (Err(_), Ok(tail)) if from.trim().is_empty() && length > 0 => Range::Part(length.saturating_sub(tail), last),
        _ => Range::Whole,
    }
}

/// The file, and the part of it that was read.
type Part = io::Result<(File, Vec<u8>)>;

/// A file on its way, read in a thread that may wait for the disk.
pub struct FileBody {
    file: Option<File>,
    from: u64,
    left: u64,
    reading: Option<JoinHandle<Part>>,
}

impl FileBody {
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if self.reading.is_none() {
            let Some(mut file) = self.file.take() else { return Poll::Ready(None) };
            let (from, count) = (self.from, self.left.min(CHUNK));
            self.reading = Some(tokio::task::spawn_blocking(move || {
                let mut bytes = vec![0; count as usize];
                file.seek(SeekFrom::Start(from))?;
                file.read_exact(&mut bytes)?;
                Ok((file, bytes))
            }));
        }
        let Some(reading) = self.reading.as_mut() else { return Poll::Ready(None) };
        let read = ready!(Pin::new(reading).poll(cx)).unwrap_or_else(|_| Err(io::Error::other("it was not read")));
        self.reading = None;
        match read {
            Ok((file, bytes)) => {
                self.file = Some(file);
                self.from += bytes.len() as u64;
                self.left -= bytes.len() as u64;
                Poll::Ready(Some(Ok(Frame::data(bytes.into()))))
            }
            Err(error) => {
                self.left = 0;
                Poll::Ready(Some(Err(BodyError::File(error))))
            }
        }
    }

    pub fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    pub fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked(root: &Path, path: &str) -> &'static str {
        match find(root, path).unwrap() {
            Found::File(..) => "file",
            Found::Folder => "folder",
            Found::Nothing => "nothing",
        }
    }

    #[test]
    fn nothing_outside_and_nothing_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("site");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::create_dir_all(root.join(".git")).unwrap();
        std::fs::create_dir_all(root.join(".well-known")).unwrap();
        for (path, text) in [("index.html", "i"), ("sub/index.html", "s"), (".git/config", "g"), (".well-known/x", "w")]
        {
            std::fs::write(root.join(path), text).unwrap();
        }
        std::fs::write(folder.path().join("secret"), "s").unwrap();
        std::os::unix::fs::symlink(folder.path().join("secret"), root.join("out")).unwrap();
        std::os::unix::fs::symlink("index.html", root.join("in")).unwrap();
        let paths = [
            "/",
            "/sub",
            "/sub/",
            "/in",
            "/out",
            "/../secret",
            "/%2e%2e/secret",
            "/..%2fsecret",
            "/.git/config",
            "/.well-known/x",
            "/index.html/x",
            "/%00",
            "/none",
            "//etc/passwd",
        ];
        let seen: Vec<_> = paths.iter().map(|path| looked(&root, path)).collect();
        let (file, folder, nothing) = ("file", "folder", "nothing");
        assert_eq!(
            seen,
            [
                file, folder, file, file, nothing, nothing, nothing, nothing, nothing, file, nothing, nothing, nothing,
                nothing
            ]
        );
    }

    #[test]
    fn ranges() {
        let asked = |text: &str| {
            let headers = HeaderMap::from_iter([(header::RANGE, text.parse().unwrap())]);
            range(&headers, "\"t\"", SystemTime::UNIX_EPOCH, 100)
        };
        assert_eq!(asked("bytes=0-9"), Range::Part(0, 9));
        assert_eq!(asked("bytes=90-"), Range::Part(90, 99));
        assert_eq!(asked("bytes=-10"), Range::Part(90, 99));
        assert_eq!(asked("bytes=-1000"), Range::Part(0, 99));
        assert_eq!(asked("bytes=50-1000"), Range::Part(50, 99));
        assert_eq!(asked("bytes=100-"), Range::Impossible);
        assert_eq!(asked("bytes=-0"), Range::Impossible);
        assert_eq!(asked("bytes=9-1"), Range::Whole);
        assert_eq!(asked("bytes=0-1,5-6"), Range::Whole);
        assert_eq!(asked("lines=0-1"), Range::Whole);
    }
}
