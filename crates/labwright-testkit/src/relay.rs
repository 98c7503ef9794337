//! A way to a server that can be cut: after so many bytes every connection breaks, and nobody answers any more.
//! Passes bytes on as they come; it knows no protocol.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use anyhow::{Context, Result};

use crate::network;

/// Listens until the test's process ends.
#[derive(Clone, Debug)]
pub struct Relay(Arc<Gauge>);

#[derive(Debug)]
struct Gauge {
    /// How many bytes may still come from the server; below zero: it is cut.
    left: AtomicI64,
    passed: AtomicU64,
}

impl Relay {
    /// Listens at `at` and leads to `server`, both in a network namespace.
    pub(crate) fn start(namespace: &Path, at: SocketAddr, server: SocketAddr) -> Result<Relay> {
        let gauge = Arc::new(Gauge { left: AtomicI64::new(i64::MAX), passed: AtomicU64::new(0) });
        let (ready, is_ready) = mpsc::channel();
        let (namespace, own) = (namespace.to_path_buf(), gauge.clone());
        thread::spawn(move || {
            let listens = network::enter(&namespace)
                .and_then(|()| TcpListener::bind(at).with_context(|| format!("listen at {at}")));
            let listener = match listens {
                Ok(listener) => listener,
                Err(error) => return drop(ready.send(Err(error))),
            };
            drop(ready.send(Ok(())));
            for client in listener.incoming().flatten() {
                let gauge = own.clone();
                thread::spawn(move || drop(gauge.lead(&client, server)));
            }
        });
        is_ready.recv().context("start a relay")??;
        Ok(Relay(gauge))
    }

    /// So many bytes still come from the server, in all.
    pub fn cut_after(&self, bytes: u32) {
        self.0.left.store(bytes.into(), Ordering::SeqCst);
    }

    /// From here on everything comes through.
    pub fn mend(&self) {
        self.0.left.store(i64::MAX, Ordering::SeqCst);
    }

    /// Whether it was cut: more than the allowed bytes were on their way.
    pub fn is_cut(&self) -> bool {
        self.0.left.load(Ordering::SeqCst) < 0
    }

    /// How many bytes came from the server so far.
    pub fn passed(&self) -> u64 {
        self.0.passed.load(Ordering::SeqCst)
    }
}

impl Gauge {
    fn lead(&self, client: &TcpStream, server: SocketAddr) -> io::Result<()> {
        if self.left.load(Ordering::SeqCst) < 0 {
            return client.shutdown(Shutdown::Both);
        }
        let server = TcpStream::connect(server)?;
        let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
        let ended = self.pass(&server, client);
        let _ = server.shutdown(Shutdown::Both);
        let _ = client.shutdown(Shutdown::Both);
        ended
    }

    fn pass(&self, mut server: &TcpStream, mut client: &TcpStream) -> io::Result<()> {
        let mut piece = [0; 4096];
        loop {
            let size = server.read(&mut piece)?;
            if size == 0 || self.left.fetch_sub(size as i64, Ordering::SeqCst) < size as i64 {
                return Ok(());
            }
            client.write_all(&piece[..size])?;
            self.passed.fetch_add(size as u64, Ordering::SeqCst);
        }
    }
}
