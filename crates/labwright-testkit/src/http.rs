//! Serves a folder over HTTP/1.1 inside a network namespace, for apt on the hosts. It ends with the lab or the test process.
//! GET and HEAD of whole files, nothing else: no ranges, no listings, no conditional requests.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::network;

#[derive(Debug)]
pub(crate) struct Server {
    listener: TcpListener,
    closing: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(namespace: &str, address: SocketAddr, folder: &Path) -> Result<Self> {
        let bind = || TcpListener::bind(address).with_context(|| format!("listen at {address}"));
        let listener = network::inside(namespace, bind)?;
        let closing = Arc::new(AtomicBool::new(false));
        let (accepting, closed, folder) = (listener.try_clone()?, Arc::clone(&closing), Arc::<Path>::from(folder));
        let accept = move || {
            while !closed.load(Ordering::Acquire) {
                let Ok((stream, _)) = accepting.accept() else {
                    // Too many open files, say: it passes, and until then this must not take a whole core.
                    thread::sleep(Duration::from_millis(10));
                    continue;
                };
                let folder = Arc::clone(&folder);
                // A client that goes away is its own affair; apt reports what it could not get.
                thread::spawn(move || answer(&stream, &folder).ok());
            }
        };
        Ok(Self { listener, closing, thread: Some(thread::spawn(accept)) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Release);
        // On Linux this wakes the thread that waits in accept; closing the file descriptor would not.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Answers the requests of one connection. It stays open between them: apt sends several at once, and to close with some of
/// them unread would reset the connection and lose the answer.
fn answer(stream: &TcpStream, folder: &Path) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut header = String::new();
        while reader.read_line(&mut header)? > 2 {
            header.clear();
        }
        let mut words = request.split_whitespace();
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (status, body) = match (method, file(folder, target).map(fs::read)) {
            ("GET" | "HEAD", Some(Ok(body))) => ("200 OK", body),
            ("GET" | "HEAD", _) => ("404 Not Found", Vec::new()),
            _ => ("405 Method Not Allowed", Vec::new()),
        };
        let mut writer = stream;
        write!(writer, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len())?;
        match (method, status) {
            ("HEAD", _) => {}
            (_, "405 Method Not Allowed") => return stream.shutdown(Shutdown::Both),
            _ => writer.write_all(&body)?,
        }
    }
}

/// The file that a request names; none if it leads out of the folder.
fn file(folder: &Path, target: &str) -> Option<PathBuf> {
    let mut bytes = Vec::new();
    let mut rest = target.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(if byte == b'%' { digit(rest.next())? * 16 + digit(rest.next())? } else { byte });
    }
    let path = String::from_utf8(bytes).ok()?;
    let path = Path::new(path.strip_prefix('/')?);
    let stays_inside = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    stays_inside.then(|| folder.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_a_file_in_the_folder_or_none() {
        let at = |target| file(Path::new("/srv"), target);
        assert_eq!(at("/./Packages.gz"), Some("/srv/Packages.gz".into()));
        assert_eq!(at("/a%2bb_1%7e2.deb"), Some("/srv/a+b_1~2.deb".into()));
        for outside in ["/../etc/passwd", "/%2e%2e/etc/passwd", "//etc/passwd", "Packages", "/%zz", "/%2", ""] {
            assert_eq!(at(outside), None, "{outside}");
        }
    }
}
