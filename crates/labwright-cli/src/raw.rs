//! The terminal that somebody sits at: handed over key by key, and given back as it was.
//! Knows nothing of what the keys mean.

use std::io;
use std::sync::{Mutex, PoisonError};

use labwright_plan::Size;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// How the terminal was, for whoever ends this process early.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// While it lives, every key is passed on as it is.
pub struct Raw(());

impl Raw {
    pub fn enter() -> io::Result<Raw> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Raw(()))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back as it was, if it was taken.
pub fn restore() {
    if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // A terminal that is gone needs no setting.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }
}

/// The size of the terminal on standard output.
pub fn size() -> Option<Size> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    Some(Size { columns: size.ws_col, rows: size.ws_row })
}
