//! The agent in this process, for the machine that labwright runs on.
//! The same agent as over SSH; requests and replies pass as they are, without frames.

use std::sync::mpsc;

use labwright_plan::{Provider, ProviderError};

use super::{End, Link};
use crate::agent::{self, Heard};

pub fn open(host: &str, providers: &'static [&'static dyn Provider]) -> Link {
    let (hear, heard) = mpsc::channel();
    let (tell, replies) = mpsc::sync_channel(super::REPLIES_HELD);
    let speak = hear.clone();
    let thread = std::thread::spawn(move || {
        // Nobody listens any more once the link is dropped; what was begun goes on to its end.
        let tell = move |reply| drop(tell.send(Ok(reply)));
        // Only a stream can be garbled.
        agent::attend(hear, &heard, Box::new(tell), providers, None).unwrap_or_default();
    });
    Link::in_process(host, speak.clone(), replies, Box::new(Thread { hear: speak, thread: Some(thread) }))
}

struct Thread {
    hear: mpsc::Sender<Heard>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl End for Thread {
    fn autopsy(&mut self) -> Option<ProviderError> {
        let thread = self.thread.take()?;
        thread.join().is_err().then(|| ProviderError::bug("the agent in this process panicked"))
    }
}

impl Drop for Thread {
    /// What the agent began, it ends.
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // An agent that is gone already hears nothing and needs to hear nothing.
            drop(self.hear.send(Heard::Gone));
            drop(thread.join());
        }
    }
}
