//! A file's content as a value of a resource.
//! Holds no more than a megabyte of it: of anything larger only the digest is taken.

use std::fs::File;
use std::io::{self, Read};

use labwright_plan::{Digest, Value};

/// Content above this many bytes is observed as its digest.
pub const LARGE: u64 = 1 << 20;

/// The content of an open file: text, bytes, or the digest of either where it is large.
pub fn of(file: &mut File) -> io::Result<Value> {
    // Room for all of it and one byte more: the end is seen with the second read.
    let size = file.metadata()?.len().min(LARGE) + 1;
    let mut start = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    file.take(LARGE + 1).read_to_end(&mut start)?;
    if start.len() as u64 > LARGE {
        return Ok(Value::Digest(digest(&mut io::Cursor::new(start).chain(file))?));
    }
    Ok(value(start))
}

/// Text where it is UTF-8, bytes where it is not.
pub fn value(bytes: Vec<u8>) -> Value {
    String::from_utf8(bytes).map_or_else(|error| Value::Bytes(error.into_bytes()), Value::Text)
}

/// BLAKE3 and length, without holding the content.
pub fn digest(content: &mut dyn Read) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    let bytes = io::copy(content, &mut hasher)?;
    Ok(Digest::new(&hasher.finalize(), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(content: &[u8]) -> Value {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        of(&mut File::open(file.path()).unwrap()).unwrap()
    }

    #[test]
    fn content_is_text_bytes_or_a_digest() {
        assert_eq!(seen(b"hello\n"), Value::from("hello\n"));
        assert_eq!(seen(b"\xff\x00"), Value::Bytes(vec![0xff, 0]));
        let large = vec![b'x'; LARGE as usize + 1];
        assert_eq!(seen(&large), Value::Digest(Digest::of(&large)));
        assert_eq!(seen(&large[1..]), Value::Text("x".repeat(LARGE as usize)));
    }
}
