//! A link to one host's agent: requests out, replies in. Over SSH, or inside this process.
//! Knows nothing of plans; one link is one connection and one channel.

mod local;
mod ssh;

use std::io::{self, Read, Write};
use std::sync::mpsc;
use std::time::Duration;

use labwright_plan::{ErrorKind, ProviderError};
use rustix::process::Pid;

use crate::agent::Heard;
use crate::frame;
use crate::protocol::{Reply, Request};

pub use local::open as open_local;
pub use ssh::{Address, known_as, open as open_ssh};

/// A host that shows no sign of life for this long is given up.
const SILENCE_LIMIT: Duration = Duration::from_secs(900);

/// How many replies wait for somebody to take them. Whoever sends more waits, back to where they come from.
const REPLIES_HELD: usize = 64;

/// The fields are dropped in this order: the agent's input closes before its end is waited for.
pub struct Link {
    speaker: Speaker,
    listener: Listener,
    /// How many bytes of the program were put on the host to open this link; none where it was there already.
    pub uploaded: Option<u64>,
}

/// The half that requests go out on.
pub enum Speaker {
    Stream(Box<dyn Write + Send>),
    InProcess(mpsc::Sender<Heard>),
}

/// The half that replies come in on.
pub struct Listener {
    host: String,
    replies: mpsc::Receiver<io::Result<Reply>>,
    /// Says what the far side's error output was, once the link is broken, and cleans up.
    end: Box<dyn End>,
}

/// What is left of a link when it breaks.
pub trait End: Send {
    /// Why the link broke, as far as the transport knows.
    fn autopsy(&mut self) -> Option<ProviderError>;

    /// The process that the link hangs on, where it is one.
    fn process(&self) -> Option<Pid> {
        None
    }
}

impl Link {
    /// A link on two streams that have greeted each other; replies are read on a thread.
    fn on_streams(
        host: &str,
        writer: Box<dyn Write + Send>,
        mut reader: Box<dyn Read + Send>,
        end: Box<dyn End>,
    ) -> Link {
        let (send, replies) = mpsc::sync_channel(REPLIES_HELD);
        std::thread::spawn(move || {
            while let Some(reply) = frame::read::<Reply>(&mut reader).transpose() {
                let last = reply.is_err();
                if send.send(reply).is_err() || last {
                    return;
                }
            }
        });
        Link {
            speaker: Speaker::Stream(writer),
            listener: Listener { host: host.to_string(), replies, end },
            uploaded: None,
        }
    }

    fn in_process(
        host: &str,
        speak: mpsc::Sender<Heard>,
        replies: mpsc::Receiver<io::Result<Reply>>,
        end: Box<dyn End>,
    ) -> Link {
        Link {
            speaker: Speaker::InProcess(speak),
            listener: Listener { host: host.to_string(), replies, end },
            uploaded: None,
        }
    }

    pub fn send(&mut self, request: Request) -> Result<(), ProviderError> {
        self.speaker.send(request).map_err(|_| self.listener.lost())
    }

    pub fn receive(&mut self) -> Result<Reply, ProviderError> {
        self.listener.receive()
    }

    /// What ends the link for whoever listens at it: it may be known that nothing more comes, long before SSH gives up.
    pub fn cutter(&self) -> Option<Pid> {
        self.listener.end.process()
    }

    /// Both halves by themselves. The speaker goes first: the agent's input must close before its end is waited for.
    pub fn into_halves(self) -> (Speaker, Listener) {
        (self.speaker, self.listener)
    }

    /// Both halves, to speak while listening.
    pub fn split(&mut self) -> (&mut Speaker, &mut Listener) {
        (&mut self.speaker, &mut self.listener)
    }
}

impl Speaker {
    /// The error says nothing of why: the listener will hear that the link is lost.
    pub fn send(&mut self, request: Request) -> io::Result<()> {
        match self {
            Speaker::Stream(writer) => frame::write(writer, &request),
            Speaker::InProcess(hear) => {
                hear.send(Heard::Request(request)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
            }
        }
    }
}

impl Listener {
    /// The next reply; an error when the link is lost or silent for too long.
    pub fn receive(&mut self) -> Result<Reply, ProviderError> {
        loop {
            match self.next() {
                Ok(Reply::Alive) => {}
                next => return next,
            }
        }
    }

    fn next(&mut self) -> Result<Reply, ProviderError> {
        match self.replies.recv_timeout(SILENCE_LIMIT) {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_)) | Err(mpsc::RecvTimeoutError::Disconnected) => Err(self.lost()),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let message = format!("`{}` said nothing for {} minutes", self.host, SILENCE_LIMIT.as_secs() / 60);
                Err(ProviderError::new(ErrorKind::Timeout, message)
                    .help("it may hang in a step; `labwright history` shows which"))
            }
        }
    }

    fn lost(&mut self) -> ProviderError {
        self.end.autopsy().unwrap_or_else(|| broken(&self.host))
    }
}

fn broken(host: &str) -> ProviderError {
    ProviderError::new(ErrorKind::Unreachable, format!("the connection to `{host}` was lost"))
}
