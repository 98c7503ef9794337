//! The agent in this process, for the machine that labwright runs on.
//! The same code and the same frames as over SSH, through two pipes.

use labwright_plan::{Provider, ProviderError};

use super::{End, Link};
use crate::agent;

pub fn open(host: &str, providers: &'static [&'static dyn Provider]) -> Result<Link, ProviderError> {
    let pipe = || std::io::pipe().map_err(|error| ProviderError::bug(format!("cannot make a pipe: {error}")));
    let (requests, to_agent) = pipe()?;
    let (replies, from_agent) = pipe()?;
    let thread = std::thread::spawn(move || {
        // An agent ends when its link does; what it could not say has nobody to hear it.
        drop(agent::serve(requests, std::io::BufWriter::with_capacity(1 << 16, from_agent), providers));
    });
    Link::on(host, Box::new(to_agent), Box::new(replies), Box::new(Thread(Some(thread))))
}

struct Thread(Option<std::thread::JoinHandle<()>>);

impl End for Thread {
    fn autopsy(&mut self) -> Option<ProviderError> {
        let thread = self.0.take()?;
        thread.join().is_err().then(|| ProviderError::bug("the agent in this process panicked"))
    }
}

impl Drop for Thread {
    /// What the agent began, it ends: its input is closed by now.
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            drop(thread.join());
        }
    }
}
